//! Bringing a deleted backup back within the grace period.
//!
//! The record first says who asked; then a job takes the deletions of its objects back, compares each with what was
//! stored, and makes the backup `succeeded` again, with a hold on it: the policy that discarded it would do so again. A
//! job that fails deletes what it brought back.

use holdfast_domain::{
    audit::Action,
    backup::{Backup, Hold, State, Undelete},
    document,
    id::{ApplicationId, BackupId},
};

use crate::{
    backups::find,
    discard,
    error::{RequestError, SliceError},
    job::Job,
    ports::{Ports, RecordsError, Versioned},
    slice,
};

/// Why the hold is there that a backup comes back with.
const HELD_BECAUSE: &str = "it was deleted and brought back; release it to let the policy decide again";

/// Asks for a deleted or discarded backup to be brought back. Repeating it while that is under way starts the job again,
/// should it have been lost.
pub async fn ask(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Versioned<Backup>, RequestError> {
    let mut found = find(ports, application, id).await?;
    if found.value.state == State::Expiring {
        // Its deletion was interrupted: it is finished first, so that there is one way back.
        found = discard::finish(ports, found).await?;
    }
    let Versioned { value: mut backup, version } = found;
    let now = ports.clock.now();
    let Some(until) = backup.undelete_until() else {
        return Err(RequestError::Conflict(format!(
            "the backup {id} is {}: there is no deletion to take back",
            backup.state.as_str()
        )));
    };
    if now >= until {
        return Err(RequestError::Conflict(format!(
            "the backup {id} could be brought back until {}; its objects are gone for good. Choose another backup of {application}",
            until.to_rfc3339()
        )));
    }
    backup.undelete = Some(Undelete { by: actor.to_owned(), at: now });
    let version = ports.records.update_backup(&backup, version, &[]).await?;
    let job = Job::Undelete { application: application.clone(), id, asked_at: now };
    ports.executions.start(&job).await.map_err(|error| {
        RequestError::Unavailable(format!("{error}; ask again to bring the backup {id} back"))
    })?;
    Ok(Versioned { value: backup, version })
}

/// Brings it back. One that is back already, or that nobody wants back any more, is left as it is.
pub(crate) async fn bring_back(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
) -> Result<(), SliceError> {
    let Versioned { value: mut backup, version } = slice::load(ports, application, id).await?;
    let Some(asked) = backup.undelete.take().filter(|_| backup.state == State::Expired) else {
        return Ok(());
    };
    ports.artifacts.bring_back(&backup.prefix()).await?;
    for artifact in &backup.artifacts {
        let found = ports.artifacts.describe(&artifact.object.key).await?;
        if found.as_ref() != Some(&artifact.object) {
            return Err(lost(&backup, &artifact.object.key));
        }
    }
    let description = format!("{}{}", backup.prefix(), document::FILE_NAME);
    if ports.artifacts.describe(&description).await?.is_none() {
        return Err(lost(&backup, &description));
    }

    let now = ports.clock.now();
    let audit = ports
        .audit(now, asked.by.clone(), Action::Undelete)
        .to_backup(id)
        .changing(Some(State::Expired.as_str().to_owned()), Some(State::Succeeded.as_str().to_owned()))
        .because(format!("it had been {}", backup.retention_reason.as_deref().unwrap_or("deleted")));
    backup
        .transition(State::Succeeded)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    backup.expired_at = None;
    backup.retention_reason = None;
    backup.hold = Some(Hold { by: asked.by, at: now, reason: HELD_BECAUSE.to_owned() });
    match ports.records.update_backup(&backup, version, &[audit]).await {
        Ok(_) => {
            tracing::info!(%application, backup = %id, "the backup was brought back");
            Ok(())
        }
        Err(RecordsError::Conflict) => {
            // It was given up meanwhile: what came back since must go again.
            let now = slice::load(ports, application, id).await?.value;
            if now.state == State::Expired && now.undelete.is_none() {
                discard::delete_objects(ports, &now).await.map_err(SliceError::from)?;
            }
            Err(SliceError::Fenced)
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends an attempt that failed: the backup is as deleted as before.
pub(crate) async fn give_up(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    reason: &str,
) -> Result<(), SliceError> {
    let Versioned { value: mut backup, version } = slice::load(ports, application, id).await?;
    let Some(asked) = backup.undelete.clone().filter(|_| backup.state == State::Expired) else {
        return Ok(());
    };
    discard::delete_objects(ports, &backup).await?;
    backup.undelete = None;
    let expired = Some(State::Expired.as_str().to_owned());
    let audit = ports
        .audit(ports.clock.now(), asked.by, Action::Undelete)
        .to_backup(id)
        .changing(expired.clone(), expired)
        .because(format!("it could not be brought back: {reason}"));
    tracing::error!(%application, backup = %id, reason, "the backup could not be brought back");
    ports.records.update_backup(&backup, version, &[audit]).await?;
    Ok(())
}

fn lost(backup: &Backup, key: &str) -> SliceError {
    SliceError::permanent(
        "object_gone",
        format!(
            "{key} is not there any more as it was stored, so the backup {} of {} cannot be brought back; choose another",
            backup.id, backup.application
        ),
    )
}
