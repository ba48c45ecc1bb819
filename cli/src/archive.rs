//! `holdfast archive`: the files below a prefix of a bucket as one tar, in a file or in a bucket. Needs no API.

mod bar;
mod counted;
mod range;
mod staging;

use std::{path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use holdfast_aws::s3::{S3Artifacts, S3Media};
use holdfast_backup::{
    engines::{Engine as _, media::MediaEngine},
    error::SliceError,
    ports::{self, ArtifactStore, MediaSource},
    upload::{self as backup_upload, Stored},
};
use holdfast_domain::{
    application::StorageService,
    backup::{Contents, Skipped},
};
use indicatif::ProgressBar;
use serde::Serialize;

use self::{counted::Counted, staging::Staging};
use crate::{
    address::{Address, Target},
    arguments::{self, Archive, Connection},
    buckets::Buckets,
    clock::{self, SystemClock},
    failure::Failure,
    interrupts::Interrupts,
    left_out, new_file,
    place::Place,
    table::{plain, size},
    terminal::Terminal,
    upload::{self, Watch},
};

/// What the manifest names as application and service, where there is no registration.
const NAMES: [&str; 2] = ["archive", "MEDIA"];

/// What was archived.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    place: Place,
    /// Path or address of the manifest beside it.
    manifest: String,
    bytes: u64,
    crc64nvme: String,
    bucket: String,
    prefix: String,
    taken_at: DateTime<Utc>,
    files: u64,
    file_bytes: u64,
    /// The first files that are not in it.
    skipped: Vec<Skipped>,
    skipped_count: u64,
    milliseconds: u64,
}

/// Where the archive goes.
enum Store {
    Files(Arc<Staging>),
    Bucket(Arc<S3Artifacts>),
}

/// Archives what the options name.
pub(crate) async fn run(options: Archive, aws: &Connection, terminal: &Terminal) -> Result<(), Failure> {
    let Archive { source, stored, .. } = &options;
    let output = Target::of(&options.output)?;
    stored.check(&output)?;
    match &output {
        Target::File(target) => {
            new_file::check(target, stored.overwrite)?;
            new_file::check(Path::new(&manifest_of(&key_of(target)?)), stored.overwrite)?;
        }
        Target::Object(address)
            if address.bucket == source.bucket && address.key.starts_with(&source.key) =>
        {
            return Err(Failure::usage(format!("{address} would be one of the files that it archives"))
                .fix("write it to another bucket, or under a key that does not begin with the prefix"));
        }
        Target::Object(_) => {}
    }
    let mut interrupts = Interrupts::new()?;
    let began = clock::now();
    let bar = terminal.bar(&source.to_string());
    let outcome = archive(&options, &output, aws, &mut interrupts, &bar).await;
    bar.finish_and_clear();
    let (place, Stored { object, report }) = outcome?;
    let Contents::MediaTar { bucket, prefix, files, bytes, skipped, skipped_count } = report.contents else {
        return Err(Failure::new("the archive is of another kind than was asked for; please report this"));
    };
    let milliseconds = u64::try_from((clock::now() - began).num_milliseconds()).unwrap_or(0);
    let report = Report {
        manifest: manifest_of(&place.to_string()),
        place,
        bytes: object.size,
        crc64nvme: object.crc64nvme,
        bucket,
        prefix,
        taken_at: report.taken_at,
        files,
        file_bytes: bytes,
        skipped,
        skipped_count,
        milliseconds,
    };
    print(&report, source, terminal)
}

/// Makes the archive. Nothing of it is there after a failure, or when somebody interrupts.
async fn archive(
    options: &Archive,
    output: &Target,
    aws: &Connection,
    interrupts: &mut Interrupts,
    bar: &ProgressBar,
) -> Result<(Place, Stored), Failure> {
    let Archive { source, stored, .. } = options;
    let stopper = interrupts.clone();
    let prepared = async {
        let buckets = Buckets::reach(aws).await?;
        let media = Arc::new(Counted::new(buckets.media(&source.bucket).await?));
        let store = open(&buckets, output, stored, media.clone(), stopper).await?;
        let artifacts: Arc<dyn ArtifactStore> = match &store {
            Store::Files(staging) => staging.clone(),
            Store::Bucket(bucket) => bucket.clone(),
        };
        let engine = engine(media.clone(), artifacts, source)?;
        engine.prepare().await.map_err(|error| failed(&error))?;
        Ok::<_, Failure>((media, store, engine))
    };
    let (media, store, engine) = tokio::select! {
        prepared = prepared => prepared?,
        () = interrupts.come() => return Err(interrupted()),
    };
    let mut draw = |so_far| bar::show(bar, &media, so_far);
    match (store, output) {
        (Store::Files(staging), Target::File(target)) => {
            let key = key_of(target)?;
            let mut watch = Watch::new(interrupts, &mut draw);
            let archived = backup_upload::store(staging.as_ref(), &engine, &key, &mut watch).await;
            if interrupts.have_come() {
                return Err(interrupted());
            }
            let archived = archived.map_err(|error| failed(&error))?;
            staging.keep(&[&manifest_of(&key), &key], stored.overwrite)?;
            Ok((Place::File { file: target.clone() }, archived))
        }
        (Store::Bucket(bucket), Target::Object(address)) => {
            match upload::store(&engine, &bucket, address, interrupts, &mut draw).await {
                Ok(archived) => Ok((Place::of_object(address, archived.object.clone()), archived)),
                Err(SliceError::Cancelled) => Err(interrupted()),
                Err(error) => {
                    let of_storage = upload::failed(&error, &bucket, address, stored.overwrite).await;
                    Err(of_storage.unwrap_or_else(|| failed(&error)))
                }
            }
        }
        _ => Err(Failure::new("a file was taken for an object; please report this")),
    }
}

async fn open(
    buckets: &Buckets,
    output: &Target,
    stored: &arguments::Stored,
    media: Arc<Counted<S3Media>>,
    interrupts: Interrupts,
) -> Result<Store, Failure> {
    match output {
        Target::File(target) => Ok(Store::Files(Arc::new(Staging::beside(target, media, interrupts)?))),
        Target::Object(address) => {
            let store = buckets.store(&address.bucket, stored).await?;
            let manifest = Address { key: manifest_of(&address.key), ..address.clone() };
            for address in [address, &manifest] {
                upload::check(&store, address, stored.overwrite).await?;
            }
            Ok(Store::Bucket(Arc::new(store)))
        }
    }
}

fn engine(
    media: Arc<dyn MediaSource>,
    artifacts: Arc<dyn ArtifactStore>,
    source: &Address,
) -> Result<MediaEngine, Failure> {
    let refused = |_| Failure::new("a name of the archive's own is refused; please report this");
    let [application, service] = NAMES;
    let (application, name) = (application.parse().map_err(refused)?, service.parse().map_err(refused)?);
    let service = StorageService { name, bucket: source.bucket.clone(), prefix: source.key.clone() };
    Ok(MediaEngine::over(media, artifacts, Arc::new(SystemClock), application, service))
}

/// The name of the manifest beside the archive `name`.
fn manifest_of(name: &str) -> String {
    ports::named_after(name, Contents::MANIFEST_FILE_NAME)
}

/// A file's path as what is stored under it calls it.
fn key_of(target: &Path) -> Result<String, Failure> {
    let path = target.to_str().map(str::to_owned);
    path.ok_or_else(|| {
        Failure::usage(format!("{} is not UTF-8", target.display())).fix("choose another name")
    })
}

fn interrupted() -> Failure {
    Failure::interrupted("interrupted; nothing is left of the archive")
}

/// A failure of the engine, with what to do about it here rather than in a registration.
fn failed(error: &SliceError) -> Failure {
    Failure::of_engine(error, |code| match code {
        "bucket_missing" => Some("check the address"),
        "bucket_denied" | "object_denied" => Some(
            "s3:ListBucket on the bucket, s3:GetObject and s3:GetObjectTagging on its objects, and the use of their KMS \
             key are needed",
        ),
        "object_changed" | "object_unavailable" | "bucket_unavailable" => Some("run it again"),
        _ => None,
    })
}

fn print(report: &Report, source: &Address, terminal: &Terminal) -> Result<(), Failure> {
    let named = report.skipped.iter().map(|skipped| (skipped.key.as_str(), skipped.reason.as_str()));
    if let Some(words) = left_out::words(report.skipped_count, named) {
        terminal.note(&format!("holdfast: {}", plain(&words)));
    }
    if report.files == 0 {
        terminal.note(&plain(&format!("holdfast: there are no files at {source}; the archive has none")));
    }
    if terminal.is_json() {
        return terminal.json(report);
    }
    terminal.line(&plain(&format!(
        "{}: {} of {source}, {} files of {}, in {}.{:01} s; CRC64NVME {}; manifest {}",
        report.place,
        size(report.bytes),
        report.files,
        size(report.file_bytes),
        report.milliseconds / 1000,
        report.milliseconds % 1000 / 100,
        report.crc64nvme,
        report.manifest,
    )))
}
