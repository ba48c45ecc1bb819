use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::scripted_server::{Reply, Server};

/// A client of `server` that hardly waits.
pub(crate) fn client(server: &Server) -> Client {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("token".to_owned()), None, "test");
    let signer = Signer::new("eu-central-1", SharedCredentialsProvider::new(credentials));
    Client::new(&server.url("").parse().unwrap(), signer, Duration::from_millis(1)).unwrap()
}

fn create() -> Call {
    Call::new(Method::POST, "/v1/x").header("idempotency-key", "k").body(json!({"note": "é"}))
}

#[tokio::test]
async fn every_request_is_signed_with_its_headers_and_the_session_token() {
    let server = Server::start(|_, _| Reply::new(200, "{}")).await;
    client(&server).call(&create().query("since", "2026-01-01T00:00:00+01:00")).await.unwrap();
    let [asked] = server.asked().try_into().unwrap();
    assert_eq!(asked.method, "POST");
    assert_eq!(asked.path, "/v1/x?since=2026-01-01T00%3A00%3A00%2B01%3A00");
    assert_eq!(asked.body, r#"{"note":"é"}"#);
    assert_eq!(asked.header("x-amz-security-token"), Some("token"));
    let authorization = asked.header("authorization").unwrap();
    assert!(authorization.contains("/eu-central-1/execute-api/aws4_request"), "{authorization}");
    assert!(
        authorization.contains(
            "SignedHeaders=accept;content-type;host;idempotency-key;x-amz-date;x-amz-security-token"
        ),
        "{authorization}"
    );
}

#[rstest]
#[case::reading(Call::get("/v1/x"), 503, 3)]
#[case::reading_throttled(Call::get("/v1/x"), 429, 3)]
#[case::creating_with_a_key(create(), 503, 3)]
#[case::deleting(Call::new(Method::DELETE, "/v1/x"), 503, 1)]
#[case::deleting_throttled(Call::new(Method::DELETE, "/v1/x"), 429, 3)]
#[case::a_refusal(Call::get("/v1/x"), 422, 1)]
#[case::an_internal_error(Call::get("/v1/x"), 500, 1)]
#[tokio::test]
async fn only_what_is_safe_and_may_pass_is_repeated(
    #[case] call: Call,
    #[case] status: u16,
    #[case] times: usize,
) {
    let server =
        Server::start(move |n, _| if n < 2 { Reply::new(status, "{}") } else { Reply::new(200, "{}") }).await;
    let outcome = client(&server).call(&call).await;
    assert_eq!(server.asked().len(), times);
    assert_eq!(
        outcome.err().and_then(|failure| failure.status()),
        (times == 1).then(|| StatusCode::from_u16(status).unwrap())
    );
}

#[tokio::test]
async fn a_repeated_creation_has_the_same_key() {
    let server =
        Server::start(|n, _| if n == 0 { Reply::new(200, "{}").cut_after(0) } else { Reply::new(202, "{}") })
            .await;
    client(&server).call(&create()).await.unwrap();
    let keys: Vec<_> =
        server.asked().iter().map(|asked| asked.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys, [Some("k".to_owned()), Some("k".to_owned())]);
}

#[tokio::test]
async fn a_long_wait_is_told_and_not_waited_for() {
    let server =
        Server::start(|_, _| Reply::new(429, r#"{"title":"Too many"}"#).header("retry-after", "3600")).await;
    let failure = client(&server).call(&Call::get("/v1/x")).await.unwrap_err();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(failure.to_string(), "Too many\n  what to do: try again in 60 min");
}

#[tokio::test]
async fn it_gives_up_after_some_attempts() {
    let server = Server::start(|_, _| Reply::new(503, r#"{"title":"Out of reach"}"#)).await;
    let failure = client(&server).call(&Call::get("/v1/x")).await.unwrap_err();
    assert_eq!((server.asked().len(), failure.to_string().as_str()), (4, "Out of reach"));
}

#[tokio::test]
async fn an_api_that_is_not_there_is_named() {
    let signer = client(&Server::start(|_, _| Reply::new(200, "")).await).signer;
    // A port of the loopback that nothing listens on: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base = format!("http://127.0.0.1:{port}").parse().unwrap();
    let client = Client::new(&base, signer, Duration::from_millis(1)).unwrap();
    let failure = client.call(&Call::new(Method::DELETE, "/v1/x")).await.unwrap_err().to_string();
    assert!(failure.contains(&format!("cannot be reached at http://127.0.0.1:{port}")), "{failure}");
    assert!(failure.contains("HOLDFAST_API"), "{failure}");
}

#[rstest]
#[case(
    "https://abc.execute-api.eu-central-1.amazonaws.com",
    Some("https://abc.execute-api.eu-central-1.amazonaws.com/")
)]
#[case(
    "https://abc.execute-api.eu-central-1.amazonaws.com/v1/",
    Some("https://abc.execute-api.eu-central-1.amazonaws.com/")
)]
#[case("http://abc.execute-api.localhost:4566", Some("http://abc.execute-api.localhost:4566/"))]
#[case("http://127.0.0.1:4566", Some("http://127.0.0.1:4566/"))]
#[case("http://[::1]:4566", Some("http://[::1]:4566/"))]
#[case::unencrypted("http://backups.example.org", None)]
#[case::no_scheme("abc.execute-api.eu-central-1.amazonaws.com", None)]
#[case::another_scheme("ftp://example.org", None)]
#[case::a_password("https://me:secret@example.org", None)]
#[case::a_query("https://example.org/?x", None)]
#[case::nothing("", None)]
fn the_address_is_that_of_the_stack(#[case] api: &str, #[case] expected: Option<&str>) {
    assert_eq!(base(Some(api)).ok().as_ref().map(Url::as_str), expected);
}
