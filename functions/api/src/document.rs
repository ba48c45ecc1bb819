//! JSON bodies, and refusals of them that name the field at fault.

use axum::{
    body::Bytes,
    extract::{FromRequest, OptionalFromRequest, Request},
};
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::{
    fault,
    problem::{Kind, Problem},
};

/// Largest body, in bytes: a registration of 20 services, each with a bundle of certificates, stays below it.
pub const BODY_MAX: usize = 256 * 1024;

/// A body that is one JSON document of the shape `T`.
#[derive(Debug)]
pub struct Document<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (headers, bytes) = receive(request, state).await?;
        if bytes.is_empty() {
            return Err(Problem::new(Kind::MalformedBody, "The body is empty.").fix("send one JSON document"));
        }
        declared_as_json(&headers)?;
        read(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Document<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let (headers, bytes) = receive(request, state).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        declared_as_json(&headers)?;
        read(&bytes).map(|document| Some(Self(document)))
    }
}

/// Reads one JSON document of the shape `T`.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(
            Kind::MalformedBody,
            format!("The body is not UTF-8: byte {} is wrong.", error.valid_up_to()),
        )
        .fix("send JSON encoded as UTF-8")
    })?;
    // A list would be read as the fields of a struct in their order.
    if text.trim_start().starts_with('[') {
        return Err(Problem::new(Kind::InvalidValue, "The document is a list.").fix("send one JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| fault::explain::<T>(text, &error.path().to_string(), error.inner()))?;
    deserializer.end().map_err(|error| fault::malformed(&error))?;
    Ok(document)
}

async fn receive<S: Send + Sync>(request: Request, state: &S) -> Result<(HeaderMap, Bytes), Problem> {
    let headers = request.headers().clone();
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(Kind::BodyTooLarge, format!("The body is larger than {BODY_MAX} bytes."))
                .fix("shorten the document; certificates are the only long part one can have")
        } else {
            Problem::new(Kind::MalformedBody, "The body could not be received whole.").fix("send it again")
        }
    })?;
    Ok((headers, bytes))
}

fn declared_as_json(headers: &HeaderMap) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = declared.as_deref().and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    let (kind, subtype) = essence.split_once('/').unwrap_or_default();
    let subtype = subtype.to_ascii_lowercase();
    if kind.eq_ignore_ascii_case("application") && (subtype == "json" || subtype.ends_with("+json")) {
        return Ok(());
    }
    let detail = match &declared {
        None => "The body has no Content-Type.".to_owned(),
        Some(declared) => format!("The body is declared as {declared:?}."),
    };
    Err(Problem::new(Kind::UnsupportedMediaType, detail)
        .at("Content-Type")
        .fix("send JSON, with `Content-Type: application/json`"))
}
