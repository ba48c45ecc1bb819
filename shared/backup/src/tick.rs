//! The scheduler's tick: starts what is due, and looks after jobs that stand still. It takes no input and relies on
//! conditional writes, so that ticks may be late, doubled, or killed anywhere.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use holdfast_domain::{
    audit::Action,
    backup::{Backup, State},
    id::{ApplicationId, BackupId, RestoreId},
    restore::RestoreState,
    schedule::Slot,
};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    applications::next_run,
    error::RequestError,
    job::{Caught, Job},
    plans,
    ports::{ApplicationRecord, Claim, Creation, ExecutionStatus, NewBackup, Ports, RecordsError, Versioned},
};

/// Applications and backups read from each shard of an index in one tick; the rest waits for the next.
const PER_SHARD: usize = 100;

/// Open restores read in one tick; an application has one at a time.
const OPEN_RESTORES: usize = 1000;

/// How many applications or backups a tick works on at a time.
const SIDE_BY_SIDE: usize = 16;

/// How long a job may stand between its record and its execution before the tick looks into it, in seconds.
const GRACE_SECONDS: i64 = 60;

/// What a tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TickSummary {
    /// Scheduled backups that were started.
    pub started: usize,
    /// Applications whose last scheduled backup has not ended, or that are being restored: they stay due.
    pub held_back: usize,
    /// Applications that were not due by their plan any more, and moved on.
    pub moved_on: usize,
    /// Queued backups and restores whose execution had not been started, and now is.
    pub restarted: usize,
    /// Backups and restores whose execution had ended without their record: they are brought to an end.
    pub aborted: usize,
    /// Applications, backups and restores that there was no time for: the next tick goes on with them.
    pub left: usize,
    /// Applications, backups and restores that could not be looked at; the next tick tries again.
    pub failed: usize,
}

enum Outcome {
    Started,
    HeldBack,
    MovedOn,
    Restarted,
    Aborted,
    Left,
    Nothing,
}

/// One tick that takes the time it needs.
pub async fn tick(ports: &Ports) -> Result<TickSummary, RequestError> {
    tick_within(ports, Duration::MAX).await
}

/// One tick that begins nothing any more once `time` is spent: half of it is for what is due, and the rest for looking after
/// what was begun, so that neither keeps the other waiting for ever. Trouble with one application never keeps the others from
/// their turn; only an index that cannot be read fails the tick.
pub async fn tick_within(ports: &Ports, time: Duration) -> Result<TickSummary, RequestError> {
    let began = Instant::now();
    let now = ports.clock.now();
    let mut summary = TickSummary::default();

    let restores = ports.records.open_restores(OPEN_RESTORES).await?;
    let busy: HashMap<_, _> = restores.iter().cloned().collect();
    let due = ports.records.due(now, PER_SHARD).await?;
    let starts = stream::iter(due).map(async |application| {
        if began.elapsed() >= time / 2 {
            return Ok(Outcome::Left);
        }
        let outcome = start_due(ports, &application, busy.get(&application).copied(), now).await;
        if let Err(error) = &outcome {
            tracing::error!(%application, %error, "could not start the scheduled backup");
        }
        outcome
    });
    let starts: Vec<_> = starts.buffer_unordered(SIDE_BY_SIDE).collect().await;

    let open = ports.records.open_backups(PER_SHARD).await?;
    let looks = stream::iter(open).map(async |(application, id)| {
        if began.elapsed() >= time {
            return Ok(Outcome::Left);
        }
        let outcome = look_after_backup(ports, &application, id, now).await;
        if let Err(error) = &outcome {
            tracing::error!(%application, backup = %id, %error, "could not look after the backup");
        }
        outcome
    });
    let looks: Vec<_> = looks.buffer_unordered(SIDE_BY_SIDE).collect().await;

    let restores = stream::iter(restores).map(async |(application, id)| {
        if began.elapsed() >= time {
            return Ok(Outcome::Left);
        }
        let outcome = look_after_restore(ports, &application, id, now).await;
        if let Err(error) = &outcome {
            tracing::error!(%application, restore = %id, %error, "could not look after the restore");
        }
        outcome
    });
    let restores: Vec<_> = restores.buffer_unordered(SIDE_BY_SIDE).collect().await;

    for outcome in starts.into_iter().chain(looks).chain(restores) {
        match outcome {
            Ok(Outcome::Started) => summary.started += 1,
            Ok(Outcome::HeldBack) => summary.held_back += 1,
            Ok(Outcome::MovedOn) => summary.moved_on += 1,
            Ok(Outcome::Restarted) => summary.restarted += 1,
            Ok(Outcome::Aborted) => summary.aborted += 1,
            Ok(Outcome::Left) => summary.left += 1,
            Ok(Outcome::Nothing) => {}
            Err(_) => summary.failed += 1,
        }
    }
    Ok(summary)
}

/// Starts the scheduled backup of an application that is due: the newest slot that has passed, however many were missed. What is
/// being restored is half of one backup and half of another, and waits.
async fn start_due(
    ports: &Ports,
    application: &ApplicationId,
    restore: Option<RestoreId>,
    now: DateTime<Utc>,
) -> Result<Outcome, RequestError> {
    let Some(Versioned { value: record, version }) = ports.records.application(application).await? else {
        return Ok(Outcome::Nothing);
    };
    // The index may lag behind the record, which has moved on by then.
    if record.next_run_at.is_none_or(|at| at > now) {
        return Ok(Outcome::Nothing);
    }
    if let Some(restore) = restore
        && let Some(Versioned { value, .. }) = ports.records.restore(application, restore).await?
        && value.state.is_open()
        && value.changes_services()
    {
        tracing::info!(%application, %restore, "due, but it is being restored");
        return Ok(Outcome::HeldBack);
    }
    let plan = plans::get(ports, &record.spec.plan).await?.value.spec;
    let slot = plan.schedule.as_ref().and_then(|schedule| {
        schedule.latest_slot(application, record.spec.time_zone, record.scheduled_until, now)
    });
    let Some(slot) = slot else {
        let next_run_at = next_run(&plan, application, &record.spec, now);
        let reason = "no slot of its schedule has passed";
        return move_on(ports, record, version, next_run_at, now, reason).await;
    };
    let next_run_at = next_run(&plan, application, &record.spec, slot.at);
    match create(ports, record.clone(), version, &slot, next_run_at, now).await {
        Ok((Creation::Created, backup)) => {
            let job = Job::Backup { application: application.clone(), id: backup.id };
            if let Err(error) = ports.executions.start(&job).await {
                tracing::warn!(%application, backup = %backup.id, %error, "left to the next tick to start");
            }
            Ok(Outcome::Started)
        }
        Ok((Creation::Busy(running), _)) => {
            tracing::info!(%application, %running, "due, but its last scheduled backup has not ended");
            Ok(Outcome::HeldBack)
        }
        // The slot was used under an earlier registration of the same name.
        Ok((Creation::SlotTaken, _)) => {
            let record = ApplicationRecord { scheduled_until: slot.at, ..record };
            let reason = "the slot has its backup already, made under an earlier registration";
            move_on(ports, record, version, next_run_at, now, reason).await
        }
        Ok((Creation::Repeated { .. }, _)) | Err(RecordsError::Conflict) => Ok(Outcome::Nothing),
        Err(error) => Err(error.into()),
    }
}

async fn create(
    ports: &Ports,
    record: ApplicationRecord,
    version: u64,
    slot: &Slot,
    next_run_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(Creation, Backup), RecordsError> {
    let services = record.spec.services.iter().map(|service| service.name().clone()).collect();
    let id = ports.entropy.backup_id(now);
    let backup = Backup::queued(id, record.id.clone(), services, "schedule".to_owned(), now).scheduled(slot);
    let audit = ports
        .audit(now, "schedule", Action::Request)
        .to_backup(id)
        .because(format!("due at {}", slot.at.to_rfc3339()));
    let application = ApplicationRecord { next_run_at, scheduled_until: slot.at, ..record };
    let source = application.spec.clone();
    let claim = Claim::Slot { application: Box::new(application), expected: version };
    let new = NewBackup { backup: backup.clone(), source, claim, audit };
    let creation = ports.records.create_backup(&new).await?;
    Ok((creation, backup))
}

async fn move_on(
    ports: &Ports,
    record: ApplicationRecord,
    version: u64,
    next_run_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    reason: &str,
) -> Result<Outcome, RequestError> {
    let audit = ports
        .audit(now, "schedule", Action::Update)
        .changing(record.next_run_at.map(|at| at.to_rfc3339()), next_run_at.map(|at| at.to_rfc3339()))
        .because(reason);
    let record = ApplicationRecord { next_run_at, ..record };
    match ports.records.put_application(&record, Some(version), &audit).await {
        Ok(_) => Ok(Outcome::MovedOn),
        Err(RecordsError::Conflict) => Ok(Outcome::Nothing),
        Err(error) => Err(error.into()),
    }
}

/// Looks after a backup that has not ended.
async fn look_after_backup(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    now: DateTime<Utc>,
) -> Result<Outcome, RequestError> {
    let Some(Versioned { value: backup, .. }) = ports.records.backup(application, id).await? else {
        return Ok(Outcome::Nothing);
    };
    if !backup.state.is_open() {
        return Ok(Outcome::Nothing);
    }
    let job = Job::Backup { application: application.clone(), id };
    let is_queued = backup.state == State::Queued;
    look_after(ports, &job, is_queued, backup.started_at.unwrap_or(backup.created_at), now).await
}

/// Looks after a restore that has not ended.
async fn look_after_restore(
    ports: &Ports,
    application: &ApplicationId,
    id: RestoreId,
    now: DateTime<Utc>,
) -> Result<Outcome, RequestError> {
    let Some(Versioned { value: restore, .. }) = ports.records.restore(application, id).await? else {
        return Ok(Outcome::Nothing);
    };
    if !restore.state.is_open() {
        return Ok(Outcome::Nothing);
    }
    let job = Job::Restore { application: application.clone(), id };
    let is_queued = restore.state == RestoreState::Queued;
    look_after(ports, &job, is_queued, restore.started_at.unwrap_or(restore.created_at), now).await
}

/// Starts the execution of a job that was recorded and then forgotten, and ends one whose execution is over.
async fn look_after(
    ports: &Ports,
    job: &Job,
    is_queued: bool,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Outcome, RequestError> {
    if now - since < TimeDelta::seconds(GRACE_SECONDS) {
        return Ok(Outcome::Nothing);
    }
    let unreachable = |error: crate::ports::ExecutionsError| RequestError::Unavailable(error.to_string());
    let abort = async |reason: Option<Caught>| {
        let reason = reason.unwrap_or_else(|| Caught {
            error: "ExecutionEnded".to_owned(),
            cause: "the execution of the job ended without recording the job's end".to_owned(),
        });
        ports.executions.start_abort(job, &reason, now).await.map_err(unreachable)?;
        Ok(Outcome::Aborted)
    };
    match ports.executions.status(job).await.map_err(unreachable)? {
        ExecutionStatus::Running => Ok(Outcome::Nothing),
        ExecutionStatus::Missing if is_queued => {
            ports.executions.start(job).await.map_err(unreachable)?;
            Ok(Outcome::Restarted)
        }
        ExecutionStatus::Missing => abort(None).await,
        ExecutionStatus::Ended(reason) => abort(reason).await,
    }
}
