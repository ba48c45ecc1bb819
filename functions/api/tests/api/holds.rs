use crate::client::{ACTOR, Client};
use chrono::TimeDelta;
use holdfast_domain::backup::{Backup, State};
use holdfast_testing::builders::{self, slug};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::json;

fn with_backup() -> (Client, Backup, String) {
    let client = Client::new();
    client.world.register("shop");
    let backup = client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(1), true);
    let path = format!("/v1/applications/shop/backups/{}", backup.id);
    (client, backup, path)
}

#[tokio::test]
async fn a_backup_is_held_and_released() {
    let (client, _, path) = with_backup();
    let hold = json!({"reason": "evidence in case 42"});
    let answer = client.put(&format!("{path}/hold")).json(&hold).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["hold"]["by"], ACTOR);
    assert_eq!(answer.json()["links"]["hold"], format!("{path}/hold"));

    assert_snapshot!("a_held_backup_is_not_deleted", client.delete(&path).send().await.shown());
    let shown = client.get(&path).send().await.json();
    assert_eq!(shown["retention"]["reason"], "kept because a hold is on it");
    assert_eq!(shown["retention"]["discard"]["kind"], "never");

    let answer = client.delete(&format!("{path}/hold")).send().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["hold"]), (200, &json!(null)));
    assert_eq!(client.delete(&format!("{path}/hold")).send().await.status, 200, "repeating it is harmless");
    let events = client.get("/v1/applications/shop/events").send().await.json();
    let mut actions: Vec<_> =
        events["items"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    actions.sort_by_key(ToString::to_string);
    assert_eq!(actions, ["hold", "release"]);
}

#[rstest]
#[case::no_reason(json!({}))]
#[case::empty(json!({"reason": " "}))]
#[case::unknown_field(json!({"reason": "x", "until": "2027-01-01"}))]
#[tokio::test]
async fn a_hold_without_a_reason_is_refused_by_field(#[case] body: serde_json::Value) {
    let (client, backup, path) = with_backup();
    let answer = client.put(&format!("{path}/hold")).json(&body).send().await;
    assert!([400, 422].contains(&answer.status.as_u16()), "{}", answer.text);
    assert!(!answer.problem().1.is_empty(), "{}", answer.text);
    assert_eq!(client.world.backup(&slug("shop"), backup.id).hold, None);
}

#[tokio::test]
async fn a_deleted_backup_is_asked_back() {
    let (client, backup, path) = with_backup();
    let early = client.post(&format!("{path}/undelete")).send().await;
    assert_eq!(early.status, 409, "{}", early.text);
    let deleted = client.delete(&path).send().await.json();
    assert_eq!(deleted["links"]["undelete"], format!("{path}/undelete"));
    assert_eq!(deleted["undelete_until"], "2026-04-08T12:00:00Z");

    let answer = client.post(&format!("{path}/undelete")).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (202, path.as_str()));
    assert_eq!(answer.json()["undelete"]["by"], ACTOR);
    let shown = client.get(&path).send().await;
    assert_eq!(shown.header("retry-after"), "2", "it is worth looking again");
    assert_eq!(client.world.executions.started().len(), 1);
    assert_eq!(
        client.world.backup(&slug("shop"), backup.id).state,
        State::Expired,
        "until the job has done it"
    );
}

#[tokio::test]
async fn after_the_grace_period_nothing_comes_back() {
    let (client, _, path) = with_backup();
    client.delete(&path).send().await;
    client.world.clock.advance(TimeDelta::days(8));
    assert_snapshot!(client.post(&format!("{path}/undelete")).send().await.shown());
}
