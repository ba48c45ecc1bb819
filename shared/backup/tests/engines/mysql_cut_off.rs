//! Dumps that are cut off in mid-stream: an error, and nothing left of them.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use holdfast_backup::{
    error::SliceError,
    ports::{ArtifactStore, beside},
    upload::{Stored, store},
};
use holdfast_domain::backup::Failure;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    KEY,
    child_process::{arguments, child_process},
    failure,
    mariadb_server::{MariaDb, PASSWORD},
    observer::Witness,
    store::GatedStore,
};

/// More, compressed, than the worker holds in memory: while the gate is closed, the dump cannot come to its end.
const LARGE: &str = "CREATE TABLE a_large (bytes VARBINARY(1024));
    INSERT INTO a_large SELECT RANDOM_BYTES(1024) FROM seq_1_to_160000;
    CREATE TABLE z_small (a INT);
    INSERT INTO z_small VALUES (1)";

/// A dump that is on its way.
struct Dump {
    database: &'static str,
    gated: Arc<GatedStore>,
    _numbers: mpsc::UnboundedReceiver<u32>,
    storing: JoinHandle<Result<Stored, SliceError>>,
    cancel: Arc<AtomicBool>,
    process: i32,
}

impl Dump {
    /// One whose first part waits at the gate.
    async fn in_mid_stream(server: &MariaDb, database: &'static str) -> Self {
        server.create(database, LARGE);
        let engine = server.engine(database);
        let (gated, mut numbers) = GatedStore::closed();
        let mut witness = Witness::default();
        let cancel = witness.cancel.clone();
        let storing = tokio::spawn({
            let artifacts: Arc<dyn ArtifactStore> = gated.clone();
            async move { store(artifacts.as_ref(), &engine, KEY, &mut witness).await }
        });
        assert_eq!(numbers.recv().await, Some(1));
        let process = dumping(database).expect("mariadb-dump is running");
        Self { database, gated, _numbers: numbers, storing, cancel, process }
    }

    /// Opens the gate, and expects a failure that leaves nothing.
    async fn fail(self, code: &str) -> Failure {
        self.gated.open_gate();
        let failure = failure(self.storing.await.unwrap());
        assert_eq!((failure.code.as_str(), failure.transient), (code, true), "{}", failure.message);
        self.gated.assert_empty();
        assert_eq!(dumping(self.database), None);
        assert!(!failure.message.contains(PASSWORD));
        failure
    }
}

/// The `mariadb-dump` that works on `database`.
fn dumping(database: &str) -> Option<i32> {
    child_process(|pid| {
        let arguments = arguments(pid)?;
        let is_wanted = arguments.first()?.ends_with(b"mariadb-dump")
            && arguments.iter().skip(1).any(|argument| argument == database.as_bytes());
        Some(is_wanted)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn left_alone_it_succeeds_and_tells_nobody_the_password() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_left_alone").await;
    for file in ["cmdline", "environ"] {
        let told = fs::read(format!("/proc/{}/{file}", dump.process)).unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(!told.is_empty() && !told.contains("pa:ss"), "{told}");
    }
    dump.gated.open_gate();
    assert!(dump.storing.await.unwrap().unwrap().object.size > 160_000_000);
    assert_eq!(dump.gated.bucket.object_keys(), [KEY.to_owned(), beside(KEY, "database.rows.jsonl")]);
    assert_eq!(dumping("my_left_alone"), None);
    server.assert_no_session("my_left_alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_killed_session").await;
    let session = "SELECT id FROM information_schema.processlist WHERE db = 'my_killed_session'";
    server.sql("mysql", &format!("KILL {}", server.sql("mysql", session)));
    dump.fail("connection_lost").await;
    server.assert_no_session("my_killed_session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops() {
    let server = MariaDb::start(false);
    let dump = Dump::in_mid_stream(&server, "my_stopped").await;
    server.cut_off();
    let failure = dump.fail("connection_lost").await;
    assert!(failure.message.contains("my_stopped"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_dump_program() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_killed_program").await;
    kill_process(Pid::from_raw(dump.process).unwrap(), Signal::KILL).unwrap();
    let failure = dump.fail("dump_killed").await;
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
    server.assert_no_session("my_killed_program");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_ends_program_and_session() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_cancelled").await;
    dump.cancel.store(true, Ordering::SeqCst);
    dump.gated.open_gate();
    let outcome = dump.storing.await.unwrap();
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    dump.gated.assert_empty();
    assert_eq!(dumping("my_cancelled"), None);
    server.assert_no_session("my_cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_program_and_session() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_deadline").await;
    // What a deadline does: nobody polls the dump any more.
    dump.storing.abort();
    assert!(dump.storing.await.unwrap_err().is_cancelled());
    let started = Instant::now();
    while dumping("my_deadline").is_some() {
        assert!(started.elapsed() < Duration::from_secs(5), "mariadb-dump is left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.assert_no_session("my_deadline");
    assert_eq!(dump.gated.bucket.object_keys(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_altered_meanwhile_is_not_taken_for_whole() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_altered").await;
    server.sql("my_altered", "ALTER TABLE z_small ADD COLUMN b INT DEFAULT 5, ALGORITHM=INSTANT");
    let failure = dump.fail("schema_changed").await;
    assert!(failure.message.contains("z_small"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_emptied_meanwhile_is_not_taken_for_whole() {
    let server = MariaDb::shared();
    let dump = Dump::in_mid_stream(&server, "my_emptied").await;
    server.sql("my_emptied", "TRUNCATE z_small");
    dump.fail("schema_changed").await;
}
