//! Dumps of databases that change meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use holdfast_backup::upload::store;
use holdfast_testing::World;

use crate::{KEY, observer::Witness, server::Server, store::GatedStore};

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

/// Somebody who waits to change a table keeps everybody else from it, save who has locked it already.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_table_waits_for_the_dump() {
    let server = Server::shared();
    server.create(
        "changing",
        "CREATE TABLE a (bytes bytea); ALTER TABLE a ALTER bytes SET STORAGE EXTERNAL;
         INSERT INTO a SELECT pg_read_binary_file('/dev/urandom', 0, 1000000) FROM generate_series(1, 160);
         CREATE TABLE b AS SELECT n FROM generate_series(1, 100000) n; CREATE TABLE c AS SELECT n FROM b",
    );
    let (gated, mut numbers) = GatedStore::closed();
    let storing = tokio::spawn({
        let (gated, engine) = (gated.clone(), server.engine("changing"));
        async move { store(gated.as_ref(), &engine, KEY, &mut Witness::default()).await }
    });
    numbers.recv().await.unwrap();
    let change = thread::spawn({
        let server = server.clone();
        move || server.sql("changing", "ALTER TABLE b ADD more int; DROP TABLE c")
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'changing' AND wait_event_type = 'Lock' AND query LIKE 'ALTER%'";
    while server.sql("postgres", waits) != "1" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    gated.open_gate();
    storing.await.unwrap().unwrap();
    change.join().unwrap();
    let archive = gated.bucket.bytes(KEY).unwrap();
    server.create("unchanged", "");
    server.client("pg_restore", "", &["--exit-on-error", "-d", "unchanged"], &archive);
    assert_eq!(
        server.sql("unchanged", "SELECT sum(b.n), count(c.n) FROM b JOIN c USING (n)"),
        "5000050000|100000"
    );
    assert_eq!(server.sql("unchanged", "SELECT count(*) FROM a"), "160");
}
