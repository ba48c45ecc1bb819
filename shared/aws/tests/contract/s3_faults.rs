//! A backup whose calls to S3 fail: it ends as stored and right, or as failed with its reason and nothing left.

use std::{collections::BTreeMap, io::Read, time::Duration};

use aws_sdk_s3::{
    Client, Config,
    config::{
        retry::{RetryConfig, RetryPartition},
        timeout::TimeoutConfig,
    },
    primitives::ByteStream,
};
use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_aws::s3::{S3Artifacts, S3Media};
use holdfast_backup::{
    abort::abort,
    job::{Caught, Job},
    ports::{ArtifactStore, Ports, StorageError},
    request::{self, BackupRequest},
    slice::Worker,
};
use holdfast_domain::{
    application::Service,
    backup::{self, Backup, State},
    id::{ApplicationId, BackupId},
};
use holdfast_testing::{
    World, builders,
    machine::{drive_worker, worker},
};
use rstest::rstest;
use tokio::sync::OnceCell;

use crate::{
    emulator,
    faulty_s3::{FaultyS3, Times, Trouble},
    s3_artifacts::{bucket, make_bucket, store},
};

/// How long an answer is waited for that does not come. A call that is slower than that on a busy machine is tried again, too.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is backed up: a file whose most part S3 copies, and others before and after it, in parts that are sent.
fn files() -> BTreeMap<&'static str, Bytes> {
    let large: Vec<u8> = (0_u32..(10 << 20) + 1000).map(|at| (at % 253) as u8).collect();
    BTreeMap::from([
        ("a.txt", Bytes::from_static(b"a small one")),
        ("b.mp4", large.into()),
        ("c.txt", Bytes::from_static(b"the last one")),
    ])
}

/// The bucket that is backed up: nobody changes it, so all tests share it.
async fn media_bucket(client: &Client) -> &'static str {
    static BUCKET: OnceCell<String> = OnceCell::const_new();
    BUCKET
        .get_or_init(|| async {
            let name = emulator::unique("faulty-media");
            make_bucket(client, &name).await;
            for (key, bytes) in files() {
                let put = client.put_object().bucket(&name).key(format!("media/{key}"));
                put.body(ByteStream::from(bytes)).send().await.unwrap();
            }
            name
        })
        .await
}

/// A client that reaches S3 by way of `s3`, and is as the product's but for what it waits between attempts.
fn by_way_of(s3: &FaultyS3, client: &Client) -> Config {
    let attempts = client.config().retry_config().unwrap().max_attempts();
    let retries =
        RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(Duration::from_millis(1));
    let config = client.config().to_builder().endpoint_url(format!("http://127.0.0.1:{}", s3.port));
    // Otherwise what one test fails uses up how often the others may try again.
    config.retry_config(retries).retry_partition(RetryPartition::new(emulator::unique("retries"))).build()
}

/// A backup of a storage that is in S3, into S3, where calls fail.
struct Scene {
    world: World,
    worker: Worker,
    s3: FaultyS3,
    /// S3 where nothing fails.
    client: Client,
    bucket: String,
    shop: ApplicationId,
    id: BackupId,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|config| config).await
    }

    /// One that gives an answer up after [`PATIENCE`].
    async fn impatient() -> Self {
        let timeouts = TimeoutConfig::builder().connect_timeout(PATIENCE).read_timeout(PATIENCE).build();
        Self::with(|config| config.to_builder().timeout_config(timeouts).build()).await
    }

    async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let (client, bucket) = bucket().await;
        let s3 = FaultyS3::before(emulator::port_of_s3().await).await;
        let faulty = Client::from_conf(change(by_way_of(&s3, &client)));
        let world = World::new();
        let mut record = builders::application("shop");
        record.spec.services.retain(|service| matches!(service, Service::Storage(_)));
        let media = media_bucket(&client).await;
        if let Service::Storage(storage) = &mut record.spec.services[0] {
            media.clone_into(&mut storage.bucket);
        }
        world.records.insert_application(record.clone());
        let ports = Ports {
            artifacts: std::sync::Arc::new(store(&faulty, &bucket)),
            media: std::sync::Arc::new(S3Media::new(faulty)),
            ..world.ports.clone()
        };
        let worker = Worker { ports, ..worker(&world) };
        let asked = request::create(&worker.ports, "anna", &record.id, BackupRequest::default(), None).await;
        let id = asked.unwrap().backup.value.id;
        Self { world, worker, s3, client, bucket, shop: record.id, id }
    }

    async fn drive(&self) -> Backup {
        drive_worker(&self.world, &self.worker, &self.shop, self.id).await
    }

    fn clean(&self) -> S3Artifacts {
        store(&self.client, &self.bucket)
    }

    fn prefix(&self) -> String {
        backup::prefix(&self.shop, self.id)
    }

    /// What it ends as: once nothing fails any more, the abort step comes back if it has not been able to do its work.
    async fn assert_right(&self, backup: Backup) -> State {
        let what = format!("{:?}", self.s3.struck());
        self.s3.heal();
        let mut backup = backup;
        if backup.state.is_open() {
            let job = Job::Backup { application: self.shop.clone(), id: self.id };
            abort(&self.worker, &job, &Caught::default()).await.unwrap();
            backup = self.world.backup(&self.shop, self.id);
        }
        match backup.state {
            State::Succeeded => self.assert_whole(&backup, &what).await,
            State::Failed => {
                assert!(!backup.failure.as_ref().unwrap().message.is_empty(), "{what}");
                let versions = self.client.list_object_versions().bucket(&self.bucket).send().await.unwrap();
                assert!(versions.versions().is_empty() && versions.delete_markers().is_empty(), "{what}");
            }
            other => panic!("{what}: it ended as {other:?}"),
        }
        assert_eq!(self.clean().open_uploads(&self.prefix()).await.unwrap(), [], "{what}");
        // The emulator keeps everything in memory.
        self.clean().purge(&self.prefix()).await.unwrap();
        backup.state
    }

    /// Every file is in the archive, and the archive is what the record says.
    async fn assert_whole(&self, backup: &Backup, what: &str) {
        let store = self.clean();
        let keys = store.keys(&self.prefix()).await.unwrap();
        assert_eq!(keys.len(), 4, "{what}: {keys:?}");
        let [artifact] = &backup.artifacts[..] else { panic!("{what}: {:?}", backup.artifacts) };
        assert_eq!(store.describe(&artifact.object.key).await.unwrap().as_ref(), Some(&artifact.object));
        let tar = store.get(&artifact.object.key).await.unwrap().unwrap();
        assert_eq!(Crc64Nvme::of(&tar).to_string(), artifact.object.crc64nvme, "{what}");
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(&tar[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.insert(name, bytes);
        }
        for (name, bytes) in files() {
            assert!(
                found.get(name).is_some_and(|found| *found == bytes),
                "{what}: {name} in {:?}",
                found.keys()
            );
        }
    }
}

/// One call fails once: that is made good.
#[rstest]
#[tokio::test]
async fn a_call_that_fails_once_is_made_good(
    #[values(
        ("CreateMultipartUpload", 1),
        ("UploadPart", 1),
        ("UploadPart", 2),
        ("UploadPartCopy", 1),
        ("CompleteMultipartUpload", 1),
        ("HeadObject", 1),
        ("HeadObject", 2),
        ("PutObject", 1),
        ("PutObject", 2),
        ("GetObject", 1),
        ("GetObject", 3),
        ("ListObjectsV2", 1),
        ("ListMultipartUploads", 1)
    )]
    call: (&'static str, usize),
) {
    for trouble in Trouble::of(call.0) {
        let scene = Scene::new().await;
        scene.s3.on(call.0, call.1, trouble, Times::Once);
        let backup = scene.drive().await;
        let struck = scene.s3.struck();
        assert_eq!(struck, [(call.0, trouble)]);
        let failure = backup.failure.clone();
        assert_eq!(scene.assert_right(backup).await, State::Succeeded, "{call:?} {trouble:?}: {failure:?}");
    }
}

/// A call that has taken place is not answered: it is made again after a while.
#[rstest]
#[tokio::test]
async fn a_call_that_is_never_answered_is_made_good(
    #[values(
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
        "PutObject",
        "GetObject"
    )]
    call: &'static str,
) {
    let scene = Scene::impatient().await;
    scene.s3.on(call, 1, Trouble::Silent, Times::Once);
    let backup = scene.drive().await;
    assert_eq!(scene.s3.struck(), [(call, Trouble::Silent)]);
    let failure = backup.failure.clone();
    assert_eq!(scene.assert_right(backup).await, State::Succeeded, "{failure:?}");
}

/// A call fails whenever it is made: the backup fails, and says which call it was and that it may pass.
#[rstest]
#[tokio::test]
async fn a_call_that_always_fails_fails_the_backup(
    #[values(
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
        "HeadObject",
        "PutObject",
        "GetObject",
        "ListObjectsV2",
        "ListMultipartUploads"
    )]
    call: &'static str,
    #[values(Trouble::SlowDown, Trouble::ResetBefore, Trouble::ResetAfter, Trouble::Truncated)]
    trouble: Trouble,
) {
    let scene = Scene::new().await;
    scene.s3.on(call, 1, trouble, Times::Always);
    let backup = scene.drive().await;
    // Without the list of uploads an abort cannot end either.
    if call != "ListMultipartUploads" {
        let failure = backup.failure.as_ref().unwrap();
        assert!(
            failure.transient && failure.code.ends_with("_unavailable"),
            "{call} {trouble:?}: {failure:?}"
        );
        let names_it = failure.message.contains(call) || failure.message.contains("broke off");
        assert!(names_it, "{call} {trouble:?}: {}", failure.message);
    }
    assert_eq!(scene.assert_right(backup).await, State::Failed);
}

/// An upload is completed, and nobody is ever told so: the object is there, and that decides.
#[rstest]
#[case(Trouble::ResetAfter, State::Succeeded)]
#[case(Trouble::ErrorAfter, State::Succeeded)]
#[case(Trouble::Truncated, State::Succeeded)]
#[case(Trouble::ErrorWithin200, State::Succeeded)]
#[case(Trouble::ResetBefore, State::Failed)]
#[case(Trouble::SlowDown, State::Failed)]
#[tokio::test]
async fn a_completion_that_is_never_answered(#[case] trouble: Trouble, #[case] state: State) {
    let scene = Scene::new().await;
    scene.s3.on("CompleteMultipartUpload", 1, trouble, Times::Always);
    let backup = scene.drive().await;
    assert_eq!(scene.assert_right(backup).await, state);
}

/// The way out fails too: what it has not reached, the abort step finds when it comes back.
#[rstest]
#[tokio::test]
async fn an_abort_that_fails_is_made_good(
    #[values("AbortMultipartUpload", "ListMultipartUploads", "ListObjectVersions", "DeleteObjects")]
    call: &'static str,
    #[values(Times::Once, Times::Always)] times: Times,
) {
    let troubles = match times {
        Times::Once => Trouble::of(call).collect::<Vec<_>>(),
        // Whoever waits for nothing waits long.
        Times::Always => vec![Trouble::SlowDown, Trouble::ResetAfter, Trouble::Truncated],
    };
    for trouble in troubles {
        let scene = Scene::new().await;
        // All is stored but the document that describes it, and of one upload that was begun nobody has ever heard.
        scene.s3.on("CreateMultipartUpload", 1, Trouble::ResetAfter, Times::Once);
        scene.s3.on("PutObject", 2, Trouble::SlowDown, Times::Always);
        scene.s3.on(call, 1, trouble, times);
        let backup = scene.drive().await;
        let what = format!("{call} {trouble:?} {times:?}: {:?}", scene.s3.struck());
        assert!(scene.s3.struck().contains(&(call, trouble)), "{what}");
        assert_eq!(scene.assert_right(backup).await, State::Failed, "{what}");
    }
}

/// Every call may fail, in any way.
#[tokio::test]
async fn chaos_ends_as_stored_and_right_or_as_nothing() {
    let (mut succeeded, mut failed) = (0, 0);
    for seed in 0..16 {
        let scene = Scene::new().await;
        scene.s3.chaos(seed, 250 + 45 * seed);
        let backup = scene.drive().await;
        match scene.assert_right(backup).await {
            State::Succeeded => succeeded += 1,
            _ => failed += 1,
        }
    }
    assert!(succeeded > 0 && failed > 0, "{succeeded} succeeded, {failed} failed");
}

/// A part of an object that is read back, as of a dump's table of contents, is those bytes or an error.
#[rstest]
#[tokio::test]
async fn what_is_read_back_is_right_or_an_error(
    #[values(
        Trouble::InternalError,
        Trouble::SlowDown,
        Trouble::ResetBefore,
        Trouble::ResetAfter,
        Trouble::Truncated
    )]
    trouble: Trouble,
    #[values(Times::Once, Times::Always)] times: Times,
) {
    let (client, bucket) = bucket().await;
    let s3 = FaultyS3::before(emulator::port_of_s3().await).await;
    let store = store(&Client::from_conf(by_way_of(&s3, &client)), &bucket);
    let key = "applications/shop/0195d9a2-0000-7000-8000-000000000001/DEFAULT/database.dump";
    let bytes: Bytes = (0_u32..200_000).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    let upload = store.begin(key, "application/octet-stream").await.unwrap();
    let segment = Segment { number: 1, crc64nvme: Crc64Nvme::of(&bytes), bytes: bytes.clone() };
    let whole = segment.crc64nvme;
    let part = store.put_part(&upload, segment).await.unwrap();
    store.complete(&upload, &[part], whole).await.unwrap();
    let object = store.describe(key).await.unwrap().unwrap();
    s3.on("GetObject", 1, trouble, times);
    let read = store.read(&object, 1000..150_000).await;
    assert!(!s3.struck().is_empty());
    match (read, times) {
        (Ok(read), Times::Once) => assert!(read == bytes[1000..150_000]),
        // Nobody asks again for a body that has begun.
        (Err(StorageError::Unavailable(_)), Times::Always) => {}
        (Err(StorageError::Unavailable(_)), Times::Once) if trouble == Trouble::Truncated => {}
        (other, _) => panic!("{trouble:?} {times:?}: {other:?}"),
    }
}
