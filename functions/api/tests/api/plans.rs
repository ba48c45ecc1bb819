use crate::client::Client;
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

#[tokio::test]
async fn the_default_plan_is_there_from_the_start() {
    let client = Client::new();
    assert_snapshot!("the_default_plan", client.get("/v1/plans/default").send().await.shown());
    let list = client.get("/v1/plans").send().await.json();
    assert_eq!(list["items"][0], client.get("/v1/plans/default").send().await.json());
}

#[tokio::test]
async fn the_default_plan_can_be_changed() {
    let client = Client::new();
    let put = |tag: &str| {
        client
            .put("/v1/plans/default")
            .header("if-match", tag)
            .json(&json!({"limits": {"on_demand_per_day": 2}}))
    };
    let answer = put("\"v0\"").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"v1\""), "{}", answer.text);
    let answer = put("\"v1\"").send().await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"v2\""), "{}", answer.text);
    assert_eq!(put("\"v1\"").send().await.status, 412);
}

#[tokio::test]
async fn a_new_plan_is_made() {
    let client = Client::new();
    let document = json!({
        "schedule": {"kind": "cron", "expression": "0 */6 * * *"},
        "scheduled": {"kind": "gfs", "daily": 14, "weekly": 8, "monthly": 24},
    });
    assert_snapshot!(client.put("/v1/plans/gold").json(&document).send().await.shown());
    let again = client.put("/v1/plans/gold").json(&document).send().await;
    assert_eq!((again.status.as_u16(), again.problem().0.as_str()), (428, "precondition-required"));
}

#[tokio::test]
async fn plans_are_listed() {
    let client = Client::new();
    for plan in ["gold", "bronze"] {
        client.put(&format!("/v1/plans/{plan}")).json(&json!({"schedule": null})).send().await;
    }
    let list = client.get("/v1/plans").send().await.json();
    let ids: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|plan| plan["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["bronze", "default", "gold"]);
}

#[rstest]
#[case::keeps_nothing(json!({"scheduled": {"kind": "gfs", "daily": 0, "weekly": 0, "monthly": 0}}))]
#[case::keeps_nothing_on_demand(json!({"on_demand": {"kind": "age_then_count", "days": 0, "keep": 0}}))]
#[case::never_fires(json!({"schedule": {"kind": "cron", "expression": "0 0 30 2 *"}}))]
#[case::no_cron(json!({"schedule": {"kind": "cron", "expression": "whenever"}}))]
#[case::nobody_may_ask(json!({"limits": {"on_demand_per_day": 0}}))]
#[tokio::test]
async fn a_plan_that_cannot_work_is_refused(#[case] document: Value) {
    let client = Client::new();
    let answer = client.put("/v1/plans/gold").json(&document).send().await;
    let (kind, field, fix) = answer.problem();
    assert_eq!((answer.status.as_u16(), kind.as_str()), (422, "unprocessable"), "{}", answer.text);
    let section = document.as_object().unwrap().keys().next().unwrap();
    assert!(field.starts_with(section.as_str()), "{}", answer.text);
    assert!(!fix.is_empty());
    assert_eq!(client.get("/v1/plans/gold").send().await.status, 404, "no plan is made");
}
