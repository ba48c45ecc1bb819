use std::sync::{Arc, Mutex};

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::{
    arguments::Output,
    client::tests::client,
    scripted_server::{Reply, Server},
};

const ID: &str = "018bcfe5-6800-7707-8707-070707070707";

fn backup(state: &str, phase: &str) -> Value {
    json!({
        "id": ID, "application": "shop", "trigger": "on_demand", "state": state, "created_at": "2026-11-24T08:00:00Z",
        "artifacts": [], "progress": [{"service": "DEFAULT", "phase": phase, "bytes": 7}],
        "failure": (state == "failed").then(|| json!({"code": "wrong_password", "message": "shop, service DEFAULT: no"})),
    })
}

fn view(document: Value) -> View {
    serde_json::from_value(document).unwrap()
}

#[test]
fn where_nobody_watches_a_line_is_written_for_each_change_only() {
    let mut phases = Phases::default();
    assert_eq!(
        phases.changes(&view(backup("running", "copying"))),
        [format!("{ID}: running"), "DEFAULT: copying, 7 B stored".to_owned()]
    );
    assert!(phases.changes(&view(backup("running", "copying"))).is_empty());
    assert_eq!(phases.changes(&view(backup("running", "verifying"))), ["DEFAULT: verifying, 7 B stored"]);
}

#[rstest]
#[case("succeeded", None)]
#[case("failed", Some("the backup failed: shop, service DEFAULT: no"))]
#[case("cancelled", Some("the backup 018bcfe5-6800-7707-8707-070707070707 is cancelled"))]
fn only_success_is_success(#[case] state: &str, #[case] failure: Option<&str>) {
    let outcome = outcome(&view(backup(state, "done")));
    assert_eq!(outcome.err().map(|failure| failure.to_string()).as_deref(), failure);
}

#[tokio::test]
async fn it_looks_until_the_end_and_survives_an_api_that_is_away_for_a_moment() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let paths = Arc::clone(&seen);
    let server = Server::start(move |n, asked| {
        paths.lock().unwrap().push(asked.path.clone());
        match n {
            0 => Reply::new(200, backup("queued", "pending").to_string()).header("retry-after", "0"),
            1 => Reply::new(503, "{}"),
            2 => Reply::new(200, backup("running", "copying").to_string()).header("retry-after", "0"),
            _ => Reply::new(200, backup("succeeded", "done").to_string()),
        }
    })
    .await;
    let terminal = Terminal::new(Output::Json, true);
    let ended = until_the_end(&"shop".parse().unwrap(), ID, &client(&server), &terminal).await.unwrap();
    assert_eq!(ended["state"], "succeeded");
    assert_eq!(*seen.lock().unwrap(), vec![format!("/v1/applications/shop/backups/{ID}"); 4]);
}

#[test]
fn an_interruption_says_that_the_backup_goes_on() {
    let said = interrupted(&"shop".parse().unwrap(), ID).to_string();
    assert!(said.contains("goes on"), "{said}");
    assert!(said.contains(&format!("holdfast backup cancel shop {ID}")), "{said}");
}
