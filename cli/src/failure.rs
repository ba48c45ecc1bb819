//! Why a command failed, and what to do about it.

use std::{error::Error, fmt, process::ExitCode};

use holdfast_backup::error::SliceError;
use http::StatusCode;
use serde::Deserialize;

use crate::table::plain;

/// Why a command failed, in the words of the person at the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    fix: Option<String>,
    exit: Exit,
    status: Option<StatusCode>,
}

/// How the process ends; see the command line's help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Standard output was closed by who read it: nothing is wrong, and nobody is left to tell.
    Quiet = 0,
    /// It failed.
    Failed = 1,
    /// It was asked for in the wrong way.
    Usage = 2,
    /// Somebody interrupted it.
    Interrupted = 130,
}

impl Failure {
    /// It failed.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None, exit: Exit::Failed, status: None }
    }

    /// An engine failed. What `fix` knows by its code is to be done about it, not what the engine says: that is for
    /// registered services, and comes after the last semicolon.
    pub(crate) fn of_engine(error: &SliceError, fix: impl FnOnce(&str) -> Option<&'static str>) -> Self {
        let SliceError::Failed(failure) = error else { return Self::new(error.to_string()) };
        let Some(fix) = fix(&failure.code) else { return Self::new(&failure.message) };
        let what = failure.message.rsplit_once("; ").map_or(failure.message.as_str(), |(what, _)| what);
        Self::new(what).fix(fix)
    }

    /// It was asked for in the wrong way.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(what) }
    }

    /// Somebody interrupted it.
    pub(crate) fn interrupted(what: impl Into<String>) -> Self {
        Self { exit: Exit::Interrupted, ..Self::new(what) }
    }

    /// Standard output was closed.
    pub(crate) fn closed_pipe() -> Self {
        Self { exit: Exit::Quiet, ..Self::new("") }
    }

    /// What to do about it.
    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The HTTP status, where the API or the storage answered.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Whether there is anything to say.
    pub(crate) fn is_quiet(&self) -> bool {
        self.exit == Exit::Quiet
    }

    /// The process's exit code.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// What the API's refusal says. `body` is a problem (RFC 9457) where Holdfast itself answered; before it, API
    /// Gateway answers in its own form.
    pub(crate) fn refused(status: StatusCode, body: &[u8], retry_after: Option<u64>) -> Self {
        let mut failure = match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => problem.failure(),
            Err(_) => gateway(status, body),
        };
        failure.status = Some(status);
        if let Some(seconds) = retry_after {
            let wait = format!("try again in {}", crate::moment::span(seconds));
            failure.fix = Some(match failure.fix {
                Some(fix) => format!("{fix}; {wait}"),
                None => wait,
            });
        }
        failure
    }
}

/// What this command line reads of a problem.
#[derive(Deserialize)]
struct Problem {
    title: String,
    #[serde(default)]
    detail: String,
    field: Option<String>,
    fix: Option<String>,
    request_id: Option<String>,
}

impl Problem {
    fn failure(self) -> Failure {
        let mut what =
            if self.detail.is_empty() { self.title } else { format!("{}: {}", self.title, self.detail) };
        if let Some(field) = self.field.filter(|field| !what.contains(field.as_str())) {
            what = format!("{what} (field {field})");
        }
        if let Some(id) = self.request_id {
            what = format!("{what} (request {id})");
        }
        Failure { fix: self.fix.map(|fix| plain(&fix)), ..Failure::new(plain(&what)) }
    }
}

/// What API Gateway says by itself: `{"message": …}`.
fn gateway(status: StatusCode, body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Message {
        #[serde(alias = "Message")]
        message: String,
    }
    let message = serde_json::from_slice::<Message>(body).map(|body| body.message).unwrap_or_default();
    let says = if message.is_empty() { String::new() } else { format!(": {}", plain(&message)) };
    let lower = message.to_ascii_lowercase();
    if lower.contains("region") {
        return Failure::new(format!("the request was signed for another region than the API's{says}"))
            .fix("give the region of the stack with --region");
    }
    if lower.contains("expired") || lower.contains("not yet current") {
        return Failure::new(format!("the signature or the credentials have expired{says}"))
            .fix("sign in to AWS again, and check this computer's clock");
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::new(format!("access was denied{says}")).fix(
            "check that the credentials are those you mean (`aws sts get-caller-identity`), that their policy allows \
             execute-api:Invoke on this call, and that --region is the API's",
        ),
        StatusCode::NOT_FOUND => Failure::new(format!("no Holdfast answers at this address{says}"))
            .fix("check --api or HOLDFAST_API: it is the output ApiUrl of the stack"),
        _ => Failure::new(format!("the API answered {status}{says}")),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  what to do: {fix}"),
            None => Ok(()),
        }
    }
}

/// An error and its sources in one line. A request's address is left out: it may be a signed one.
pub(crate) fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Some errors repeat their source.
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::problem(
        422,
        r#"{"type":"urn:holdfast:problem:unprocessable","title":"It cannot be done","status":422,"detail":"`services` is empty","field":"services","fix":"name one"}"#,
        "It cannot be done: `services` is empty\n  what to do: name one"
    )]
    #[case::field_not_in_detail(400, r#"{"title":"T","detail":"D","field":"x"}"#, "T: D (field x)")]
    #[case::problem_without_detail(409, r#"{"title":"It clashes"}"#, "It clashes")]
    #[case::control_characters(409, r#"{"title":"a\u001b[2Jb"}"#, "a\u{fffd}[2Jb")]
    #[case::internal(500, r#"{"title":"T","detail":"D","request_id":"r1"}"#, "T: D (request r1)")]
    #[case::gateway_region(
        403,
        r#"{"message":"Credential should be scoped to a valid region, not 'us-east-1'."}"#,
        "the request was signed for another region than the API's: Credential should be scoped to a valid region, not \
         'us-east-1'.\n  what to do: give the region of the stack with --region"
    )]
    #[case::gateway_elsewhere(
        404,
        r#"{"message":"Not Found"}"#,
        "no Holdfast answers at this address: Not Found\n  what to do: check --api or HOLDFAST_API: it is the output ApiUrl of the stack"
    )]
    #[case::not_json(502, "<html>", "the API answered 502 Bad Gateway")]
    fn a_refusal_reads_plainly(#[case] status: u16, #[case] body: &str, #[case] text: &str) {
        let failure = Failure::refused(StatusCode::from_u16(status).unwrap(), body.as_bytes(), None);
        assert_eq!(failure.to_string(), text);
        assert_eq!(failure.exit, Exit::Failed);
    }

    #[rstest]
    #[case::denied(r#"{"message":"Forbidden"}"#, "execute-api:Invoke")]
    #[case::expired(r#"{"message":"Signature expired: 2026"}"#, "clock")]
    fn a_denial_says_what_to_check(#[case] body: &str, #[case] hint: &str) {
        let failure = Failure::refused(StatusCode::FORBIDDEN, body.as_bytes(), None);
        assert!(failure.to_string().contains(hint), "{failure}");
    }

    #[test]
    fn too_many_requests_say_when_to_try_again() {
        let failure = Failure::refused(StatusCode::TOO_MANY_REQUESTS, br#"{"title":"Too many"}"#, Some(7200));
        assert_eq!(failure.to_string(), "Too many\n  what to do: try again in 2 h");
    }
}
