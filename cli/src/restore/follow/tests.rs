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

fn restore(state: &str, doing: Option<&str>) -> Value {
    json!({
        "id": ID, "application": "shop", "from": {"application": "shop", "backup": "b"}, "state": state,
        "created_at": "2026-11-24T08:00:00Z", "safety_backup": "s", "links": {},
        "runs": [{"service": "DEFAULT", "bytes": 7, "of_bytes": 9, "doing": doing}],
        "failure": (state == "failed").then(|| json!({"code": "wrong_password", "message": "shop, service DEFAULT: no"})),
    })
}

fn view(document: Value) -> View {
    serde_json::from_value(document).unwrap()
}

#[test]
fn where_nobody_watches_a_line_is_written_for_each_change_only() {
    let mut said = Said::default();
    let backing_up = format!("{ID}: running, what is there is backed up first as s");
    assert_eq!(said.changes(&view(restore("running", None))), [backing_up]);
    assert!(said.changes(&view(restore("running", None))).is_empty());
    assert_eq!(
        said.changes(&view(restore("running", Some("rows")))),
        [format!("{ID}: running"), "DEFAULT: rows, 7 B of 9 B restored".to_owned()]
    );
    assert!(said.changes(&view(restore("running", Some("rows")))).is_empty());
    let mut done = restore("succeeded", None);
    done["runs"][0]["restored"] = json!({"rows": 3});
    assert_eq!(
        said.changes(&view(done)),
        [format!("{ID}: succeeded"), "DEFAULT: done, 7 B restored".to_owned()]
    );
}

#[rstest]
#[case("succeeded", None)]
#[case("failed", Some("the restore failed: shop, service DEFAULT: no"))]
#[case("cancelled", Some("the restore 018bcfe5-6800-7707-8707-070707070707 is cancelled"))]
fn only_success_is_success(#[case] state: &str, #[case] failure: Option<&str>) {
    let outcome = outcome(&view(restore(state, None)));
    assert_eq!(outcome.err().map(|failure| failure.to_string()).as_deref(), failure);
}

#[test]
fn one_that_changed_something_says_how_to_get_it_back() {
    for state in ["failed", "cancelled"] {
        let mut document = restore(state, Some("rows"));
        document["links"]["undo"] = "/v1/…/undo".into();
        let said = outcome(&view(document)).unwrap_err().to_string();
        assert!(said.contains(&format!("holdfast restore undo shop {ID}")), "{said}");
    }
}

#[test]
fn a_dry_run_that_would_be_refused_fails() {
    let mut document = restore("succeeded", None);
    document["options"] = json!({"dry_run": true});
    let refusal = json!({"code": "not_empty", "what": "\"shop\" has 3 tables", "fix": "add --overwrite"});
    document["preflight"] = json!([{"service": "DEFAULT", "target": "t", "bytes": 1, "estimated_seconds": 1, "refusals": [refusal]}]);
    let said = outcome(&view(document)).unwrap_err().to_string();
    assert_eq!(said, "it would be refused: DEFAULT: \"shop\" has 3 tables");
}

#[tokio::test]
async fn it_looks_until_the_end_and_survives_an_api_that_is_away_for_a_moment() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let paths = Arc::clone(&seen);
    let server = Server::start(move |n, asked| {
        paths.lock().unwrap().push(asked.path.clone());
        match n {
            0 => Reply::new(200, restore("queued", None).to_string()).header("retry-after", "0"),
            1 => Reply::new(503, "{}"),
            2 => Reply::new(200, restore("running", Some("schema")).to_string()).header("retry-after", "0"),
            _ => Reply::new(200, restore("succeeded", None).to_string()),
        }
    })
    .await;
    let terminal = Terminal::new(Output::Json, true);
    let ended = until_the_end(&"shop".parse().unwrap(), ID, &client(&server), &terminal).await.unwrap();
    assert_eq!(ended["state"], "succeeded");
    assert_eq!(*seen.lock().unwrap(), vec![format!("/v1/applications/shop/restores/{ID}"); 4]);
}

#[test]
fn an_interruption_says_that_the_restore_goes_on() {
    let said = interrupted(&"shop".parse().unwrap(), ID).to_string();
    assert!(said.contains("goes on"), "{said}");
    assert!(said.contains(&format!("holdfast restore cancel shop {ID}")), "{said}");
}
