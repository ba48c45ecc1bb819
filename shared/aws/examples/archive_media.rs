//! Backs a bucket up as the worker does, with records in memory, and reads from what was stored: for bench/media.py.
//!
//! `archive_media SOURCE TARGET SECONDS [INTO]`, with the endpoint and its credentials in the usual variables. What would take
//! longer than SECONDS, at a guess, is divided into stretches, of which four are made side by side. With INTO the files are then
//! restored into that bucket.
#![expect(clippy::disallowed_macros, reason = "a program of its own, for people to read")]

use std::{
    env,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, stream};
use holdfast_aws::{
    memory,
    s3::{S3Artifacts, S3Media, S3MediaTarget, Storing},
    wire,
};
use holdfast_backup::{
    engines::{ClientEngines, Clients, media::Stretches, restorer::EngineRestorers},
    files,
    isolated::Placement,
    job::{Answer, Job, Range},
    ports::ApplicationRecord,
    request::{self, BackupRequest},
    restores::{self, RequestedOrigin, RestoreRequest},
    slice::{Worker, slice},
};
use holdfast_domain::{
    application::Service,
    backup::Contents,
    id::BackupId,
    restore::{RestoreOptions, RestoreState},
};
use holdfast_testing::{World, builders};

/// The key that the endpoint says objects are encrypted with.
const KEY_ARN: &str = "arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-4000-8000-000000000000";

/// Branches of the state machine that run at a time.
const BRANCHES: usize = 4;

const INVOCATION: Duration = Duration::from_mins(15);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [source, target, seconds, into @ ..] = arguments.as_slice() else {
        return Err("usage: archive_media SOURCE TARGET SECONDS [INTO]".into());
    };
    let s3 = wire::s3_client(&wire::sdk_from_env().await, true);
    let world = World::new();
    let mut ports = world.ports.clone();
    ports.media = Arc::new(S3Media::new(s3.clone()));
    ports.media_target = Arc::new(S3MediaTarget::new(s3.clone(), target.clone()));
    ports.artifacts =
        Arc::new(S3Artifacts::new(s3, target.clone(), Storing::AsBackup { key_arn: KEY_ARN.to_owned() }));
    let clients = Clients { postgres: "/nonexistent/{major}".parse()?, mysql: "/nonexistent".parse()? };
    let restorers = Arc::new(EngineRestorers::new(ports.clone(), clients.clone()));
    let engines = Arc::new(ClientEngines::new(ports.clone(), clients.clone()));
    let stretches = Stretches::of_seconds(seconds.parse()?);
    let placement = Placement::default();
    let worker = Worker { ports, clients, engines, dumps_per_server: 0, stretches, placement, restorers };

    let mut record = application("bench", source);
    record.spec.restore_into = vec![builders::slug("restored")];
    world.records.insert_application(record.clone());
    let requested =
        request::create(&worker.ports, "bench", &record.id, BackupRequest::default(), None).await?;
    let id = requested.backup.value.id;
    let job = Job::Backup { application: record.id.clone(), id };

    let began = Instant::now();
    run(&worker, &job).await?;
    let archived = began.elapsed();
    let backup = world.backup(&record.id, id);
    let artifact = backup.artifacts.first().ok_or("nothing was stored")?;
    let Contents::MediaTar { files, bytes, .. } = &artifact.contents else { return Err("no tar".into()) };
    println!("files {files}");
    println!("media_bytes {bytes}");
    println!("tar_bytes {}", artifact.object.size);
    println!("seconds {:.3}", archived.as_secs_f64());
    println!("peak_bytes {}", memory::peak_bytes().unwrap_or(0));
    read(&worker, &record.id, id, &artifact.service).await?;
    if let [into, ..] = into {
        world.records.insert_application(application("restored", into));
        restore(&world, &worker, id).await?;
    }
    Ok(())
}

/// An application that has a storage in `bucket`, and nothing else.
fn application(name: &str, bucket: &str) -> ApplicationRecord {
    let mut record = builders::application(name);
    record.spec.services.retain(|service| matches!(service, Service::Storage(_)));
    for service in &mut record.spec.services {
        if let Service::Storage(storage) = service {
            bucket.clone_into(&mut storage.bucket);
        }
    }
    record
}

/// Restores the backup into the other application, from the request to its end.
async fn restore(world: &World, worker: &Worker, backup: BackupId) -> Result<(), Box<dyn Error>> {
    let into = builders::slug("restored");
    let from = RequestedOrigin { application: Some(builders::slug("bench")), backup };
    let request = RestoreRequest { from, services: None, options: RestoreOptions::default() };
    let began = Instant::now();
    let id = restores::create(&worker.ports, "bench", &into, request, None).await?.restore.value.id;
    run(worker, &Job::Restore { application: into.clone(), id }).await?;
    println!("restore_seconds {:.3}", began.elapsed().as_secs_f64());
    println!("restore_peak_bytes {}", memory::peak_bytes().unwrap_or(0));
    let ended = world.restore(&into, id).await;
    if ended.state == RestoreState::Succeeded { Ok(()) } else { Err(format!("{:?}", ended.failure).into()) }
}

async fn run(worker: &Worker, job: &Job) -> Result<(), Box<dyn Error>> {
    loop {
        match slice(worker, job, None, INVOCATION).await? {
            Answer::Done => return Ok(()),
            Answer::Continue | Answer::Wait { .. } => {}
            Answer::FanOut { ranges } => {
                let branches = stream::iter(ranges).map(|range| branch(worker, job, range));
                branches.buffer_unordered(BRANCHES).try_collect::<()>().await?;
            }
        }
    }
}

async fn branch(worker: &Worker, job: &Job, range: Range) -> Result<(), Box<dyn Error>> {
    while slice(worker, job, Some(&range), INVOCATION).await? != Answer::Done {}
    Ok(())
}

/// Lists a page from the middle of the archive, and reads the last file of it.
async fn read(
    worker: &Worker,
    application: &holdfast_domain::id::ApplicationId,
    id: BackupId,
    service: &holdfast_domain::id::ServiceName,
) -> Result<(), Box<dyn Error>> {
    let ports = &worker.ports;
    let began = Instant::now();
    let page = files::list(ports, application, id, service, "", None, 100).await?;
    println!("page_seconds {:.3}", began.elapsed().as_secs_f64());
    let Some(last) = page.items.last() else { return Ok(()) };
    let began = Instant::now();
    let file = files::find(ports, application, id, service, &last.key).await?;
    println!("find_seconds {:.3}", began.elapsed().as_secs_f64());
    if file.size() <= 16 << 20 {
        let content = files::content(ports, &file).await?;
        println!("file_bytes {}", content.len());
    }
    println!("file_seconds {:.3}", began.elapsed().as_secs_f64());
    Ok(())
}
