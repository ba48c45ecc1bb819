//! Calls to the API: signed, and repeated where repeating is safe.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use reqwest::{Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    arguments::Connection,
    failure::{Failure, chain},
    moment, resolve,
    sign::{Signer, region_of},
};

/// How often a call is made at most.
const ATTEMPTS: u32 = 4;

/// The pause before the first repetition; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest `Retry-After` that is waited for, in seconds; a person would rather know.
const WAIT_MAX: u64 = 15;

/// The API, and how it is reached.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    signer: Signer,
    pause: Duration,
}

/// One call to the API.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

/// What the API answered, where it did not refuse.
#[derive(Debug)]
pub(crate) struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

/// How one attempt at a call failed.
struct Attempt {
    failure: Failure,
    /// Whether the API cannot have acted on it.
    unseen: bool,
    /// Whether another attempt can end otherwise.
    passing: bool,
    /// Seconds the API asked to wait.
    retry_after: Option<u64>,
}

impl Call {
    /// A call of `method` on `path`, which begins with `/v1/` and needs no escaping: names and ids are plain.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), headers: Vec::new(), body: None }
    }

    /// A `GET`.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub(crate) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends `document`.
    #[must_use]
    pub(crate) fn body(mut self, document: Value) -> Self {
        self.body = Some(document);
        self
    }

    /// Whether repeating it after an attempt the API may have acted on changes nothing more.
    fn is_repeatable(&self) -> bool {
        self.method == Method::GET || self.headers.iter().any(|(name, _)| *name == "idempotency-key")
    }
}

impl Answer {
    /// The body as the API gave it.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        self.read()
    }

    /// The body, if there is one.
    pub(crate) fn json_if_any(&self) -> Result<Option<Value>, Failure> {
        if self.body.is_empty() { Ok(None) } else { self.read().map(Some) }
    }

    /// The body as a `T`.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Failure::new(format!("the API's answer cannot be understood: {error}"))
                .fix("check that --api is a Holdfast API, and that this command line is not older than it")
        })
    }

    /// The body as text, where it is no JSON.
    pub(crate) fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|error| {
            Failure::new(format!("the API's answer cannot be understood: {error}"))
                .fix("check that --api is a Holdfast API, and that this command line is not older than it")
        })
    }

    /// Seconds after which the API says it is worth asking again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers).map(Duration::from_secs)
    }

    /// Whether a header is there and says `true`.
    pub(crate) fn says(&self, header: &str) -> bool {
        self.headers.get(header).is_some_and(|value| value == "true")
    }
}

impl Client {
    /// The API that `connection` names, with the credentials it names. Nothing is sent yet.
    pub(crate) async fn connect(connection: &Connection) -> Result<Self, Failure> {
        let base = base(connection.api.as_deref())?;
        let named = base.host_str().and_then(region_of).map(str::to_owned);
        let signer = Signer::find(named, connection.region.clone(), connection.profile.as_deref()).await?;
        Self::new(&base, signer, PAUSE)
    }

    /// The API at `base`; a failed attempt is repeated after `pause`, then twice that, and so on.
    pub(crate) fn new(base: &Url, signer: Signer, pause: Duration) -> Result<Self, Failure> {
        let http = http(Duration::from_secs(40), redirect::Policy::none())?;
        Ok(Self { http, base: base.as_str().trim_end_matches('/').to_owned(), signer, pause })
    }

    /// Makes a call. A refusal is a failure, with its status.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, Failure> {
        let mut pause = self.pause;
        for attempt in 1.. {
            let error = match self.attempt(call).await? {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let safe = error.unseen || call.is_repeatable();
            let patient = error.retry_after.is_none_or(|seconds| seconds <= WAIT_MAX);
            if attempt == ATTEMPTS || !(safe && error.passing && patient) {
                return Err(error.failure);
            }
            tokio::time::sleep(error.retry_after.map_or(pause, Duration::from_secs)).await;
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }

    /// One attempt; the outer error is one that has nothing to do with the API.
    async fn attempt(&self, call: &Call) -> Result<Result<Answer, Attempt>, Failure> {
        let request = self.request(call).await?;
        let response = match self.http.execute(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Err(self.unreachable(error))),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Ok(Err(self.unreachable(error))),
        };
        if status.is_success() {
            return Ok(Ok(Answer { headers, body: body.into() }));
        }
        let retry_after = retry_after(&headers);
        Ok(Err(Attempt {
            failure: Failure::refused(status, &body, retry_after),
            unseen: status == StatusCode::TOO_MANY_REQUESTS,
            passing: matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            retry_after,
        }))
    }

    async fn request(&self, call: &Call) -> Result<reqwest::Request, Failure> {
        let unusable = |what: String| Failure::usage(format!("the request cannot be made: {what}"));
        let mut url = Url::parse(&format!("{}{}", self.base, call.path))
            .map_err(|error| unusable(error.to_string()))?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let mut request = Request::builder().method(&call.method).uri(url.as_str());
        if !call.headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header(header::ACCEPT, "application/json");
        }
        for (name, value) in &call.headers {
            let value = HeaderValue::try_from(value.as_str())
                .map_err(|_| unusable(format!("{value:?} cannot be sent as {name}")))?;
            request = request.header(*name, value);
        }
        let body = call.body.as_ref().map(Value::to_string);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let mut request = request
            .body(body.unwrap_or_default().into_bytes())
            .map_err(|error| unusable(error.to_string()))?;
        self.signer.sign(&mut request).await?;
        reqwest::Request::try_from(request).map_err(|error| unusable(chain(error)))
    }

    fn unreachable(&self, error: reqwest::Error) -> Attempt {
        let unseen = error.is_connect();
        let what = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
        Attempt {
            failure: Failure::new(format!("the API {what} at {}: {}", self.base, chain(error)))
                .fix("check the network, and that --api or HOLDFAST_API is the output ApiUrl of the stack"),
            unseen,
            passing: true,
            retry_after: None,
        }
    }
}

/// An HTTP client that gives up on a connection or an answer after `patience` without a byte.
pub(crate) fn http(patience: Duration, redirects: redirect::Policy) -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(resolve::Names)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(patience)
        .redirect(redirects)
        .build()
        .map_err(|error| {
            Failure::new(format!("HTTPS cannot be set up: {}", chain(error)))
                .fix("install this system's CA certificates (the package ca-certificates)")
        })
}

/// The address of the API: with or without the `/v1` that its paths begin with.
fn base(api: Option<&str>) -> Result<Url, Failure> {
    let example =
        "such as https://abc123.execute-api.eu-central-1.amazonaws.com: the output ApiUrl of the stack";
    let Some(api) = api.filter(|api| !api.is_empty()) else {
        return Err(Failure::usage("no API is named")
            .fix(format!("give its address with --api or in HOLDFAST_API, {example}")));
    };
    let url = Url::parse(api.trim_end_matches('/').trim_end_matches("/v1"))
        .ok()
        .filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        })
        .ok_or_else(|| {
            Failure::usage("the address of the API is not one").fix(format!("give one {example}"))
        })?;
    let host = url.host_str().unwrap_or_default();
    let loopback = resolve::is_local(host)
        || host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if url.scheme() == "http" && !loopback {
        return Err(Failure::usage(format!("the API at {host} would be called without encryption"))
            .fix("use https; http is for an API on this computer"));
    }
    Ok(url)
}

/// `Retry-After` in seconds; a date, which it may also be, is not used by this API.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// A time as a parameter of a query.
pub(crate) fn parameter(time: chrono::DateTime<chrono::Utc>) -> String {
    moment::show(time)
}

#[cfg(test)]
pub(crate) mod tests;
