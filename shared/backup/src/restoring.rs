//! One slice of a restore.
//!
//! First it looks at every service and its artifact, and goes no further if anything stands in the way, or if only a look was
//! asked for. Then it has what is there backed up, and waits for that. Only then it changes anything: one service after the
//! other, databases first. Everything a slice knows is in the restore's record, so that the next one goes on wherever this
//! one was killed; who writes the record raises its version, and whoever is late learns so from that.

mod abort;
mod bounded;
mod checkpoint;
mod place;
mod report;
mod safety;

use std::time::Duration;

use holdfast_domain::{
    application::Service,
    audit::Action,
    backup::Failure,
    event::Event,
    id::{ApplicationId, RestoreId, ServiceName},
    restore::{Preflight, Refusal, Restore, RestoreRun, RestoreState},
};
use tokio::time::Instant;

use crate::{
    engines::restorer::Outcome,
    error::SliceError,
    events,
    job::Answer,
    ports::{Ports, Versioned},
    restores,
    restoring::{checkpoint::Checkpoint, place::Place},
    slice::Worker,
};

pub(crate) use abort::abort;

/// What is left of a slice for a restorer to clean up in, once the time it was given is over.
const SPARE: Duration = Duration::from_secs(20);

/// Does the next slice of a restore within `time`, and says how to go on.
pub(crate) async fn slice(
    worker: &Worker,
    application: &ApplicationId,
    id: RestoreId,
    time: Duration,
) -> Result<Answer, SliceError> {
    let began = Instant::now();
    let ports = &worker.ports;
    let found = load(ports, application, id).await?;
    match found.value.state {
        RestoreState::Succeeded => {
            // Whoever made it succeed may have died before it could tell.
            events::tell(ports, Event::of_restore(&found.value)).await;
            return Ok(Answer::Done);
        }
        RestoreState::Failed | RestoreState::Cancelled => return Err(SliceError::Fenced),
        RestoreState::Queued | RestoreState::Running => {}
    }
    if found.value.aborting_at.is_some() {
        return Err(SliceError::Fenced);
    }
    if found.value.cancel_requested_at.is_some() {
        return Err(SliceError::Cancelled);
    }
    let mut run = Checkpoint::begin(ports, found).await?;
    let place = Place::find(ports, &run.restore).await?;

    let look = look(worker, &mut run, &place);
    let looked =
        tokio::time::timeout(time, look).await.unwrap_or_else(|_| Err(too_short(time, "looked at")))?;
    if run.restore.options.dry_run {
        finish(run).await?;
        return Ok(Answer::Done);
    }
    refuse(&run.restore.application, run.restore.refusals())?;
    if looked {
        // What comes has all the time of a slice for itself.
        return Ok(Answer::Continue);
    }
    if let Some(answer) = safety::stand_by(&mut run, &place).await? {
        return Ok(answer);
    }
    let Some(index) = run.next_service(&place) else {
        finish(run).await?;
        return Ok(Answer::Done);
    };
    let left = time.saturating_sub(began.elapsed());
    restore_one(worker, &mut run, &place, index, left).await?;
    Ok(Answer::Continue)
}

async fn load(
    ports: &Ports,
    application: &ApplicationId,
    id: RestoreId,
) -> Result<Versioned<Restore>, SliceError> {
    ports.records.restore(application, id).await?.ok_or_else(|| {
        SliceError::permanent(
            "no_such_restore",
            format!("there is no restore {id} into the application {application}"),
        )
    })
}

/// Looks at every service that no slice has looked at, and writes down what it finds. Says whether there was any.
async fn look(worker: &Worker, run: &mut Checkpoint<'_>, place: &Place) -> Result<bool, SliceError> {
    let mut looked = false;
    while let Some(mapping) = run.restore.services.get(run.restore.preflight.len()).cloned() {
        let found = async {
            let restorer = place.restorer(worker, &run.restore, &mapping).await?;
            restorer.preflight().await
        };
        let found: Preflight =
            found.await.map_err(|error| error.of(&run.restore.application, &mapping.to))?;
        let found = Preflight { service: mapping.to.clone(), ..found };
        run.restore.preflight.push(bounded::preflight(found, run.restore.services.len()));
        run.write().await?;
        looked = true;
    }
    Ok(looked)
}

/// Ends the job if anything stands in the way.
fn refuse<'a>(
    application: &ApplicationId,
    refusals: impl Iterator<Item = (&'a ServiceName, &'a Refusal)>,
) -> Result<(), SliceError> {
    let all: Vec<(&ServiceName, &Refusal)> = refusals.collect();
    let Some((first, _)) = all.first() else { return Ok(()) };
    let mut lines: Vec<String> = all
        .iter()
        .take(bounded::REFUSALS)
        .map(|(service, refusal)| {
            format!("{application}, service {service}: {}; {}", refusal.what, refusal.fix)
        })
        .collect();
    if let Some(more) = all.len().checked_sub(bounded::REFUSALS).filter(|more| *more > 0) {
        lines.push(format!("And {more} more: see the preflight"));
    }
    Err(SliceError::Failed(Failure {
        code: "restore_refused".to_owned(),
        message: bounded::message(lines.join(". ")),
        service: all.iter().all(|(service, _)| service == first).then(|| (*first).clone()),
        transient: false,
    }))
}

/// Restores a service, or goes on with it, and writes down how far it came.
async fn restore_one(
    worker: &Worker,
    run: &mut Checkpoint<'_>,
    place: &Place,
    index: usize,
    time: Duration,
) -> Result<(), SliceError> {
    let Some(mapping) = run.restore.services.get(index).cloned() else { return Ok(()) };
    let name = mapping.to.clone();
    let application = run.restore.application.clone();
    let work = async {
        let began = Instant::now();
        let restorer = place.restorer(worker, &run.restore, &mapping).await?;
        let before = run.restore.runs.get(index).cloned();
        let is_killed = before.as_ref().is_some_and(is_half_done);
        let cursor = before.and_then(|before| before.cursor);
        if is_killed {
            if let Some(cursor) = &cursor
                && let Some(mut restored) = restorer.has_done(cursor).await?
            {
                // Written down first: what says so may be gone once it is cleaned up.
                let written = run.end_service(index, restored.clone()).await;
                if matches!(written, Ok(()) | Err(SliceError::Cancelled))
                    && let Err(error) = restorer.clean_up().await
                {
                    restored.notes.push(format!(
                        "What was replaced could not be removed ({error}): drop what begins with holdfast_ beside it."
                    ));
                }
                written?;
                return Ok(Outcome::Done(restored));
            }
            restorer.clean_up().await?;
        }
        let is_database = place.target.service(&name).is_some_and(Service::is_database);
        // What was free when it was looked at may not be any more. A database is replaced at the very end, with all that has come into it
        // between its slices; of files, those that an earlier slice has put would be in the way.
        if cursor.is_none() || is_database {
            let found = restorer.preflight().await?;
            let refusals = found.refusals.iter().map(|refusal| (&name, refusal));
            refuse(&application, refusals)
                .and_then(|()| safety::refuse_unkept(&run.restore, index, &found))
                .map_err(|error| if is_killed { interrupted(error) } else { error })?;
        }
        run.begin_service(index).await?;
        let left = time.saturating_sub(began.elapsed());
        let given = left.saturating_sub(SPARE).max(left / 2);
        let outcome = restorer.restore(cursor.as_deref(), given, &mut run.observer(index)).await;
        if matches!(outcome, Err(SliceError::Failed(_))) {
            run.withdraw_service(index).await;
        }
        outcome
    };
    // Dropping the work ends it: the abort cleans up.
    let work = tokio::time::timeout(time, work);
    let outcome = work.await.unwrap_or_else(|_| Err(overran(time)));
    match outcome.map_err(|error| error.of(&application, &name))? {
        Outcome::Done(restored) => {
            tracing::info!(%application, service = %name, ?restored, "the service is restored");
            run.end_service(index, restored).await
        }
        Outcome::Paused { cursor } => run.pause_service(index, cursor).await,
    }
}

/// Whether a slice was killed, or failed, in the middle of a service: unlike one that has paused, it may still be at it.
fn is_half_done(run: &RestoreRun) -> bool {
    run.restored.is_none() && run.doing.as_ref().is_some_and(|doing| doing != checkpoint::PAUSED)
}

/// A slice was killed, and what it left is not what was there before: it may have come to its end before it could say so.
fn interrupted(error: SliceError) -> SliceError {
    match error {
        SliceError::Failed(mut failure) => {
            report::INTERRUPTED.clone_into(&mut failure.code);
            failure.message = format!(
                "{} (an earlier slice of this restore was killed, perhaps after the service was restored: look at it first)",
                failure.message
            );
            SliceError::Failed(failure)
        }
        other => other,
    }
}

/// Stopped from outside, wherever it stood. A restorer that stops by itself says `slice_too_short`.
fn overran(time: Duration) -> SliceError {
    SliceError::permanent(
        report::OVERRAN,
        format!(
            "it was stopped in the middle: it did not come to its end within the {} seconds that one invocation has",
            time.as_secs()
        ),
    )
}

fn too_short(time: Duration, done: &str) -> SliceError {
    SliceError::permanent(
        "slice_too_short",
        format!("it could not be {done} within the {} seconds that one invocation has", time.as_secs()),
    )
}

/// Makes the restore succeed: of a dry run, everything was looked at; of another, every service is restored.
async fn finish(mut run: Checkpoint<'_>) -> Result<(), SliceError> {
    let was = run.restore.state;
    run.restore
        .transition(RestoreState::Succeeded)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    run.restore.finished_at = Some(run.ports.clock.now());
    let audit = restores::audit_of(run.ports, Action::Succeed, &run.restore, was);
    run.write_with(&[audit]).await?;
    tracing::info!(application = %run.restore.application, restore = %run.restore.id, "the restore succeeded");
    events::tell(run.ports, Event::of_restore(&run.restore)).await;
    Ok(())
}
