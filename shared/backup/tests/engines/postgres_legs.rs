//! Dumps that halt and go on, as they do over several slices.

use holdfast_archive::pg_custom::{ArchiveReader, Event};
use holdfast_backup::{
    engines::postgres::{DumpCompression, DumpOptions},
    upload::store,
};
use holdfast_testing::World;
use rstest::rstest;

use crate::{
    KEY, assert_failure, failure,
    legs::Legs,
    observer::Witness,
    postgres_everything::{as_text, assert_same, restored},
    server::Server,
};

/// Tables of several ranges, of one and of none, large objects, and what is in no table.
const SHOP: &str = "
    CREATE TABLE empty (id int);
    CREATE TABLE large AS SELECT n, repeat(md5(n::text), 30) AS text FROM generate_series(1, 40000) n;
    ALTER TABLE large ADD PRIMARY KEY (n);
    CREATE TABLE small AS SELECT 'one' AS one;
    CREATE TABLE z_last AS SELECT n, repeat(md5(n::text), 30) AS text FROM generate_series(1, 20000) n;
    CREATE VIEW first_ones AS SELECT * FROM large WHERE n < 10;
    CREATE SEQUENCE counted; SELECT nextval('counted');
    SELECT lo_from_bytea(0, decode(repeat('00ff', 30000), 'hex')), lo_from_bytea(0, 'short');";

/// The same with less in it.
fn small_shop() -> String {
    SHOP.replace("0000)", "00)")
}

/// The archive without its header, which has the time in it.
fn after_header(archive: &[u8]) -> &[u8] {
    let mut reader = ArchiveReader::new();
    reader.push(archive);
    let Some((Event::Header(_), header)) = reader.next_event().unwrap() else { panic!("no header") };
    &archive[header.len()..]
}

#[rstest]
#[case::auto("legs_auto", DumpCompression::Auto)]
#[case::gzip("legs_gzip", DumpCompression::Gzip(1))]
#[case::none("legs_none", DumpCompression::None)]
#[tokio::test(flavor = "multi_thread")]
async fn many_legs_make_the_archive_that_one_makes(
    #[case] database: &str,
    #[case] compression: DumpCompression,
) {
    let server = Server::shared();
    server.create(database, SHOP);
    let engine =
        || server.engine(database).with_options(DumpOptions { compression, ..DumpOptions::default() });
    let world = World::new();
    let whole = store(world.ports.artifacts.as_ref(), &engine(), KEY, &mut Witness::default()).await.unwrap();

    let mut legs = Legs::begin().await;
    let stored = legs.finish(engine).await.unwrap();
    // Four tables and their ends, three ranges of one and two of another, large objects in their pieces.
    assert!(legs.halted >= 15, "{} legs", legs.halted);
    assert_eq!(stored.report, whole.report);
    let expected = world.artifacts.bytes(KEY).unwrap();
    assert!(after_header(&legs.archive()) == after_header(&expected), "the archives differ");
    let counts = legs.world.ports.artifacts.beside(KEY, "database.rows.jsonl");
    assert!(legs.world.artifacts.bytes(&counts).is_some());
    assert_eq!(legs.world.artifacts.bytes(&counts), world.artifacts.bytes(&counts));
    server.assert_no_session(database);

    let copy = format!("{database}_restored");
    assert_same(&restored(&server, &copy, &[], &legs.archive()), &as_text(&server, database));
}

/// Whoever was killed has stored parts that nobody wrote down.
#[tokio::test(flavor = "multi_thread")]
async fn a_leg_that_nobody_heard_of_is_gone_again() {
    let server = Server::shared();
    server.create("legs_killed", SHOP);
    let engine = || {
        let compression = DumpCompression::None;
        server.engine("legs_killed").with_options(DumpOptions { compression, ..DumpOptions::default() })
    };
    let mut legs = Legs::begin().await;
    legs.finish_unheard(engine).await;
    let copy = "legs_killed_restored";
    assert_same(&restored(&server, copy, &[], &legs.archive()), &as_text(&server, "legs_killed"));
}

#[rstest]
#[case::a_row("row", "INSERT INTO small VALUES ('two')")]
#[case::other_rows("rows", "UPDATE large SET text = '' WHERE n = 1")]
#[case::a_large_object("lo", "SELECT lo_from_bytea(0, 'more')")]
#[case::order("order", "VACUUM FULL z_last")]
#[case::emptied("emptied", "TRUNCATE z_last")]
#[case::a_table("table", "CREATE TABLE more (id int)")]
#[case::a_view("view", "CREATE VIEW another AS SELECT 1 AS one")]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_stand_still_is_not_gone_on_with(#[case] name: &str, #[case] change: &str) {
    let server = Server::shared();
    let database = format!("legs_{name}");
    server.create(&database, &small_shop());
    let mut legs = Legs::begin().await;
    for _ in 0..3 {
        assert_eq!(legs.next(&server.engine(&database)).await.unwrap(), None);
    }
    server.sql(&database, change);
    let failed = failure(legs.finish(|| server.engine(&database)).await);
    assert_failure(&failed, "copy_changed", false, &["several moments", "start a new backup"]);
    assert!(legs.world.artifacts.bytes(KEY).is_none());
    server.assert_no_session(&database);
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_does_not_count_as_a_change() {
    let server = Server::shared();
    server.create("legs_vacuumed", &small_shop());
    let mut legs = Legs::begin().await;
    for statement in ["VACUUM ANALYZE", "VACUUM (FREEZE)", "CHECKPOINT"] {
        assert_eq!(legs.next(&server.engine("legs_vacuumed")).await.unwrap(), None);
        server.sql("legs_vacuumed", statement);
    }
    legs.finish(|| server.engine("legs_vacuumed")).await.unwrap();
    let copy = "legs_vacuumed_restored";
    assert_same(&restored(&server, copy, &[], &legs.archive()), &as_text(&server, "legs_vacuumed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_compression_does_not_go_on() {
    let server = Server::shared();
    server.create("legs_other", &small_shop());
    let mut legs = Legs::begin().await;
    legs.next(&server.engine("legs_other")).await.unwrap();
    let options = DumpOptions { compression: DumpCompression::None, ..DumpOptions::default() };
    let failed = failure(legs.finish(|| server.engine("legs_other").with_options(options)).await);
    assert_failure(&failed, "dump_not_resumed", false, &["start a new backup"]);
}
