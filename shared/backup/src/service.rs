//! Backing up one service: who does it, how far it has come, and what came of it.

mod legs;
mod run;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::{Isolated, Service},
    backup::{Artifact, Backup, Phase},
    id::{ApplicationId, BackupId},
};
use tokio::time::Instant;

use crate::{
    engines::{
        Engine as _,
        media::{JoinEngine, MediaEngine, Plan},
    },
    error::SliceError,
    isolated::{self, Step},
    job::Answer,
    ports::{Divided, Ports, Versioned},
    seat,
    share::{self, Staged, StagedLines},
    slice::Worker,
    upload::{self, Stored},
};
use run::Run;

/// Backs up `service` from its beginning, unless it is finished already. What an earlier slice left open is given up. Done means
/// that nothing is left to do for now: a database waits while as many of its server are dumped as may be, and one that is read from
/// a copy has to be waited for, and is then read in as many slices of `time` as it takes.
pub async fn back_up(
    worker: &Worker,
    backup: &Backup,
    service: &Service,
    time: Duration,
) -> Result<Answer, SliceError> {
    let until = Instant::now() + time * 3 / 4;
    let outcome = in_turn(worker, backup, service, until).await;
    outcome.map_err(|error| error.of(&backup.application, service.name()))
}

async fn in_turn(
    worker: &Worker,
    backup: &Backup,
    service: &Service,
    until: Instant,
) -> Result<Answer, SliceError> {
    let (ports, limit) = (&worker.ports, worker.dumps_per_server);
    let Some(server) = seat::server(service).filter(|_| limit > 0) else {
        return run(worker, backup, service, until).await;
    };
    if let Some(seconds) = seat::take(ports, &server, limit, backup, service).await? {
        return Ok(Answer::Wait { seconds });
    }
    let outcome = run(worker, backup, service, until).await;
    if let Err(error) = seat::leave(ports, &server, backup, service).await {
        // It is lent for a while only, and whoever tries again or gives up gives it back too.
        tracing::warn!(backup = %backup.id, %server, %error, "a seat could not be given back");
    }
    outcome
}

async fn run(
    worker: &Worker,
    backup: &Backup,
    service: &Service,
    until: Instant,
) -> Result<Answer, SliceError> {
    let ports = &worker.ports;
    let began = ports.clock.now();
    let Some(mut run) = Run::take_over(ports, backup, service, began).await? else {
        return Ok(Answer::Done);
    };
    let key = format!("{}{}/{}", backup.prefix(), service.name(), file_name(service));
    let stored = match service {
        Service::Storage(storage) => {
            let media = MediaEngine::new(ports, backup.application.clone(), storage.clone());
            if run.record.divided.is_some() {
                join(&mut run, media).await?
            } else {
                run.record.progress.estimated_bytes = media.prepare().await?;
                if let Some(plan) = media.divide(worker.stretches).await? {
                    divide(&mut run, &key, media.content_type(), &plan).await?;
                    return Ok(Answer::Done);
                }
                Some(upload::store(ports.artifacts.as_ref(), &media, &key, &mut run).await?)
            }
        }
        Service::Postgres(_) | Service::Mysql(_) => {
            if let Some(of) = service.isolated() {
                return read_from_copy(worker, &mut run, (backup, service, of), &key, until).await;
            }
            let engine = worker.engines.open(&run.application, service).await?;
            run.record.progress.estimated_bytes = engine.prepare().await?;
            Some(upload::store(ports.artifacts.as_ref(), engine.as_ref(), &key, &mut run).await?)
        }
    };
    // The next slice begins again.
    let Some(stored) = stored else { return Ok(Answer::Done) };
    let artifact = artifact_of(&run, stored, began);
    run.finish(artifact).await?;
    Ok(Answer::Done)
}

/// What was stored of a service since `began`.
fn artifact_of(run: &Run<'_>, stored: Stored, began: DateTime<Utc>) -> Artifact {
    let milliseconds = (run.ports.clock.now() - began).num_milliseconds();
    Artifact {
        service: run.record.service.clone(),
        object: stored.object,
        contents: stored.report.contents,
        taken_at: stored.report.taken_at,
        milliseconds: u64::try_from(milliseconds).unwrap_or(0),
    }
}

/// Brings the copy of a database one step further; dumps it once it is there; deletes it afterwards.
async fn read_from_copy(
    worker: &Worker,
    run: &mut Run<'_>,
    (backup, service, of): (&Backup, &Service, &Isolated),
    key: &str,
    until: Instant,
) -> Result<Answer, SliceError> {
    let (ports, began) = (run.ports, run.ports.clock.now());
    let isolation =
        run.record.isolation.take().unwrap_or_else(|| isolated::begun(backup, service.name(), of, began));
    let mut copy = isolated::Copy { ports, placement: &worker.placement, backup, service, of, isolation };
    if copy.isolation.asked_at.is_none() {
        let Some(source) = copy.source().await? else {
            run.isolate(&copy.isolation).await?;
            return Ok(copy.wait());
        };
        worker.engines.check_version(service, &source.version)?;
        // Before anything is asked for: whatever becomes of this slice, an abort knows that it has to look.
        copy.isolation.asked_at = Some(began);
        run.isolate(&copy.isolation).await?;
    }
    if copy.isolation.stored.is_none() {
        let Step::Ready { endpoint, taken_at } = copy.step().await? else {
            run.isolate(&copy.isolation).await?;
            return Ok(copy.wait());
        };
        run.record.isolation = Some(copy.isolation.clone());
        let there = service.clone().at(&endpoint.host, endpoint.port);
        let engine = worker.engines.open(&run.application, &there).await?;
        run.record.progress.estimated_bytes = engine.prepare().await?;
        let storing = Box::pin(legs::store(run, engine.as_ref(), key, until));
        let Some(stored) = storing.await? else {
            return Ok(Answer::Continue);
        };
        // Of all slices that have read it.
        let since = run.record.progress.started_at.unwrap_or(began);
        copy.isolation.stored = Some(Artifact { taken_at, ..artifact_of(run, stored, since) });
        run.isolate(&copy.isolation).await?;
    }
    if !isolated::delete(ports, &copy.isolation).await? {
        run.isolate(&copy.isolation).await?;
        return Ok(copy.wait());
    }
    run.record.isolation = Some(copy.isolation.clone());
    if let Some(artifact) = copy.isolation.stored {
        run.finish(artifact).await?;
    }
    Ok(Answer::Done)
}

/// Stages a plan, opens the upload that its branches fill, and writes down that there is something for them to do.
async fn divide(run: &mut Run<'_>, key: &str, content_type: &str, plan: &Plan) -> Result<(), SliceError> {
    let artifacts = run.ports.artifacts.as_ref();
    let staged = Staged { artifacts, folder: run.staged(run.record.attempt) };
    let upload = artifacts.begin(key, content_type).await?;
    // Not before: a slice that was replaced must not leave it behind.
    run.check_wanted().await?;
    staged.put_plan(plan).await?;
    let stretches = u32::try_from(plan.division.stretches.len()).unwrap_or(u32::MAX);
    run.record.progress.phase = Phase::Copying;
    run.record.progress.started_at = Some(run.ports.clock.now());
    run.record.progress.estimated_bytes = Some(plan.bytes);
    run.record.divided = Some(Divided {
        plan: run.record.attempt,
        plans: run.plans + 1,
        upload,
        void: None,
        shares: share::shares(stretches),
    });
    run.write().await
}

/// Makes the archive of its stretches, which are all stored. None if it has to be begun again: it is written down why.
async fn join(run: &mut Run<'_>, media: MediaEngine) -> Result<Option<Stored>, SliceError> {
    let Some(divided) = run.record.divided.clone() else { return Ok(None) };
    let artifacts = run.ports.artifacts.clone();
    let folder = run.staged(divided.plan);
    let staged = Staged { artifacts: artifacts.as_ref(), folder: folder.clone() };
    let open = artifacts.open_uploads(&divided.upload.key).await?;
    if !open.contains(&divided.upload) {
        run.void("its upload is gone").await?;
        return Ok(None);
    }
    let plan = staged.plan().await?;
    let mut stored = Vec::with_capacity(plan.division.stretches.len());
    for number in 0..plan.division.stretches.len() {
        let Some(stretch) = staged.stored(number).await? else {
            run.void("a stretch of it is gone").await?;
            return Ok(None);
        };
        stored.push(stretch);
    }
    let lines = Arc::new(StagedLines { artifacts: artifacts.clone(), folder });
    let engine = JoinEngine::new(media, plan, stored, lines);
    match upload::finish(artifacts.as_ref(), &engine, &divided.upload, run).await {
        Ok(stored) => {
            // What is staged is no part of a backup.
            artifacts.purge(&run.all_staged()).await?;
            Ok(Some(stored))
        }
        Err(SliceError::Failed(failure)) if failure.code == "object_changed" => {
            run.void(&failure.message).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn file_name(service: &Service) -> &'static str {
    match service {
        Service::Postgres(_) => "database.dump",
        Service::Mysql(_) => "database.sql.zst",
        Service::Storage(_) => "media.tar",
    }
}

/// Stops when somebody asked to cancel the backup, or it is being or has been brought to an end meanwhile: a branch
/// whose record the abort did not see yet is stopped here.
pub(crate) async fn check_wanted(
    ports: &Ports,
    application: &ApplicationId,
    backup: BackupId,
) -> Result<(), SliceError> {
    let backup = ports.records.backup(application, backup).await?;
    match backup {
        Some(Versioned { value, .. }) if value.state.is_open() && value.aborting_at.is_none() => {
            match value.cancel_requested_at {
                Some(_) => Err(SliceError::Cancelled),
                None => Ok(()),
            }
        }
        _ => Err(SliceError::Fenced),
    }
}
