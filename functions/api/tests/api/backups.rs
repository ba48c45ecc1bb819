use crate::client::{ACTOR, Client};
use chrono::TimeDelta;
use holdfast_backup::ports::{Records, ServiceRun};
use holdfast_domain::backup::{Phase, Progress};
use holdfast_testing::{
    builders::{self, service_name, slug},
    faults::{Fault, Moment},
};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

const BACKUPS: &str = "/v1/applications/shop/backups";

fn shop() -> Client {
    let client = Client::new();
    client.world.register("shop");
    client
}

#[tokio::test]
async fn a_backup_is_asked_for() {
    let client = shop();
    let request = json!({"services": ["DEFAULT"], "note": "before the migration", "expires_at": "2026-05-01T00:00:00Z"});
    let answer = client.post(BACKUPS).json(&request).send().await;
    assert_snapshot!(answer.shown());
    let link = answer.header("location").to_owned();
    assert_eq!(client.get(&link).send().await.json()["requested_by"], ACTOR);
    assert_eq!(client.world.executions.started().len(), 1);
}

#[rstest]
#[case::no_body(None)]
#[case::empty_object(Some("{}"))]
#[tokio::test]
async fn without_a_choice_all_services_are_backed_up(#[case] body: Option<&str>) {
    let client = shop();
    let call = client.post(BACKUPS);
    let answer = match body {
        None => call.send().await,
        Some(body) => call.text(body).send().await,
    };
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["services"], json!(["DEFAULT", "MEDIA"]));
}

#[tokio::test]
async fn the_same_request_with_the_same_key_gives_the_same_backup() {
    let client = shop();
    let ask =
        |note: &str| client.post(BACKUPS).header("idempotency-key", "key-1").json(&json!({"note": note}));
    let first = ask("a").send().await;
    let second = ask("a").send().await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (202, 202), "{}", second.text);
    assert_eq!(first.json()["id"], second.json()["id"]);
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(first.headers.get("idempotency-replayed"), None);
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(client.world.executions.started().len(), 1);
    assert_snapshot!("a_key_used_for_another_request", ask("b").send().await.shown());
}

#[rstest]
#[case::empty(&[""])]
#[case::space(&["a b"])]
#[case::too_long(&["LONG"])]
#[case::not_ascii(&["clé"])]
#[case::twice(&["a", "b"])]
#[tokio::test]
async fn a_key_that_is_none_is_refused(#[case] keys: &[&str]) {
    let client = shop();
    let long = "k".repeat(129);
    let mut call = client.post(BACKUPS);
    for key in keys {
        call = call.header("idempotency-key", if *key == "LONG" { &long } else { key });
    }
    let answer = call.send().await;
    let (kind, field, _) = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), kind.as_str(), field.as_str()),
        (400, "invalid-header", "Idempotency-Key")
    );
    assert!(client.world.executions.started().is_empty());
}

#[tokio::test]
async fn the_longest_key_is_accepted() {
    assert_eq!(shop().post(BACKUPS).header("idempotency-key", &"k".repeat(128)).send().await.status, 202);
}

#[tokio::test]
async fn one_runs_at_a_time() {
    let client = shop();
    client.post(BACKUPS).send().await;
    assert_snapshot!(client.post(BACKUPS).send().await.shown());
}

#[tokio::test]
async fn the_plan_limits_how_many_can_be_asked_for() {
    let client = shop();
    let put = client
        .put("/v1/plans/default")
        .header("if-match", "*")
        .json(&json!({"limits": {"on_demand_per_day": 1}}));
    assert_eq!(put.send().await.status, 200);
    client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::hours(23), false);
    assert_snapshot!(client.post(BACKUPS).send().await.shown());
}

#[rstest]
#[case::unknown_service(json!({"services": ["CACHE"]}), 422, "services[0]")]
#[case::service_twice(json!({"services": ["MEDIA", "MEDIA"]}), 422, "services[1]")]
#[case::no_service(json!({"services": []}), 422, "services")]
#[case::in_the_past(json!({"expires_at": "2020-01-01T00:00:00Z"}), 422, "expires_at")]
#[case::not_a_moment(json!({"expires_at": "tomorrow"}), 400, "expires_at")]
#[case::bad_name(json!({"services": ["a b"]}), 400, "services[0]")]
#[case::unknown_field(json!({"service": "MEDIA"}), 400, "service")]
#[tokio::test]
async fn a_request_that_makes_no_sense_starts_nothing(
    #[case] request: Value,
    #[case] status: u16,
    #[case] field: &str,
) {
    let client = shop();
    let answer = client.post(BACKUPS).json(&request).send().await;
    assert_eq!((answer.status.as_u16(), answer.problem().1.as_str()), (status, field), "{}", answer.text);
    assert!(client.world.executions.started().is_empty());
}

#[tokio::test]
async fn a_running_backup_shows_how_far_it_has_come() {
    let client = shop();
    let asked = client.post(BACKUPS).send().await.json();
    let id = asked["id"].as_str().unwrap().parse().unwrap();
    let now = builders::now();
    let progress = Progress {
        service: service_name("DEFAULT"),
        phase: Phase::Copying,
        bytes: 3_000_000,
        estimated_bytes: Some(12_000_000),
        segments: 3,
        started_at: Some(now),
        updated_at: now + TimeDelta::seconds(2),
    };
    let run = ServiceRun { progress, ..ServiceRun::pending(service_name("DEFAULT"), now) };
    let stored = client.world.records.service_runs(id).await.unwrap();
    let expected =
        stored.iter().find(|stored| stored.value.service == run.service).map(|stored| stored.version);
    client.world.records.put_service_run(id, &run, expected).await.unwrap();
    assert_snapshot!(client.get(asked["links"]["self"].as_str().unwrap()).send().await.shown());
}

#[tokio::test]
async fn a_succeeded_backup_links_to_what_it_holds() {
    let client = shop();
    let backup = client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::hours(9), true);
    assert_snapshot!(client.get(&format!("{BACKUPS}/{}", backup.id)).send().await.shown());
}

#[tokio::test]
async fn the_newest_good_backup_is_one_call_away() {
    let client = shop();
    assert_eq!(client.get(&format!("{BACKUPS}/latest")).send().await.status, 404);
    let now = builders::now();
    client.world.succeeded(&slug("shop"), now - TimeDelta::days(2), true);
    let good = client.world.succeeded(&slug("shop"), now - TimeDelta::days(1), true);
    client.post(BACKUPS).send().await;
    let answer = client.get(&format!("{BACKUPS}/latest")).send().await;
    assert_eq!(answer.json()["id"], good.id.to_string());
    assert_eq!(answer.header("content-location"), format!("{BACKUPS}/{}", good.id));
}

#[tokio::test]
async fn backups_are_listed_newest_first_page_by_page() {
    let client = shop();
    let ids: Vec<String> = (1..=5)
        .map(|days| {
            client
                .world
                .succeeded(&slug("shop"), builders::now() - TimeDelta::days(days), true)
                .id
                .to_string()
        })
        .collect();
    let mut seen = Vec::new();
    let mut next =
        Some(format!("{BACKUPS}?limit=2&state=succeeded,expired&since=2026-01-01T00:00:00%2B01:00"));
    while let Some(path) = next {
        let page = client.get(&path).send().await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ids);
}

#[rstest]
#[case("state=succeeded", 2)]
#[case("state=failed,cancelled", 0)]
#[case("state=failed&state=succeeded", 2)]
#[case("trigger=on_demand", 2)]
#[case("trigger=scheduled&label=daily", 1)]
#[case("label=monthly", 0)]
#[case("since=2026-04-01T00:00:00Z", 1)]
#[case("until=2026-04-01T00:00:00Z", 2)]
#[case("since=2026-03-31T00:00:00Z&until=2026-04-01T00:00:00Z&state=succeeded", 1)]
#[tokio::test]
async fn a_list_can_be_narrowed(#[case] query: &str, #[case] count: usize) {
    let client = shop();
    client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(1), true);
    client.world.succeeded(&slug("shop"), builders::now() - TimeDelta::days(2), false);
    client.post(BACKUPS).send().await;
    let list = client.get(&format!("{BACKUPS}?{query}")).send().await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), count, "{}", list.text);
}

#[rstest]
#[case("state=done", "state")]
#[case("trigger=manual", "trigger")]
#[case("label=yearly", "label")]
#[case("since=yesterday", "since")]
#[case("until=2026-13-01T00:00:00Z", "until")]
#[case("limit=0", "limit")]
#[case("limit=201", "limit")]
#[case("limit=-1", "limit")]
#[case("limit=ten", "limit")]
#[case("limit=1&limit=2", "limit")]
#[case("cursor=nonsense", "cursor")]
#[case("cursor=YXBwbGljYXRpb25zOnNob3A", "cursor")]
#[case("order=asc", "order")]
#[tokio::test]
async fn a_parameter_that_is_wrong_is_refused_by_name(#[case] query: &str, #[case] parameter: &str) {
    let answer = shop().get(&format!("{BACKUPS}?{query}")).send().await;
    let (kind, field, fix) = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), kind.as_str(), field.as_str()),
        (400, "invalid-parameter", parameter)
    );
    assert!(!fix.is_empty());
}

#[tokio::test]
async fn a_backup_is_cancelled() {
    let client = shop();
    let asked = client.post(BACKUPS).send().await.json();
    let cancel = asked["links"]["cancel"].as_str().unwrap();
    let answer = client.post(cancel).send().await;
    assert_snapshot!(answer.shown());
    let again = client.post(cancel).send().await;
    assert_eq!(again.json(), answer.json(), "repeating it is harmless");
}

#[tokio::test]
async fn one_that_has_ended_is_not_cancelled() {
    let client = shop();
    let backup = client.world.succeeded(&slug("shop"), builders::now(), false);
    assert_snapshot!(client.post(&format!("{BACKUPS}/{}/cancel", backup.id)).send().await.shown());
}

#[tokio::test]
async fn a_backup_is_deleted() {
    let client = shop();
    let backup = client.world.succeeded(&slug("shop"), builders::now(), false);
    let path = format!("{BACKUPS}/{}", backup.id);
    let answer = client.delete(&path).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["state"].as_str()),
        (200, Some("expired")),
        "{}",
        answer.text
    );
    assert_eq!(answer.json()["links"]["artifacts"], json!({}));
    assert!(client.world.artifacts.object_keys().is_empty());
    assert_eq!(client.delete(&path).send().await.status, 200, "repeating it is harmless");
}

#[tokio::test]
async fn one_that_runs_is_not_deleted() {
    let client = shop();
    let asked = client.post(BACKUPS).send().await.json();
    assert_snapshot!(client.delete(asked["links"]["self"].as_str().unwrap()).send().await.shown());
}

#[tokio::test]
async fn one_is_asked_for_even_while_the_state_machine_is_out_of_reach() {
    let client = shop();
    client.world.faults.always("executions.start", Moment::Before, Fault::Unavailable);
    let answer = client.post(BACKUPS).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["state"].as_str()),
        (202, Some("queued")),
        "the tick starts it"
    );
}

#[tokio::test]
async fn a_verification_is_asked_for_and_shown() {
    let client = Client::new();
    let shop = client.world.register("shop").value.id;
    let backup = client.world.succeeded(&shop, builders::now(), false);
    let path = format!("/v1/applications/shop/backups/{}", backup.id);
    let answer = client.post(&format!("{path}/verify")).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (202, path.as_str()));
    assert_eq!(answer.json()["verification"]["state"], "running");
    assert_eq!(answer.json()["verification"]["by"], ACTOR);
    let shown = client.get(&path).send().await;
    assert_eq!(shown.header("retry-after"), "2", "it is worth looking again");
    assert_eq!(client.world.executions.started().len(), 1);
}

#[tokio::test]
async fn a_verification_says_how_far_it_goes() {
    let client = Client::new();
    let shop = client.world.register("shop").value.id;
    let backup = client.world.succeeded(&shop, builders::now(), false);
    let path = format!("/v1/applications/shop/backups/{}", backup.id);
    for body in [json!({"level": 4}), json!({"level": "2"}), json!({"depth": 2})] {
        let answer = client.post(&format!("{path}/verify")).json(&body).send().await;
        assert_eq!(answer.status.as_u16(), 400, "{body}: {}", answer.json());
    }
    let answer = client.post(&format!("{path}/verify")).json(&json!({"level": 3})).send().await;
    assert_eq!((answer.status.as_u16(), &answer.json()["verification"]["level"]), (202, &json!(3)));
}
