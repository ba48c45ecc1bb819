use crate::client::Client;
use holdfast_testing::builders;
use insta::assert_snapshot;

#[tokio::test]
async fn the_audit_trail_says_who_did_what() {
    let client = Client::new();
    client.world.register("shop");
    let asked = client.post("/v1/applications/shop/backups").send().await.json();
    client.world.clock.advance(chrono::TimeDelta::seconds(5));
    client.post(asked["links"]["cancel"].as_str().unwrap()).send().await;
    assert_snapshot!(client.get("/v1/applications/shop/events").send().await.shown());

    let first = client.get("/v1/applications/shop/events?limit=1").send().await.json();
    let last = client.get(first["next"].as_str().unwrap()).send().await.json();
    assert_eq!(
        (&first["items"][0]["action"], &last["items"][0]["action"]),
        (&"cancel".into(), &"request".into())
    );
}

#[tokio::test]
async fn an_application_that_never_was_has_no_trail() {
    assert_eq!(Client::new().get("/v1/applications/shop/events").send().await.status, 404);
}

#[tokio::test]
async fn the_trail_outlives_the_application() {
    let client = Client::new();
    client.world.register("shop");
    client.world.succeeded(&builders::slug("shop"), builders::now(), true);
    client.delete("/v1/applications/shop?backups=delete").send().await;
    let trail = client.get("/v1/applications/shop/events").send().await.json();
    let actions: Vec<_> =
        trail["items"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert!(actions.contains(&"remove") && actions.contains(&"delete"), "{actions:?}");
}
