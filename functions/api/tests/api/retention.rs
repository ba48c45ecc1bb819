use crate::client::Client;
use chrono::TimeDelta;
use holdfast_testing::builders::{self, slug};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_backup_says_why_it_is_kept_and_when_it_goes() {
    let client = Client::new();
    client.world.register("shop");
    let backup = client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(1), true);
    client.world.succeeded(&slug("shop"), builders::now(), true);
    let shown = client.get(&format!("/v1/applications/shop/backups/{}", backup.id)).send().await.json();
    let retention = &shown["retention"];
    assert_eq!(retention["action"], "keep");
    assert_eq!(retention["next_relabel"]["to"], "weekly", "{retention}");
    assert!(retention["discard"]["on"].as_str().unwrap() > "2027-01-01", "{retention}");
    let latest = client.get("/v1/applications/shop/backups/latest").send().await.json();
    assert!(latest["retention"]["reason"].is_string());
    let listed = client.get("/v1/applications/shop/backups").send().await.json();
    assert_eq!(listed["items"][0].get("retention"), None, "not in lists");
}

#[tokio::test]
async fn the_calendar_is_a_picture_for_who_asks_for_one() {
    let client = Client::new();
    client.world.register("shop");
    for day in 0..9 {
        client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(day), true);
    }
    let call = client.get("/v1/applications/shop/retention").header("accept", "image/svg+xml");
    let answer = call.send().await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "image/svg+xml"));
    assert_eq!(answer.header("vary"), "Accept");
    assert!(answer.text.starts_with("<svg ") && answer.text.contains("Backups of shop"), "{}", answer.text);

    let body =
        json!({"application": "shop", "scheduled": {"kind": "gfs", "daily": 2, "weekly": 0, "monthly": 0}});
    let call = client.post("/v1/retention/preview").header("accept", "image/svg+xml");
    let tried = call.json(&body).send().await;
    assert_eq!(tried.header("content-type"), "image/svg+xml");
    assert!(tried.text.contains("7 discarded") && !answer.text.contains("7 discarded"), "{}", tried.text);
}

#[tokio::test]
async fn a_policy_is_tried_out_beside_the_plans_own() {
    let client = Client::new();
    client.world.register("shop");
    for day in 0..4 {
        client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(day), true);
    }
    let before = client.get("/v1/applications/shop/backups").send().await.json();
    let body =
        json!({"application": "shop", "scheduled": {"kind": "gfs", "daily": 2, "weekly": 1, "monthly": 0}});
    assert_snapshot!(client.post("/v1/retention/preview").json(&body).send().await.shown());
    assert_eq!(client.get("/v1/applications/shop/backups").send().await.json(), before, "it changes nothing");
}

#[rstest]
#[case::nothing_to_try(json!({"application": "shop"}), 422, "scheduled")]
#[case::empty_policy(json!({"application": "shop", "scheduled": {"kind": "gfs", "daily": 0, "weekly": 0, "monthly": 0}}), 422, "scheduled")]
#[case::no_application(json!({"on_demand": {"kind": "age_then_count", "days": 1, "keep": 1}}), 400, "application")]
#[case::unknown(json!({"application": "nobody", "on_demand": {"kind": "age_then_count", "days": 1, "keep": 1}}), 404, "")]
#[tokio::test]
async fn a_preview_that_cannot_be_made_is_refused(
    #[case] body: Value,
    #[case] status: u16,
    #[case] field: &str,
) {
    let client = Client::new();
    client.world.register("shop");
    let answer = client.post("/v1/retention/preview").json(&body).send().await;
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(answer.problem().1.starts_with(field), "{}", answer.text);
}
