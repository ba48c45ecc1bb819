//! The second and third level of a verification: a restore beside the services, asked for, waited for, and taken into the record.

use holdfast_domain::{
    application::ApplicationSpec,
    audit::Action,
    backup::{Backup, Failure, Rehearsal, Rehearsed, Verification, VerificationLevel, VerificationState},
    id::{ApplicationId, RestoreId, ServiceName},
    restore::{Mapping, Origin, Restore, RestoreOptions, RestoreState},
};

use super::{change, reading::DAMAGED};
use crate::{
    error::{RequestError, SliceError},
    job::{Answer, Job},
    ports::{IdempotencyKey, NewRestore, Ports, RestoreCreation},
    restores,
};

/// How long to wait for the restore before looking again, in seconds: at first, and at last.
const SOONEST: i64 = 5;
const LATEST: i64 = 60;

/// How long to wait, at least, for another restore to end, in seconds.
const BUSY: i64 = 15;

/// What a restore says of a backup that is not what it should be: its bytes, or what they have become. No other failure says
/// anything about the backup.
const OF_DAMAGE: [&str; 2] = ["archive_damaged", "restored_differs"];

/// Sees to it that the backup is restored beside the services, and ends the verification once it is.
pub(super) async fn stand_by(
    ports: &Ports,
    backup: &Backup,
    last: &Verification,
) -> Result<Answer, SliceError> {
    let Some(Rehearsal { restore: id, .. }) = last.rehearsal else {
        return ask(ports, backup, last).await;
    };
    let Some(found) = ports.records.restore(&backup.application, id).await? else {
        let message =
            format!("there is no restore {id} any more, which the backup was tried with; ask again");
        return Err(SliceError::permanent("rehearsal_gone", message));
    };
    let restore = found.value;
    match restore.state {
        RestoreState::Queued => {
            start(ports, &restore).await;
            Ok(wait(ports, last, SOONEST))
        }
        RestoreState::Running => Ok(wait(ports, last, SOONEST)),
        RestoreState::Succeeded => {
            pass(ports, backup, last, &restore).await?;
            Ok(Answer::Done)
        }
        RestoreState::Failed | RestoreState::Cancelled => Err(SliceError::Failed(failure(&restore))),
    }
}

/// Has a restore stop that nobody waits for any more.
pub(super) async fn give_up(ports: &Ports, application: &ApplicationId, id: RestoreId) {
    // One that has ended is refused, which is as good.
    if let Err(error) = restores::cancel(ports, "job", application, id).await {
        tracing::debug!(restore = %id, %error, "the restore is left alone");
    }
}

/// Refuses to try a backup whose services are not all registered: there is no place for what they had.
pub(super) async fn refuse_homeless(ports: &Ports, backup: &Backup) -> Result<(), RequestError> {
    homes(ports, backup).await.map(drop)
}

/// What goes beside which services, and their registration.
async fn homes(ports: &Ports, backup: &Backup) -> Result<(Vec<Mapping>, ApplicationSpec), RequestError> {
    let Backup { id, application, .. } = backup;
    let Some(registered) = ports.records.application(application).await? else {
        return Err(RequestError::Conflict(format!(
            "the application {application} is not registered any more, so that the backup {id} cannot be restored beside its \
             services; register it again, or have the backup only read"
        )));
    };
    let target = registered.value.spec;
    let services = restores::namesakes(backup, &target);
    let is_homeless =
        |service: &ServiceName| services.iter().all(|mapping: &Mapping| mapping.from != *service);
    let homeless = backup.artifacts.iter().map(|artifact| &artifact.service).find(|name| is_homeless(name));
    match homeless {
        None => Ok((services, target)),
        Some(service) => Err(RequestError::Conflict(format!(
            "{application} has no service {service} of the kind that the backup {id} has of it, so that it cannot be restored \
             beside it; register it again, or have the backup only read"
        ))),
    }
}

/// Asks for the restore. Repeating it gives the same one.
async fn ask(ports: &Ports, backup: &Backup, last: &Verification) -> Result<Answer, SliceError> {
    let Backup { id: backup_id, application, .. } = backup;
    let (services, target) = homes(ports, backup).await.map_err(|error| match error {
        RequestError::Conflict(message) => SliceError::permanent("service_not_registered", message),
        other => other.into(),
    })?;
    let now = ports.clock.now();
    let id = ports.entropy.restore_id(now);
    let from = Origin { application: application.clone(), backup: *backup_id };
    let options = RestoreOptions { safety_backup: false, ..RestoreOptions::default() };
    let mut restore = Restore::queued(id, application.clone(), from, services, options, last.by.clone(), now);
    restore.rehearsal = true;
    restore.checksums = last.level == VerificationLevel::Checksums;
    let purpose = format!("tries the backup {backup_id}, beside the services");
    let key = format!("verification of {backup_id} at {}", last.at.to_rfc3339());
    let new = NewRestore {
        audit: ports
            .audit(now, last.by.clone(), Action::Request)
            .to_restore(id)
            .to_backup(*backup_id)
            .because(purpose.clone()),
        audit_of_origin: None,
        target,
        idempotency: Some(IdempotencyKey { key: key.clone(), fingerprint: purpose.clone() }),
        restore: restore.clone(),
    };
    let id = match ports.records.create_restore(&new).await? {
        RestoreCreation::Created => id,
        RestoreCreation::Repeated { id, fingerprint } if fingerprint == purpose => id,
        RestoreCreation::Repeated { id, .. } => {
            let message = format!("its idempotency key {key:?} was used for the restore {id}; ask again");
            return Err(SliceError::permanent("rehearsal_impossible", message));
        }
        RestoreCreation::Busy(other) => {
            tracing::info!(restore = %other, "the verification waits for another restore to end");
            return Ok(wait(ports, last, BUSY));
        }
    };
    change(ports, application, *backup_id, last.at, |last| {
        last.rehearsal = Some(Rehearsal { restore: id, seconds: None });
        None
    })
    .await?;
    restore.id = id;
    start(ports, &restore).await;
    Ok(wait(ports, last, SOONEST))
}

/// Starts the restore's job; the tick does so as well.
async fn start(ports: &Ports, restore: &Restore) {
    let job = Job::Restore { application: restore.application.clone(), id: restore.id };
    if let Err(error) = ports.executions.start(&job).await {
        tracing::warn!(restore = %restore.id, %error, "left to the tick to start");
    }
}

/// When to look again: the longer it has taken, the later. An execution remembers only so many steps.
fn wait(ports: &Ports, last: &Verification, soonest: i64) -> Answer {
    let seconds = ((ports.clock.now() - last.at).num_seconds() / 20).clamp(soonest, LATEST);
    Answer::Wait { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) }
}

/// Everything was restored, and is what was backed up.
async fn pass(
    ports: &Ports,
    backup: &Backup,
    last: &Verification,
    restore: &Restore,
) -> Result<(), SliceError> {
    let began = restore.started_at.unwrap_or(restore.created_at);
    let seconds = restore.finished_at.map(|ended| (ended - began).num_seconds());
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    change(ports, &backup.application, backup.id, last.at, |last| {
        last.state = VerificationState::Passed;
        last.rehearsal = Some(Rehearsal { restore: restore.id, seconds });
        for artifact in &mut last.artifacts {
            let mut runs = restore.runs.iter().filter(|run| run.service == artifact.service);
            artifact.rehearsed = runs.find_map(|run| run.restored.as_ref()).map(|restored| Rehearsed {
                tables: restored.tables,
                rows: restored.rows,
                values_compared: restored.values_compared,
                files: restored.files_compared,
            });
        }
        Some("every byte is what it was, and what was restored of it too".to_owned())
    })
    .await?;
    tracing::info!(application = %backup.application, backup = %backup.id, "the backup was verified and restored");
    Ok(())
}

/// What a restore that did not succeed says about the backup.
fn failure(restore: &Restore) -> Failure {
    let Restore { id, .. } = restore;
    let damage = restore.refusals().find(|(_, refusal)| OF_DAMAGE.contains(&refusal.code.as_str()));
    if let Some((service, refusal)) = damage {
        return Failure {
            code: DAMAGED.to_owned(),
            message: format!(
                "{} (found by the restore {id}); rely on another backup, and make a new one",
                refusal.what
            ),
            service: Some(service.clone()),
            transient: false,
        };
    }
    let cancelled = || Failure {
        code: "rehearsal_cancelled".to_owned(),
        message: "somebody cancelled it; ask again".to_owned(),
        service: None,
        transient: false,
    };
    let failure = match restore.state {
        RestoreState::Cancelled => cancelled(),
        _ => restore.failure.clone().unwrap_or_else(cancelled),
    };
    if OF_DAMAGE.contains(&failure.code.as_str()) {
        let message = format!(
            "{} (found by the restore {id}); rely on another backup, and make a new one",
            failure.message.trim_end_matches('.')
        );
        return Failure { code: DAMAGED.to_owned(), message, transient: false, ..failure };
    }
    let message = format!("it could not be restored to see what comes of it ({id}): {}", failure.message);
    Failure { message, transient: false, ..failure }
}
