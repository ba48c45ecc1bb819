//! Refusals that are the same everywhere.

use crate::client::Client;
use holdfast_testing::faults::{Fault, Moment};
use insta::assert_snapshot;
use rstest::rstest;

const ID: &str = "018bcfe5-6800-7707-8707-070707070707";

#[rstest]
#[case("GET", "/v1/applications/shop")]
#[case("DELETE", "/v1/applications/shop?backups=keep")]
#[case("GET", "/v1/applications/shop/backups")]
#[case("POST", "/v1/applications/shop/backups")]
#[case("GET", "/v1/applications/shop/backups/latest")]
#[case("GET", "/v1/applications/shop/backups/ID")]
#[case("DELETE", "/v1/applications/shop/backups/ID")]
#[case("POST", "/v1/applications/shop/backups/ID/cancel")]
#[case("GET", "/v1/applications/shop/backups/ID/artifacts/DEFAULT")]
#[case("GET", "/v1/applications/shop/restores")]
#[case("GET", "/v1/applications/shop/restores/ID")]
#[case("POST", "/v1/applications/shop/restores/ID/cancel")]
#[case("POST", "/v1/applications/shop/restores/ID/undo")]
#[case("GET", "/v1/applications/shop/events")]
#[case("GET", "/v1/applications/shop/retention")]
#[case("GET", "/v1/plans/gold")]
#[tokio::test]
async fn what_does_not_exist_is_not_found(#[case] method: &str, #[case] path: &str) {
    let answer = Client::new().call(method.parse().unwrap(), &path.replace("ID", ID)).send().await;
    let (kind, _, fix) = answer.problem();
    assert_eq!((answer.status.as_u16(), kind.as_str()), (404, "not-found"), "{}", answer.text);
    assert!(!fix.is_empty());
}

#[tokio::test]
async fn a_backup_of_another_application_is_not_found() {
    let client = Client::new();
    client.world.register("shop");
    client.world.register("garden");
    let asked = client.post("/v1/applications/shop/backups").send().await.json();
    let id = asked["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/v1/applications/garden/backups/{id}")).send().await.status, 404);
}

#[rstest]
#[case::upper_case("/v1/applications/Shop", "app")]
#[case::hyphen("/v1/applications/-shop", "app")]
#[case::too_long(&format!("/v1/applications/{}", "a".repeat(64)), "app")]
#[case::dots("/v1/applications/%2e%2e", "app")]
#[case::slash("/v1/applications/a%2Fb/backups", "app")]
#[case::not_utf8("/v1/applications/%ff", "")]
#[case::nul("/v1/applications/a%00", "app")]
#[case::plan("/v1/plans/Gold", "plan")]
#[case::id("/v1/applications/shop/backups/newest", "id")]
#[case::restore("/v1/applications/shop/restores/latest", "id")]
#[case::other_uuid("/v1/applications/shop/backups/67e55044-10b1-426f-9247-bb680e5fe0c8", "id")]
#[case::service(&format!("/v1/applications/shop/backups/{ID}/artifacts/a%20b"), "service")]
#[tokio::test]
async fn a_name_that_is_none_is_refused_by_its_place(#[case] path: &str, #[case] place: &str) {
    let answer = Client::new().get(path).send().await;
    let (kind, field, fix) = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), kind.as_str(), field.as_str()),
        (400, "invalid-name", place),
        "{}",
        answer.text
    );
    assert!(!fix.is_empty());
}

#[tokio::test]
async fn a_bad_slug_in_full() {
    assert_snapshot!(Client::new().get("/v1/applications/My%20Shop").send().await.shown());
}

#[rstest]
#[case("/")]
#[case("/v1")]
#[case("/v2/applications")]
#[case("/v1/applications/")]
#[case("/v1/applications/shop/restorations")]
#[tokio::test]
async fn an_unknown_path_is_not_found(#[case] path: &str) {
    let answer = Client::new().get(path).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().0.as_str()),
        (404, "unknown-path"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_refused_with_those_it_has() {
    let answer = Client::new().post("/v1/applications/shop").send().await;
    assert_snapshot!(answer.shown());
}

#[tokio::test]
async fn records_out_of_reach_are_worth_another_try() {
    let client = Client::new();
    client.world.faults.always("records.application", Moment::Before, Fault::Unavailable);
    assert_snapshot!(client.get("/v1/applications/shop").send().await.shown());
}

#[rstest]
#[case("/v1/applications/shop?verbose=1", "verbose")]
#[case("/v1/plans?limit=1", "limit")]
#[case("/v1/openapi.json?format=yaml", "format")]
#[tokio::test]
async fn a_parameter_that_nobody_knows_is_refused(#[case] path: &str, #[case] parameter: &str) {
    let answer = Client::new().get(path).send().await;
    let (kind, field, _) = answer.problem();
    assert_eq!(
        (answer.status.as_u16(), kind.as_str(), field.as_str()),
        (400, "invalid-parameter", parameter)
    );
}
