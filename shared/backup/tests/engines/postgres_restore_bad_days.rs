//! Restores that do not come to their end: the database that was there is as it was, and nothing else is left.

use std::{fs, path::Path, sync::Arc, time::Duration};

use holdfast_archive::{
    checksum::Crc64Nvme,
    pg_custom::{Contents, Entry, Offset},
};
use holdfast_backup::{
    engines::postgres::{DumpCompression, RestoreOptions, RestorePhase},
    error::SliceError,
};
use rstest::rstest;

use crate::{
    assert_failure, failure,
    postgres_everything::{as_text, assert_same, dump},
    postgres_restore::{OPTIONS, SHOP, assert_nothing_left, file, restore},
    server::Server,
};

const OVERWRITE: RestoreOptions = RestoreOptions { overwrite: true, ..OPTIONS };

/// A database to restore over, which must stay as it is; what it is, as text.
fn precious(server: &Server, database: &str) -> String {
    server.create(database, "CREATE TABLE precious AS SELECT n FROM generate_series(1, 10) n");
    as_text(server, database)
}

/// That `database` is as it was, and nothing else is left.
fn assert_as_it_was(server: &Server, database: &str, before: &str) {
    assert_nothing_left(server, database);
    assert_same(&as_text(server, database), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_is_another_one_anywhere() {
    let server = Server::shared();
    server.create("flip_source", SHOP);
    let archive = dump(&server, "flip_source", DumpCompression::Auto).await;
    let before = precious(&server, "flipped");
    let data = usize::try_from(Contents::read(&archive[..]).unwrap().end).unwrap();
    let (_folder, path) = file(&archive);

    // With the checksum of the file, each of them is noticed before anything is done.
    let checked = RestoreOptions { checksum: Some(Crc64Nvme::of(&archive)), ..OVERWRITE };
    for at in (0..archive.len()).step_by(archive.len() / 97) {
        let mut flipped = archive.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let failure = failure(server.restore("flipped", checked).prepare(&path).await);
        let codes = ["archive_damaged", "not_an_archive"];
        assert!(codes.contains(&failure.code.as_str()), "at {at}: {}", failure.message);
    }
    // Without, those in the data are noticed by their own checksums, or because blocks do not follow each other.
    for at in (data..archive.len()).step_by((archive.len() - data) / 23) {
        let mut flipped = archive.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let failure = failure(restore(&server, "flipped", &path, OVERWRITE).await);
        assert_eq!(failure.code, "archive_damaged", "at {at}: {}", failure.message);
    }
    assert_as_it_was(&server, "flipped", &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_cut_off() {
    let server = Server::shared();
    server.create("short_source", SHOP);
    let archive = dump(&server, "short_source", DumpCompression::Auto).await;
    let data = usize::try_from(Contents::read(&archive[..]).unwrap().end).unwrap();
    let (_folder, path) = file(b"");
    for end in [6, 20, data / 2, data, data + 1, data + 100, archive.len() - 6, archive.len() - 1] {
        fs::write(&path, &archive[..end]).unwrap();
        let failure = failure(server.restore("short", OPTIONS).prepare(&path).await);
        assert_eq!(failure.code, "archive_damaged", "{end} bytes: {}", failure.message);
    }
    fs::write(&path, [&archive[..], b"\0"].concat()).unwrap();
    let failure = failure(server.restore("short", OPTIONS).prepare(&path).await);
    assert_failure(&failure, "archive_damaged", false, &["download or copy it again"]);
}

#[rstest]
#[case::zstd(b"\x28\xb5\x2f\xfd", "zstd -dc")]
#[case::sql(b"-- MariaDB dump 10.19", "mariadb")]
#[tokio::test]
async fn another_file_is_told_apart(#[case] bytes: &[u8], #[case] words: &str) {
    let server = Server::shared();
    let (folder, path) = file(bytes);
    let refused = failure(server.restore("any", OPTIONS).prepare(&path).await);
    assert_failure(&refused, "not_an_archive", false, &[words]);
    let refused = failure(server.restore("any", OPTIONS).prepare(folder.path()).await);
    assert_failure(&refused, "not_an_archive", false, &["pg_restore"]);
    let refused = failure(server.restore("any", OPTIONS).prepare(Path::new("/nowhere")).await);
    assert_failure(&refused, "archive_unreadable", false, &["/nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_let_us_in() {
    let server = Server::shared();
    server.create("closed_source", SHOP);
    let (_folder, path) = file(&dump(&server, "closed_source", DumpCompression::Auto).await);
    let restoring = server.restore_as("closed", "postgres", "wrong", OPTIONS);
    assert_failure(&failure(restoring.prepare(&path).await), "wrong_password", false, &["postgres"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_has_something_in_it_or_somebody_on_it() {
    let server = Server::shared();
    server.create("used_source", SHOP);
    let (_folder, path) = file(&dump(&server, "used_source", DumpCompression::Auto).await);
    let before = precious(&server, "used");
    let codes = |plan: &holdfast_backup::engines::postgres::RestorePlan| {
        plan.refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>()
    };
    let somebody = server.hold_lock("used", "SELECT count(*) FROM precious");
    let prepared = server.restore("used", OPTIONS).prepare(&path).await.unwrap();
    assert_eq!(codes(&prepared.plan), ["target_not_empty", "database_in_use"]);
    let refused = failure(prepared.run(std::future::pending()).await);
    assert_failure(&refused, "target_not_empty", false, &["with overwrite"]);
    assert_as_it_was(&server, "used", &before);

    // Somebody who comes later to an empty database.
    server.create("empty", "");
    let prepared = server.restore("empty", OPTIONS).prepare(&path).await.unwrap();
    let late = server.hold_lock("empty", "SELECT 1");
    let refused = failure(prepared.run(std::future::pending()).await);
    assert_failure(&refused, "database_in_use", true, &["end the sessions"]);
    drop(late);
    assert_as_it_was(&server, "empty", &as_text(&server, "empty"));

    restore(&server, "used", &path, OVERWRITE).await.unwrap();
    assert_eq!(server.sql("used", "SELECT count(*) FROM product"), "2000");
    assert_nothing_left(&server, "used");
    drop(somebody);
}

/// The archive with one more entry, and blocks that nobody has placed.
fn with_entry(archive: &[u8], change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut contents = Contents::read(archive).unwrap();
    let data = &archive[usize::try_from(contents.end).unwrap()..];
    for entry in &mut contents.entries {
        if let Offset::At(_) = entry.offset {
            entry.offset = Offset::Unknown(0);
        }
    }
    let mut entry =
        contents.entries.iter().find(|entry| entry.description.as_deref() == Some(b"TABLE")).unwrap().clone();
    entry.dump_id = contents.entries.iter().map(|entry| entry.dump_id).max().unwrap() + 1;
    entry.dependencies.clear();
    change(&mut entry);
    contents.entries.push(entry);
    [&contents.to_bytes()[..], data].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_or_a_policys_role_that_is_missing_is_said_before() {
    let server = Server::shared();
    server.create("missing_source", SHOP);
    let archive = dump(&server, "missing_source", DumpCompression::Auto).await;
    let extended = with_entry(&archive, |entry| {
        (entry.description, entry.tag) = (Some("EXTENSION".into()), Some("postgis".into()));
    });
    let policy = with_entry(&archive, |entry| {
        entry.description = Some("POLICY".into());
        entry.definition = Some("CREATE POLICY p ON public.product TO nobody_such USING (true);".into());
    });
    for (archive, code, words) in
        [(extended, "extension_missing", "postgis"), (policy, "role_missing", "nobody_such")]
    {
        let (_folder, path) = file(&archive);
        let refused = failure(restore(&server, "missing", &path, OPTIONS).await);
        assert_failure(&refused, code, false, &[words]);
    }
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'missing'"), "0");
}

/// A statement that the server refuses, in the middle of the schema and after the data.
#[rstest]
#[case::schema(2, "refused_schema")]
#[case::indexes(4, "refused_indexes")]
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_refused(#[case] section: i32, #[case] database: &str) {
    let server = Server::shared();
    server.create(&format!("{database}_source"), SHOP);
    let archive = dump(&server, &format!("{database}_source"), DumpCompression::Auto).await;
    let broken = with_entry(&archive, |entry| {
        (entry.section, entry.definition) = (section, Some("SELECT 1 / 0;".into()));
        entry.description = Some("INDEX".into());
    });
    let (_folder, path) = file(&broken);
    let before = precious(&server, database);
    let refused = failure(restore(&server, database, &path, OVERWRITE).await);
    assert_failure(&refused, "restore_refused", false, &["division by zero"]);
    assert_as_it_was(&server, database, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_stops_it_at_any_moment() {
    let server = Server::shared();
    server.create("stopped_source", SHOP);
    server.sql(
        "stopped_source",
        "CREATE TABLE long AS SELECT n, md5(n::text) AS text FROM generate_series(1, 200000) n; CREATE INDEX ON long (text)",
    );
    let (_folder, path) = file(&dump(&server, "stopped_source", DumpCompression::Auto).await);
    let before = precious(&server, "stopped");
    let mut stopped = 0;
    for milliseconds in [0, 5, 20, 50, 90, 140, 200, 300, 450, 600, 800] {
        let prepared = server.restore("stopped", OVERWRITE).prepare(&path).await.unwrap();
        match prepared.run(tokio::time::sleep(Duration::from_millis(milliseconds))).await {
            Err(SliceError::Cancelled) => {
                stopped += 1;
                assert_as_it_was(&server, "stopped", &before);
            }
            // It was done before.
            Ok(_) => break,
            Err(error) => panic!("after {milliseconds} ms: {error}"),
        }
    }
    assert!(stopped > 3, "it was stopped {stopped} times");
    assert_nothing_left(&server, "stopped");
    server.assert_no_session("stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut() {
    let server = Server::shared();
    server.create(
        "cut_source",
        "CREATE TABLE long AS SELECT n, md5(n::text) FROM generate_series(1, 600000) n",
    );
    let (_folder, path) = file(&dump(&server, "cut_source", DumpCompression::Auto).await);
    let before = precious(&server, "cut");
    let prepared = server.restore("cut", OVERWRITE).prepare(&path).await.unwrap();
    let progress = prepared.progress();
    let restoring = tokio::spawn(prepared.run(std::future::pending()));
    while progress.advance().phase != RestorePhase::Rows {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname LIKE 'holdfast_restore_' || substr(md5('cut'), 1, 8) || '%'";
    while server.sql("postgres", cut) == "0" {}
    let failure = failure(restoring.await.unwrap());
    assert_failure(&failure, "connection_lost", true, &["restore again"]);
    assert_as_it_was(&server, "cut", &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once() {
    let server = Server::shared();
    server.create("rivals_source", SHOP);
    let (_folder, path) = file(&dump(&server, "rivals_source", DumpCompression::Auto).await);
    let before = as_text(&server, "rivals_source");
    server.create("rivals", "");
    let path = Arc::new(path);
    let rivals: Vec<_> = (0..3)
        .map(|_| {
            let (server, path) = (server.clone(), path.clone());
            tokio::spawn(async move { restore(&server, "rivals", &path, OVERWRITE).await })
        })
        .collect();
    let mut restored = 0;
    for rival in rivals {
        match rival.await.unwrap() {
            Ok(_) => restored += 1,
            Err(SliceError::Failed(failure)) if failure.code == "restore_running" => {}
            // It was replaced by another one since it was looked at.
            Err(SliceError::Failed(failure)) if failure.code == "target_changed" => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(restored > 0);
    assert_same(&as_text(&server, "rivals"), &before);
    assert_nothing_left(&server, "rivals");
}

/// Killed, a restore leaves its database; the next one takes it away.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_by_one_that_was_killed_is_dropped() {
    let server = Server::shared();
    server.create("killed_source", SHOP);
    let (_folder, path) = file(&dump(&server, "killed_source", DumpCompression::Auto).await);
    let left = server
        .sql("postgres", "SELECT 'holdfast_restore_' || substr(md5('killed'), 1, 8) || '_0123456789ab'");
    server.create(&left, SHOP);
    restore(&server, "killed", &path, OPTIONS).await.unwrap();
    assert_nothing_left(&server, "killed");
}
