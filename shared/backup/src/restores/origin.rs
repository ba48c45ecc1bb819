//! The backup that is restored: whether it can be, who may have it, and that no policy takes it meanwhile.

use std::time::Duration;

use holdfast_domain::{
    backup::{Backup, State, VerificationState},
    id::ApplicationId,
    invalid::Invalid,
    restore::Origin,
};

use crate::{
    backups::{self, find},
    error::RequestError,
    ports::{Ports, Versioned},
};

/// How long no policy discards a backup that a restore has begun to read, or is about to; each slice gives it more.
const KEPT: Duration = Duration::from_hours(3);

/// How much longer it is written down for, so that most slices need no write.
const SPARE: Duration = Duration::from_hours(3);

/// The backup that `from` names, which `into` may have, that succeeded and that no policy discards for the next hours.
pub(super) async fn keep(ports: &Ports, from: &Origin, into: &ApplicationId) -> Result<Backup, RequestError> {
    if !agrees(ports, from, into).await? {
        let Origin { application, .. } = from;
        return Err(Invalid::new(
            "from.application",
            format!("is {application}, whose backups may not be restored into {into}"),
            format!("name {into} in `restore_into` of the registration of {application}, then ask again"),
        )
        .into());
    }
    let Versioned { value: backup, .. } = find(ports, &from.application, from.backup).await?;
    refuse_unrestorable(ports, &backup)?;
    refuse_damaged(&backup)?;
    hold_off_policies(ports, from).await
}

/// Whether the backup's own application lets `into` have it.
pub(crate) async fn agrees(ports: &Ports, from: &Origin, into: &ApplicationId) -> Result<bool, RequestError> {
    if from.application == *into {
        return Ok(true);
    }
    let owner = ports.records.application(&from.application).await?;
    Ok(owner.is_some_and(|owner| owner.value.spec.restore_into.contains(into)))
}

/// Refuses a backup that holds nothing to restore, and says how to come to one that does.
pub(crate) fn refuse_unrestorable(ports: &Ports, backup: &Backup) -> Result<(), RequestError> {
    let Backup { id, application, .. } = backup;
    let problem = match backup.state {
        State::Succeeded => return Ok(()),
        State::Queued | State::Running => {
            format!("the backup {id} of {application} has not ended yet; follow it, then restore it")
        }
        State::Failed | State::Cancelled => format!(
            "the backup {id} of {application} is {} and holds nothing to restore; choose another",
            backup.state.as_str()
        ),
        State::Expired if backup.undelete.is_some() => {
            format!("the backup {id} of {application} is being brought back; wait for that, then restore it")
        }
        State::Expiring => format!(
            "the backup {id} of {application} is being deleted; bring it back once that is done, then restore it"
        ),
        State::Expired => match backup.undelete_until().filter(|until| *until > ports.clock.now()) {
            Some(until) => format!(
                "the backup {id} of {application} was deleted; it can be brought back until {}: do that, then restore it",
                until.to_rfc3339()
            ),
            None => {
                format!("the backup {id} of {application} was deleted and is gone for good; choose another")
            }
        },
    };
    Err(RequestError::Conflict(problem))
}

/// Refuses a backup that was verified and is not what it should be, and says what was found.
pub(crate) fn refuse_damaged(backup: &Backup) -> Result<(), RequestError> {
    let Some(last) = backup.verification.as_ref().filter(|_| backup.is_damaged()) else { return Ok(()) };
    // The last look may not have come so far.
    let found = last.failure.as_ref().filter(|_| last.state == VerificationState::Damaged);
    let found = found
        .map_or("an earlier verification has found that it is not what was stored", |found| &found.message);
    let Backup { id, application, .. } = backup;
    Err(RequestError::Conflict(format!(
        "the backup {id} of {application} is damaged: {}. Choose another one; or download what is left of it, and restore \
         that by hand as RESTORING.md says",
        found.trim_end_matches('.')
    )))
}

/// Lets the backup remember that it is being read, as it does of a download.
pub(crate) async fn hold_off_policies(ports: &Ports, from: &Origin) -> Result<Backup, RequestError> {
    let until = ports.clock.now() + KEPT;
    backups::promise_link(ports, &from.application, from.backup, until, SPARE).await
}
