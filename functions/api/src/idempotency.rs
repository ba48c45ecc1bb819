//! `Idempotency-Key`: repeating a request makes nothing a second time.

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::problem::{Kind, Problem};

/// Longest key, in characters.
const KEY_MAX: usize = 128;
/// Says that an answer is the one that the same request got before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The key of a request, if it has one.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("Idempotency-Key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let good = (1..=KEY_MAX).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match (value.to_str(), values.next()) {
        (Ok(key), None) if good => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(Kind::InvalidHeader, "The Idempotency-Key is not one that can be used.")
            .at("Idempotency-Key")
            .fix(format!("send one of 1 to {KEY_MAX} visible ASCII characters, such as a UUID"))),
    }
}

/// Says that the same request had been made before.
pub fn mark_replayed(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}
