//! Refusals as `application/problem+json` (RFC 9457): a stable `type`, the field at fault, and what to do.

use std::ops::Deref;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use holdfast_backup::error::RequestError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which it is worth trying again when something was out of reach.
const UNAVAILABLE_RETRY_AFTER: u64 = 5;

/// What went wrong, as stable types that programs can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The body is not one JSON document.
    MalformedBody,
    /// A field that does not exist.
    UnknownField,
    /// A field that is needed is not there.
    MissingField,
    /// A field is there twice.
    DuplicateField,
    /// A field has the wrong type, or a value that can never be right.
    InvalidValue,
    /// A name or id in the path is none.
    InvalidName,
    /// A parameter of the query is wrong or does not exist.
    InvalidParameter,
    /// A header's value is wrong.
    InvalidHeader,
    /// The thing does not exist, or the caller may not know that it does.
    NotFound,
    /// The API has no such path.
    UnknownPath,
    /// The path does not have that method.
    MethodNotAllowed,
    /// It clashes with the state of what is there.
    Conflict,
    /// It was there once, and has expired.
    Expired,
    /// The version is not the one that `If-Match` asks for.
    PreconditionFailed,
    /// Changing something that exists needs `If-Match`.
    PreconditionRequired,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// Well-formed, and cannot be done.
    Unprocessable,
    /// The `Idempotency-Key` belongs to another request.
    IdempotencyKeyReused,
    /// Too many, too soon.
    TooManyRequests,
    /// Our fault.
    Internal,
    /// Something Holdfast needs is out of reach.
    Unavailable,
}

impl Kind {
    /// Every kind, for the documentation.
    pub const ALL: [Self; 22] = [
        Self::MalformedBody,
        Self::UnknownField,
        Self::MissingField,
        Self::DuplicateField,
        Self::InvalidValue,
        Self::InvalidName,
        Self::InvalidParameter,
        Self::InvalidHeader,
        Self::NotFound,
        Self::UnknownPath,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::Expired,
        Self::PreconditionFailed,
        Self::PreconditionRequired,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Unprocessable,
        Self::IdempotencyKeyReused,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The problem's `type`, its status, and its title.
    pub fn parts(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedBody => {
                ("urn:holdfast:problem:malformed-body", S::BAD_REQUEST, "The body is not a JSON document")
            }
            Self::UnknownField => {
                ("urn:holdfast:problem:unknown-field", S::BAD_REQUEST, "There is no such field")
            }
            Self::MissingField => {
                ("urn:holdfast:problem:missing-field", S::BAD_REQUEST, "A field is missing")
            }
            Self::DuplicateField => {
                ("urn:holdfast:problem:duplicate-field", S::BAD_REQUEST, "A field is there twice")
            }
            Self::InvalidValue => {
                ("urn:holdfast:problem:invalid-value", S::BAD_REQUEST, "A field's value is wrong")
            }
            Self::InvalidName => {
                ("urn:holdfast:problem:invalid-name", S::BAD_REQUEST, "A name or id in the path is wrong")
            }
            Self::InvalidParameter => (
                "urn:holdfast:problem:invalid-parameter",
                S::BAD_REQUEST,
                "A parameter of the query is wrong",
            ),
            Self::InvalidHeader => {
                ("urn:holdfast:problem:invalid-header", S::BAD_REQUEST, "A header is wrong")
            }
            Self::NotFound => ("urn:holdfast:problem:not-found", S::NOT_FOUND, "There is no such thing"),
            Self::UnknownPath => ("urn:holdfast:problem:unknown-path", S::NOT_FOUND, "There is no such path"),
            Self::MethodNotAllowed => (
                "urn:holdfast:problem:method-not-allowed",
                S::METHOD_NOT_ALLOWED,
                "The path does not have that method",
            ),
            Self::Conflict => ("urn:holdfast:problem:conflict", S::CONFLICT, "It clashes with what is there"),
            Self::Expired => ("urn:holdfast:problem:expired", S::GONE, "It has expired"),
            Self::PreconditionFailed => (
                "urn:holdfast:problem:precondition-failed",
                S::PRECONDITION_FAILED,
                "It is another version by now",
            ),
            Self::PreconditionRequired => (
                "urn:holdfast:problem:precondition-required",
                S::PRECONDITION_REQUIRED,
                "Changing it needs the version you know",
            ),
            Self::BodyTooLarge => {
                ("urn:holdfast:problem:body-too-large", S::PAYLOAD_TOO_LARGE, "The body is too large")
            }
            Self::UnsupportedMediaType => (
                "urn:holdfast:problem:unsupported-media-type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body is not declared as JSON",
            ),
            Self::Unprocessable => (
                "urn:holdfast:problem:unprocessable",
                S::UNPROCESSABLE_ENTITY,
                "It cannot be done as it stands",
            ),
            Self::IdempotencyKeyReused => (
                "urn:holdfast:problem:idempotency-key-reused",
                S::UNPROCESSABLE_ENTITY,
                "The Idempotency-Key belongs to another request",
            ),
            Self::TooManyRequests => {
                ("urn:holdfast:problem:too-many-requests", S::TOO_MANY_REQUESTS, "Too many, too soon")
            }
            Self::Internal => (
                "urn:holdfast:problem:internal",
                S::INTERNAL_SERVER_ERROR,
                "Something went wrong inside Holdfast",
            ),
            Self::Unavailable => (
                "urn:holdfast:problem:unavailable",
                S::SERVICE_UNAVAILABLE,
                "Something Holdfast needs is out of reach",
            ),
        }
    }
}

/// What a problem says (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:holdfast:problem:unknown-field",
    "title": "There is no such field",
    "status": 400,
    "detail": "`services[0].hostname` is not a field; expected one of `name`, `host`, `port`, `database`, `secret_arn`, `tls`",
    "field": "services[0].hostname",
    "fix": "leave the field out, or correct its name"
}))]
pub struct Details {
    /// Stable URN of the kind of problem, such as `urn:holdfast:problem:not-found`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The kind of problem in words.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong this time.
    pub detail: String,
    /// The field, parameter or header at fault, such as `services[1].bucket`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The id to look for in the logs, where the fault is not the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Seconds for `Retry-After`.
    #[serde(skip)]
    retry_after: Option<u64>,
    /// What only the logs may say.
    #[serde(skip)]
    pub cause: Option<String>,
}

/// A problem: why a request is refused, or what went wrong with it. Boxed, since most calls have none.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl Problem {
    /// A problem of that kind, with what is wrong this time.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (kind, status, title) = kind.parts();
        Self(Box::new(Details {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            fix: None,
            request_id: None,
            retry_after: None,
            cause: None,
        }))
    }

    /// The same problem, at `field`.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The same problem, mended by `fix`.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }

    /// A fault of ours: `cause` goes to the log only.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "The request could not be answered; the reason is in the log of the API.")
            .fix("try again later; if it stays, give the request_id to whoever runs Holdfast")
            .because(cause)
    }

    /// Something is out of reach: `cause` goes to the log only.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, "A service that Holdfast depends on did not answer as it should.")
            .retry_after(UNAVAILABLE_RETRY_AFTER)
            .because(cause)
    }

    /// The same problem, worth another try after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self.fix("repeat the request after the seconds in Retry-After")
    }

    /// The same problem, with what only the logs may say.
    fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The same problem, with the id by which the log knows it.
    #[must_use]
    pub fn logged_as(mut self, request_id: String) -> Self {
        self.0.request_id = Some(request_id);
        self
    }

    /// The problem's status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Invalid(invalid) => {
                let kind = if invalid.field.eq_ignore_ascii_case("Idempotency-Key") {
                    Kind::IdempotencyKeyReused
                } else {
                    Kind::Unprocessable
                };
                Self::new(kind, format!("`{}` {}.", invalid.field, invalid.problem))
                    .at(invalid.field)
                    .fix(invalid.fix)
            }
            RequestError::NotFound { .. } => Self::new(Kind::NotFound, sentence(&error.to_string()))
                .fix("check the name; lists show what there is"),
            RequestError::Conflict(message) => Self::new(Kind::Conflict, sentence(&message)),
            RequestError::TooMany { message, retry_after } => {
                Self::new(Kind::TooManyRequests, sentence(&message)).retry_after(retry_after)
            }
            RequestError::Unavailable(cause) => Self::unavailable(cause),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The message as a sentence: it starts with a capital letter and ends with a full stop.
pub fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let stop = if message.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_kind_has_a_type_of_its_own_and_a_status_of_an_error() {
        let types: BTreeSet<_> = Kind::ALL.into_iter().map(|kind| kind.parts().0).collect();
        assert_eq!(types.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let (_, status, title) = kind.parts();
            assert!(status.is_client_error() || status.is_server_error(), "{kind:?}");
            assert!(!title.is_empty());
        }
    }

    #[test]
    fn what_only_the_logs_may_say_is_not_in_the_answer() {
        for problem in [Problem::internal("password=hunter2"), Problem::unavailable("password=hunter2")] {
            assert!(!serde_json::to_string(&problem).unwrap().contains("hunter2"));
        }
    }
}
