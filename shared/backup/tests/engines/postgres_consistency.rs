//! Dumps of databases that change meanwhile.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use holdfast_backup::{
    engines::postgres::DumpOptions,
    error::SliceError,
    upload::{Stored, store},
};
use holdfast_testing::World;
use tokio::task::JoinHandle;

use crate::{KEY, failure, observer::Witness, server::Server, store::GatedStore};

/// Accounts in two tables, over several ranges each: money goes from one to the other, and the sum stays.
const BANK: &str = "
    CREATE TABLE checking AS SELECT n AS id, 100 AS money, repeat('x', 200) AS note FROM generate_series(1, 150000) n;
    CREATE TABLE savings AS SELECT * FROM checking;
    CREATE INDEX ON checking (id); CREATE INDEX ON savings (id)";

const TRANSFER: &str = "
    DO $$ DECLARE a int := 1 + random() * 149999; b int := 1 + random() * 149999; BEGIN
    FOR i IN 1..50 LOOP
        UPDATE checking SET money = money - i WHERE id = a;
        UPDATE savings SET money = money + i WHERE id = b;
        COMMIT;
        a := 1 + random() * 149999; b := 1 + random() * 149999;
    END LOOP; END $$";

const SUM: &str = "SELECT (SELECT sum(money) FROM checking) + (SELECT sum(money) FROM savings)";

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_shows_one_moment() {
    let server = Server::shared();
    server.create("bank", BANK);
    let stop = Arc::new(AtomicBool::new(false));
    let workload = thread::spawn({
        let (server, stop) = (server.clone(), stop.clone());
        move || {
            let mut rounds = 0;
            while !stop.load(Ordering::SeqCst) {
                server.sql("bank", TRANSFER);
                rounds += 1;
            }
            rounds
        }
    });
    for time in 0..3 {
        let world = World::new();
        let engine = server.engine("bank");
        store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await.unwrap();
        let archive = world.artifacts.bytes(KEY).unwrap();
        let restored = format!("bank_restored_{time}");
        server.create(&restored, "");
        server.client("pg_restore", "", &["--exit-on-error", "-d", &restored], &archive);
        assert_eq!(server.sql(&restored, SUM), "30000000");
        assert_eq!(
            server.sql(&restored, "SELECT count(*), count(DISTINCT id) FROM savings"),
            "150000|150000"
        );
    }
    stop.store(true, Ordering::SeqCst);
    assert!(workload.join().unwrap() > 3, "money moved meanwhile");
}

/// One block of rows with long values, so that one session reads all of it; and it does not fit between server and gate.
const ONE_LARGE: &str = "
    CREATE TABLE a (bytes bytea); ALTER TABLE a ALTER bytes SET STORAGE EXTERNAL;
    INSERT INTO a SELECT pg_read_binary_file('/dev/urandom', 0, 1200000) FROM generate_series(1, 130);";

/// A dump over one session beside that of `pg_dump`, which has begun to read `a`, and waits.
async fn in_mid_table(
    server: &Server,
    database: &str,
) -> (Arc<GatedStore>, JoinHandle<Result<Stored, SliceError>>) {
    let (gated, mut numbers) = GatedStore::closed();
    let options = DumpOptions { jobs: NonZeroUsize::MIN, ..DumpOptions::default() };
    let engine = server.engine(database).with_options(options);
    let artifacts = gated.clone();
    let storing =
        tokio::spawn(async move { store(artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await });
    numbers.recv().await.unwrap();
    (gated, storing)
}

/// Somebody who waits to change a table keeps everybody else from it, save who has locked it already.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_table_waits_for_the_dump() {
    let server = Server::shared();
    let tables = "CREATE TABLE b AS SELECT n, md5(n::text) FROM generate_series(1, 450000) n;
        CREATE TABLE c AS SELECT n FROM b";
    server.create("changing", &format!("{ONE_LARGE} {tables}"));
    let (gated, storing) = in_mid_table(&server, "changing").await;
    let holder = server.sql(
        "postgres",
        "SELECT pid FROM pg_stat_activity
         WHERE datname = 'changing' AND application_name = 'holdfast' AND query NOT LIKE 'COPY%'",
    );
    let change = thread::spawn({
        let server = server.clone();
        move || server.sql("changing", "ALTER TABLE b ADD more int; DROP TABLE c")
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'changing' AND wait_event_type = 'Lock' AND query LIKE 'ALTER%'";
    while server.sql("postgres", waits) != "1" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Both ranges of `b` are read by the session that has locked it.
    let watching = thread::spawn({
        let server = server.clone();
        let seen = format!(
            "DO $$ DECLARE seen text[] := '{{}}'; now_read text; BEGIN
             FOR i IN 1..3000 LOOP
                PERFORM pg_stat_clear_snapshot();
                SELECT query INTO now_read FROM pg_stat_activity WHERE pid = {holder};
                EXIT WHEN now_read IS NULL;
                IF now_read LIKE 'COPY (%FROM ONLY public.b %' AND NOT now_read = ANY (seen) THEN
                    seen := seen || now_read;
                END IF;
                PERFORM pg_sleep(0.01);
             END LOOP;
             IF cardinality(seen) <> 2 THEN RAISE '%', seen; END IF;
             END $$"
        );
        move || server.sql("postgres", &seen)
    });
    gated.open_gate();
    storing.await.unwrap().unwrap();
    watching.join().unwrap();
    change.join().unwrap();
    let archive = gated.bucket.bytes(KEY).unwrap();
    server.create("unchanged", "");
    server.client("pg_restore", "", &["--exit-on-error", "-d", "unchanged"], &archive);
    assert_eq!(
        server.sql("unchanged", "SELECT sum(b.n), count(c.n) FROM b JOIN c USING (n)"),
        "101250225000|450000"
    );
    assert_eq!(server.sql("unchanged", "SELECT count(*) FROM a"), "130");
}

/// A table that is read along with others in one query is wanted by somebody: the ones before it, itself and the ones after it
/// come whole, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_small_table_waits_for_the_dump() {
    let server = Server::shared();
    let tables: Vec<_> =
        (10..70).map(|n| format!("CREATE TABLE t{n} AS SELECT generate_series(1, {n}) AS n;")).collect();
    server.create("small_changing", &format!("{ONE_LARGE} {}", tables.concat()));
    let (gated, storing) = in_mid_table(&server, "small_changing").await;
    let change = thread::spawn({
        let server = server.clone();
        move || server.sql("small_changing", "ALTER TABLE t30 ADD more int")
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'small_changing' AND wait_event_type = 'Lock' AND query LIKE 'ALTER%'";
    while server.sql("postgres", waits) != "1" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gated.open_gate();
    storing.await.unwrap().unwrap();
    change.join().unwrap();
    let archive = gated.bucket.bytes(KEY).unwrap();
    server.create("small_unchanged", "");
    server.client("pg_restore", "", &["--exit-on-error", "-d", "small_unchanged"], &archive);
    let counts: Vec<_> = (10..70).map(|n| format!("SELECT count(*), count(DISTINCT n) FROM t{n};")).collect();
    let expected = (10..70).map(|n| format!("{n}|{n}")).collect::<Vec<_>>().join("\n");
    assert_eq!(server.sql("small_unchanged", &counts.concat()), expected);
}

/// The index of long values is locked anew for each of them, so a session may be kept from it after its first rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_reindexed_meanwhile_has_no_row_twice() {
    let server = Server::shared();
    server.create("reindexed", ONE_LARGE);
    let (gated, mut storing) = in_mid_table(&server, "reindexed").await;
    let lock = server.hold_lock("reindexed", "REINDEX TABLE a");
    gated.open_gate();
    // It does not wait for the end of that; nor may it succeed, should it.
    let ended = tokio::time::timeout(Duration::from_secs(20), &mut storing).await;
    drop(lock);
    let outcome = match ended {
        Ok(ended) => ended,
        Err(_) => storing.await,
    };
    let failure = failure(outcome.unwrap());
    assert_eq!((failure.code.as_str(), failure.transient), ("tables_locked", true), "{}", failure.message);
    gated.assert_empty();
    server.assert_no_session("reindexed");
}
