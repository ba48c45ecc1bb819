//! Restores by ours, beside what the stock `pg_restore` makes of the same archive.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use holdfast_backup::{
    engines::postgres::{DumpCompression, RestoreOptions, RestoreReport},
    error::SliceError,
};
use holdfast_testing::World;
use rstest::rstest;
use tempfile::TempDir;

use crate::{
    KEY, assert_failure, failure,
    postgres_everything::{EVERYTHING, as_text, assert_same, dump},
    server::Server,
};

pub(crate) const OPTIONS: RestoreOptions = RestoreOptions {
    jobs: NonZeroUsize::new(3).unwrap(),
    overwrite: false,
    no_owner: false,
    keep_old: false,
    rehearsal: false,
    checksums: false,
    checksum: None,
};

/// A small shop, as SQL.
pub(crate) const SHOP: &str = "
    CREATE TABLE product (id serial PRIMARY KEY, name text NOT NULL);
    INSERT INTO product (name) SELECT 'product ' || n FROM generate_series(1, 2000) n;
    CREATE TABLE picture (product int REFERENCES product, bytes bytea);
    INSERT INTO picture SELECT n, sha256(n::text::bytea) FROM generate_series(1, 1000) n;
    CREATE INDEX ON product (name);";

/// A file with these bytes, in a folder of its own.
pub(crate) fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.dump");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Restores `archive` into `database`.
pub(crate) async fn restore(
    server: &Server,
    database: &str,
    archive: &Path,
    options: RestoreOptions,
) -> Result<RestoreReport, SliceError> {
    let prepared = server.restore(database, options).prepare(archive).await?;
    Box::pin(prepared.run(std::future::pending())).await
}

/// The same, out of a bucket that has it.
async fn restore_from_bucket(
    server: &Server,
    database: &str,
    archive: &[u8],
) -> Result<RestoreReport, SliceError> {
    let world = World::new();
    let object = world.artifacts.insert(KEY, archive.to_vec());
    let prepared =
        server.restore(database, OPTIONS).prepare_from(world.ports.artifacts.clone(), object).await?;
    Box::pin(prepared.run(std::future::pending())).await
}

/// That nothing is left of any restore into `database`.
pub(crate) fn assert_nothing_left(server: &Server, database: &str) {
    let left = format!(
        "SELECT datname FROM pg_database
         WHERE datname ~ ('^holdfast_(restore|replaced)_' || substr(md5('{database}'), 1, 8))"
    );
    assert_eq!(server.sql("postgres", &left), "", "a database is left");
}

/// An archive by the stock `pg_dump`.
fn stock_dump(server: &Server, database: &str, arguments: &[&str]) -> Vec<u8> {
    server.client("pg_dump", database, &[&["-Fc"], arguments].concat(), b"").stdout
}

#[rstest]
#[case::ours_zlib(15, &[])]
#[case::ours_oldest(14, &[])]
#[case::ours_zstd(17, &[])]
#[case::ours_newest(18, &[])]
#[case::stock_to_a_pipe(15, &["-Fc"])]
#[case::stock_to_a_file(15, &["-Fc", "-f"])]
#[case::stock_uncompressed(15, &["-Fc", "-Z0", "-f"])]
#[case::stock_inserts(15, &["-Fc", "--rows-per-insert=500", "-f"])]
#[case::stock_newest(18, &["-Fc", "-f"])]
#[case::stock_lz4(18, &["-Fc", "-Zlz4", "-f"])]
#[case::stock_zstd(16, &["-Fc", "-Zzstd", "-f"])]
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_as_pg_restore_makes_it(#[case] major: u32, #[case] stock: &[&str]) {
    let server = Server::of_major(major);
    server.create("everything", EVERYTHING);
    let (_folder, path) = file(b"");
    let archive = match stock {
        [] => dump(&server, "everything", DumpCompression::Auto).await,
        [rest @ .., "-f"] => {
            let mut command = rest.to_vec();
            let beside = path.with_extension("stock");
            command.extend(["-f", beside.to_str().unwrap()]);
            if let Err(said) = server.try_client("pg_dump", "everything", &command) {
                assert!(said.contains("does not support compression"), "{said}");
                return;
            }
            fs::read(&beside).unwrap()
        }
        arguments => stock_dump(&server, "everything", arguments),
    };
    fs::write(&path, &archive).unwrap();
    server.create("by_pg_restore", "");
    let file = path.to_str().unwrap();
    server.client("pg_restore", "", &["--exit-on-error", "-d", "by_pg_restore", file], b"");

    let report = restore(&server, "ours", &path, OPTIONS).await.unwrap();
    // Tables that are large in the archive are copied by several sessions at once: their rows lie in another order then.
    let keeps_order = !stock.contains(&"-Z0");
    let as_text = |server: &Server, database: &str| {
        let text = as_text(server, database);
        let mut lines: Vec<&str> = text.lines().collect();
        if !keeps_order {
            lines.sort_unstable();
        }
        lines.join("\n")
    };
    let expected = as_text(&server, "by_pg_restore");
    assert_same(&as_text(&server, "ours"), &expected);
    assert_nothing_left(&server, "ours");
    server.assert_no_session("ours");
    if !stock.contains(&"-Zlz4") && !stock.contains(&"--rows-per-insert=500") {
        assert!(report.tables > 15 && report.rows > 300_000, "{report:?}");
    }
    assert_eq!(server.sql("ours", "SELECT count(*) FROM pg_largeobject_metadata"), "3");

    // The same out of a bucket.
    let from_bucket = restore_from_bucket(&server, "from_bucket", &archive).await;
    if stock == ["-Fc"] {
        assert_failure(
            &failure(from_bucket),
            "archive_damaged",
            false,
            &["not written down where the block"],
        );
    } else {
        assert_eq!(from_bucket.unwrap().rows, report.rows);
        assert_same(&as_text(&server, "from_bucket"), &expected);
        assert_eq!(server.sql("from_bucket", "SELECT count(*) FROM pg_largeobject_metadata"), "3");
    }
    assert_nothing_left(&server, "from_bucket");

    // Once more, over what is there.
    let options = RestoreOptions { overwrite: true, jobs: NonZeroUsize::MIN, ..OPTIONS };
    restore(&server, "ours", &path, options).await.unwrap();
    assert_same(&as_text(&server, "ours"), &expected);
    assert_nothing_left(&server, "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_keeps_what_it_is_and_the_old_one_can_be_kept() {
    let server = Server::shared();
    server.create("kept_source", SHOP);
    let (_folder, path) = file(&dump(&server, "kept_source", DumpCompression::Auto).await);
    server.sql(
        "postgres",
        "CREATE ROLE kept_owner LOGIN; CREATE ROLE kept_reader;
         CREATE DATABASE kept TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' OWNER kept_owner;
         ALTER DATABASE kept SET work_mem = '7MB';
         ALTER DATABASE kept SET search_path = \"$user\", public, \"odd, one\";
         ALTER ROLE kept_reader IN DATABASE kept SET work_mem = '8MB';
         REVOKE ALL ON DATABASE kept FROM PUBLIC; GRANT CONNECT ON DATABASE kept TO kept_reader WITH GRANT OPTION;
         ALTER DATABASE kept CONNECTION LIMIT 17; COMMENT ON DATABASE kept IS 'it''s kept'",
    );
    server.sql("kept", "CREATE TABLE before AS SELECT 1 AS one");
    let facts = |name: &str| {
        server.sql(
            "postgres",
            &format!(
                "SELECT pg_encoding_to_char(encoding), datcollate, datdba::regrole, datconnlimit, datacl,
                     shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}';
                 SELECT setrole::regrole, setconfig FROM pg_db_role_setting
                 WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = '{name}') ORDER BY 1"
            ),
        )
    };
    let before = facts("kept");
    let options = RestoreOptions { overwrite: true, keep_old: true, ..OPTIONS };
    let report = restore(&server, "kept", &path, options).await.unwrap();
    assert_eq!(facts("kept"), before);
    let old = report.old_database.unwrap();
    assert!(old.starts_with("kept_before_"), "{old}");
    assert_eq!(server.sql(&old, "SELECT one FROM before"), "1");
    assert_eq!(server.sql("kept", "SET search_path = public; SELECT count(*) FROM product"), "2000");
    assert_nothing_left(&server, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_roles_are_missing_is_said_and_left_out() {
    let server = Server::shared();
    server.create("orphan_source", SHOP);
    server.sql(
        "orphan_source",
        "CREATE ROLE orphan_owner; CREATE ROLE orphan_reader; CREATE ROLE orphan_stays;
         ALTER TABLE product OWNER TO orphan_owner; GRANT SELECT ON picture TO orphan_reader, orphan_stays;
         ALTER TABLE picture OWNER TO orphan_stays",
    );
    let (_folder, path) = file(&dump(&server, "orphan_source", DumpCompression::Auto).await);
    server.sql("orphan_source", "DROP OWNED BY orphan_owner, orphan_reader CASCADE");
    server.sql("postgres", "DROP ROLE orphan_owner, orphan_reader");
    let prepared = server.restore("orphan", OPTIONS).prepare(&path).await.unwrap();
    let notes = prepared.plan.notes.join("\n");
    assert!(notes.contains("orphan_owner") && notes.contains("orphan_reader"), "{notes}");
    assert!(!notes.contains("orphan_stays"), "{notes}");
    prepared.run(std::future::pending()).await.unwrap();
    let owners =
        "SELECT relname, relowner::regrole, has_table_privilege('orphan_stays', oid, 'SELECT') FROM pg_class
        WHERE relname IN ('picture', 'product') ORDER BY 1";
    assert_eq!(server.sql("orphan", owners), "picture|orphan_stays|t\nproduct|postgres|f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_no_superuser_restores_its_own_database() {
    let server = Server::shared();
    server.sql("postgres", "CREATE ROLE humble LOGIN CREATEDB PASSWORD 'x'");
    server.sql("postgres", "CREATE DATABASE humble OWNER humble");
    server.sql("humble", &format!("SET ROLE humble; CREATE SCHEMA s; SET search_path = s; {SHOP}"));
    let (_folder, path) = file(&dump(&server, "humble", DumpCompression::Auto).await);
    let expected = as_text(&server, "humble");
    let options = RestoreOptions { overwrite: true, ..OPTIONS };
    let prepared = server.restore_as("humble", "humble", "x", options).prepare(&path).await.unwrap();
    prepared.run(std::future::pending()).await.unwrap();
    assert_same(&as_text(&server, "humble"), &expected);

    // One who may not make databases is told so.
    server.sql("postgres", "ALTER ROLE humble NOCREATEDB");
    let prepared = server.restore_as("humble", "humble", "x", options).prepare(&path).await.unwrap();
    let codes: Vec<_> = prepared.plan.refusals.iter().map(|refusal| refusal.code).collect();
    assert_eq!(codes, ["permission_denied"]);
    assert!(prepared.plan.refusals[0].fix.contains("CREATEDB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_the_role_may_not_give_are_told_before() {
    let server = Server::shared();
    server.create("timid_source", SHOP);
    let (_folder, path) = file(&dump(&server, "timid_source", DumpCompression::Auto).await);
    server.sql("postgres", "CREATE ROLE timid LOGIN CREATEDB PASSWORD 'x'; CREATE ROLE timid_friend");
    server.sql("postgres", "CREATE DATABASE timid OWNER timid");
    server.sql(
        "postgres",
        "ALTER DATABASE timid SET work_mem = '9MB'; ALTER ROLE timid IN DATABASE timid SET search_path = 'kept';
         ALTER DATABASE timid SET app.jwt_secret = 'hunter2'; ALTER DATABASE timid SET log_statement = 'ddl';
         ALTER ROLE timid_friend IN DATABASE timid SET statement_timeout = 1",
    );
    let options = RestoreOptions { overwrite: true, ..OPTIONS };
    let prepare = async |role: &str, password: &str| {
        server.restore_as("timid", role, password, options).prepare(&path).await.unwrap()
    };
    let refusals = prepare("timid", "x").await.plan.refusals;
    let [refusal] = &refusals[..] else { panic!("{refusals:?}") };
    assert_eq!(refusal.code, "permission_denied");
    for named in ["app.jwt_secret", "log_statement", "statement_timeout for the role timid_friend"] {
        assert!(refusal.what.contains(named), "{refusal:?}");
    }
    for other in ["hunter2", "work_mem", "search_path"] {
        assert!(!refusal.what.contains(other), "{refusal:?}");
    }
    assert!(server.restore("timid", options).prepare(&path).await.unwrap().plan.refusals.is_empty());

    server.sql(
        "postgres",
        "ALTER DATABASE timid RESET app.jwt_secret; ALTER DATABASE timid RESET log_statement;
         ALTER ROLE timid_friend IN DATABASE timid RESET ALL",
    );
    prepare("timid", "x").await.run(std::future::pending()).await.unwrap();
    let kept = "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
        WHERE datname = 'timid' ORDER BY 1";
    assert_eq!(server.sql("postgres", kept), "search_path=kept\nwork_mem=9MB");
    assert_eq!(server.sql("timid", "SELECT count(*) FROM public.product"), "2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_compared_with_what_was_written_down() {
    let server = Server::shared();
    server.create("counted", SHOP);
    let (_folder, path) = file(&dump(&server, "counted", DumpCompression::Auto).await);
    let list = server.client("pg_restore", "", &["-l", path.to_str().unwrap()], b"").stdout;
    let list = String::from_utf8(list).unwrap();
    let id = |table: &str| {
        let line = list.lines().find(|line| line.contains(&format!("TABLE DATA public {table} "))).unwrap();
        line.split(';').next().unwrap().to_owned()
    };
    let counts = |products: u32| {
        format!(
            "{{\"format\":\"holdfast-row-counts\",\"version\":1,\"tables\":2,\"rows\":{}}}\n{{\"dump_id\":{},\"rows\":{products}}}\n\
             {{\"dump_id\":{},\"rows\":1000}}\n",
            products + 1000,
            id("product"),
            id("picture")
        )
    };
    fs::write(path.with_extension("rows.jsonl"), counts(2000)).unwrap();
    let report = restore(&server, "counted_again", &path, OPTIONS).await.unwrap();
    assert!(report.rows_compared && report.rows == 3000, "{report:?}");

    fs::write(path.with_extension("rows.jsonl"), counts(2001)).unwrap();
    let options = RestoreOptions { overwrite: true, ..OPTIONS };
    let refused = failure(restore(&server, "counted_again", &path, options).await);
    assert_failure(&refused, "archive_damaged", false, &["2000 rows, and 2001"]);
    assert_eq!(server.sql("counted_again", "SELECT count(*) FROM product"), "2000");
    assert_nothing_left(&server, "counted_again");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_frozen_as_they_come_unless_there_are_few() {
    let server = Server::shared();
    let filled = |rows| format!("SELECT n, md5(n::text) AS text FROM generate_series(1, {rows}) n");
    let sql = format!("CREATE TABLE large AS {}; CREATE TABLE small AS {}", filled(40_000), filled(100));
    server.create("unfrozen", &sql);
    let (_folder, path) = file(&dump(&server, "unfrozen", DumpCompression::Auto).await);
    restore(&server, "frozen", &path, OPTIONS).await.unwrap();
    // Pages that all may see: nothing but VACUUM and COPY … FREEZE marks them.
    let pages = "ANALYZE; SELECT relname, relallvisible, relpages FROM pg_class WHERE relname IN ('large', 'small') ORDER BY 1";
    let expected = "large|334|334\nsmall|0|1";
    assert_eq!(server.sql("frozen", pages), expected);
    for database in ["unfrozen", "frozen"] {
        server.sql("postgres", &format!("DROP DATABASE {database}"));
    }
}
