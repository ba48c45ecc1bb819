//! The way out of every failure: nothing of the job is left behind, and its record says why.

use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::State,
    event::Event,
};

use crate::{
    error::SliceError,
    events, isolated,
    job::{Answer, Caught, Job},
    ports::Versioned,
    restoring, seat,
    slice::Worker,
    undelete, upload, verify,
};

/// Brings a job to its end as failed or cancelled. Repeating it is harmless; a job that has ended is left as it is. `Wait` says
/// that a temporary copy of a database cannot be deleted yet, and that the job has not ended.
pub async fn abort(worker: &Worker, job: &Job, caught: &Caught) -> Result<Answer, SliceError> {
    let ports = &worker.ports;
    let (application, id) = match job {
        Job::Backup { application, id } => (application, id),
        Job::Undelete { application, id, asked_at } => {
            undelete::give_up(ports, application, *id, *asked_at, &caught.failure().message).await?;
            return Ok(Answer::Done);
        }
        Job::Restore { application, id } => return restoring::abort(worker, application, *id, caught).await,
        Job::Verify { application, id, asked_at } => {
            verify::give_up(ports, application, *id, *asked_at, caught.failure()).await?;
            return Ok(Answer::Done);
        }
        // Another night finds it again.
        Job::Sweep { .. } => return Ok(Answer::Done),
    };
    let Some(Versioned { value: mut backup, version }) = ports.records.backup(application, *id).await? else {
        return Err(SliceError::permanent(
            "no_such_backup",
            format!("there is no backup {id} of the application {application}"),
        ));
    };
    if !backup.state.is_open() {
        // Whoever ended it may have died before it could tell.
        events::tell(ports, Event::of_backup(&backup)).await;
        return Ok(Answer::Done);
    }

    // Fence first. Branches that are only beginning find the mark, and give up what they opened; a slice that is further
    // finds its attempt taken and can record nothing any more, and its upload is gone by the time it tries to complete it.
    let version = if backup.aborting_at.is_none() {
        backup.aborting_at = Some(ports.clock.now());
        ports.records.update_backup(&backup, version, &[]).await?
    } else {
        version
    };
    let mut copies = Vec::new();
    for Versioned { value: mut run, version } in ports.records.service_runs(*id).await? {
        run.attempt += 1;
        ports.records.put_service_run(*id, &run, Some(version)).await?;
        copies.extend(run.isolation);
    }
    let prefix = backup.prefix();
    upload::give_up(ports.artifacts.as_ref(), &prefix).await?;
    ports.artifacts.purge(&prefix).await?;
    // What slices that were killed had taken.
    if let Some(source) = ports.records.source(*id).await? {
        seat::leave_all(ports, &backup, &source.services).await?;
    }
    let mut all_going = true;
    for copy in &copies {
        all_going &= isolated::delete(ports, copy).await?;
    }
    if !all_going {
        let seconds = isolated::pause(backup.aborting_at.unwrap_or(ports.clock.now()), ports.clock.now());
        return Ok(Answer::Wait { seconds });
    }

    let now = ports.clock.now();
    let was = backup.state;
    let cancelled = backup.cancel_requested_at.is_some();
    let failure = (!cancelled).then(|| caught.failure());
    let end = if cancelled { State::Cancelled } else { State::Failed };
    backup.transition(end).map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    backup.finished_at = Some(now);
    let audit = AuditEntry {
        reason: failure.as_ref().map(|failure| failure.message.clone()),
        ..ports
            .audit(now, "job", if cancelled { Action::Cancel } else { Action::Fail })
            .to_backup(*id)
            .changing(Some(was.as_str().to_owned()), Some(end.as_str().to_owned()))
    };
    if let Some(failure) = &failure {
        tracing::error!(%application, backup = %id, code = failure.code, message = failure.message, "the backup failed");
    }
    backup.failure = failure;
    // There is nothing left that it could keep.
    backup.hold = None;
    ports.records.update_backup(&backup, version, &[audit]).await?;
    events::tell(ports, Event::of_backup(&backup)).await;
    Ok(Answer::Done)
}
