//! Dumps of `MariaDB` that halt and go on, as they do over several slices.

use holdfast_backup::upload::store;
use holdfast_domain::backup::Contents;
use holdfast_testing::World;
use rstest::rstest;

use crate::{
    KEY, assert_failure, failure,
    legs::Legs,
    mariadb_server::MariaDb,
    mysql::{EVERYTHING, assert_same},
    observer::Witness,
};

/// A table may need a sequence: with one, a database is dumped in one go.
fn without_sequence() -> String {
    let sequence = "CREATE SEQUENCE counter START WITH 100 INCREMENT BY 7;\nDO NEXTVAL(counter);\n";
    assert!(EVERYTHING.contains(sequence));
    EVERYTHING.replace(sequence, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn many_legs_have_everything_in_them() {
    let server = MariaDb::shared();
    server.create("every leg", &without_sequence());
    let world = World::new();
    let whole = server.engine("every leg");
    let expected = store(world.ports.artifacts.as_ref(), &whole, KEY, &mut Witness::default()).await.unwrap();

    // Each table alone.
    let mut legs = Legs::begin().await;
    let stored = legs.finish(|| server.engine("every leg").with_batches(1)).await.unwrap();
    let Contents::MysqlSql { tables, .. } = &stored.report.contents else { panic!("other contents") };
    assert_eq!(Some(legs.halted as u64), *tables);
    assert_eq!(stored.report, expected.report);
    let counts = legs.world.ports.artifacts.beside(KEY, "database.rows.jsonl");
    assert!(legs.world.artifacts.bytes(&counts).is_some());
    assert_eq!(legs.world.artifacts.bytes(&counts), world.artifacts.bytes(&counts));

    server.create("every leg back", "");
    server.client("mariadb", "every leg back", &[], &zstd::decode_all(&legs.archive()[..]).unwrap());
    assert_same(&server, "every leg", "every leg back");
    server.assert_no_session("every leg");
}

#[rstest]
#[case::large_enough_for_one_go("one_go", &without_sequence(), 1 << 30)]
#[case::a_sequence("sequence", EVERYTHING, 1)]
#[case::a_name("name", &format!(r"{} CREATE TABLE `back\slash` (a INT);", without_sequence()), 1)]
#[tokio::test(flavor = "multi_thread")]
async fn what_need_not_or_cannot_halt_is_dumped_in_one_go(
    #[case] name: &str,
    #[case] sql: &str,
    #[case] batch_bytes: u64,
) {
    let server = MariaDb::shared();
    let (database, copy) = (format!("legs {name}"), format!("legs {name} back"));
    server.create(&database, sql);
    let mut legs = Legs::begin().await;
    legs.finish(|| server.engine(&database).with_batches(batch_bytes)).await.unwrap();
    assert_eq!(legs.halted, 0);
    server.create(&copy, "");
    server.client("mariadb", &copy, &[], &zstd::decode_all(&legs.archive()[..]).unwrap());
    assert_same(&server, &database, &copy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_nobody_heard_of_is_gone_again() {
    let server = MariaDb::shared();
    server.create("every leg twice", &without_sequence());
    let engine = || server.engine("every leg twice").with_batches(1);
    let mut legs = Legs::begin().await;
    legs.finish_unheard(engine).await;
    server.create("every leg twice back", "");
    server.client("mariadb", "every leg twice back", &[], &zstd::decode_all(&legs.archive()[..]).unwrap());
    assert_same(&server, "every leg twice", "every leg twice back");
}

#[rstest]
#[case::a_row("row", "INSERT INTO parent VALUES (2)")]
#[case::a_table("table", "CREATE TABLE more (a INT)")]
#[case::a_column("column", "ALTER TABLE child ADD COLUMN more INT, ALGORITHM=INSTANT")]
#[case::emptied("emptied", "TRUNCATE numbers")]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_stand_still_is_not_gone_on_with(#[case] name: &str, #[case] change: &str) {
    let server = MariaDb::shared();
    let database = format!("moving {name}");
    server.create(&database, &without_sequence());
    // By the server's clock a table may be made anew in the same second.
    server.sql(&database, "DO SLEEP(1.1)");
    let mut legs = Legs::begin().await;
    for _ in 0..3 {
        assert_eq!(legs.next(&server.engine(&database).with_batches(1)).await.unwrap(), None);
    }
    server.sql(&database, change);
    let failed = failure(legs.finish(|| server.engine(&database).with_batches(1)).await);
    assert_failure(&failed, "copy_changed", false, &["several moments", "start a new backup"]);
    assert!(legs.world.artifacts.bytes(KEY).is_none());
    server.assert_no_session(&database);
}
