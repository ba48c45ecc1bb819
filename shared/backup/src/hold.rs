//! Holding a backup, and letting go of it again.

use holdfast_domain::{
    audit::Action,
    backup::{Backup, Hold, State},
    id::{ApplicationId, BackupId},
    invalid::Invalid,
};

use crate::{
    backups::change,
    error::RequestError,
    marks,
    ports::{Ports, Versioned},
};

/// Longest reason, in characters.
const REASON_MAX: usize = 1000;

/// How often a backup is read and written again that somebody else keeps changing.
const ATTEMPTS: u32 = 5;

/// Puts a hold on a backup, or gives the hold that is on it another reason. It keeps one that still runs, too, should it
/// succeed. Repeating it is harmless.
pub async fn hold(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: BackupId,
    reason: &str,
) -> Result<Versioned<Backup>, RequestError> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Invalid::new(
            "reason",
            "is empty",
            "say why the backup must stay: whoever wonders later will read it",
        )
        .into());
    }
    if reason.chars().count() > REASON_MAX {
        let fix = format!("use at most {REASON_MAX} characters");
        return Err(Invalid::new("reason", "is too long", fix).into());
    }
    let held = change(ports, application, id, ATTEMPTS, |backup| {
        if !backup.state.is_open() && backup.state != State::Succeeded {
            let fix = match backup.undelete_until() {
                Some(until) => {
                    format!("; bring it back first, which can be done until {}", until.to_rfc3339())
                }
                None => String::new(),
            };
            return Err(RequestError::Conflict(format!(
                "the backup {id} is {} and holds nothing to keep{fix}",
                backup.state.as_str()
            )));
        }
        if backup.hold.as_ref().is_some_and(|hold| hold.reason == reason) {
            return Ok(None);
        }
        let now = ports.clock.now();
        backup.hold = Some(Hold { by: actor.to_owned(), at: now, reason: reason.to_owned() });
        Ok(Some(vec![ports.audit(now, actor, Action::Hold).to_backup(id).because(reason)]))
    })
    .await?;
    settle(ports, held, "hold it again").await
}

/// Releases the hold on a backup: from the next run of retention on, the policy decides again. Without a hold it changes
/// nothing.
pub async fn release(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Versioned<Backup>, RequestError> {
    let released = change(ports, application, id, ATTEMPTS, |backup| {
        Ok(backup.hold.take().map(|hold| {
            let entry = ports.audit(ports.clock.now(), actor, Action::Release).to_backup(id);
            vec![entry.because(format!(
                "held by {} since {}: {}",
                hold.by,
                hold.at.to_rfc3339(),
                hold.reason
            ))]
        }))
    })
    .await?;
    settle(ports, released, "release it again").await
}

/// Marks the backup in the bucket as it is recorded; `again` is what to do where that fails.
async fn settle(
    ports: &Ports,
    found: Versioned<Backup>,
    again: &str,
) -> Result<Versioned<Backup>, RequestError> {
    let (application, id) = (&found.value.application, found.value.id);
    marks::settle(ports, application, id, marks::Of::Hold).await.map_err(|error| {
        RequestError::Unavailable(format!(
            "the hold of the backup {id} of {application} is recorded and could not be marked in the bucket: {error}; {again}"
        ))
    })?;
    Ok(found)
}

/// Refuses what would take a backup that is held.
pub(crate) fn refuse_held(backup: &Backup) -> Result<(), RequestError> {
    let Some(hold) = backup.hold.as_ref().filter(|_| backup.state == State::Succeeded) else { return Ok(()) };
    Err(RequestError::Conflict(format!(
        "the backup {} of {} is held by {} ({}); release it first",
        backup.id, backup.application, hold.by, hold.reason
    )))
}
