//! `ETag`, `If-Match` and `If-None-Match` (RFC 9110, section 13): nobody overwrites what they have not seen.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderValue, header, request::Parts};

use crate::problem::{Kind, Problem};

/// The entity tag of a version: `"v3"`.
pub fn etag(version: u64) -> HeaderValue {
    // Digits, a letter and quotes are always a valid header.
    HeaderValue::try_from(format!("\"v{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"v0\""))
}

/// What the caller says about the version it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// `If-Match`, as it was sent.
    if_match: Option<String>,
    /// `If-None-Match`, as it was sent.
    if_none_match: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Precondition {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Precondition {
    fn of(headers: &HeaderMap) -> Self {
        let joined = |name| {
            let values: Vec<_> =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            (!values.is_empty()).then(|| values.join(","))
        };
        Self { if_match: joined(header::IF_MATCH), if_none_match: joined(header::IF_NONE_MATCH) }
    }

    /// Allows a `PUT` of something that has version `current` now. What exists is changed by those only who name its
    /// version, or say `If-Match: *` to overwrite whatever is there.
    pub fn allow_put(&self, current: Option<u64>) -> Result<(), Problem> {
        if let (None, Some(version)) = (&self.if_match, current)
            && self.if_none_match.is_none()
        {
            return Err(Problem::new(
                Kind::PreconditionRequired,
                format!("It exists already, in version {version}, and the request does not say which version it changes."),
            )
            .at("If-Match")
            .fix("send the ETag you have read as If-Match, or `If-Match: *` to overwrite whatever is there"));
        }
        self.allow(current)
    }

    /// Allows a `DELETE` of something that has version `current` now; `If-Match` is honoured and not needed.
    pub fn allow_delete(&self, current: Option<u64>) -> Result<(), Problem> {
        self.allow(current)
    }

    /// Whether the caller named versions: a race it loses after the check is then a failed precondition too.
    pub fn names_versions(&self) -> bool {
        self.if_match.as_deref().is_some_and(|value| value.trim() != "*")
    }

    /// The refusal of a caller whose version is not the one that is there.
    pub fn failed(current: Option<u64>) -> Problem {
        let detail = match current {
            Some(version) => format!("It is in version {version}, which the request does not expect."),
            None => "It does not exist, and the request expects a version of it.".to_owned(),
        };
        Problem::new(Kind::PreconditionFailed, detail)
            .at("If-Match")
            .fix("read it again, apply your change to what you find, and send its new ETag as If-Match")
    }

    fn allow(&self, current: Option<u64>) -> Result<(), Problem> {
        if let Some(expected) = &self.if_match {
            // Weak tags never match here: RFC 9110, section 13.1.1.
            let matches = |version: u64| {
                tags(expected).any(|tag| tag == "*" || tag.as_bytes() == etag(version).as_bytes())
            };
            if !current.is_some_and(matches) {
                return Err(Self::failed(current));
            }
        }
        if let (Some(unexpected), Some(version)) = (&self.if_none_match, current) {
            let strong = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
            if tags(unexpected).any(|tag| tag == "*" || strong(tag).as_bytes() == etag(version).as_bytes()) {
                return Err(Problem::new(
                    Kind::PreconditionFailed,
                    format!("It exists already, in version {version}."),
                )
                .at("If-None-Match")
                .fix("choose another name, or change what is there with If-Match"));
            }
        }
        Ok(())
    }
}

fn tags(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::creation(None, None, None, None)]
    #[case::change_unseen(None, None, Some(3), Some(428))]
    #[case::change_seen(Some("\"v3\""), None, Some(3), None)]
    #[case::one_of_several(Some("\"v2\", \"v3\""), None, Some(3), None)]
    #[case::stale(Some("\"v2\""), None, Some(3), Some(412))]
    #[case::weak(Some("W/\"v3\""), None, Some(3), Some(412))]
    #[case::unquoted(Some("v3"), None, Some(3), Some(412))]
    #[case::nonsense(Some("???"), None, Some(3), Some(412))]
    #[case::overwrite(Some("*"), None, Some(3), None)]
    #[case::overwrite_nothing(Some("*"), None, None, Some(412))]
    #[case::gone_meanwhile(Some("\"v3\""), None, None, Some(412))]
    #[case::create_only(None, Some("*"), None, None)]
    #[case::create_only_and_exists(None, Some("*"), Some(1), Some(412))]
    #[case::the_version_from_the_start(Some("\"v0\""), None, Some(0), None)]
    fn a_put_needs_the_version_it_changes(
        #[case] if_match: Option<&str>,
        #[case] if_none_match: Option<&str>,
        #[case] current: Option<u64>,
        #[case] status: Option<u16>,
    ) {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let precondition = Precondition { if_match: owned(if_match), if_none_match: owned(if_none_match) };
        assert_eq!(precondition.allow_put(current).err().map(|problem| problem.status), status);
    }

    #[test]
    fn a_delete_honours_the_version_and_does_not_need_it() {
        let unseen = Precondition::default();
        assert!(unseen.allow_delete(Some(3)).is_ok());
        let stale = Precondition { if_match: Some("\"v2\"".to_owned()), if_none_match: None };
        assert_eq!(stale.allow_delete(Some(3)).unwrap_err().status, 412);
    }
}
