//! Dumps of real databases, read back by the stock `pg_restore`.

use std::sync::Arc;

use holdfast_backup::{engines::Engine, upload::store};
use holdfast_domain::backup::Contents;
use holdfast_testing::{World, builders};
use rstest::rstest;

use crate::{
    KEY,
    observer::Witness,
    server::{PASSWORD, Server, engine},
};

const SHOP: &str = r#"
    CREATE TABLE product (id serial PRIMARY KEY, name text NOT NULL, price numeric(10, 2), added timestamptz);
    INSERT INTO product (name, price, added)
        SELECT 'Käse № ' || n || E' \\ tab\t "quoted"', n / 7.0, '2026-01-01'::timestamptz + n * interval '1 hour'
        FROM generate_series(1, 5000) AS n;
    CREATE TABLE picture (product int REFERENCES product, bytes bytea);
    INSERT INTO picture SELECT n, sha256(n::text::bytea) FROM generate_series(1, 100) AS n;
    CREATE VIEW cheap AS SELECT * FROM product WHERE price < 10;
    CREATE INDEX ON product (name);
"#;

/// Every row of a database's tables, in short.
const DIGEST: &str = "
    SELECT count(*), md5(string_agg(product::text, ',' ORDER BY id)) FROM product;
    SELECT count(*), md5(string_agg(picture::text, ',' ORDER BY product)) FROM picture;
    SELECT count(*) FROM cheap; SELECT nextval('product_id_seq')";

/// Dumps with `engine`; returns the dump.
async fn dump(engine: &dyn Engine) -> (Vec<u8>, Contents) {
    let world = World::new();
    let stored = store(world.ports.artifacts.as_ref(), engine, KEY, &mut Witness::default()).await.unwrap();
    assert_eq!(world.artifacts.open_upload_count(), 0);
    assert_eq!(stored.report.taken_at, builders::now());
    (world.artifacts.bytes(KEY).unwrap().to_vec(), stored.report.contents)
}

#[tokio::test]
async fn a_dump_restores_to_equal_rows() {
    let server = Server::shared();
    server.create("shop", SHOP);
    let engine = server.engine("shop");
    let estimate = engine.prepare().await.unwrap().unwrap();
    let (archive, contents) = dump(&engine).await;
    assert!(estimate > archive.len() as u64, "{estimate} bytes on disk");
    let Contents::PostgresCustom { database, server_version, pg_dump_version, tables, rows } = contents
    else {
        panic!()
    };
    assert_eq!(database, "shop");
    assert!(server.sql("shop", "SHOW server_version").starts_with(&server_version));
    assert!(pg_dump_version.starts_with("pg_dump (PostgreSQL) "));
    assert_eq!((tables, rows), (Some(2), Some(5100)));

    server.create("shop_restored", "");
    server.client("pg_restore", "", &["--exit-on-error", "-d", "shop_restored"], &archive);
    let rows = server.sql("shop_restored", DIGEST);
    assert!(rows.starts_with("5000|"), "{rows}");
    assert_eq!(rows, server.sql("shop", DIGEST));
    server.assert_no_session("shop");
}

#[tokio::test]
async fn an_empty_database_has_a_dump() {
    let server = Server::shared();
    server.create("nothing", "");
    let (archive, _) = dump(&server.engine("nothing")).await;
    let list = server.client("pg_restore", "", &["-l"], &archive).stdout;
    assert!(String::from_utf8(list).unwrap().contains("dbname: nothing"));
}

/// The same engine is asked twice when a slice is tried again in the same process.
#[tokio::test]
async fn an_engine_runs_again() {
    let server = Server::shared();
    server.create("twice", "CREATE TABLE t AS SELECT 1 AS one");
    let engine = server.engine("twice");
    for _ in 0..2 {
        assert!(dump(&engine).await.0.starts_with(b"PGDMP"));
    }
}

#[rstest]
#[case("it's a \"shop\"")]
#[case("host=elsewhere dbname=postgres")]
#[case("postgresql://elsewhere/shop")]
#[case("Käse & Co")]
#[tokio::test]
async fn a_databases_name_is_taken_as_it_is(#[case] name: &str) {
    let server = Server::shared();
    server.create(name, "CREATE TABLE here AS SELECT 42 AS answer");
    let (archive, contents) = dump(&server.engine(name)).await;
    assert!(matches!(contents, Contents::PostgresCustom { database, .. } if database == name));
    let sql = server.client("pg_restore", "", &["-f", "-", "-a"], &archive).stdout;
    assert!(String::from_utf8(sql).unwrap().contains("COPY public.here (answer)"));
    server.sql("postgres", &format!("DROP DATABASE \"{}\"", name.replace('"', "\"\"")));
}

#[rstest]
#[case("colon", "a:b::")]
#[case("backslash", r"\a\\b\")]
#[case("quotes", r#"'"`$x"#)]
#[case("spaces", "  a b #")]
#[case("letters", "pässwörd✓")]
#[case("lines", "a\nb\r")]
#[tokio::test]
async fn a_password_may_hold_anything(#[case] role: &str, #[case] password: &str) {
    let server = Server::shared();
    let database = format!("password_{role}");
    server.create(&database, "CREATE TABLE t AS SELECT 1 AS one");
    let literal = password.replace('\'', "''");
    server.sql(
        &database,
        &format!(
            "SET standard_conforming_strings = on; CREATE ROLE {role} LOGIN PASSWORD '{literal}' IN ROLE pg_read_all_data"
        ),
    );
    let (archive, _) = dump(&engine(server.service(&database), role, password)).await;
    assert!(archive.starts_with(b"PGDMP"));
}

#[tokio::test]
async fn an_old_role_has_an_md5_password() {
    let server = Server::shared();
    server.create("old", "CREATE TABLE t AS SELECT 1 AS one");
    server.sql(
        "old",
        "SET password_encryption = md5; CREATE ROLE old LOGIN PASSWORD 'secret' IN ROLE pg_read_all_data",
    );
    assert_eq!(server.sql("old", "SELECT rolpassword LIKE 'md5%' FROM pg_authid WHERE rolname = 'old'"), "t");
    let (archive, _) = dump(&engine(server.service("old"), "old", "secret")).await;
    assert!(archive.starts_with(b"PGDMP"));
}

/// Four sessions would read; the role may have two, one of which is that of `pg_dump`.
#[tokio::test]
async fn a_server_without_room_is_read_by_fewer_sessions() {
    let server = Server::shared();
    let tables = (0..8).map(|n| format!("CREATE TABLE t{n} AS SELECT generate_series(1, 20000) AS n"));
    let tables = tables.collect::<Vec<_>>().join("; ");
    server.create("narrow", &tables);
    server.sql("narrow", "CREATE ROLE narrow LOGIN PASSWORD 'x' CONNECTION LIMIT 2 IN ROLE pg_read_all_data");
    let (archive, _) = dump(&engine(server.service("narrow"), "narrow", "x")).await;
    server.create("narrow_restored", "");
    server.client("pg_restore", "", &["--exit-on-error", "--no-owner", "-d", "narrow_restored"], &archive);
    let counts = (0..8).map(|n| format!("SELECT count(*) FROM t{n}")).collect::<Vec<_>>().join("; ");
    assert_eq!(server.sql("narrow_restored", &counts), server.sql("narrow", &counts));
}

#[tokio::test]
async fn progress_comes_to_its_end() {
    let server = Server::shared();
    server.create("progressing", SHOP);
    server
        .sql("progressing", "CREATE TABLE long AS SELECT n, md5(n::text) FROM generate_series(1, 450001) n");
    let engine = server.engine("progressing");
    let progress = engine.progress();
    dump(&engine).await;
    let advance = progress.advance();
    assert_eq!((advance.tables, advance.tables_done), (3, 3));
    assert!(advance.table_bytes > 20_000_000, "{advance:?}");
    assert_eq!(advance.table_bytes_done, advance.table_bytes);
    assert_eq!(advance.rows, 5000 + 100 + 450_001);
}

#[tokio::test]
async fn databases_are_dumped_side_by_side() {
    let server = Server::shared();
    let dumps = (1..=3).map(|number| {
        let database = format!("beside_{number}");
        server.create(&database, &format!("CREATE TABLE t{number} AS SELECT 1 AS one"));
        let engine = Arc::new(engine(server.service(&database), "postgres", PASSWORD));
        tokio::spawn(async move { dump(engine.as_ref()).await.0 })
    });
    let dumps: Vec<_> = dumps.collect();
    for (dump, number) in dumps.into_iter().zip(1..) {
        let list = server.client("pg_restore", "", &["-l"], &dump.await.unwrap()).stdout;
        assert!(String::from_utf8(list).unwrap().contains(&format!("TABLE public t{number} ")));
    }
}
