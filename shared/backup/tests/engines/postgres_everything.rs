//! Dumps of everything `PostgreSQL` has, restored in every way that stock `pg_restore` has.

use std::{fs, path::Path};

use holdfast_backup::{
    engines::postgres::{DumpCompression, DumpOptions},
    upload::store,
};
use holdfast_testing::World;
use rstest::rstest;

use crate::{KEY, observer::Witness, server::Server};

/// All kinds of objects and values, with names that need quoting.
pub(crate) const EVERYTHING: &str = r#"
    CREATE SCHEMA "Odd ""schema""; --";
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy');
    CREATE TYPE pair AS (a int, b text);

    CREATE TABLE types (
        id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, d positive, m mood, p pair, n numeric(20, 5), f float8, r real,
        t text, v varchar(10), c char(5), b bytea, j json, jb jsonb, ts timestamptz, dt date, iv interval, u uuid,
        ip inet, arr int[], tarr text[], rng int4range, mrng tstzrange, x xml, bits bit(3), pt point, tsv tsvector,
        doubled int GENERATED ALWAYS AS (d * 2) STORED);
    INSERT INTO types (d, m, p, n, f, r, t, v, c, b, j, jb, ts, dt, iv, u, ip, arr, tarr, rng, mrng, bits, pt, tsv)
    SELECT n, 'it''s ok'::mood, ROW(n, E'a,"b\\'::text)::pair, n / 7.0, n / 3.0::float8, n / 9.0::real,
        E'tab\there\nline \\ back \r cr \\N \b' || n, 'v' || n, 'c', sha256(n::text::bytea),
        '{"a" : 1,  "b": [null]}', '{"k": "ü"}', '2026-03-29 01:30+00'::timestamptz + n * interval '1 hour', '2026-01-01',
        '1 year -3 days', '019d4b8e-7a00-7000-8000-000000000000', '10.0.0.0/8', ARRAY[n, NULL, -1],
        ARRAY['NULL', NULL, 'a"b', ''], int4range(n, n + 5), NULL, B'101', point(n, -n), 'fat:2 cat:1'
    FROM generate_series(1, 3000) n;
    INSERT INTO types (d, t) VALUES (1, NULL), (2, ''), (3, '\.'), (4, E'\\.\n'), (5, 'NaN');
    UPDATE types SET f = 'NaN', r = '-Infinity', dt = 'infinity' WHERE d = 5;

    CREATE TABLE "Odd ""schema""; --"."select" ("from" int, "a ""b"" c" text, "TO stdout;" text, "(" int);
    INSERT INTO "Odd ""schema""; --"."select" SELECT n, 'x' || n, NULL, n FROM generate_series(1, 10) n;
    CREATE TABLE "COPY t (a) TO stdout;" AS SELECT 1 AS a;
    CREATE TABLE nothing ();
    INSERT INTO nothing SELECT FROM generate_series(1, 4);
    CREATE TABLE empty (a int, b text);
    CREATE TABLE only_generated (g int GENERATED ALWAYS AS (1) STORED);
    INSERT INTO only_generated SELECT FROM generate_series(1, 3);
    CREATE TABLE dropped (a int, gone text, b int, gone_too int);
    INSERT INTO dropped SELECT n, 'x', n, n FROM generate_series(1, 50) n;
    ALTER TABLE dropped DROP gone, DROP gone_too, ADD late text DEFAULT 'late';
    CREATE UNLOGGED TABLE unlogged AS SELECT n FROM generate_series(1, 20) n;

    CREATE TABLE parted (region text, n int) PARTITION BY LIST (region);
    CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu') PARTITION BY RANGE (n);
    CREATE TABLE parted_eu_low PARTITION OF parted_eu FOR VALUES FROM (0) TO (500);
    CREATE TABLE parted_eu_high PARTITION OF parted_eu DEFAULT;
    CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
    INSERT INTO parted SELECT CASE n % 2 WHEN 0 THEN 'eu' ELSE 'us' END, n FROM generate_series(1, 1000) n;
    CREATE TABLE parent (a int);
    CREATE TABLE child (b int) INHERITS (parent);
    INSERT INTO parent SELECT generate_series(1, 5);
    INSERT INTO child SELECT n, n FROM generate_series(6, 9) n;

    CREATE TABLE secret (owner text, what text);
    INSERT INTO secret VALUES ('somebody', 'a'), ('nobody', 'b');
    ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
    ALTER TABLE secret FORCE ROW LEVEL SECURITY;
    CREATE POLICY mine ON secret USING (owner = current_user);

    CREATE SEQUENCE counter START 42 INCREMENT 7;
    SELECT nextval('counter'), nextval('counter');
    CREATE VIEW low AS SELECT * FROM parted WHERE n < 10;
    CREATE MATERIALIZED VIEW counted AS SELECT region, count(*) AS rows FROM parted GROUP BY region;
    CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS one WITH NO DATA;
    CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
    CREATE INDEX ON types (twice(d));
    CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touch BEFORE UPDATE ON types FOR EACH ROW EXECUTE FUNCTION touched();
    ALTER TABLE dropped ADD CONSTRAINT positive CHECK (a > 0) NOT VALID;
    CREATE FOREIGN DATA WRAPPER elsewhere;
    CREATE SERVER far FOREIGN DATA WRAPPER elsewhere;
    CREATE FOREIGN TABLE abroad (a int) SERVER far;
    COMMENT ON TABLE types IS 'It''s -- commented; COPY t (a) TO stdout;';

    SELECT lo_from_bytea(4000000000, repeat('large object ', 20000)::bytea), lo_from_bytea(0, ''), lo_create(77);

    CREATE TABLE wide (id int, page text);
    ALTER TABLE wide ALTER page SET STORAGE EXTERNAL;
    INSERT INTO wide SELECT n, repeat(md5(n::text), 3000) FROM generate_series(1, 500) n;
    INSERT INTO wide SELECT 0, repeat('0123456789abcdef', 2000000);
    CREATE TABLE long AS SELECT n, md5(n::text) AS text FROM generate_series(1, 450000) n;
    DELETE FROM long WHERE n % 3 = 0;
"#;

/// A plain dump by stock `pg_dump`: schema, and all rows in the order they lie in.
pub(crate) fn as_text(server: &Server, database: &str) -> String {
    let text = server.client("pg_dump", database, &[], b"").stdout;
    let text = String::from_utf8(text).unwrap();
    // A word that is another one in each dump.
    text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
}

/// Fails where the texts differ, without printing all of them.
pub(crate) fn assert_same(text: &str, expected: &str) {
    if let Some((line, expected)) =
        text.lines().zip(expected.lines()).find(|(line, expected)| line != expected)
    {
        let short = |line: &str| line.chars().take(300).collect::<String>();
        panic!("{:?}\nis not\n{:?}", short(line), short(expected));
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

/// Dumps `database`; returns the archive.
pub(crate) async fn dump(server: &Server, database: &str, compression: DumpCompression) -> Vec<u8> {
    let engine = server.engine(database);
    let engine = engine.with_options(DumpOptions { compression, ..DumpOptions::default() });
    let world = World::new();
    store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await.unwrap();
    world.artifacts.bytes(KEY).unwrap().to_vec()
}

/// Restores into a new database, and returns what is in it.
pub(crate) fn restored(server: &Server, database: &str, arguments: &[&str], input: &[u8]) -> String {
    server.create(database, "");
    server.client("pg_restore", "", &[&["--exit-on-error", "-d", database], arguments].concat(), input);
    as_text(server, database)
}

#[rstest]
#[case(14, DumpCompression::Auto)]
#[case(15, DumpCompression::Auto)]
#[case(15, DumpCompression::None)]
#[case(16, DumpCompression::Gzip(3))]
#[case(17, DumpCompression::Auto)]
#[case(18, DumpCompression::Auto)]
#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back(#[case] major: u32, #[case] compression: DumpCompression) {
    let server = Server::of_major(major);
    let name = format!("everything_{}", compression.to_string().replace(':', "_"));
    server.create(&name, EVERYTHING);
    let archive = dump(&server, &name, compression).await;
    let expected = as_text(&server, &name);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("database.dump");
    fs::write(&file, &archive).unwrap();
    let file = file.to_str().unwrap();
    let database = |way: &str| format!("{name}_{way}");

    assert_same(&restored(&server, &database("file"), &[file], b""), &expected);
    assert_same(&restored(&server, &database("jobs"), &["-j4", file], b""), &expected);
    assert_same(&restored(&server, &database("pipe"), &[], &archive), &expected);

    // By list, in another order than the archive has.
    let list = String::from_utf8(server.client("pg_restore", "", &["-l", file], b"").stdout).unwrap();
    let (data, other): (Vec<_>, Vec<_>) = list.lines().partition(|line| line.contains(" TABLE DATA "));
    let at = other.iter().position(|line| line.contains(" CONSTRAINT ") || line.contains(" INDEX ")).unwrap();
    let reordered: Vec<_> =
        other[..at].iter().chain(data.iter().rev()).chain(&other[at..]).copied().collect();
    let chosen = folder.path().join("list");
    fs::write(&chosen, reordered.join("\n")).unwrap();
    let chosen = restored(&server, &database("list"), &["-L", chosen.to_str().unwrap(), file], b"");
    assert_same(&chosen, &expected);

    // One table, from the file and from a pipe.
    for (way, arguments, input) in
        [("table", &["-t", "long", file][..], &b""[..]), ("table_pipe", &["-t", "long"], &archive)]
    {
        restored(&server, &database(way), arguments, input);
        let rows = "SELECT count(*), md5(string_agg(long::text, ',' ORDER BY n)) FROM long";
        assert_eq!(server.sql(&database(way), rows), server.sql(&name, rows));
    }
    assert_offsets(&list, Path::new(file));
    server.assert_no_session(&name);
}

/// Every block is where its entry says: stock `pg_restore` would look for it otherwise, and find it.
fn assert_offsets(list: &str, file: &Path) {
    use holdfast_archive::pg_custom::{ArchiveReader, Event, Offset};
    let mut reader = ArchiveReader::new();
    reader.push(&fs::read(file).unwrap());
    let (mut told, mut found) = (Vec::new(), Vec::new());
    let mut raw = Vec::new();
    let mut before = 0;
    while let Some((event, bytes)) = reader.next_event().unwrap() {
        match event {
            Event::Entry { entry, .. } => {
                entry.write(&mut raw);
                assert!(raw == bytes, "{entry:?}");
                raw.clear();
                if let Offset::At(position) = entry.offset {
                    told.push((entry.dump_id, position));
                }
            }
            Event::Header(header) => {
                header.write(&mut raw);
                assert!(raw == bytes, "{header:?}");
                raw.clear();
            }
            Event::Block { dump_id, .. } => found.push((dump_id, before)),
            _ => {}
        }
        before = reader.position();
    }
    reader.finish().unwrap();
    told.sort_unstable();
    found.sort_unstable();
    assert_eq!(told, found);
    let blocks =
        list.lines().filter(|line| line.contains(" TABLE DATA ") || line.contains(" BLOBS ")).count();
    assert!(found.len() >= blocks && blocks > 10, "{} blocks of {blocks}", found.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_extensions_are_dumped_as_the_extension_says() {
    let server = Server::shared();
    server.create(
        "extended",
        "CREATE TABLE settings AS SELECT n AS id FROM generate_series(1, 5) n;
         ALTER EXTENSION plpgsql ADD TABLE settings;
         SET allow_system_table_mods = on;
         UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid], extcondition = ARRAY['WHERE id > 3']
         WHERE extname = 'plpgsql'",
    );
    let archive = dump(&server, "extended", DumpCompression::Auto).await;
    let sql = String::from_utf8(server.client("pg_restore", "", &["-f", "-"], &archive).stdout).unwrap();
    assert!(sql.contains("COPY public.settings (id) FROM stdin;\n4\n5\n\\.\n"), "{sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_text_does_not_depend_on_how_the_role_likes_it() {
    let server = Server::shared();
    server.create(
        "opinionated",
        "CREATE TABLE t AS SELECT 1.1::float8 / 3 AS f, '2026-02-03'::date AS d, interval '1 day 2 hours' AS i,
         '\\xdeadbeef'::bytea AS b FROM generate_series(1, 300000);
         ALTER DATABASE opinionated SET datestyle = 'SQL, DMY';
         ALTER DATABASE opinionated SET intervalstyle = 'iso_8601';
         ALTER DATABASE opinionated SET extra_float_digits = -10;
         ALTER DATABASE opinionated SET statement_timeout = '50ms';
         ALTER DATABASE opinionated SET search_path = 'pg_catalog'",
    );
    let archive = dump(&server, "opinionated", DumpCompression::Auto).await;
    server.create("opinionated_restored", "");
    server.client("pg_restore", "", &["--exit-on-error", "-d", "opinionated_restored"], &archive);
    let digest = "SET statement_timeout = 0; SET search_path = public; SET datestyle = ISO; SET extra_float_digits = 3;
        SET intervalstyle = postgres; SELECT count(*), md5(string_agg(t::text, '')) FROM t";
    assert_eq!(server.sql("opinionated_restored", digest), server.sql("opinionated", digest));
}

/// Their hashes are others where they are restored, so `pg_dump` has the rows go to the root.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_by_the_hash_of_an_enum_come_back() {
    let server = Server::shared();
    server.create(
        "hashed",
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
         CREATE TABLE felt (m mood, n int) PARTITION BY HASH (m);
         CREATE TABLE felt_0 PARTITION OF felt FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE felt_1 PARTITION OF felt FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO felt SELECT (enum_range(NULL::mood))[1 + n % 3], n FROM generate_series(1, 1000) n",
    );
    let archive = dump(&server, "hashed", DumpCompression::Auto).await;
    let sql = String::from_utf8(server.client("pg_restore", "", &["-f", "-"], &archive).stdout).unwrap();
    assert_eq!(sql.matches("COPY public.felt (m, n) FROM stdin;").count(), 2, "{sql}");
    server.create("hashed_restored", "");
    server.client("pg_restore", "", &["--exit-on-error", "-d", "hashed_restored"], &archive);
    let rows = "SELECT count(*), md5(string_agg(felt::text, ',' ORDER BY n)) FROM felt";
    assert_eq!(server.sql("hashed_restored", rows), server.sql("hashed", rows));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_need_not_be_in_utf8() {
    let server = Server::shared();
    for database in ["latin", "latin_restored", "latin_extended"] {
        server.sql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'LATIN1'"));
    }
    server.sql(
        "latin",
        r#"SET client_encoding = 'UTF8'; CREATE SCHEMA "Käse";
           CREATE TABLE "Käse"."größe" ("straße" int, name text);
           INSERT INTO "Käse"."größe" SELECT n, 'Grüße ' || n || repeat('ß', 100) FROM generate_series(1, 200000) n"#,
    );
    let archive = dump(&server, "latin", DumpCompression::Auto).await;
    server.client("pg_restore", "", &["--exit-on-error", "-d", "latin_restored"], &archive);
    let rows = r#"SET client_encoding = 'UTF8'; SELECT count(*), md5(string_agg(g::text, ',')) FROM "Käse"."größe" g"#;
    assert_eq!(server.sql("latin_restored", rows), server.sql("latin", rows));

    // A filter is in the encoding of the database too.
    server.sql(
        "latin_extended",
        "SET client_encoding = 'UTF8'; CREATE TABLE settings (id text); INSERT INTO settings VALUES ('a'), ('ü'), ('ä');
         ALTER EXTENSION plpgsql ADD TABLE settings; SET allow_system_table_mods = on;
         UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid], extcondition = ARRAY['WHERE id = ''ü''']
         WHERE extname = 'plpgsql'",
    );
    let archive = dump(&server, "latin_extended", DumpCompression::Auto).await;
    let sql = server.client("pg_restore", "", &["-f", "-"], &archive).stdout;
    let expected = b"COPY public.settings (id) FROM stdin;\n\xfc\n\\.\n";
    assert!(
        sql.windows(expected.len()).any(|window| window == expected),
        "{}",
        String::from_utf8_lossy(&sql)
    );
}
