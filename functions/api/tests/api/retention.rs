use crate::client::Client;
use chrono::TimeDelta;
use holdfast_testing::builders::{self, slug};
use insta::assert_snapshot;

#[tokio::test]
async fn retention_says_what_it_would_do_and_why() {
    let client = Client::new();
    client.world.register("shop");
    client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(1), true);
    client.world.succeeded(&slug("shop"), builders::now(), false);
    let before = client.get("/v1/applications/shop/backups").send().await.json();
    assert_snapshot!(client.get("/v1/applications/shop/retention").send().await.shown());
    assert_eq!(client.get("/v1/applications/shop/backups").send().await.json(), before, "it changes nothing");
}

#[tokio::test]
async fn an_unknown_application_has_no_retention() {
    assert_eq!(Client::new().get("/v1/applications/shop/retention").send().await.status, 404);
}
