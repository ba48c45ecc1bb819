//! Databases of many tables, and tables of many rows.

use holdfast_backup::{
    engines::postgres::{DumpCompression, DumpOptions},
    upload::store,
};
use holdfast_testing::World;

use crate::{
    KEY,
    observer::Witness,
    postgres_everything::{as_text, assert_same, dump, restored},
    server::Server,
};

/// What `pg_dump` locks at once, and reads of the catalogs.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_small_tables_come_back() {
    let server = Server::shared();
    server.create(
        "many",
        "CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN
            FOR n IN 1 .. 10000 LOOP
                EXECUTE format('CREATE TABLE t%s AS SELECT %s AS n, md5(%L) AS m', n, n, n);
                IF n % 500 = 0 THEN COMMIT; END IF;
            END LOOP;
         END $$;
         CALL fill()",
    );
    let archive = dump(&server, "many", DumpCompression::Auto).await;
    server.assert_no_session("many");
    // The reading sessions have let go of their locks, and begun anew, about every 100 tables.
    let ended = server.sql("postgres", "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'many'");
    assert!(ended.parse::<u32>().unwrap() >= 70, "{ended} transactions");
    let expected = as_text(&server, "many");
    assert_same(&restored(&server, "many_restored", &[], &archive), &expected);
    assert!(expected.matches("\nCOPY public.t").count() == 10_000);
}

/// Read in some seventy ranges, which come back in the order of the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_a_gibibyte_comes_back() {
    let server = Server::shared();
    // Rows of about 1 KiB that compress well, so that the archive in memory is small.
    server.create(
        "gibibyte",
        "CREATE UNLOGGED TABLE large AS
         SELECT n, repeat(md5(n::text), 32) AS text FROM generate_series(1, 1060000) n",
    );
    let engine = server.engine("gibibyte");
    let progress = engine.progress();
    let engine =
        engine.with_options(DumpOptions { compression: DumpCompression::Auto, ..DumpOptions::default() });
    let world = World::new();
    store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await.unwrap();
    assert_eq!(progress.advance().rows, 1_060_000);
    let text = server.sql("gibibyte", "SELECT sum(length(n::text) + length(text) + 2) FROM large");
    assert!(text.parse::<u64>().unwrap() >= 1 << 30, "{text} bytes of rows");

    server.create("gibibyte_restored", "");
    let archive = world.artifacts.bytes(KEY).unwrap();
    server.client("pg_restore", "", &["--exit-on-error", "-d", "gibibyte_restored"], &archive);
    let rows = "SET synchronize_seqscans = off;
        SELECT count(*), count(*) FILTER (WHERE n <> at), sum(hashtextextended(text, n))
        FROM (SELECT n, text, row_number() OVER () AS at FROM large) AS numbered";
    let digest = server.sql("gibibyte_restored", rows);
    assert!(digest.starts_with("1060000|0|"), "{digest}");
    assert_eq!(digest, server.sql("gibibyte", rows));
    for database in ["gibibyte", "gibibyte_restored"] {
        server.sql("postgres", &format!("DROP DATABASE {database}"));
    }
}

/// There is nothing to select of such a table, so that it is read whole, however long it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_table_without_columns_comes_back() {
    let server = Server::shared();
    server.create(
        "columnless",
        "CREATE TABLE nothing (); INSERT INTO nothing SELECT FROM generate_series(1, 800000);
         CREATE TABLE also_nothing (gone int); INSERT INTO also_nothing SELECT generate_series(1, 3);
         ALTER TABLE also_nothing DROP gone",
    );
    assert_eq!(server.sql("columnless", "SELECT pg_relation_size('nothing') > 16 * 1024 * 1024"), "t");
    let archive = dump(&server, "columnless", DumpCompression::Auto).await;
    let counts = "SELECT count(*) FROM nothing; SELECT count(*) FROM also_nothing";
    assert_same(&restored(&server, "columnless_restored", &[], &archive), &as_text(&server, "columnless"));
    assert_eq!(server.sql("columnless_restored", counts), "800000\n3");
}
