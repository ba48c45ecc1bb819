//! Databases that cannot be dumped: each says why, in a stable word, and what to do.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use holdfast_backup::{engines::Engine, upload::store};
use holdfast_domain::{application::PostgresService, backup::Failure};
use holdfast_testing::World;
use rstest::rstest;

use crate::{
    KEY, assert_failure, failure,
    observer::Witness,
    server::{PASSWORD, Server, engine, engine_with, free_port},
};

/// Why `engine` fails, having left nothing.
async fn refused(engine: &dyn Engine) -> Failure {
    let prepared = failure(engine.prepare().await);
    let world = World::new();
    let outcome = store(world.ports.artifacts.as_ref(), engine, KEY, &mut Witness::default()).await;
    assert_eq!(failure(outcome).code, prepared.code);
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
    prepared
}

#[tokio::test]
async fn a_wrong_password() {
    let server = Server::shared();
    server.create("wrong_password", "");
    for user in ["postgres", "nobody_at_all"] {
        let failure = refused(&engine(server.service("wrong_password"), user, "hunter2")).await;
        assert_failure(&failure, "wrong_password", false, &["\"wrong_password\" at 127.0.0.1", "secret"]);
        assert!(!failure.message.contains("hunter2"));
    }
}

#[tokio::test]
async fn no_such_database() {
    let failure = refused(&Server::shared().engine("not_there")).await;
    assert_failure(&failure, "no_such_database", false, &["\"not_there\" does not exist", "create it"]);
}

#[tokio::test]
async fn a_closed_port() {
    let service = PostgresService { port: free_port(), ..Server::shared().service("shop") };
    let port = format!("127.0.0.1:{}", service.port);
    let failure = refused(&engine(service, "postgres", PASSWORD)).await;
    assert_failure(&failure, "unreachable_host", true, &[&port, "security group"]);
}

#[tokio::test]
async fn a_host_that_does_not_exist() {
    let service =
        PostgresService { host: "no-such-host.invalid".to_owned(), ..Server::shared().service("shop") };
    let failure = refused(&engine(service, "postgres", PASSWORD)).await;
    assert_eq!(failure.code, "unknown_host", "{}", failure.message);
    assert!(failure.message.contains("no-such-host.invalid"));
}

#[tokio::test]
async fn a_role_that_may_not_connect() {
    let server = Server::shared();
    server.create(
        "closed",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC; CREATE ROLE outsider LOGIN PASSWORD 'x'",
    );
    let failure = refused(&engine(server.service("closed"), "outsider", "x")).await;
    assert_failure(
        &failure,
        "permission_denied",
        false,
        &["permission denied for database", "pg_read_all_data"],
    );
}

#[tokio::test]
async fn a_role_that_may_not_read_everything() {
    let server = Server::shared();
    server.create(
        "partly_closed",
        "CREATE TABLE open AS SELECT 1; CREATE TABLE closed AS SELECT 2; CREATE ROLE reader LOGIN PASSWORD 'x';
         GRANT SELECT ON open TO reader",
    );
    let engine = engine(server.service("partly_closed"), "reader", "x");
    engine.prepare().await.unwrap();
    let world = World::new();
    let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
    assert_failure(&failure(outcome), "permission_denied", false, &["permission denied for table closed"]);
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
}

/// Under row-level security a role without `BYPASSRLS` sees some of the rows. `pg_dump` has the server refuse that, and every
/// session that reads rows must too.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_every_row() {
    let server = Server::shared();
    server.create(
        "row_secured",
        "CREATE TABLE secured AS SELECT n FROM generate_series(1, 10) n; CREATE ROLE some_rows LOGIN PASSWORD 'x';
         GRANT SELECT ON secured TO some_rows; ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
         CREATE POLICY half ON secured USING (n > 5)",
    );
    let engine = engine(server.service("row_secured"), "some_rows", "x");
    let world = World::new();
    let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
    assert_failure(&failure(outcome), "permission_denied", false, &["row-level security", "secured"]);
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
    server.assert_no_session("row_secured");
}

#[tokio::test]
async fn too_many_connections() {
    let server = Server::shared();
    server
        .create("crowded", "ALTER DATABASE crowded CONNECTION LIMIT 0; CREATE ROLE late LOGIN PASSWORD 'x'");
    let failure = refused(&engine(server.service("crowded"), "late", "x")).await;
    assert_failure(&failure, "too_many_connections", true, &["too many connections", "max_connections"]);
}

/// A `pg_dump` that says `version` of itself.
fn fake_client(dirs: &Path, major: u32, version: &str) {
    let bin = dirs.join(major.to_string()).join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("pg_dump"), format!("#!/bin/sh\necho '{version}'\n")).unwrap();
    fs::set_permissions(bin.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_server_newer_than_every_client() {
    let server = Server::shared();
    let dirs = tempfile::tempdir().unwrap();
    for major in [11, 12] {
        fake_client(dirs.path(), major, "pg_dump (PostgreSQL) 12.1");
    }
    let pattern = format!("{}/{{major}}/bin", dirs.path().display());
    let failure = refused(&engine_with(server.service("postgres"), "postgres", PASSWORD, &pattern)).await;
    let version = server.sql("postgres", "SHOW server_version");
    let version = version.split(' ').next().unwrap();
    assert_failure(&failure, "server_too_new", false, &[version, "it has: 11, 12", "add PostgreSQL"]);
}

#[tokio::test]
async fn a_client_that_is_not_what_its_folder_says() {
    let server = Server::shared();
    let major: u32 = server.sql("postgres", "SHOW server_version_num").parse().unwrap();
    let dirs = tempfile::tempdir().unwrap();
    fake_client(dirs.path(), major / 10_000, "pg_dump (PostgreSQL) 12.1");
    let pattern = format!("{}/{{major}}/bin", dirs.path().display());
    let failure = refused(&engine_with(server.service("postgres"), "postgres", PASSWORD, &pattern)).await;
    assert_failure(&failure, "client_broken", false, &["pg_dump (PostgreSQL) 12.1", "install"]);
}

/// A client that succeeds and writes something else than an archive, or nothing.
#[tokio::test]
async fn success_without_an_archive_is_none() {
    let server = Server::shared();
    let major: u32 = server.sql("postgres", "SHOW server_version_num").parse::<u32>().unwrap() / 10_000;
    for output in ["echo PGDUMMY", "true", "printf PGD"] {
        let dirs = tempfile::tempdir().unwrap();
        let version = format!("pg_dump (PostgreSQL) {major}.1");
        fake_client(dirs.path(), major, &version);
        let script =
            format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{version}'; else {output}; fi\n");
        fs::write(dirs.path().join(format!("{major}/bin/pg_dump")), script).unwrap();
        let pattern = format!("{}/{{major}}/bin", dirs.path().display());
        let engine = engine_with(server.service("postgres"), "postgres", PASSWORD, &pattern);
        let world = World::new();
        let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
        assert_failure(&failure(outcome), "dump_failed", false, &["not a custom-format archive"]);
        assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    }
}

/// A `pg_dump` of a kind that nobody has seen yet: what it reads in a way that is not known, or with settings that the other
/// sessions do not have, is not dumped.
#[rstest]
#[case::late_setting(
    &["BEGIN", "COPY public.t (n) TO stdout;", "SET datestyle = 'SQL, DMY'"],
    "changes a setting while it reads tables: SET datestyle"
)]
#[case::unknown_copy(&["BEGIN", "COPY public.t (n) TO stdout WITH BINARY;"], "in a way that is not known: COPY public.t")]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_in_another_way(#[case] statements: &[&str], #[case] words: &str) {
    let server = Server::shared();
    let database = format!("other_way_{}", statements.len());
    server.create(&database, "CREATE TABLE t AS SELECT 1 AS n");
    let major: u32 = server.sql("postgres", "SHOW server_version_num").parse::<u32>().unwrap() / 10_000;
    let dirs = tempfile::tempdir().unwrap();
    let version = format!("pg_dump (PostgreSQL) {major}.1");
    fake_client(dirs.path(), major, &version);
    let queries = statements.iter().map(|sql| format!(" -c \"{sql}\"")).collect::<Vec<_>>().concat();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo '{version}'; else \
         exec /usr/lib/postgresql/{major}/bin/psql -Xq{queries}; fi\n"
    );
    fs::write(dirs.path().join(format!("{major}/bin/pg_dump")), script).unwrap();
    let pattern = format!("{}/{{major}}/bin", dirs.path().display());
    let engine = engine_with(server.service(&database), "postgres", PASSWORD, &pattern);
    let world = World::new();
    let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
    assert_failure(&failure(outcome), "dump_failed", false, &[words]);
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
    server.assert_no_session(&database);
}
