//! Asking for a backup, cancelling and deleting one.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_domain::{
    application::Service,
    audit::{Action, AuditEntry},
    backup::{Backup, State, Trigger},
    id::{ApplicationId, BackupId, ServiceName},
    invalid::Invalid,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    applications, backups, discard,
    error::RequestError,
    hold,
    job::Job,
    plans,
    ports::{ApplicationRecord, Claim, Creation, IdempotencyKey, NewBackup, Ports, Versioned},
};

/// Longest note, in characters.
const NOTE_MAX: usize = 1000;

/// What a person asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BackupRequest {
    /// The services to back up; all of them without it.
    pub services: Option<Vec<ServiceName>>,
    /// Something to remember it by.
    pub note: Option<String>,
    /// From then on it is discarded whatever the policy.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Requested {
    /// The backup.
    pub backup: Versioned<Backup>,
    /// Whether the same request had been made before, and this is the backup it made then.
    pub repeated: bool,
}

/// Starts an on-demand backup. With an idempotency key, repeating the request gives the same backup.
pub async fn create(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    request: BackupRequest,
    idempotency: Option<String>,
) -> Result<Requested, RequestError> {
    let fingerprint = serde_json::to_string(&request).map_err(|error| {
        RequestError::Unavailable(format!("the request could not be written down: {error}"))
    })?;
    if let Some(key) = &idempotency
        && let Some((id, used_for)) = ports.records.idempotency(application, key).await?
    {
        return repeated(ports, application, id, used_for == fingerprint).await;
    }

    let now = ports.clock.now();
    let record = applications::get(ports, application).await?.value;
    let services = choose(&record, &request)?;
    check_note_and_expiry(&request, now)?;
    check_limit(ports, &record, now).await?;
    refuse_during_restore(ports, application).await?;

    let mut backup =
        Backup::queued(ports.entropy.backup_id(now), application.clone(), services, actor.to_owned(), now);
    backup.note = request.note;
    backup.expires_at = request.expires_at;
    let source = record.spec;
    let audit = AuditEntry {
        reason: backup.note.clone(),
        ..ports.audit(now, actor, Action::Request).to_backup(backup.id)
    };
    let same_fingerprint = fingerprint.clone();
    let claim = Claim::Request { idempotency: idempotency.map(|key| IdempotencyKey { key, fingerprint }) };
    match ports.records.create_backup(&NewBackup { backup: backup.clone(), source, claim, audit }).await? {
        Creation::Created => {
            let job = Job::Backup { application: application.clone(), id: backup.id };
            if let Err(error) = ports.executions.start(&job).await {
                // The record is there, and the tick starts what is queued: the request has been taken.
                tracing::warn!(%application, backup = %backup.id, %error, "left to the tick to start");
            }
            Ok(Requested { backup: Versioned { value: backup, version: 1 }, repeated: false })
        }
        Creation::Repeated { id, fingerprint } => {
            repeated(ports, application, id, fingerprint == same_fingerprint).await
        }
        Creation::Busy(id) => Err(RequestError::Conflict(format!(
            "the on-demand backup {id} of {application} has not ended yet; follow or cancel it, then ask again"
        ))),
        Creation::SlotTaken => Err(RequestError::Conflict("the slot has its backup already".to_owned())),
    }
}

/// What is being restored is half of one backup and half of another.
async fn refuse_during_restore(ports: &Ports, application: &ApplicationId) -> Result<(), RequestError> {
    // One is open at a time, which is the newest.
    let newest = ports.records.restores(application, None, 1).await?.items.pop();
    match newest {
        Some(Versioned { value: restore, .. }) if restore.state.is_open() && restore.changes_services() => {
            Err(RequestError::Conflict(format!(
                "{application} is being restored by {}, and half of it would be backed up; wait for that to end or cancel it, then \
                 ask again",
                restore.id
            )))
        }
        _ => Ok(()),
    }
}

/// Asks a backup to stop. The running slice notices within seconds, cleans up, and the backup becomes `cancelled`.
pub async fn cancel(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Versioned<Backup>, RequestError> {
    let Versioned { value: mut backup, version } = backups::find(ports, application, id).await?;
    if !backup.state.is_open() {
        return Err(RequestError::Conflict(format!(
            "the backup {id} is {} and cannot be cancelled any more",
            backup.state.as_str()
        )));
    }
    if backup.cancel_requested_at.is_some() {
        return Ok(Versioned { value: backup, version });
    }
    let now = ports.clock.now();
    backup.cancel_requested_at = Some(now);
    let audit = ports
        .audit(now, actor, Action::Cancel)
        .to_backup(id)
        .changing(Some(backup.state.as_str().to_owned()), None);
    let version = ports.records.update_backup(&backup, version, &[audit]).await?;
    Ok(Versioned { value: backup, version })
}

/// Deletes a backup. Its record stays; its objects can be brought back within the grace period.
pub async fn delete(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Versioned<Backup>, RequestError> {
    let backup = backups::find(ports, application, id).await?;
    match backup.value.state {
        State::Succeeded => {
            hold::refuse_held(&backup.value)?;
            discard::discard(ports, backup, actor, Action::Delete, format!("deleted by {actor}")).await
        }
        // Repeating a delete is harmless, and finishes one that was interrupted.
        State::Expiring => discard::finish(ports, backup).await,
        State::Expired if backup.value.undelete.is_some() => Err(RequestError::Conflict(format!(
            "the backup {id} is being brought back; wait for that, then delete it"
        ))),
        State::Expired => Ok(backup),
        State::Queued | State::Running => {
            Err(RequestError::Conflict(format!("the backup {id} has not ended yet; cancel it first")))
        }
        State::Failed | State::Cancelled => Err(RequestError::Conflict(format!(
            "the backup {id} is {} and holds nothing that could be deleted",
            backup.value.state.as_str()
        ))),
    }
}

async fn repeated(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    same: bool,
) -> Result<Requested, RequestError> {
    if !same {
        return Err(Invalid::new(
            "Idempotency-Key",
            format!("was used for another request, which made the backup {id}"),
            "use a new key for a new request",
        )
        .into());
    }
    Ok(Requested { backup: backups::find(ports, application, id).await?, repeated: true })
}

fn choose(application: &ApplicationRecord, request: &BackupRequest) -> Result<Vec<ServiceName>, Invalid> {
    let known: Vec<&ServiceName> = application.spec.services.iter().map(Service::name).collect();
    let Some(wanted) = &request.services else {
        return Ok(known.into_iter().cloned().collect());
    };
    if wanted.is_empty() {
        return Err(Invalid::new(
            "services",
            "is empty",
            "name services, or leave it out to back up all of them",
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, name) in wanted.iter().enumerate() {
        if !known.contains(&name) {
            let names: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
            return Err(Invalid::new(
                format!("services[{index}]"),
                format!("names a service that {} does not have: {:?}", application.id, name.as_str()),
                format!("use one of {}", names.join(", ")),
            ));
        }
        if !seen.insert(name) {
            return Err(Invalid::new(
                format!("services[{index}]"),
                format!("names {:?} a second time", name.as_str()),
                "name each service once",
            ));
        }
    }
    Ok(wanted.clone())
}

fn check_note_and_expiry(request: &BackupRequest, now: DateTime<Utc>) -> Result<(), Invalid> {
    if request.note.as_ref().is_some_and(|note| note.chars().count() > NOTE_MAX) {
        return Err(Invalid::new("note", "is too long", format!("use at most {NOTE_MAX} characters")));
    }
    if request.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(Invalid::new(
            "expires_at",
            "is not in the future",
            "give a later moment, or leave it out",
        ));
    }
    Ok(())
}

/// Refuses more requests than the plan allows within 24 hours.
async fn check_limit(
    ports: &Ports,
    application: &ApplicationRecord,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let allowed = plans::get(ports, &application.spec.plan).await?.value.spec.limits.on_demand_per_day;
    let filter = backups::Filter {
        trigger: Some(Trigger::OnDemand),
        // One that was asked for exactly a day ago counts no more.
        since: Some(now - TimeDelta::days(1) + TimeDelta::milliseconds(1)),
        // Restores make theirs whatever the plan allows.
        only_asked_for: true,
        ..backups::Filter::default()
    };
    let limit = usize::try_from(allowed).unwrap_or(usize::MAX);
    let recent = backups::list(ports, &application.id, &filter, None, limit).await?.items;
    if recent.len() < limit {
        return Ok(());
    }
    let oldest = recent.last().map_or(now, |backup| backup.value.created_at);
    let retry_after = (oldest + TimeDelta::days(1) - now).num_seconds().max(1);
    Err(RequestError::TooMany {
        message: format!(
            "the plan {:?} of {} allows {allowed} on-demand backups within 24 hours",
            application.spec.plan.as_str(),
            application.id
        ),
        retry_after: u64::try_from(retry_after).unwrap_or(1),
    })
}
