//! Bodies that are not what they should be.

use crate::client::{Answer, Client};
use insta::assert_snapshot;
use rstest::rstest;

const APPLICATION: &str = "/v1/applications/shop";

async fn put(body: &[u8]) -> Answer {
    Client::new().put(APPLICATION).bytes(body).header("content-type", "application/json").send().await
}

#[rstest]
#[case::empty("empty", b"")]
#[case::not_json("not_json", b"services: []")]
#[case::cut_off("cut_off", br#"{"services": ["#)]
#[case::trailing_garbage("trailing_garbage", br#"{"services": []} {"services": []}"#)]
#[case::trailing_comma("trailing_comma", br#"{"services": [],}"#)]
#[case::not_utf8("not_utf8", b"{\"plan\": \"\xff\xfe\"}")]
#[case::nul("nul", b"{\"plan\": \"a\0b\"}")]
#[case::list("list", b"[]")]
#[case::text("text", b"\"shop\"")]
#[case::null("null", b"null")]
#[case::unknown_field("unknown_field", br#"{"services": [], "owner": "jane"}"#)]
#[case::missing_field("missing_field", br#"{"plan": "default"}"#)]
#[case::duplicate_key("duplicate_key", br#"{"plan": "default", "services": [], "plan": "default"}"#)]
#[case::wrong_type("wrong_type", br#"{"services": "MEDIA"}"#)]
#[case::bad_slug("bad_slug", br#"{"plan": "Gold Plan", "services": []}"#)]
#[case::unknown_time_zone("unknown_time_zone", br#"{"time_zone": "Europe/Zuerich", "services": []}"#)]
#[case::wrong_type_in_a_service("wrong_type_in_a_service", br#"{"services": [{"kind": "postgres", "name": "D", "host": "h", "port": "5432", "database": "d", "secret_arn": "a"}]}"#)]
#[case::password("password", br#"{"services": [{"kind": "postgres", "name": "D", "host": "h", "database": "d", "password": "hunter2"}]}"#)]
#[tokio::test]
async fn a_body_that_is_wrong_is_refused_with_the_field_and_a_fix(#[case] name: &str, #[case] body: &[u8]) {
    let answer = put(body).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(!answer.problem().2.is_empty(), "says what to do");
    assert!(!answer.text.contains("hunter2"), "what may be a secret is not repeated");
    assert_snapshot!(name, answer.shown());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let body = format!(r#"{{"services": [], "plan": "{}"}}"#, "a".repeat(300 * 1024));
    assert_snapshot!(put(body.as_bytes()).await.shown());
}

#[tokio::test]
async fn a_body_that_is_nested_too_deeply_is_refused() {
    let answer = put(format!("{{\"services\": {}", "[".repeat(10_000)).as_bytes()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.problem().0.as_str()),
        (400, "invalid-value"),
        "{}",
        answer.text
    );
    let answer = put(format!("{{\"services\": [{{\"kind\": {}", "[".repeat(10_000)).as_bytes()).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
}

#[rstest]
#[case::form(Some("application/x-www-form-urlencoded"), 415)]
#[case::text(Some("text/plain"), 415)]
#[case::nothing(None, 415)]
#[case::charset(Some("application/json; charset=utf-8"), 201)]
#[case::letter_case(Some("Application/JSON"), 201)]
#[case::suffix(Some("application/vnd.holdfast+json"), 201)]
#[tokio::test]
async fn a_body_is_declared_as_json(#[case] declared: Option<&str>, #[case] status: u16) {
    let client = Client::new();
    let mut call = client.put("/v1/plans/gold").bytes(b"{}");
    if let Some(declared) = declared {
        call = call.header("content-type", declared);
    }
    let answer = call.send().await;
    assert_eq!(answer.status, status, "{}", answer.text);
    if status == 415 {
        assert_eq!(answer.problem().1, "Content-Type");
    }
}
