//! Letting a backup go: `succeeded → expiring`, its objects, `expiring → expired`. Killed anywhere in between, the next
//! retention run of the application finishes it.

use holdfast_domain::{
    audit::Action,
    backup::{Backup, State},
    id::ApplicationId,
};

use crate::{
    backups::find,
    error::RequestError,
    hold::refuse_held,
    ports::{Ports, RecordsError, StorageError, Versioned},
};

/// Backups read at a time.
const PAGE: usize = 200;

/// Discards a succeeded backup, because of `reason`.
pub async fn discard(
    ports: &Ports,
    backup: Versioned<Backup>,
    actor: &str,
    action: Action,
    reason: String,
) -> Result<Versioned<Backup>, RequestError> {
    refuse_held(&backup.value)?;
    let now = ports.clock.now();
    let Versioned { value: mut backup, version } = backup;
    backup.expired_at = Some(now);
    let audit = ports
        .audit(now, actor, action)
        .to_backup(backup.id)
        .changing(
            Some(backup.label.map_or(State::Succeeded.as_str(), |label| label.as_str()).to_owned()),
            Some(State::Expired.as_str().to_owned()),
        )
        .because(reason.clone());
    backup.transition(State::Expiring).map_err(|error| RequestError::Conflict(error.to_string()))?;
    backup.retention_reason = Some(reason);
    let version = ports.records.update_backup(&backup, version, &[audit]).await?;
    finish(ports, Versioned { value: backup, version }).await
}

/// Deletes the objects of an expiring backup and marks it expired; also finishes what a killed discard has begun.
pub async fn finish(ports: &Ports, backup: Versioned<Backup>) -> Result<Versioned<Backup>, RequestError> {
    let Versioned { value: mut backup, version } = backup;
    // Read a while ago, it may have been finished and brought back since: what is good now is not this one's to delete.
    let current = find(ports, &backup.application, backup.id).await?;
    if current.version != version {
        return if current.value.state == State::Expired {
            Ok(current)
        } else {
            Err(RecordsError::Conflict.into())
        };
    }
    delete_objects(ports, &backup).await?;
    backup.transition(State::Expired).map_err(|error| RequestError::Conflict(error.to_string()))?;
    let version = ports.records.update_backup(&backup, version, &[]).await?;
    Ok(Versioned { value: backup, version })
}

/// Deletes the objects of exactly this backup; within the grace period they can be brought back.
async fn delete_objects(ports: &Ports, backup: &Backup) -> Result<(), StorageError> {
    let prefix = backup.prefix();
    let keys = ports.artifacts.keys(&prefix).await?;
    if let Some(foreign) = keys.iter().find(|key| !key.starts_with(&prefix)) {
        // A listing that answers with anything else must not decide what is deleted.
        return Err(StorageError::Rejected(format!("{foreign:?}: it was listed below {prefix}, and is not")));
    }
    ports.artifacts.delete(&keys).await
}

/// All backups of an application, newest first.
pub(crate) async fn all_backups(
    ports: &Ports,
    application: &ApplicationId,
) -> Result<Vec<Versioned<Backup>>, RequestError> {
    backups_that(ports, application, |_| true).await
}

/// Those of an application that are wanted, newest first. The others are not held in memory.
pub(crate) async fn backups_that(
    ports: &Ports,
    application: &ApplicationId,
    mut is_wanted: impl FnMut(&Backup) -> bool,
) -> Result<Vec<Versioned<Backup>>, RequestError> {
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = ports.records.backups(application, before, PAGE).await?;
        found.extend(page.items.into_iter().filter(|backup| is_wanted(&backup.value)));
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(found),
        }
    }
}
