//! Bringing a deleted backup back within the grace period.
//!
//! The record first says who asked; then a job takes the deletions of its objects back, compares each artifact with what
//! was stored, and makes the backup `succeeded` again, with a hold on it: the policy that discarded it would do so again.
//! A job that fails lets it expire anew, which deletes what it brought back.

use chrono::{DateTime, Utc};
use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::{Backup, Hold, Label, State, Undelete},
    document,
    id::{ApplicationId, BackupId},
};

use crate::{
    backups::find,
    discard,
    error::{RequestError, SliceError},
    job::{Answer, Job},
    marks,
    ports::{Ports, RecordsError, Versioned},
    slice,
};

/// Why the hold is there that a backup comes back with.
const HELD_BECAUSE: &str = "it was deleted and brought back; release it to let the policy decide again";

/// How long somebody who deletes may be late, in seconds: no invocation lasts longer. Deletes that were on their way when
/// the backup came back strike within this time, and are taken back at its end.
const LATE_SECONDS: i64 = 15 * 60;

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
    let under_way = backup.undelete.as_ref().filter(|asked| (now - asked.at).num_seconds() < LATE_SECONDS);
    let (asked_at, version) = if let Some(asked) = under_way {
        (asked.at, version)
    } else {
        backup.undelete = Some(Undelete { by: actor.to_owned(), at: now });
        (now, ports.records.update_backup(&backup, version, &[]).await?)
    };
    let job = Job::Undelete { application: application.clone(), id, asked_at };
    ports.executions.start(&job).await.map_err(|error| {
        RequestError::Unavailable(format!("{error}; ask again to bring the backup {id} back"))
    })?;
    Ok(Versioned { value: backup, version })
}

/// One slice of the job that was asked for at `asked_at`. An attempt that is not wanted any more is done.
pub(crate) async fn slice(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
) -> Result<Answer, SliceError> {
    let found = slice::load(ports, application, id).await?;
    match found.value.state {
        State::Expired if is_asked(&found.value, asked_at) => bring_back(ports, found).await,
        State::Succeeded => look_again(ports, &found.value).await,
        _ => Ok(Answer::Done),
    }
}

fn is_asked(backup: &Backup, asked_at: DateTime<Utc>) -> bool {
    backup.undelete.as_ref().is_some_and(|asked| asked.at == asked_at)
}

async fn bring_back(ports: &Ports, found: Versioned<Backup>) -> Result<Answer, SliceError> {
    let Versioned { value: mut backup, version } = found;
    let Some(asked) = backup.undelete.take() else { return Ok(Answer::Done) };
    take_deletions_back(ports, &backup).await?;

    let now = ports.clock.now();
    let audit = ports
        .audit(now, asked.by.clone(), Action::Undelete)
        .to_backup(backup.id)
        .changing(Some(State::Expired.as_str().to_owned()), Some(State::Succeeded.as_str().to_owned()))
        .because(format!("it had been {}", backup.retention_reason.as_deref().unwrap_or("deleted")));
    backup
        .transition(State::Succeeded)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    backup.expired_at = None;
    backup.retention_reason = None;
    backup.hold = Some(Hold { by: asked.by, at: now, reason: HELD_BECAUSE.to_owned() });
    marks::write(ports, &backup, marks::Of::Hold).await?;
    if backup.label > Some(Label::Daily) {
        marks::write(ports, &backup, marks::Of::Label).await?;
    }
    match ports.records.update_backup(&backup, version, &[audit]).await {
        Ok(_) => {
            tracing::info!(application = %backup.application, backup = %backup.id, "the backup was brought back");
            Ok(Answer::Wait { seconds: LATE_SECONDS.unsigned_abs().try_into().unwrap_or(u32::MAX) })
        }
        Err(RecordsError::Conflict) => {
            // It was given up meanwhile: what came back since must go again.
            let current = slice::load(ports, &backup.application, backup.id).await?;
            if current.value.state == State::Expired && current.value.undelete.is_none() {
                expire_again(ports, current, None).await?;
            }
            Err(SliceError::Fenced)
        }
        Err(error) => Err(error.into()),
    }
}

/// Once nobody can be late any more with deleting it: whether everything is there, or must be brought back once more.
async fn look_again(ports: &Ports, backup: &Backup) -> Result<Answer, SliceError> {
    let back_since = backup.hold.as_ref().map(|hold| (ports.clock.now() - hold.at).num_seconds());
    if let Some(since) = back_since.filter(|since| *since < LATE_SECONDS) {
        return Ok(Answer::Wait { seconds: u32::try_from(LATE_SECONDS - since).unwrap_or(1) });
    }
    take_deletions_back(ports, backup).await?;
    let current = slice::load(ports, &backup.application, backup.id).await?;
    if current.value.state == State::Expired && current.value.undelete.is_none() {
        // Somebody has deleted it in between, and meant it.
        expire_again(ports, current, None).await?;
    }
    Ok(Answer::Done)
}

/// Takes the deletions of its objects back; fails unless every artifact is there as it was stored, and its description.
async fn take_deletions_back(ports: &Ports, backup: &Backup) -> Result<(), SliceError> {
    ports.artifacts.bring_back(&backup.prefix()).await?;
    for artifact in &backup.artifacts {
        let found = ports.artifacts.describe(&artifact.object.key).await?;
        if found.as_ref() != Some(&artifact.object) {
            return Err(lost(backup, &artifact.object.key));
        }
    }
    let description = format!("{}{}", backup.prefix(), document::FILE_NAME);
    match ports.artifacts.describe(&description).await? {
        Some(_) => Ok(()),
        None => Err(lost(backup, &description)),
    }
}

/// Ends the attempt that was asked for at `asked_at` and failed: the backup expires again. Another attempt's backup is left
/// alone, and so is one that is back.
pub(crate) async fn give_up(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    asked_at: DateTime<Utc>,
    reason: &str,
) -> Result<(), SliceError> {
    let found = slice::load(ports, application, id).await?;
    if found.value.state == State::Expiring {
        // An earlier call of this has begun it.
        discard::finish(ports, found).await?;
        return Ok(());
    }
    if found.value.state != State::Expired || !is_asked(&found.value, asked_at) {
        return Ok(());
    }
    let asked_by = found.value.undelete.as_ref().map(|asked| asked.by.clone()).unwrap_or_default();
    tracing::error!(%application, backup = %id, reason, "the backup could not be brought back");
    let expired = Some(State::Expired.as_str().to_owned());
    let audit = ports
        .audit(ports.clock.now(), asked_by, Action::Undelete)
        .to_backup(id)
        .changing(expired.clone(), expired)
        .because(format!("it could not be brought back: {reason}"));
    expire_again(ports, found, Some(audit)).await
}

/// The record first, so that a slice which is still at it finds that it has lost; interrupted, the nightly run finishes it.
async fn expire_again(
    ports: &Ports,
    found: Versioned<Backup>,
    audit: Option<AuditEntry>,
) -> Result<(), SliceError> {
    let Versioned { value: mut backup, version } = found;
    backup.undelete = None;
    backup
        .transition(State::Expiring)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    let version = ports.records.update_backup(&backup, version, audit.as_slice()).await?;
    discard::finish(ports, Versioned { value: backup, version }).await?;
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
