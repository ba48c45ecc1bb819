//! A client of the API, in the same process.

use std::{
    fmt::Write,
    sync::{Arc, LazyLock},
    time::Duration,
};

use crate::schema;
use axum::{Router, body::Body};
use holdfast_api::{Api, router};
use holdfast_backup::applications::Stack;
use holdfast_testing::{World, builders};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use lambda_http::request::RequestContext;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Who signs the requests of tests.
pub(crate) const ACTOR: &str = "arn:aws:iam::123456789012:user/jane";

/// What every answer is checked against.
static CONTRACT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(holdfast_api::contract()).unwrap());

/// Headers that are part of the contract.
const HEADERS: [&str; 9] = [
    "allow",
    "cache-control",
    "content-location",
    "content-type",
    "etag",
    "idempotency-replayed",
    "location",
    "retry-after",
    "vary",
];

/// The API over a world of fakes.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    router: Router,
}

/// A request in the making.
pub(crate) struct Call {
    client: Client,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What the API answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    /// The API of an empty stack.
    pub(crate) fn new() -> Self {
        let world = World::new();
        let api = Api {
            ports: world.ports.clone(),
            stack: Stack { region: world.region(), bucket: "holdfast-backups".to_owned() },
            download_valid: Duration::from_mins(15),
            pricing: builders::pricing(),
        };
        Self { world: Arc::new(world), router: router(api) }
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        Call {
            client: self.clone(),
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
        }
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn json(self, document: &Value) -> Self {
        self.text(&document.to_string())
    }

    pub(crate) fn text(self, body: &str) -> Self {
        self.bytes(body.as_bytes()).header("content-type", "application/json")
    }

    pub(crate) fn bytes(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let (method, path) = (self.method.clone(), self.path.clone());
        let mut request =
            Request::builder().method(self.method).uri(self.path).body(Body::from(self.body)).unwrap();
        *request.headers_mut() = self.headers;
        request.extensions_mut().insert(context());
        let response = self.client.router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        schema::check(&CONTRACT, &method, &path, parts.status, &parts.headers, &text);
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }

    /// Status, the headers of the contract, and the body.
    pub(crate) fn shown(&self) -> String {
        let mut shown = format!("{}\n", self.status);
        for name in HEADERS {
            for value in self.headers.get_all(name) {
                writeln!(shown, "{name}: {}", value.to_str().unwrap()).unwrap();
            }
        }
        if !self.text.is_empty() {
            let body = serde_json::to_string_pretty(&self.json()).unwrap();
            writeln!(shown, "\n{body}").unwrap();
        }
        shown
    }

    /// Fails unless it is a problem as the contract has them; gives its type's last word, its field and its fix.
    pub(crate) fn problem(&self) -> (String, String, String) {
        let problem = self.json();
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let kind = text("type").strip_prefix("urn:holdfast:problem:").unwrap().to_owned();
        (kind, text("field"), text("fix"))
    }
}

/// What API Gateway says about a request that [`ACTOR`] has signed.
fn context() -> RequestContext {
    serde_json::from_value(json!({
        "accountId": "123456789012", "apiId": "a", "domainName": "api.example", "domainPrefix": "a",
        "requestId": "JKJaXmPLvHcESHA=", "routeKey": "$default", "stage": "$default", "time": "t", "timeEpoch": 0,
        "http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "t"},
        "authorizer": {"iam": {"userArn": ACTOR}},
    }))
    .unwrap()
}
