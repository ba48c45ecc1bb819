use crate::client::{ACTOR, Client};
use holdfast_testing::{
    builders::{self, slug},
    faults::{Fault, Moment},
};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::{Value, json};

/// A registration that the world of [`registrable`] can serve.
fn registration() -> Value {
    serde_json::to_value(builders::application_spec("shop")).unwrap()
}

/// A stack that has the bucket and the secret of `shop`, which is not registered yet.
fn registrable() -> Client {
    let client = Client::new();
    client.world.media.make_bucket("shop-media", &builders::region());
    client.world.secrets.put(&secret("shop"), "shop", "correct horse");
    client
}

fn secret(id: &str) -> String {
    format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{id}/database-AbCdEf")
}

#[tokio::test]
async fn a_new_application_is_registered() {
    let client = registrable();
    let answer = client.put("/v1/applications/shop").json(&registration()).send().await;
    assert_snapshot!(answer.shown());
    assert_eq!(client.world.records.audit_trail(&slug("shop"))[0].actor, ACTOR);
}

#[tokio::test]
async fn what_is_read_can_be_sent_back() {
    let client = registrable();
    client.put("/v1/applications/shop").json(&registration()).send().await;
    let read = client.get("/v1/applications/shop").send().await;
    let tag = read.header("etag").to_owned();
    let answer =
        client.put("/v1/applications/shop").header("if-match", &tag).json(&read.json()["spec"]).send().await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, "\"v2\""), "{}", answer.text);
    assert_eq!(answer.json()["spec"], read.json()["spec"]);
}

#[tokio::test]
async fn an_application_is_shown() {
    let client = Client::new();
    client.world.register("shop");
    assert_snapshot!(client.get("/v1/applications/shop").send().await.shown());
}

#[tokio::test]
async fn changing_one_that_exists_needs_its_version() {
    let client = registrable();
    let put = || client.put("/v1/applications/shop").json(&registration());
    put().send().await;
    assert_snapshot!("without_if_match", put().send().await.shown());
    assert_snapshot!("with_a_stale_if_match", put().header("if-match", "\"v7\"").send().await.shown());
    assert_eq!(put().header("if-match", "*").send().await.status, 200);
    assert_eq!(put().header("if-none-match", "*").send().await.status, 412);
}

#[tokio::test]
async fn a_race_lost_after_the_check_is_a_failed_precondition() {
    let client = registrable();
    client.put("/v1/applications/shop").json(&registration()).send().await;
    client.world.faults.on("records.put_application", 1, Moment::Before, Fault::Conflict);
    let named =
        client.put("/v1/applications/shop").header("if-match", "\"v1\"").json(&registration()).send().await;
    assert_eq!((named.status.as_u16(), named.problem().0.as_str()), (412, "precondition-failed"));
    client.world.faults.on("records.put_application", 1, Moment::Before, Fault::Conflict);
    let any = client.put("/v1/applications/shop").header("if-match", "*").json(&registration()).send().await;
    assert_eq!((any.status.as_u16(), any.problem().0.as_str()), (409, "conflict"));
}

#[tokio::test]
async fn applications_are_listed_page_by_page() {
    let client = Client::new();
    for id in ["garden", "office", "shop"] {
        client.world.register(id);
    }
    let first = client.get("/v1/applications?limit=2").send().await;
    assert_snapshot!(first.shown());
    let last = client.get(first.json()["next"].as_str().unwrap()).send().await.json();
    assert_eq!(last["items"][0]["id"], "shop");
    assert_eq!(last.get("next"), None);
}

#[tokio::test]
async fn removing_one_says_what_becomes_of_its_backups() {
    let client = Client::new();
    client.world.register("shop");
    let answer = client.delete("/v1/applications/shop").send().await;
    assert_eq!((answer.status.as_u16(), answer.problem().1.as_str()), (400, "backups"));
    let answer = client.delete("/v1/applications/shop?backups=burn").send().await;
    assert_eq!((answer.status.as_u16(), answer.problem().1.as_str()), (400, "backups"));
    let stale = client.delete("/v1/applications/shop?backups=keep").header("if-match", "\"v2\"").send().await;
    assert_eq!((stale.status.as_u16(), stale.problem().0.as_str()), (412, "precondition-failed"));
    let answer =
        client.delete("/v1/applications/shop?backups=keep").header("if-match", "\"v1\"").send().await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
    assert_eq!(client.get("/v1/applications/shop").send().await.status, 404);
    assert_eq!(client.delete("/v1/applications/shop?backups=keep").send().await.status, 404);
}

#[tokio::test]
async fn backups_that_are_kept_stay_downloadable_after_the_removal() {
    let client = Client::new();
    client.world.register("shop");
    let backup = client.world.succeeded(&slug("shop"), builders::now(), true);
    client.delete("/v1/applications/shop?backups=keep").send().await;
    let link = format!("/v1/applications/shop/backups/{}/artifacts/DEFAULT", backup.id);
    assert_eq!(client.get(&link).send().await.status, 302);
}

#[tokio::test]
async fn one_with_a_running_backup_is_not_removed() {
    let client = Client::new();
    client.world.register("shop");
    client.post("/v1/applications/shop/backups").send().await;
    assert_snapshot!(client.delete("/v1/applications/shop?backups=delete").send().await.shown());
}

#[rstest]
#[case::no_services(json!({"services": []}), "services")]
#[case::duplicate(json!({"services": [
    {"kind": "storage", "name": "MEDIA", "bucket": "shop-media"}, {"kind": "storage", "name": "media", "bucket": "shop-media"},
]}), "services[1].name")]
#[case::unknown_plan(json!({"plan": "gold", "services": [{"kind": "storage", "name": "M", "bucket": "shop-media"}]}), "plan")]
#[case::missing_bucket(json!({"services": [{"kind": "storage", "name": "M", "bucket": "no-such-bucket"}]}), "services[0].bucket")]
#[case::bucket_elsewhere(json!({"services": [{"kind": "storage", "name": "M", "bucket": "ohio-media"}]}), "services[0].bucket")]
#[case::our_own_bucket(json!({"services": [{"kind": "storage", "name": "M", "bucket": "holdfast-backups"}]}), "services[0].bucket")]
#[case::missing_secret(json!({"services": [
    {"kind": "postgres", "name": "D", "host": "db.internal", "database": "shop", "secret_arn": secret("none")},
]}), "services[0].secret_arn")]
#[case::secret_elsewhere(json!({"services": [
    {"kind": "postgres", "name": "D", "host": "db.internal", "database": "shop",
     "secret_arn": "arn:aws:secretsmanager:us-east-2:123456789012:secret:shop"},
]}), "services[0].secret_arn")]
#[case::database_elsewhere(json!({"services": [
    {"kind": "postgres", "name": "D", "host": "shop.abc.us-east-2.rds.amazonaws.com", "database": "shop", "secret_arn": secret("shop")},
]}), "services[0].host")]
#[case::no_identifier(json!({"services": [isolated(&json!({"instance": "shop--db"}))]}), "services[0].isolated.instance")]
#[case::endpoint(json!({"services": [isolated(&json!({"cluster": "shop.abc.eu-central-1.rds.amazonaws.com"}))]}), "services[0].isolated.cluster")]
#[case::token_in_clear(json!({"services": [
    {"kind": "postgres", "name": "D", "host": "db.internal", "database": "shop", "secret_arn": secret("shop"), "login": "iam", "tls": {"mode": "disable"}},
]}), "services[0].login")]
#[tokio::test]
async fn what_cannot_be_backed_up_is_not_registered(#[case] registration: Value, #[case] field: &str) {
    let client = registrable();
    client.world.media.make_bucket("ohio-media", &holdfast_domain::region::Region::new("us-east-2"));
    let answer = client.put("/v1/applications/shop").json(&registration).send().await;
    let (kind, at, fix) = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), kind.as_str(), at.as_str()),
        (422, "unprocessable", field),
        "{}",
        answer.text
    );
    assert!(!fix.is_empty());
    assert_eq!(client.get("/v1/applications/shop").send().await.status, 404, "nothing is registered");
}

fn isolated(of: &Value) -> Value {
    json!({"kind": "postgres", "name": "D", "host": "db.internal", "database": "shop", "secret_arn": secret("shop"), "isolated": of})
}

/// What a database runs on, and what it is logged in to with, is registered as it was given.
#[rstest]
#[case(json!({"isolated": {"instance": "shop-db"}}))]
#[case(json!({"isolated": {"cluster": "Shop-1"}, "login": "iam"}))]
#[tokio::test]
async fn a_database_on_rds_is_registered(#[case] more: Value) {
    let client = registrable();
    let mut service = isolated(&json!(null));
    for (name, value) in more.as_object().unwrap() {
        service[name] = value.clone();
    }
    let answer = client.put("/v1/applications/shop").json(&json!({"services": [service]})).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let shown = client.get("/v1/applications/shop").send().await.json();
    for (name, value) in more.as_object().unwrap() {
        assert_eq!(shown["spec"]["services"][0][name], *value, "{shown}");
    }
}
