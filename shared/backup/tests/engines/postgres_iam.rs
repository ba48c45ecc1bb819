use holdfast_backup::engines::{self, Clients};
use holdfast_domain::application::{Login, PostgresService, Service};
use holdfast_testing::{World, builders, machine};

use crate::server::Server;

/// A role that has the token which the world signs for it as its password, and none that its secret holds.
#[tokio::test]
async fn a_role_logs_in_with_a_token_of_iam() {
    let server = Server::shared();
    let service = PostgresService { login: Login::Iam, ..server.service("postgres") };
    let token = format!("token of tokened for {}:{}", service.host, service.port);
    server.sql("postgres", &format!("CREATE ROLE tokened LOGIN PASSWORD '{token}'"));
    let world = World::new();
    world.secrets.put(&service.secret_arn, "tokened", "another");
    let clients = Clients { postgres: server.clients().parse().unwrap(), ..machine::worker(&world).clients };
    let prepare = async |service: PostgresService| {
        let service = Service::Postgres(service);
        let engine = engines::open(&world.ports, &clients, &builders::slug("shop"), &service).await.unwrap();
        engine.prepare().await
    };
    assert!(prepare(service.clone()).await.unwrap().is_some());
    let refused = prepare(PostgresService { login: Login::Password, ..service }).await.unwrap_err();
    assert!(refused.to_string().contains("password authentication failed"), "{refused}");
}
