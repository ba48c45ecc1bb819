use crate::client::{ACTOR, Client};
use chrono::TimeDelta;
use holdfast_domain::{
    backup::Backup,
    id::{BackupId, RestoreId},
    restore::{Preflight, Restore, RestoreRun, RestoreState, Restored},
};
use holdfast_testing::builders::{self, service_name, slug};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

const RESTORES: &str = "/v1/applications/shop/restores";

/// An application with a backup of yesterday.
fn shop() -> (Client, Backup) {
    let client = Client::new();
    client.world.register("shop");
    let backup = client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(1), true);
    (client, backup)
}

fn of(backup: &Backup) -> Value {
    json!({"from": {"backup": backup.id}})
}

/// Asks for a restore, and has its record changed as a job would.
async fn asked(client: &Client, request: &Value, change: impl FnOnce(&mut Restore)) -> String {
    let answer = client.post(RESTORES).json(request).send().await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id: RestoreId = answer.json()["id"].as_str().unwrap().parse().unwrap();
    let records = &client.world.ports.records;
    let mut found = records.restore(&slug("shop"), id).await.unwrap().unwrap();
    change(&mut found.value);
    records.update_restore(&found.value, found.version, &[]).await.unwrap();
    answer.header("location").to_owned()
}

/// As if it had restored the database, after backing up as `safety` what was there.
fn succeed(restore: &mut Restore, safety: BackupId) {
    restore.state = RestoreState::Succeeded;
    restore.finished_at = Some(builders::now());
    restore.safety_backup = Some(safety);
    let restored = Restored {
        tables: Some(17),
        rows: Some(5305),
        rows_compared: true,
        values_compared: None,
        changes: None,
        files_compared: None,
        notes: Vec::new(),
    };
    restore.runs = vec![RestoreRun {
        service: service_name("DEFAULT"),
        bytes: 4096,
        of_bytes: Some(4096),
        doing: None,
        cursor: None,
        updated_at: builders::now(),
        restored: Some(restored),
    }];
}

#[tokio::test]
async fn a_restore_is_asked_for() {
    let (client, backup) = shop();
    let request = json!({
        "from": {"backup": backup.id}, "services": [{"from": "DEFAULT", "to": "DEFAULT"}],
        "options": {"overwrite": true, "dry_run": true},
    });
    let answer = client.post(RESTORES).json(&request).send().await;
    assert_snapshot!(answer.shown());
    let link = answer.header("location").to_owned();
    let shown = client.get(&link).send().await;
    assert_eq!((shown.header("retry-after"), &shown.json()["requested_by"]), ("2", &json!(ACTOR)));
    assert_eq!(client.world.executions.started().len(), 1);
}

#[tokio::test]
async fn the_same_request_with_the_same_key_gives_the_same_restore() {
    let (client, backup) = shop();
    let ask = |request: &Value| client.post(RESTORES).header("idempotency-key", "key-1").json(request);
    let first = ask(&of(&backup)).send().await;
    let second = ask(&of(&backup)).send().await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (202, 202), "{}", second.text);
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(
        (first.headers.get("idempotency-replayed"), second.header("idempotency-replayed")),
        (None, "true")
    );
    assert_eq!(client.world.executions.started().len(), 1);
    let mut other = of(&backup);
    other["options"] = json!({"dry_run": true});
    let refused = ask(&other).send().await;
    assert_eq!((refused.status.as_u16(), refused.problem().0.as_str()), (422, "idempotency-key-reused"));
    let bad = client.post(RESTORES).header("idempotency-key", "a b").json(&of(&backup)).send().await;
    assert_eq!((bad.status.as_u16(), bad.problem().1.as_str()), (400, "Idempotency-Key"));
}

#[tokio::test]
async fn one_runs_at_a_time() {
    let (client, backup) = shop();
    client.post(RESTORES).json(&of(&backup)).send().await;
    assert_snapshot!(client.post(RESTORES).json(&of(&backup)).send().await.shown());
}

#[rstest]
#[case::no_backup(json!({"from": {}}), 400, "from.backup")]
#[case::no_id(json!({"from": {"backup": "latest"}}), 400, "from.backup")]
#[case::unknown_field(json!({"overwrite": true}), 400, "overwrite")]
#[case::unknown_option(json!({"options": {"force": true}}), 400, "options.force")]
#[case::bad_mode(json!({"options": {"media": "replace"}}), 400, "options.media")]
#[case::unknown_source(json!({"services": [{"from": "CACHE", "to": "DEFAULT"}]}), 422, "services[0].from")]
#[case::unknown_target(json!({"services": [{"from": "DEFAULT", "to": "CACHE"}]}), 422, "services[0].to")]
#[case::other_kind(json!({"services": [{"from": "DEFAULT", "to": "MEDIA"}]}), 422, "services[0].to")]
#[case::nothing(json!({"services": []}), 422, "services")]
#[case::tables_of_a_storage(json!({"services": [{"from": "MEDIA", "to": "MEDIA", "tables": ["a"]}]}), 422, "services[0].tables")]
#[tokio::test]
async fn a_request_that_makes_no_sense_is_refused_by_field(
    #[case] request: Value,
    #[case] status: u16,
    #[case] field: &str,
) {
    let (client, backup) = shop();
    let mut whole = of(&backup);
    for (name, value) in request.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let answer = client.post(RESTORES).json(&whole).send().await;
    let (_, at, fix) = answer.problem();
    assert_eq!((answer.status.as_u16(), at.as_str()), (status, field), "{}", answer.text);
    assert!(!fix.is_empty(), "{}", answer.text);
    assert!(client.world.executions.started().is_empty());
}

#[tokio::test]
async fn a_backup_of_another_application_needs_that_ones_consent() {
    let (client, backup) = shop();
    client.world.register("garden");
    let request = json!({"from": {"application": "shop", "backup": backup.id}});
    let restores = "/v1/applications/garden/restores";
    assert_snapshot!(client.post(restores).json(&request).send().await.shown());

    let registered = client.get("/v1/applications/shop").send().await;
    let mut spec = registered.json()["spec"].clone();
    spec["restore_into"] = json!(["garden"]);
    let put = client.put("/v1/applications/shop").header("if-match", "*").json(&spec).send().await;
    assert_eq!(put.status, 200, "{}", put.text);
    let answer = client.post(restores).json(&request).send().await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let links = answer.json()["links"].clone();
    assert_eq!(links["backup"], format!("/v1/applications/shop/backups/{}", backup.id));
    assert_eq!(links["application"], "/v1/applications/garden");
}

#[tokio::test]
async fn what_is_gone_says_until_when_it_can_be_brought_back() {
    let (client, backup) = shop();
    client.delete(&format!("/v1/applications/shop/backups/{}", backup.id)).send().await;
    let answer = client.post(RESTORES).json(&of(&backup)).send().await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert!(answer.text.contains("can be brought back until 2026-"), "{}", answer.text);
}

#[tokio::test]
async fn restores_are_listed_page_by_page_and_by_state() {
    let (client, backup) = shop();
    for state in [RestoreState::Cancelled, RestoreState::Failed, RestoreState::Cancelled] {
        asked(&client, &of(&backup), |restore| restore.state = state).await;
        client.world.clock.advance(TimeDelta::seconds(5));
    }
    let first = client.get(&format!("{RESTORES}?state=cancelled&limit=1")).send().await.json();
    let next = first["next"].as_str().unwrap();
    assert!(next.contains("state=cancelled"), "{next}");
    let second = client.get(next).send().await.json();
    assert_eq!((first["items"].as_array().unwrap().len(), second.get("next")), (1, None));
    assert!(first["items"][0]["created_at"].as_str() > second["items"][0]["created_at"].as_str());
    let wrong = client.get(&format!("{RESTORES}?state=expired")).send().await;
    assert_eq!((wrong.status.as_u16(), wrong.problem().1.as_str()), (400, "state"));
}

#[tokio::test]
async fn what_was_found_and_what_came_of_it_is_shown() {
    let (client, backup) = shop();
    let safety = client.world.succeeded(&slug("shop"), builders::now(), false);
    let link = asked(&client, &of(&backup), |restore| {
        succeed(restore, safety.id);
        restore.preflight = vec![Preflight {
            service: service_name("DEFAULT"),
            target: "\"shop\" at db.example:5432".to_owned(),
            is_occupied: true,
            steps: vec!["a new database is made".to_owned()],
            notes: Vec::new(),
            refusals: Vec::new(),
            bytes: 4096,
            estimated_seconds: 1,
            changes: None,
        }];
    })
    .await;
    assert_snapshot!(client.get(&link).send().await.shown());
}

#[tokio::test]
async fn a_restore_is_cancelled_once() {
    let (client, backup) = shop();
    let link = asked(&client, &of(&backup), |_| {}).await;
    for _ in ["first", "again"] {
        let answer = client.post(&format!("{link}/cancel")).send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (202, link.as_str()),
            "{}",
            answer.text
        );
        assert!(answer.json()["cancel_requested_at"].is_string());
    }
    let trail = client.get("/v1/applications/shop/events").send().await.json();
    let of_it = trail["items"].as_array().unwrap().iter().filter(|entry| {
        entry["restore"].as_str().is_some_and(|id| link.ends_with(id)) && entry["actor"] == ACTOR
    });
    assert_eq!(of_it.count(), 2, "asked for and cancelled: {trail}");
}

#[tokio::test]
async fn a_restore_is_undone_by_another_one() {
    let (client, backup) = shop();
    let safety = client.world.succeeded(&slug("shop"), builders::now(), false);
    let link = asked(&client, &of(&backup), |restore| succeed(restore, safety.id)).await;
    let shown = client.get(&link).send().await.json();
    assert_eq!(shown["links"]["undo"], format!("{link}/undo"));
    let undo = || client.post(&format!("{link}/undo")).header("idempotency-key", "u");
    let answer = undo().send().await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let undone = answer.json();
    assert_eq!((&undone["from"]["backup"], &undone["links"]["undoes"]), (&json!(safety.id), &json!(link)));
    assert_eq!(undo().send().await.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn what_has_changed_nothing_cannot_be_undone() {
    let (client, backup) = shop();
    let link = asked(&client, &of(&backup), |restore| restore.state = RestoreState::Failed).await;
    assert_eq!(client.get(&link).send().await.json()["links"].get("undo"), None);
    let answer = client.post(&format!("{link}/undo")).send().await;
    assert_eq!((answer.status.as_u16(), answer.problem().0.as_str()), (409, "conflict"), "{}", answer.text);
}
