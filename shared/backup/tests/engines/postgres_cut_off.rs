//! Dumps that are cut off in mid-stream: an error, and nothing left of them.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use holdfast_backup::{
    error::SliceError,
    ports::ArtifactStore,
    upload::{Stored, store},
};
use holdfast_domain::application::PostgresService;
use holdfast_domain::backup::Failure;
use holdfast_testing::World;
use rstest::rstest;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    KEY, failure,
    observer::Witness,
    pg_dump_process::PgDumpProcess,
    server::{HeldLock, PASSWORD, Server, engine},
    store::GatedStore,
};

/// More, compressed, than the worker holds in memory: while the gate is closed, the dump cannot come to its end.
const LARGE: &str = "
    CREATE TABLE large (bytes bytea);
    ALTER TABLE large ALTER bytes SET STORAGE EXTERNAL;
    INSERT INTO large SELECT pg_read_binary_file('/dev/urandom', 0, 1000000) FROM generate_series(1, 160)";

/// What stands beside the dump.
const ROWS_KEY: &str = "applications/shop/019d4b8e-7a00-7000-8000-000000000000/DEFAULT/database.rows.jsonl";

/// A dump that is on its way.
struct Dump {
    gated: Arc<GatedStore>,
    numbers: mpsc::UnboundedReceiver<u32>,
    storing: JoinHandle<Result<Stored, SliceError>>,
    cancel: Arc<AtomicBool>,
}

impl Dump {
    fn begin(server: &Server, database: &str) -> Self {
        let engine = server.engine(database);
        let (gated, numbers) = GatedStore::closed();
        let mut witness = Witness::default();
        let cancel = witness.cancel.clone();
        let storing = tokio::spawn({
            let artifacts: Arc<dyn ArtifactStore> = gated.clone();
            async move { store(artifacts.as_ref(), &engine, KEY, &mut witness).await }
        });
        Self { gated, numbers, storing, cancel }
    }

    /// One whose rows come to the gate: by then `pg_dump` has done its part.
    async fn in_mid_stream(server: &Server, database: &str) -> Self {
        server.create(database, LARGE);
        let mut dump = Self::begin(server, database);
        assert_eq!(dump.numbers.recv().await, Some(2), "the first part is held back");
        dump
    }

    /// Opens the gate and waits for the end.
    async fn end(self) -> (Result<Stored, SliceError>, Arc<GatedStore>) {
        self.gated.open_gate();
        (self.storing.await.unwrap(), self.gated)
    }

    /// Opens the gate, and expects a failure that leaves nothing.
    async fn fail(self, code: &str) -> Failure {
        let (outcome, gated) = self.end().await;
        let failure = failure(outcome);
        assert_eq!((failure.code.as_str(), failure.transient), (code, true), "{}", failure.message);
        gated.assert_empty();
        failure
    }
}

/// A dump whose `pg_dump` waits for a lock.
struct Waiting {
    dump: Dump,
    process: PgDumpProcess,
    _lock: HeldLock,
}

impl Waiting {
    async fn begin(server: &Server, database: &str) -> Self {
        server.create(database, "CREATE TABLE locked AS SELECT 1 AS one");
        let lock = server.hold_lock(database, "LOCK TABLE locked");
        let dump = Dump::begin(server, database);
        server.wait_for_waiter(database).await;
        Self { dump, process: PgDumpProcess::of(database).expect("pg_dump is running"), _lock: lock }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn left_alone_it_succeeds() {
    let server = Server::shared();
    let dump = Dump::in_mid_stream(&server, "left_alone").await;
    let (outcome, gated) = dump.end().await;
    assert!(outcome.unwrap().object.size > 160_000_000);
    assert_eq!(gated.bucket.object_keys(), [KEY, ROWS_KEY]);
    let rows = gated.bucket.bytes(ROWS_KEY).unwrap();
    let rows = std::str::from_utf8(&rows).unwrap();
    assert!(
        rows.contains(r#""schema":"public","table":"large""#) && rows.contains(r#""rows":160"#),
        "{rows}"
    );
    server.assert_no_session("left_alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_part_is_the_last_to_come() {
    let server = Server::shared();
    let mut dump = Dump::in_mid_stream(&server, "first_is_last").await;
    dump.gated.open_gate();
    let mut last = 0;
    while let Some(number) = dump.numbers.recv().await {
        last = number;
        if number == 1 {
            break;
        }
    }
    dump.storing.await.unwrap().unwrap();
    assert_eq!((last, dump.numbers.try_recv()), (1, Err(mpsc::error::TryRecvError::Empty)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_is_killed() {
    let server = Server::shared();
    let waiting = Waiting::begin(&server, "killed").await;
    waiting.process.kill();
    let failure = waiting.dump.fail("dump_killed").await;
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
    waiting.process.assert_gone();
    server.assert_no_session("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_cancels_while_it_waits_for_a_lock() {
    let server = Server::shared();
    let waiting = Waiting::begin(&server, "waiting").await;
    waiting.dump.cancel.store(true, Ordering::SeqCst);
    let outcome = waiting.dump.storing.await.unwrap();
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    waiting.dump.gated.assert_empty();
    waiting.process.assert_gone();
    // The lock is still held: its session was cancelled, not served.
    server.assert_no_session("waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sessions_are_terminated() {
    let server = Server::shared();
    let dump = Dump::in_mid_stream(&server, "terminated").await;
    assert!(terminate(&server, "terminated", "true") > 1);
    dump.fail("connection_lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_that_holds_the_snapshot_is_terminated() {
    let server = Server::shared();
    let dump = Dump::in_mid_stream(&server, "snapshot_lost").await;
    assert_eq!(
        terminate(&server, "snapshot_lost", "query NOT LIKE 'COPY%' AND state = 'idle in transaction'"),
        1
    );
    dump.fail("connection_lost").await;
    server.assert_no_session("snapshot_lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_reads_is_terminated() {
    let server = Server::shared();
    let dump = Dump::in_mid_stream(&server, "reader_lost").await;
    assert!(terminate(&server, "reader_lost", "query LIKE 'COPY%' AND state = 'active'") > 0);
    dump.fail("connection_lost").await;
    server.assert_no_session("reader_lost");
}

/// Terminates the sessions of the dump that `condition` is true of; says how many those were.
fn terminate(server: &Server, database: &str, condition: &str) -> u32 {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = '{database}' AND application_name = 'holdfast' AND {condition}"
    );
    server.sql("postgres", &sql).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_stops_at_once() {
    let server = Server::start(false);
    let dump = Dump::in_mid_stream(&server, "stopped").await;
    server.cut_off();
    dump.fail("connection_lost").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_cancels() {
    let server = Server::shared();
    let dump = Dump::in_mid_stream(&server, "cancelled").await;
    dump.cancel.store(true, Ordering::SeqCst);
    // The gate stays closed: a store that does not answer is no reason to go on.
    let outcome = dump.storing.await.unwrap();
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    dump.gated.assert_empty();
    server.assert_no_session("cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_it_goes_away() {
    let server = Server::shared();
    let dump = Dump::in_mid_stream(&server, "abandoned").await;
    dump.storing.abort();
    assert!(dump.storing.await.unwrap_err().is_cancelled());
    assert_eq!(dump.gated.bucket.object_keys(), Vec::<String>::new());
    server.assert_no_session("abandoned");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_it_goes_away_while_it_waits_for_a_lock() {
    let server = Server::shared();
    let waiting = Waiting::begin(&server, "abandoned_early").await;
    waiting.dump.storing.abort();
    assert!(waiting.dump.storing.await.unwrap_err().is_cancelled());
    waiting.process.assert_gone();
    server.assert_no_session("abandoned_early");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_its_environment_or_command_line_is_secret() {
    let server = Server::shared();
    let waiting = Waiting::begin(&server, "looked_at").await;
    let contains =
        |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|window| window == needle);
    let environment = waiting.process.read("environ").unwrap();
    assert!(contains(&environment, b"PGDATABASE=looked_at\0"));
    let allowed = ["LC_ALL", "HOME", "LD_LIBRARY_PATH"];
    for line in environment.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let name = line.split('=').next().unwrap();
        assert!(
            name.starts_with("PG") && !name.starts_with("PGPASS") || allowed.contains(&name),
            "{name} is inherited"
        );
        if let Some(folder) = line.strip_prefix("PGHOST=") {
            assert!(!Path::new(folder).exists(), "the socket is gone as soon as pg_dump has connected");
        }
    }
    let command_line = waiting.process.read("cmdline").unwrap();
    assert!(contains(&command_line, b"--format=custom"));
    for seen in [environment, command_line] {
        // Nor any part of it, were it escaped.
        for part in PASSWORD.split([':', '\\', ' ']).filter(|part| part.len() > 2) {
            assert!(!contains(&seen, part.as_bytes()));
        }
    }
    waiting.dump.storing.abort();
    waiting.process.assert_gone();
}

/// One of several ranges of a table fails, while others are read: a value in its middle is of a kind that is not there any
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn one_range_of_a_table_cannot_be_read() {
    let server = Server::shared();
    server.create(
        "torn",
        "CREATE TYPE kind AS ENUM ('right', 'wrong'); CREATE TABLE torn (bytes bytea, kind kind, filling text);
         ALTER TABLE torn ALTER bytes SET STORAGE EXTERNAL;
         INSERT INTO torn SELECT pg_read_binary_file('/dev/urandom', 0, 1000000),
            CASE n WHEN 40 THEN 'wrong' ELSE 'right' END::kind, repeat('x', 1500) FROM generate_series(1, 80) n;
         DELETE FROM pg_enum WHERE enumlabel = 'wrong'",
    );
    let dump = Dump::begin(&server, "torn");
    let (outcome, gated) = dump.end().await;
    let failure = failure(outcome);
    assert_eq!(failure.code, "database_refused", "{}", failure.message);
    assert!(failure.message.contains("invalid internal value for enum"), "{}", failure.message);
    assert!(failure.message.contains("FROM ONLY public.torn WHERE ctid >="), "{}", failure.message);
    gated.assert_empty();
    server.assert_no_session("torn");
}

/// The table of contents comes back with another byte, wherever that is: the backup does not count.
#[rstest]
#[case::in_an_entry(200)]
#[case::in_an_offset(usize::MAX)]
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_table_of_contents_is_another_one(#[case] at: usize) {
    let server = Server::shared();
    let database = format!("altered_{}", at.min(1000));
    server.create(&database, "CREATE TABLE t AS SELECT 1 AS one");
    let store_of = GatedStore::reading_back(move |bytes| {
        // The last entry ends with an offset that is all zeros, or with one that is not.
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1;
    });
    let outcome = store(&store_of, &server.engine(&database), KEY, &mut Witness::default()).await;
    let failure = failure(outcome);
    assert_eq!((failure.code.as_str(), failure.transient), ("archive_differs", false), "{}", failure.message);
    assert_eq!(store_of.bucket.object_keys(), [KEY], "the abort deletes it, with everything else");
}

/// A name that stands for several servers: the sessions that read come to another one than that of `pg_dump`.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_reach_another_server() {
    let (server, other) = (Server::shared(), Server::start(false));
    for server in [&*server, &other] {
        server.create("elsewhere", "CREATE TABLE t AS SELECT 1 AS one");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service =
        PostgresService { port: listener.local_addr().unwrap().port(), ..server.service("elsewhere") };
    let ports = [server.port, server.port].into_iter().chain(std::iter::repeat(other.port));
    let balancing = tokio::spawn(async move {
        for port in ports {
            let (mut session, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut session, &mut server).await;
            });
        }
    });
    let world = World::new();
    let engine = engine(service, "postgres", PASSWORD);
    let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
    let failure = failure(outcome);
    assert_eq!((failure.code.as_str(), failure.transient), ("connection_lost", true), "{}", failure.message);
    assert!(failure.message.contains("the session that holds the snapshot"), "{}", failure.message);
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    balancing.abort();
}
