//! Databases that cannot be dumped: each says why, in a stable word, and what to do.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use holdfast_backup::{engines::Engine, upload::store};
use holdfast_domain::{
    application::{MysqlService, Tls},
    backup::Failure,
};
use holdfast_testing::{
    World,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::{
    KEY, assert_failure, failure,
    mariadb_server::{MariaDb, PASSWORD, PROGRAMS, USER, engine},
    observer::Witness,
    server::free_port,
};

/// Why `engine` fails, having left nothing.
async fn refused(engine: &dyn Engine) -> Failure {
    let world = World::new();
    let outcome = store(world.ports.artifacts.as_ref(), engine, KEY, &mut Witness::default()).await;
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
    failure(outcome)
}

#[tokio::test]
async fn a_wrong_password() {
    let server = MariaDb::shared();
    let engine = engine(server.service("mysql"), USER, "hunter2", PROGRAMS);
    assert_eq!(failure(engine.prepare().await).code, "wrong_password");
    let failure = refused(&engine).await;
    assert_failure(&failure, "wrong_password", false, &["\"mysql\" at 127.0.0.1", "secret"]);
    assert!(!failure.message.contains("hunter2"));
}

#[tokio::test]
async fn no_such_database() {
    let server = MariaDb::shared();
    let failure = refused(&server.engine("not_there")).await;
    assert_failure(&failure, "no_such_database", false, &["'not_there'", "create it"]);
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_host() {
    let server = MariaDb::shared();
    let service = MysqlService { port: free_port(), ..server.service("shop") };
    let failure = refused(&engine(service.clone(), USER, PASSWORD, PROGRAMS)).await;
    assert_failure(&failure, "unreachable_host", true, &[&service.port.to_string(), "security group"]);
    let service = MysqlService { host: "no-such-host.invalid".to_owned(), ..service };
    let failure = refused(&engine(service, USER, PASSWORD, PROGRAMS)).await;
    assert_eq!(failure.code, "unknown_host", "{}", failure.message);
}

#[tokio::test]
async fn an_account_that_does_not_see_everything() {
    let server = MariaDb::shared();
    server.create("half_seen", "CREATE TABLE t (a INT)");
    server.sql(
        "mysql",
        "CREATE USER reader IDENTIFIED BY 'x'; GRANT SELECT, SHOW VIEW, EVENT, LOCK TABLES ON half_seen.* TO reader",
    );
    let reader = || engine(server.service("half_seen"), "reader", "x", PROGRAMS);
    let failure = refused(&reader()).await;
    assert_failure(
        &failure,
        "permission_denied",
        false,
        &["lacks TRIGGER, the right to see routines", "mysql.proc"],
    );
    server.sql("mysql", "GRANT TRIGGER ON half_seen.* TO reader; GRANT SELECT ON mysql.proc TO reader");
    let world = World::new();
    store(world.ports.artifacts.as_ref(), &reader(), KEY, &mut Witness::default()).await.unwrap();
}

#[tokio::test]
async fn a_view_that_cannot_be_read() {
    let server = MariaDb::shared();
    server.create("broken_view", "CREATE TABLE t (a INT); CREATE VIEW v AS SELECT a FROM t; DROP TABLE t");
    let failure = refused(&server.engine("broken_view")).await;
    assert_failure(&failure, "broken_view", false, &["broken_view", "drop the view"]);
}

#[tokio::test]
async fn a_worker_without_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let server = MariaDb::shared();
    let service = server.service("mysql");
    let failure = refused(&engine(service, USER, PASSWORD, folder.path().to_str().unwrap())).await;
    assert_failure(
        &failure,
        "client_missing",
        false,
        &["MariaDB 1", "mariadb-dump", folder.path().to_str().unwrap()],
    );
}

/// A folder with the client of this machine and a dump program that runs `script` after naming itself.
fn pretending(folder: &Path, script: &str) {
    std::os::unix::fs::symlink("/usr/bin/mariadb", folder.join("mariadb")).unwrap();
    let path = folder.join("mariadb-dump");
    let script = format!(
        "#!/bin/sh\nif [ \"$2\" = --version ]; then echo 'mariadb-dump Ver 10.19 Distrib 10.11.19-MariaDB'; exit; fi\n\
         while read -r line; do :; done\n{script}\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[rstest]
#[case::no_trailer(
    "echo 'CREATE TABLE t (a INT);'",
    "dump_failed",
    false,
    "without writing \"-- Dump completed\""
)]
#[case::nothing("", "dump_failed", false, "without writing \"-- Dump completed\"")]
#[case::trailer_in_the_middle(
    "printf -- '-- Dump completed\\nINSERT'",
    "dump_failed",
    false,
    "without writing"
)]
#[case::failed_after_the_trailer(
    "echo; echo '-- Dump completed'; echo 'Got errno 28 on write' >&2; exit 5",
    "dump_failed",
    false,
    "exit status: 5: Got errno 28"
)]
#[case::lost("echo 'Error 2013: Lost connection' >&2; exit 3", "connection_lost", true, "Lost connection")]
#[tokio::test]
async fn a_dump_program_that_does_not_come_to_its_end(
    #[case] script: &str,
    #[case] code: &str,
    #[case] transient: bool,
    #[case] words: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    pretending(folder.path(), script);
    let server = MariaDb::shared();
    let service = server.service("mysql");
    let failure = refused(&engine(service, USER, PASSWORD, folder.path().to_str().unwrap())).await;
    assert_failure(&failure, code, transient, &[words]);
}

#[rstest]
#[case("artifacts.begin")]
#[case("artifacts.put_part")]
#[case("artifacts.complete")]
#[tokio::test]
async fn a_store_that_fails(#[case] call: &str) {
    let world = World::new();
    world.faults.always(call, Moment::Before, Fault::Unavailable);
    let server = MariaDb::shared();
    let engine = server.engine("mysql");
    let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
    assert_failure(&failure(outcome), "storage_unavailable", true, &[]);
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
}

#[tokio::test]
async fn a_server_is_verified() {
    let (server, other) = (MariaDb::start(true), MariaDb::start(true));
    let trusting = |host: &str, ca_pem: Option<String>| {
        let tls = Tls::VerifyFull { ca_pem };
        let service = MysqlService { host: host.to_owned(), tls, ..server.service("mysql") };
        engine(service, USER, PASSWORD, PROGRAMS)
    };
    server.sql("mysql", &format!("ALTER USER '{USER}'@'%' REQUIRE SSL"));
    let world = World::new();
    let known = trusting("127.0.0.1", Some(server.ca_pem()));
    store(world.ports.artifacts.as_ref(), &known, KEY, &mut Witness::default()).await.unwrap();

    // The certificate is for 127.0.0.1 alone.
    let misnamed = trusting("localhost", Some(server.ca_pem()));
    let strangers = trusting("127.0.0.1", Some(other.ca_pem()));
    let public = trusting("127.0.0.1", None);
    for engine in [misnamed, strangers, public] {
        let failure = refused(&engine).await;
        assert_failure(&failure, "tls_failed", false, &["tls.ca_pem"]);
    }
    let plain = refused(&server.engine("mysql")).await;
    assert_eq!(plain.code, "wrong_password", "{}", plain.message);
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let server = MariaDb::shared();
    let service = MysqlService { tls: Tls::VerifyFull { ca_pem: None }, ..server.service("mysql") };
    let failure = refused(&engine(service, USER, PASSWORD, PROGRAMS)).await;
    assert_failure(&failure, "tls_failed", false, &["does not support TLS"]);
}
