//! How much memory a large stream takes. Run alone, by name, for the figure is the whole process's:
//! `cargo test -p holdfast-backup --test engines -- --ignored --exact --nocapture memory::…`

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use holdfast_backup::{
    engines::{Engine, media::MediaEngine},
    ports::{ListedObject, MediaObject, MediaPage, MediaSource, StorageError},
    upload::store,
};
use holdfast_domain::{application::StorageService, region::Region};
use holdfast_testing::{World, builders};

use crate::{
    KEY,
    observer::Witness,
    pg_dump_process::{PgDumpProcess, peak_kib},
    server::Server,
    store::NullStore,
};

const MIB: u64 = 1024 * 1024;

/// What a worker may use at its peak, all of it, in KiB.
const LIMIT_KIB: u64 = 256 * 1024;

fn own_peak_kib() -> u64 {
    peak_kib(&fs::read_to_string("/proc/self/status").unwrap()).unwrap()
}

/// Stores what `engine` yields nowhere; returns its size.
async fn drain(engine: &dyn Engine) -> u64 {
    store(&NullStore::default(), engine, KEY, &mut Witness::default()).await.unwrap().object.size
}

#[expect(clippy::disallowed_macros, reason = "a measurement is for people to read")]
fn report(what: &str, bytes: u64, own: u64, child: u64) {
    println!("{what}: {} MiB stored; peak {own} KiB of the worker, {child} KiB of pg_dump", bytes / MIB);
    assert!(own + child < LIMIT_KIB, "{own} + {child} KiB");
}

/// Dumps what `sql` makes, which is at least `least` bytes in the archive.
async fn measure(database: &str, sql: &str, least: u64) {
    let server = Server::shared();
    server.create(database, sql);
    // Its part is short: it may well be over before anybody looks.
    let peak = Arc::new(AtomicU64::new(0));
    let watching = tokio::spawn({
        let (peak, database) = (peak.clone(), database.to_owned());
        async move {
            loop {
                let process = PgDumpProcess::of(&database);
                peak.fetch_max(process.and_then(PgDumpProcess::peak_kib).unwrap_or(0), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let bytes = drain(&server.engine(database)).await;
    watching.abort();
    assert!(bytes > least, "{bytes}");
    report(database, bytes, own_peak_kib(), peak.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; its figure is that of the whole process"]
async fn of_a_large_database() {
    measure(
        "measured",
        "CREATE TABLE large (bytes bytea);
         ALTER TABLE large ALTER bytes SET STORAGE EXTERNAL;
         INSERT INTO large SELECT pg_read_binary_file('/dev/urandom', 0, 1000000) FROM generate_series(1, 1200)",
        1024 * MIB,
    )
    .await;
}

/// What is deflated to a tenth must not be held in the room that it had before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; its figure is that of the whole process"]
async fn of_text_that_compresses_well() {
    measure(
        "measured_text",
        "CREATE TABLE large AS SELECT repeat(md5(n::text), 8) AS text FROM generate_series(1, 8000000) AS n",
        128 * MIB,
    )
    .await;
}

/// A bucket of objects that exist only while they are read: 2 GiB of small ones, then large ones.
struct Endless;

impl Endless {
    const SMALL: u64 = 4096;
    const LARGE: u64 = 8;

    fn size(number: u64) -> u64 {
        if number < Self::SMALL { 512 * 1024 } else { 128 * MIB }
    }
}

#[async_trait]
impl MediaSource for Endless {
    async fn region(&self, _bucket: &str) -> Result<Region, StorageError> {
        Ok(builders::region())
    }

    async fn list(
        &self,
        _bucket: &str,
        _prefix: &str,
        _after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        let from: u64 = token.map_or(0, |token| token.parse().unwrap());
        let to = (from + 1000).min(Self::SMALL + Self::LARGE);
        let object = |number| ListedObject {
            key: format!("{number:08}"),
            size: Self::size(number),
            etag: "\"1\"".to_owned(),
            last_modified: builders::now(),
        };
        let next = (to < Self::SMALL + Self::LARGE).then(|| to.to_string());
        Ok(MediaPage { objects: (from..to).map(object).collect(), next })
    }

    async fn open(
        &self,
        _bucket: &str,
        key: &str,
        _etag: Option<&str>,
        _offset: u64,
        length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        let size = Self::size(key.parse().unwrap());
        let pieces = length.unwrap_or(size).min(size) / (64 * 1024);
        let body =
            stream::iter(0..pieces).map(|piece| Ok(Bytes::from(vec![piece.to_le_bytes()[0]; 64 * 1024])));
        Ok(MediaObject {
            size,
            etag: "\"1\"".to_owned(),
            version_id: None,
            last_modified: builders::now(),
            content_type: None,
            cache_control: None,
            content_encoding: None,
            content_disposition: None,
            content_language: None,
            expires: None,
            website_redirect_location: None,
            metadata: [].into(),
            tag_count: 0,
            body: body.boxed(),
        })
    }

    async fn tags(&self, _bucket: &str, _key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        Ok(BTreeMap::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; its figure is that of the whole process"]
async fn of_much_media() {
    let service = StorageService {
        name: builders::service_name("MEDIA"),
        bucket: "much".to_owned(),
        prefix: String::new(),
    };
    let mut ports = World::new().ports;
    ports.media = Arc::new(Endless);
    let bytes = drain(&MediaEngine::new(&ports, builders::slug("shop"), service)).await;
    assert!(bytes > 2048 * MIB);
    report("media", bytes, own_peak_kib(), 0);
}
