//! The backup of what is there before anything is changed.

use holdfast_domain::{
    application::ApplicationSpec,
    audit::Action,
    backup::{Backup, State},
    id::{BackupId, ServiceName},
    restore::{Origin, Preflight, Restore},
};

use super::{checkpoint::Checkpoint, place::Place};
use crate::{
    error::SliceError,
    job::{Answer, Job},
    ports::{Claim, Creation, IdempotencyKey, NewBackup, Ports},
    restores,
};

/// How long to wait for the safety backup before looking again, in seconds: at first, and at last. An execution remembers
/// only so many steps.
const SOONEST: i64 = 5;
const LATEST: i64 = 60;

/// How long to wait, at least, for another backup to end, in seconds.
const BUSY: i64 = 15;

/// How many of the newest backups of an application are looked through for those that have not ended. One of each trigger is open at a
/// time, at the most.
const NEWEST: usize = 100;

/// Sees to it that no backup is being made of what is about to change, and that what is there is backed up. None once all of that is
/// done, or if there is nothing to do.
pub(super) async fn stand_by(run: &mut Checkpoint<'_>, place: &Place) -> Result<Option<Answer>, SliceError> {
    if run.restore.changes_services()
        && !run.restore.has_begun()
        && let Some(other) = other_open_backup(run).await?
    {
        tracing::info!(backup = %other, "the restore waits for a backup to end, which would be half of what was and half of what comes");
        return Ok(Some(wait(run, BUSY)));
    }
    let services = covered(&run.restore, &place.target);
    if services.is_empty() {
        return Ok(None);
    }
    let Some(id) = run.restore.safety_backup else {
        return ask(run, place, services).await.map(Some);
    };
    if run.restore.has_begun() {
        keep(run, id).await;
        return Ok(None);
    }
    look(run, id, &services).await
}

async fn other_open_backup(run: &Checkpoint<'_>) -> Result<Option<BackupId>, SliceError> {
    let newest = run.ports.records.backups(&run.restore.application, None, NEWEST).await?;
    let mut open =
        newest.items.into_iter().map(|backup| backup.value).filter(|backup| backup.state.is_open());
    Ok(open.find(|backup| backup.before_restore != Some(run.restore.id)).map(|backup| backup.id))
}

/// The services that a safety backup is made of: those that have something in them, unless it was declined.
fn covered(restore: &Restore, target: &ApplicationSpec) -> Vec<ServiceName> {
    if !restore.options.safety_backup {
        return Vec::new();
    }
    let occupied: Vec<&ServiceName> = restore.occupied().collect();
    let services = target.services.iter().filter(|service| occupied.contains(&service.name()));
    services.map(|service| service.name().clone()).collect()
}

/// Refuses to replace what has come into a service since it was first looked at, which no safety backup has.
pub(super) fn refuse_unkept(restore: &Restore, index: usize, found: &Preflight) -> Result<(), SliceError> {
    let was_occupied = restore.preflight.get(index).is_some_and(|first| first.is_occupied);
    // Files that are only added beside others take nothing from anybody.
    let replaces = found.changes.is_none_or(|changes| changes.replaced + changes.removed > 0);
    if !restore.options.safety_backup || was_occupied || !found.is_occupied || !replaces {
        return Ok(());
    }
    Err(SliceError::permanent(
        "target_changed",
        format!(
            "something has come into {} since it was looked at, which no safety backup has; ask for the restore again",
            found.target
        ),
    ))
}

/// Asks for the safety backup, as its owner would. Repeating it gives the same one.
async fn ask(
    run: &mut Checkpoint<'_>,
    place: &Place,
    services: Vec<ServiceName>,
) -> Result<Answer, SliceError> {
    let ports = run.ports;
    let restore = &run.restore;
    let now = ports.clock.now();
    let note = format!("before the restore {}", restore.id);
    let id = ports.entropy.backup_id(now);
    let mut backup =
        Backup::queued(id, restore.application.clone(), services, restore.requested_by.clone(), now);
    backup.note = Some(note.clone());
    backup.before_restore = Some(restore.id);
    let new = NewBackup {
        audit: ports
            .audit(now, restore.requested_by.clone(), Action::Request)
            .to_backup(id)
            .to_restore(restore.id)
            .because(note.clone()),
        backup,
        source: place.target.clone(),
        claim: Claim::Request {
            idempotency: Some(IdempotencyKey { key: note.clone(), fingerprint: note.clone() }),
        },
    };
    let id = match ports.records.create_backup(&new).await? {
        Creation::Created => id,
        Creation::Repeated { id, fingerprint } if fingerprint == note => id,
        Creation::Repeated { id, .. } => {
            return Err(SliceError::permanent(
                "safety_backup_impossible",
                format!(
                    "its idempotency key {note:?} was used for the backup {id}; ask for the restore again"
                ),
            ));
        }
        Creation::Busy(other) => {
            tracing::info!(backup = %other, "the safety backup waits for another one to end");
            return Ok(wait(run, BUSY));
        }
        Creation::SlotTaken => {
            return Err(SliceError::transient("slot_taken", "the slot has its backup already"));
        }
    };
    run.restore.safety_backup = Some(id);
    run.write().await?;
    start(ports, &run.restore, id).await;
    Ok(wait(run, SOONEST))
}

/// Looks how far the safety backup is.
async fn look(
    run: &Checkpoint<'_>,
    id: BackupId,
    services: &[ServiceName],
) -> Result<Option<Answer>, SliceError> {
    let application = &run.restore.application;
    let found = run.ports.records.backup(application, id).await?.map(|found| found.value);
    let state = found.as_ref().map(|backup| backup.state);
    match (state, found) {
        (Some(State::Queued), _) => {
            start(run.ports, &run.restore, id).await;
            Ok(Some(wait(run, SOONEST)))
        }
        (Some(State::Running), _) => Ok(Some(wait(run, SOONEST))),
        (Some(State::Succeeded), Some(backup)) => {
            let missing = services
                .iter()
                .find(|service| !backup.artifacts.iter().any(|artifact| artifact.service == **service));
            if let Some(service) = missing {
                return Err(SliceError::permanent(
                    "safety_backup_failed",
                    format!("the safety backup {id} has nothing of {service}; ask for the restore again"),
                ));
            }
            keep(run, id).await;
            Ok(None)
        }
        (Some(State::Failed | State::Cancelled), Some(backup)) => {
            let why =
                backup.failure.as_ref().map_or("somebody cancelled it", |failure| failure.message.as_str());
            Err(SliceError::permanent(
                "safety_backup_failed",
                format!(
                    "the safety backup {id} of what is there is {}: {why}. Mend that, or restore without a safety backup",
                    backup.state.as_str()
                ),
            ))
        }
        _ => Err(SliceError::permanent(
            "safety_backup_gone",
            format!("the safety backup {id} was deleted before the restore began; ask for the restore again"),
        )),
    }
}

/// Lets no policy take the safety backup while the restore runs. It is a convenience, and no reason to fail.
async fn keep(run: &Checkpoint<'_>, id: BackupId) {
    let safety = Origin { application: run.restore.application.clone(), backup: id };
    if let Err(error) = restores::hold_off_policies(run.ports, &safety).await {
        tracing::warn!(backup = %id, %error, "the safety backup is left to its policy");
    }
}

/// Starts the safety backup's job; the tick does so as well.
async fn start(ports: &Ports, restore: &Restore, id: BackupId) {
    let job = Job::Backup { application: restore.application.clone(), id };
    if let Err(error) = ports.executions.start(&job).await {
        tracing::warn!(backup = %id, %error, "left to the tick to start");
    }
}

/// When to look again: the longer it has taken, the later.
fn wait(run: &Checkpoint<'_>, least: i64) -> Answer {
    let since = run.restore.started_at.unwrap_or(run.restore.created_at);
    let seconds = ((run.ports.clock.now() - since).num_seconds() / 20).clamp(least, LATEST);
    Answer::Wait { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) }
}
