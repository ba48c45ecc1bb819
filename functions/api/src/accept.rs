//! What kind of answer a caller wants.

use http::{HeaderMap, header};

/// JSON.
pub const JSON: &str = "application/json";
/// A picture.
pub const SVG: &str = "image/svg+xml";

/// Whether the caller names `essence` among the media types it accepts; a wildcard alone does not name it.
pub fn names(headers: &HeaderMap, essence: &str) -> bool {
    let refused = |parameter: &str| {
        let quality = parameter.trim().strip_prefix("q=").or_else(|| parameter.trim().strip_prefix("Q="));
        quality.and_then(|quality| quality.parse::<f32>().ok()).is_some_and(|quality| quality <= 0.0)
    };
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let mut parts = range.split(';');
            parts.next().unwrap_or_default().trim().eq_ignore_ascii_case(essence) && !parts.any(refused)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use rstest::rstest;

    #[rstest]
    #[case(None, false)]
    #[case(Some("*/*"), false)]
    #[case(Some("text/html, */*;q=0.8"), false)]
    #[case(Some("application/json"), true)]
    #[case(Some("text/html, Application/JSON; q=0.5"), true)]
    #[case(Some("application/json;q=0"), false)]
    fn json_is_for_who_asks_for_it(#[case] accept: Option<&str>, #[case] json: bool) {
        let mut headers = HeaderMap::new();
        headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_str(accept).unwrap())));
        assert_eq!(names(&headers, JSON), json);
    }
}
