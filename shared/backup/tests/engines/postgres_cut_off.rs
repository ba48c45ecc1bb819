//! Dumps that are cut off in mid-stream: an error, and nothing left of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use holdfast_backup::{
    error::SliceError,
    ports::ArtifactStore,
    upload::{Stored, store},
};
use tokio::task::JoinHandle;

use crate::{
    KEY, failure,
    observer::Witness,
    pg_dump_process::PgDumpProcess,
    server::{PASSWORD, Server},
    store::GatedStore,
};

/// More, compressed, than the worker holds in memory: while the gate is closed, `pg_dump` cannot come to its end.
const LARGE: &str = "
    CREATE TABLE large (bytes bytea);
    ALTER TABLE large ALTER bytes SET STORAGE EXTERNAL;
    INSERT INTO large SELECT pg_read_binary_file('/dev/urandom', 0, 1000000) FROM generate_series(1, 110)";

/// A dump whose first part has come to the gate.
struct MidStream {
    gated: Arc<GatedStore>,
    process: PgDumpProcess,
    storing: JoinHandle<Result<Stored, SliceError>>,
    cancel: Arc<AtomicBool>,
}

impl MidStream {
    async fn of(server: &Server, database: &str) -> Self {
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
        let process = PgDumpProcess::of(database).expect("pg_dump is running");
        Self { gated, process, storing, cancel }
    }

    /// Opens the gate and waits for the end.
    async fn end(self) -> (Result<Stored, SliceError>, Arc<GatedStore>, PgDumpProcess) {
        self.gated.open_gate();
        (self.storing.await.unwrap(), self.gated, self.process)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn left_alone_it_succeeds() {
    let server = Server::shared();
    let mid_stream = MidStream::of(&server, "left_alone").await;
    let (outcome, gated, process) = mid_stream.end().await;
    let stored = outcome.unwrap();
    assert!(stored.object.size > 100_000_000);
    assert_eq!(gated.bucket.object_keys(), [KEY]);
    process.assert_gone();
    server.assert_no_session("left_alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_dump_is_killed() {
    let server = Server::shared();
    let mid_stream = MidStream::of(&server, "killed").await;
    mid_stream.process.kill();
    let (outcome, gated, process) = mid_stream.end().await;
    let failure = failure(outcome);
    assert_eq!((failure.code.as_str(), failure.transient), ("dump_killed", true));
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
    gated.assert_empty();
    process.assert_gone();
    server.assert_no_session("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_terminated() {
    let server = Server::shared();
    let mid_stream = MidStream::of(&server, "terminated").await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'terminated' AND pid <> pg_backend_pid()";
    assert_eq!(server.sql("postgres", terminate), "1");
    let (outcome, gated, process) = mid_stream.end().await;
    let failure = failure(outcome);
    assert_eq!((failure.code.as_str(), failure.transient), ("connection_lost", true), "{}", failure.message);
    gated.assert_empty();
    process.assert_gone();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_stops_at_once() {
    let server = Server::start(false);
    let mid_stream = MidStream::of(&server, "stopped").await;
    server.cut_off();
    let (outcome, gated, process) = mid_stream.end().await;
    let failure = failure(outcome);
    assert_eq!((failure.code.as_str(), failure.transient), ("connection_lost", true), "{}", failure.message);
    gated.assert_empty();
    process.assert_gone();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_cancels() {
    let server = Server::shared();
    let mid_stream = MidStream::of(&server, "cancelled").await;
    mid_stream.cancel.store(true, Ordering::SeqCst);
    // The gate stays closed: a store that does not answer is no reason to go on.
    let outcome = mid_stream.storing.await.unwrap();
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    mid_stream.gated.assert_empty();
    mid_stream.process.assert_gone();
    server.assert_no_session("cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_it_goes_away() {
    let server = Server::shared();
    let mid_stream = MidStream::of(&server, "abandoned").await;
    mid_stream.storing.abort();
    assert!(mid_stream.storing.await.unwrap_err().is_cancelled());
    mid_stream.process.assert_gone();
    assert_eq!(mid_stream.gated.bucket.object_keys(), Vec::<String>::new());
    server.assert_no_session("abandoned");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_its_environment_or_command_line_is_secret() {
    let server = Server::shared();
    let mid_stream = MidStream::of(&server, "looked_at").await;
    let contains =
        |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|window| window == needle);
    let environment = mid_stream.process.read("environ").unwrap();
    assert!(contains(&environment, b"PGDATABASE=looked_at\0"));
    assert!(contains(&environment, b"PGPASSFILE=/proc/self/fd/0\0"));
    let allowed = ["LC_ALL", "HOME", "LD_LIBRARY_PATH"];
    for line in environment.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let name = line.split('=').next().unwrap();
        assert!(name.starts_with("PG") || allowed.contains(&name), "{name} is inherited");
    }
    let command_line = mid_stream.process.read("cmdline").unwrap();
    assert!(contains(&command_line, b"--format=custom"));
    for seen in [environment, command_line] {
        // Nor any part of it, were it escaped.
        for part in PASSWORD.split([':', '\\', ' ']).filter(|part| part.len() > 2) {
            assert!(!contains(&seen, part.as_bytes()));
        }
    }
    mid_stream.storing.abort();
    mid_stream.process.assert_gone();
}
