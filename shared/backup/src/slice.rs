//! One slice of a job: what one invocation of the worker does.
//!
//! A backup goes through its services in two steps, databases and then storages, so that each file a row names exists.
//! A step with one service is done in one slice; a step with several fans out, a branch for each. A last slice, with
//! every artifact stored and read back, makes the backup succeed.
//!
//! A database is done within one slice or not at all: what does not fit fails with that reason before the invocation's end, and is
//! not tried again. One that is read from a copy is waited for first, and stands still then: its dump halts at the end of a slice, and
//! the next one goes on. A storage that is too large for one slice is divided: a first slice plans its stretches,
//! branches store them, as many in each slice as it has time for, and a last one joins them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use holdfast_domain::{
    application::{ApplicationSpec, Service},
    audit::Action,
    backup::{Artifact, Backup, Label, State, Trigger},
    document::{self, BackupDocument},
    event::Event,
    id::{ApplicationId, BackupId, ServiceName},
    readme,
};

use crate::{
    engines::{Clients, Engines, media::Stretches, restorer::Restorers},
    error::{RequestError, SliceError},
    events,
    isolated::Placement,
    job::{Answer, Job, Range},
    plans,
    ports::{Ports, RecordsError, ServiceRun, Versioned},
    restoring, seat, service, share, sweep, undelete, upload, verify,
};

/// What a worker works with.
#[derive(Clone)]
pub struct Worker {
    /// The outside world.
    pub ports: Ports,
    /// The database clients it has.
    pub clients: Clients,
    /// Who reads databases.
    pub engines: Arc<dyn Engines>,
    /// How many databases of one server are dumped at a time; 0 for as many as there are.
    pub dumps_per_server: usize,
    /// When media are divided between branches.
    pub stretches: Stretches,
    /// Where temporary copies of databases are put.
    pub placement: Placement,
    /// Who restores.
    pub restorers: Arc<dyn Restorers>,
}

/// Does the next slice of `job`, or of the share of it that `range` names, within `time`, and says how to go on. A job
/// that has succeeded is done, however often it is asked for.
pub async fn slice(
    worker: &Worker,
    job: &Job,
    range: Option<&Range>,
    time: Duration,
) -> Result<Answer, SliceError> {
    let (application, id) = match job {
        Job::Backup { application, id } => (application, id),
        Job::Undelete { application, id, asked_at } => {
            return undelete::slice(&worker.ports, application, *id, *asked_at).await;
        }
        Job::Restore { application, id } => {
            return restoring::slice(worker, application, *id, time).await;
        }
        Job::Verify { application, id, asked_at } => {
            return verify::slice(worker, application, *id, *asked_at, time).await;
        }
        Job::Sweep { application, id, .. } => return sweep::slice(&worker.ports, application, *id).await,
    };
    let backup = load(&worker.ports, application, *id).await?;
    match backup.value.state {
        State::Succeeded | State::Expiring | State::Expired => {
            // Whoever made it succeed may have died before it could tell.
            events::tell(&worker.ports, Event::of_backup(&backup.value)).await;
            return Ok(Answer::Done);
        }
        State::Failed | State::Cancelled => return Err(SliceError::Fenced),
        State::Queued | State::Running => {}
    }
    if backup.value.aborting_at.is_some() {
        return Err(SliceError::Fenced);
    }
    if backup.value.cancel_requested_at.is_some() {
        return Err(SliceError::Cancelled);
    }
    let backup = begin(&worker.ports, backup).await?;
    let source = source(&worker.ports, &backup.value).await?;
    let services = covered(&source, &backup.value)?;

    if let Some(Range { service, share }) = range {
        let service = services.iter().find(|candidate| candidate.name() == service).ok_or_else(|| {
            SliceError::permanent(
                "no_such_service",
                format!("{application} has no service {service} in this backup"),
            )
        })?;
        if let Some(share) = share {
            let work = share::back_up(worker, &backup.value, service, *share, time);
            return within(time, &backup.value, service, work).await;
        }
        return within(time, &backup.value, service, service::back_up(worker, &backup.value, service, time))
            .await;
    }
    let runs = worker.ports.records.service_runs(*id).await?;
    let step: Vec<Range> =
        next_step(&services, &runs).into_iter().flat_map(|next| ranges(next, &runs)).collect();
    match step.as_slice() {
        [] => {
            finish(&worker.ports, backup, source, &services, &runs).await?;
            Ok(Answer::Done)
        }
        [Range { service, share: None }] => {
            let Some(only) = services.iter().find(|candidate| candidate.name() == service) else {
                return Ok(Answer::Continue);
            };
            let work = service::back_up(worker, &backup.value, only, time);
            Ok(match within(time, &backup.value, only, work).await? {
                // Of this service; there may be others.
                Answer::Done => Answer::Continue,
                other => other,
            })
        }
        _ => Ok(Answer::FanOut { ranges: step }),
    }
}

/// The shares of a service that are not done, if there are any; otherwise all of it, to be begun or brought to its end.
fn ranges(service: &Service, runs: &[Versioned<ServiceRun>]) -> Vec<Range> {
    let run = runs.iter().find(|run| run.value.service == *service.name());
    let divided = run.and_then(|run| run.value.divided.as_ref()).filter(|divided| divided.void.is_none());
    let shares = divided.iter().flat_map(|divided| (0..).zip(&divided.shares));
    let open: Vec<Range> = shares
        .filter(|(_, share)| !share.done)
        .map(|(number, _)| Range { service: service.name().clone(), share: Some(number) })
        .collect();
    if open.is_empty() { vec![Range { service: service.name().clone(), share: None }] } else { open }
}

/// Dropping the work ends it: its `pg_dump` is killed, and the abort gives its upload up.
async fn within<T>(
    time: Duration,
    backup: &Backup,
    service: &Service,
    work: impl Future<Output = Result<T, SliceError>>,
) -> Result<T, SliceError> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let advice = match service {
            Service::Postgres(_) | Service::Mysql(_) if service.isolated().is_none() => {
                "; if its server is on RDS, register it as \"isolated\": a copy of it is dumped over as many invocations as it takes \
                 (docs/isolated.md)"
            }
            Service::Postgres(_) | Service::Mysql(_) => {
                "; that is a table, or a part of one, for which the copy is too slow: give the copies a larger class with the \
                 stack's parameter IsolatedInstanceClass"
            }
            Service::Storage(_) => "; a service of this size cannot be backed up yet",
        };
        let error = SliceError::permanent(
            "slice_too_short",
            format!(
                "it could not be read and stored within the {} seconds that one invocation of the worker has{advice}",
                time.as_secs()
            ),
        );
        Err(error.of(&backup.application, service.name()))
    })
}

pub(crate) async fn load(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
) -> Result<Versioned<Backup>, SliceError> {
    ports.records.backup(application, id).await?.ok_or_else(|| {
        SliceError::permanent(
            "no_such_backup",
            format!("there is no backup {id} of the application {application}"),
        )
    })
}

/// Marks a queued backup as running. Branches may do so at the same moment; whoever loses reads what the other wrote.
async fn begin(ports: &Ports, backup: Versioned<Backup>) -> Result<Versioned<Backup>, SliceError> {
    if backup.value.state != State::Queued {
        return Ok(backup);
    }
    let Versioned { mut value, version } = backup;
    value
        .transition(State::Running)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
    value.started_at = Some(ports.clock.now());
    match ports.records.update_backup(&value, version, &[]).await {
        Ok(version) => Ok(Versioned { value, version }),
        Err(RecordsError::Conflict) => Err(lost_race(ports, &value).await?),
        Err(error) => Err(error.into()),
    }
}

/// The registration as it was when the backup was asked for. A change made since is for the next backup: one that mixed
/// both would restore to an application that never was.
async fn source(ports: &Ports, backup: &Backup) -> Result<ApplicationSpec, SliceError> {
    ports.records.source(backup.id).await?.ok_or_else(|| {
        SliceError::permanent(
            "source_missing",
            format!(
                "what the backup {} of {} is made of is not known any more; start a new backup",
                backup.id, backup.application
            ),
        )
    })
}

/// The services the backup covers.
fn covered(source: &ApplicationSpec, backup: &Backup) -> Result<Vec<Service>, SliceError> {
    let find = |name: &ServiceName| {
        source.services.iter().find(|service| service.name() == name).cloned().ok_or_else(|| {
            SliceError::permanent(
                "no_such_service",
                format!("{}, service {name}: it was not registered; start a new backup", backup.application),
            )
        })
    };
    backup.services.iter().map(find).collect()
}

/// The services of the first step that is not finished: databases, then storages.
fn next_step<'a>(services: &'a [Service], runs: &[Versioned<ServiceRun>]) -> Vec<&'a Service> {
    let unfinished = |service: &&Service| {
        !runs.iter().any(|run| run.value.service == *service.name() && run.value.artifact.is_some())
    };
    let (databases, storages): (Vec<_>, Vec<_>) =
        services.iter().filter(unfinished).partition(|service| service.is_database());
    if databases.is_empty() { storages } else { databases }
}

/// Makes the backup succeed: every artifact still is what was stored, the prefix describes itself, the record says so.
async fn finish(
    ports: &Ports,
    backup: Versioned<Backup>,
    source: ApplicationSpec,
    services: &[Service],
    runs: &[Versioned<ServiceRun>],
) -> Result<(), SliceError> {
    let Versioned { value: mut backup, version } = backup;
    // An upload whose opening was never heard of, or that a replaced slice is still filling.
    upload::give_up(ports.artifacts.as_ref(), &backup.prefix()).await?;
    seat::leave_all(ports, &backup, services).await?;
    backup.artifacts = artifacts_of(services, runs);
    for artifact in &backup.artifacts {
        check_unchanged(ports, artifact)
            .await
            .map_err(|error| error.of(&backup.application, &artifact.service))?;
    }
    let now = ports.clock.now();
    backup.taken_at = backup.artifacts.iter().map(|artifact| artifact.taken_at).min();
    backup.label = (backup.trigger == Trigger::Scheduled).then_some(Label::Daily);
    backup.finished_at = Some(now);
    backup
        .transition(State::Succeeded)
        .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;

    let plan = plans::get(ports, &source.plan).await.map_err(|error| match error {
        RequestError::Unavailable(reason) => SliceError::transient("records_unavailable", reason),
        other => SliceError::permanent("plan_missing", other.to_string()),
    })?;
    let described = BackupDocument::new(backup.clone(), source, plan.value.spec)
        .to_json()
        .map_err(|error| SliceError::permanent("document_unwritable", error.to_string()))?;
    let guide = readme::of(&backup);
    put(ports, &backup, readme::FILE_NAME, readme::CONTENT_TYPE, guide.into()).await?;
    put(ports, &backup, document::FILE_NAME, "application/json", described.into()).await?;

    let audit = ports
        .audit(now, "job", Action::Succeed)
        .to_backup(backup.id)
        .changing(Some(State::Running.as_str().to_owned()), Some(State::Succeeded.as_str().to_owned()));
    match ports.records.update_backup(&backup, version, &[audit]).await {
        Ok(_) => {
            tracing::info!(
                application = %backup.application,
                backup = %backup.id,
                bytes = backup.bytes(),
                skipped = backup.skipped(),
                "the backup succeeded"
            );
            events::tell(ports, Event::of_backup(&backup)).await;
            Ok(())
        }
        Err(RecordsError::Conflict) => Err(lost_race(ports, &backup).await?),
        Err(error) => Err(error.into()),
    }
}

/// Stores a small object that describes the backup, and looks whether it is protected as all are.
async fn put(
    ports: &Ports,
    backup: &Backup,
    name: &str,
    content_type: &str,
    bytes: Bytes,
) -> Result<(), SliceError> {
    let key = format!("{}{name}", backup.prefix());
    ports.artifacts.put(&key, content_type, bytes).await?;
    let stored = ports.artifacts.describe(&key).await?.ok_or_else(|| missing(&key))?;
    Ok(ports.artifacts.check_protection(&stored)?)
}

/// What was stored, in the order of the services.
fn artifacts_of(services: &[Service], runs: &[Versioned<ServiceRun>]) -> Vec<Artifact> {
    services
        .iter()
        .filter_map(|service| runs.iter().find(|run| run.value.service == *service.name()))
        .filter_map(|run| run.value.artifact.clone())
        .collect()
}

/// Compares the object with what it was when it was stored: a slice that was taken for dead may have come back.
async fn check_unchanged(ports: &Ports, artifact: &Artifact) -> Result<(), SliceError> {
    let key = &artifact.object.key;
    let found = ports.artifacts.describe(key).await?.ok_or_else(|| missing(key))?;
    if found != artifact.object {
        return Err(SliceError::permanent(
            "artifact_changed",
            format!("{key} is not what was stored any more; start a new backup"),
        ));
    }
    Ok(())
}

fn missing(key: &str) -> SliceError {
    SliceError::permanent(
        "artifact_missing",
        format!("{key} was stored and is not there any more; start a new backup"),
    )
}

/// Why a conditional write to the backup lost: it was cancelled, or another slice has gone on with it.
async fn lost_race(ports: &Ports, backup: &Backup) -> Result<SliceError, SliceError> {
    let now = load(ports, &backup.application, backup.id).await?.value;
    Ok(if now.state.is_open() && now.cancel_requested_at.is_some() {
        SliceError::Cancelled
    } else {
        SliceError::Fenced
    })
}
