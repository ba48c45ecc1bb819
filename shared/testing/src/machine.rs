//! The state machine's loop, as `statemachines/job.asl.json` has it, for tests that need no clock and no waiting.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    engines::{ClientEngines, Clients, media::Stretches},
    error::SliceError,
    isolated::Placement,
    job::{Answer, Caught, Job, Range},
    ports::{ApplicationRecord, Records as _},
    retain,
    slice::{Worker, slice},
};
use holdfast_domain::{
    application::Service,
    backup::Backup,
    id::{ApplicationId, BackupId, RestoreId},
    restore::Restore,
};

use crate::{World, builders};

/// How often a slice that fails in passing is tried again.
const RETRIES: usize = 4;

/// The time one invocation has.
pub const INVOCATION: Duration = Duration::from_mins(15);

/// A worker over `world` that has no database clients.
pub fn worker(world: &World) -> Worker {
    let clients =
        Clients { postgres: "/nonexistent/{major}".parse().unwrap(), mysql: "/nonexistent".parse().unwrap() };
    let ports = world.ports.clone();
    Worker {
        engines: Arc::new(ClientEngines::new(ports.clone(), clients.clone())),
        restorers: world.restorers.clone(),
        dumps_per_server: 4,
        stretches: Stretches::default(),
        placement: Placement::default(),
        clients,
        ports,
    }
}

/// Registers `id` with its storage only, and a few files in it.
pub fn register_media_only(world: &World, id: &str) -> ApplicationRecord {
    let mut record = builders::application(id);
    record.spec.services.retain(|service| matches!(service, Service::Storage(_)));
    let bucket = format!("{id}-media");
    world.media.make_bucket(&bucket, &builders::region());
    for number in 0..5 {
        world.media.put(&bucket, &format!("media/{number}.txt"), format!("file {number}"));
    }
    world.records.insert_application(record.clone());
    record
}

/// Drives a job to its end, as the state machine does.
pub async fn drive(world: &World, application: &ApplicationId, id: BackupId) -> Backup {
    drive_worker(world, &worker(world), application, id).await
}

/// Drives a job to its end with a worker of one's own.
pub async fn drive_worker(
    world: &World,
    worker: &Worker,
    application: &ApplicationId,
    id: BackupId,
) -> Backup {
    let job = Job::Backup { application: application.clone(), id };
    if drive_job(worker, &job, INVOCATION).await.is_ok() {
        // What goes wrong here is left to the nightly run.
        let _ = retain::run(&worker.ports, application).await;
    }
    world.backup(application, id)
}

/// Drives any job to its end, in invocations of so much time. Of one that fails, why.
pub async fn drive_job(worker: &Worker, job: &Job, time: Duration) -> Result<(), SliceError> {
    let outcome = slices(worker, job, time).await;
    if let Err(error) = &outcome {
        give_up(worker, job, error).await;
    }
    outcome
}

async fn give_up(worker: &Worker, job: &Job, error: &SliceError) {
    let caught = caught(error);
    let mut retries = 0..RETRIES;
    loop {
        match abort(worker, job, &caught).await {
            Ok(Answer::Wait { .. }) => {}
            Err(_) if retries.next().is_some() => {}
            _ => break,
        }
    }
}

/// Drives a restore to its end, as the state machine does. Whatever backup it waits for succeeds meanwhile.
pub async fn drive_restore(world: &World, application: &ApplicationId, id: RestoreId) -> Restore {
    let worker = worker(world);
    let job = Job::Restore { application: application.clone(), id };
    if let Err(error) = restore_slices(world, &worker, &job).await {
        give_up(&worker, &job, &error).await;
    }
    world.restore(application, id).await
}

async fn restore_slices(world: &World, worker: &Worker, job: &Job) -> Result<(), SliceError> {
    loop {
        match retried(worker, job, None, INVOCATION).await? {
            Answer::Done => return Ok(()),
            Answer::Continue => {}
            Answer::Wait { seconds } => {
                world.clock.advance(TimeDelta::seconds(i64::from(seconds)));
                complete_open(world).await;
            }
            Answer::FanOut { .. } => panic!("a restore has no branches"),
        }
    }
}

/// Lets every backup that is open succeed.
pub async fn complete_open(world: &World) {
    for (application, id) in world.records.open_backups(100).await.unwrap() {
        world.complete(&application, id).await;
    }
}

async fn slices(worker: &Worker, job: &Job, time: Duration) -> Result<(), SliceError> {
    loop {
        match retried(worker, job, None, time).await? {
            Answer::Done => return Ok(()),
            Answer::Continue | Answer::Wait { .. } => {}
            Answer::FanOut { ranges } => {
                for range in &ranges {
                    while retried(worker, job, Some(range), time).await? != Answer::Done {}
                }
            }
        }
    }
}

async fn retried(
    worker: &Worker,
    job: &Job,
    range: Option<&Range>,
    time: Duration,
) -> Result<Answer, SliceError> {
    let mut attempt = 0;
    loop {
        let error = match slice(worker, job, range, time).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.lambda_type() != holdfast_backup::job::TRANSIENT || attempt == RETRIES {
            return Err(error);
        }
        attempt += 1;
    }
}

/// What Step Functions makes of the worker's error.
pub fn caught(error: &SliceError) -> Caught {
    let cause =
        serde_json::json!({ "errorType": error.lambda_type(), "errorMessage": error.lambda_message() });
    Caught { error: error.lambda_type().to_owned(), cause: cause.to_string() }
}
