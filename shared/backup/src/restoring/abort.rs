use chrono::TimeDelta;
use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::Failure,
    event::Event,
    id::{ApplicationId, RestoreId},
    restore::{Mapping, Restore, RestoreRun, RestoreState},
};

use super::{
    bounded,
    checkpoint::SWAP,
    place::Place,
    report::{self, Left},
};
use crate::{
    error::SliceError,
    events,
    job::{Answer, Caught},
    ports::{Ports, Versioned},
    request, restores,
    slice::Worker,
};

/// How long it is tried to clean up behind a killed restore, before it ends and says what may be left.
const PATIENCE: TimeDelta = TimeDelta::minutes(15);

/// Brings a restore to its end as failed or cancelled. Repeating it is harmless; one that has ended is left as it is.
pub(crate) async fn abort(
    worker: &Worker,
    application: &ApplicationId,
    id: RestoreId,
    caught: &Caught,
) -> Result<Answer, SliceError> {
    let ports = &worker.ports;
    let Versioned { value: mut restore, mut version } = super::load(ports, application, id).await?;
    if !restore.state.is_open() {
        // Whoever ended it may have died before it could tell.
        events::tell(ports, Event::of_restore(&restore)).await;
        return Ok(Answer::Done);
    }
    // Fence first: a slice that is still at it finds at its next word that the record is not its own any more.
    if restore.aborting_at.is_none() {
        restore.aborting_at = Some(ports.clock.now());
        restore.attempt += 1;
        version = ports.records.update_restore(&restore, version, &[]).await?;
    }
    give_up_safety_backup(ports, &restore).await;
    let left = clean_up(worker, &restore).await?;

    let was = restore.state;
    let caught = caught.failure();
    let cancelled = restore.cancel_requested_at.is_some();
    // Whoever exchanged a service and heard of its cancellation, was killed or could not write it down, could not say what came
    // of that; nor can whoever failed after it.
    let is_exchanged = |run: &RestoreRun| run.restored.is_none() && run.doing.as_deref() == Some(SWAP);
    let is_certain = !restore.runs.iter().any(is_exchanged) && (cancelled || report::is_certain(&caught));
    let left = Left { is_certain, ..left };
    let end = if cancelled { RestoreState::Cancelled } else { RestoreState::Failed };
    let failure = if cancelled {
        (restore.has_begun() || !left.uncleaned.is_empty()).then(|| Failure {
            code: "cancelled".to_owned(),
            message: bounded::message_with("it was cancelled", &report::report(&restore, &left)),
            service: None,
            transient: false,
        })
    } else {
        let message =
            bounded::message_with(caught.message.trim_end_matches('.'), &report::report(&restore, &left));
        Some(Failure { message, ..caught })
    };
    restore
        .transition(end)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    restore.finished_at = Some(ports.clock.now());
    if let Some(failure) = &failure {
        tracing::error!(%application, restore = %id, code = failure.code, message = failure.message, "the restore ended early");
    }
    let action = if cancelled { Action::Cancel } else { Action::Fail };
    let audit = AuditEntry {
        reason: failure.as_ref().map(|failure| failure.message.clone()),
        ..restores::audit_of(ports, action, &restore, was)
    };
    restore.failure = failure;
    ports.records.update_restore(&restore, version, &[audit]).await?;
    events::tell(ports, Event::of_restore(&restore)).await;
    Ok(Answer::Done)
}

/// A safety backup that is still being made has nothing to keep safe any more.
async fn give_up_safety_backup(ports: &Ports, restore: &Restore) {
    let Some(id) = restore.safety_backup.filter(|_| !restore.has_begun()) else { return };
    // One that has ended is refused, which is as good.
    if let Err(error) = request::cancel(ports, "job", &restore.application, id).await {
        tracing::debug!(backup = %id, %error, "the safety backup is left alone");
    }
}

/// Removes what killed slices have left. What cannot be removed for now is tried again, but not for ever: the restore has
/// the turn of its application.
async fn clean_up(worker: &Worker, restore: &Restore) -> Result<Left, SliceError> {
    let mut left = Left { is_certain: true, ..Left::default() };
    let runs = restore.runs.iter().zip(&restore.services);
    let begun: Vec<(&RestoreRun, &Mapping)> =
        runs.filter(|(run, _)| run.doing.is_some() && run.restored.is_none()).collect();
    if begun.is_empty() {
        return Ok(left);
    }
    let place = match Place::recall(&worker.ports, restore).await {
        Ok(place) => place,
        Err(error) => {
            let error = resign(worker, restore, error)?;
            // Files that were put stay; half a database is there while it pauses, too.
            let has_left = |run: &RestoreRun| super::is_half_done(run) || !report::is_storage(restore, run);
            let begun = begun.iter().filter(|(run, _)| has_left(run));
            left.uncleaned = begun.map(|(run, _)| (run.service.clone(), error.clone())).collect();
            return Ok(left);
        }
    };
    // Also of one that has paused: an upload that it could not give up may be left.
    for (run, mapping) in begun {
        let cleaned = async { place.restorer(worker, restore, mapping).await?.give_up().await };
        if let Err(error) = cleaned.await {
            let error = resign(worker, restore, error.of(&restore.application, &run.service))?;
            left.uncleaned.push((run.service.clone(), error));
        }
    }
    Ok(left)
}

/// What stands in the way of cleaning up, once it is not tried again any more; until then, an error.
fn resign(worker: &Worker, restore: &Restore, error: SliceError) -> Result<String, SliceError> {
    let now = worker.ports.clock.now();
    let is_patient = restore.aborting_at.is_none_or(|since| now - since < PATIENCE);
    match error {
        SliceError::Failed(failure) if !failure.transient || !is_patient => Ok(failure.message),
        other => Err(other),
    }
}
