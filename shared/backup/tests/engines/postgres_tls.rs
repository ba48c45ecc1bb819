//! Encrypted connections: ours and `pg_dump`'s trust the same authorities.

use holdfast_backup::{engines::Engine, upload::store};
use holdfast_domain::application::{PostgresService, Tls};
use holdfast_testing::World;

use crate::{
    KEY, failure,
    observer::Witness,
    server::{PASSWORD, Server, engine},
};

fn trusting(service: PostgresService, ca_pem: Option<String>) -> impl Engine {
    engine(PostgresService { tls: Tls::VerifyFull { ca_pem }, ..service }, "postgres", PASSWORD)
}

#[tokio::test]
async fn a_server_is_verified() {
    // It takes nothing but encrypted connections, so what arrives was encrypted.
    let server = Server::start(true);
    let service = server.service("postgres");
    server.sql("postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 400000) n");

    let known = trusting(service.clone(), Some(server.ca_pem()));
    let world = World::new();
    store(world.ports.artifacts.as_ref(), &known, KEY, &mut Witness::default()).await.unwrap();
    let archive = world.artifacts.bytes(KEY).unwrap();
    let sql = server.client("pg_restore", "", &["-a", "-t", "t", "-f", "-"], &archive).stdout;
    assert!(
        String::from_utf8(sql).unwrap().lines().filter_map(|line| line.parse::<u32>().ok()).eq(1..=400_000)
    );

    let other = Server::start(true);
    let strangers = trusting(service.clone(), Some(other.ca_pem()));
    let public = trusting(service.clone(), None);
    // The certificate is for 127.0.0.1 alone.
    let by_another_name = PostgresService { host: "localhost".to_owned(), ..service.clone() };
    let misnamed = trusting(by_another_name, Some(server.ca_pem()));
    for engine in [strangers, public, misnamed] {
        let failure = failure(engine.prepare().await);
        assert_eq!((failure.code.as_str(), failure.transient), ("tls_failed", false), "{}", failure.message);
        assert!(failure.message.contains("certificate"), "{}", failure.message);
        assert!(failure.message.contains("tls.ca_pem"), "{}", failure.message);
    }

    let plain = failure(engine(service, "postgres", PASSWORD).prepare().await);
    assert_eq!(plain.code, "permission_denied", "{}", plain.message);
}

#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let server = Server::shared();
    let engine = trusting(server.service("postgres"), None);
    let failure = failure(engine.prepare().await);
    assert_eq!((failure.code.as_str(), failure.transient), ("tls_failed", false));
    assert!(failure.message.contains("server does not support TLS"), "{}", failure.message);
}
