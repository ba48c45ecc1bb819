use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use holdfast_backup::ports::StorageError;

use crate::explain::explain;

/// What a failed call means. `what` is what it was about, as in `object media/a.jpg in bucket shop-media`.
///
/// HEAD requests are answered without a body and so without a code, hence the look at the status.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
pub(super) fn storage_error<E: ProvideErrorMetadata>(
    operation: &str,
    what: &str,
    error: &SdkError<E, HttpResponse>,
) -> StorageError {
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    judge(status, code, what, || explain(operation, error))
}

fn judge(status: u16, code: Option<&str>, what: &str, explained: impl Fn() -> String) -> StorageError {
    // A refusal can come with the status 200, long after the headers; its code decides then.
    let by_code = match code {
        Some("NoSuchBucket" | "NoSuchKey" | "NoSuchUpload" | "NotFound" | "NoSuchVersion") => {
            Some(StorageError::NotFound(what.to_owned()))
        }
        Some("AccessDenied" | "AllAccessDisabled" | "KMS.AccessDeniedException" | "Forbidden") => {
            Some(StorageError::Denied(what.to_owned()))
        }
        // An offset beyond the end: the object was longer once.
        // A part that is not the one that was stored here: somebody else has stored another under its number.
        Some("PreconditionFailed" | "ConditionalRequestConflict" | "InvalidRange" | "InvalidPart") => {
            Some(StorageError::Changed(what.to_owned()))
        }
        Some("InvalidObjectState") => Some(StorageError::Archived(what.to_owned())),
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            Some(StorageError::Rejected(format!(
                "{what}: the bucket is in another region than the one that was asked"
            )))
        }
        Some(
            "InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout" | "OperationAborted"
            // What was sent did not arrive whole.
            | "IncompleteBody"
            // The credentials of a warm function are renewed; clocks are set.
            | "ExpiredToken" | "RequestTimeTooSkewed"
            | "ThrottlingException" | "KMS.ThrottlingException" | "KMS.InternalException",
        ) => Some(StorageError::Unavailable(format!("{what}: {}", explained()))),
        _ => None,
    };
    by_code.unwrap_or_else(|| match status {
        404 => StorageError::NotFound(what.to_owned()),
        403 if code.is_none() => StorageError::Denied(what.to_owned()),
        412 | 416 => StorageError::Changed(what.to_owned()),
        301 | 307 => StorageError::Rejected(format!(
            "{what}: the bucket is in another region than the one that was asked"
        )),
        400..=499 if status != 408 && status != 429 => {
            StorageError::Rejected(format!("{what}: {}", explained()))
        }
        200 if code.is_some() => StorageError::Rejected(format!("{what}: {}", explained())),
        _ => StorageError::Unavailable(format!("{what}: {}", explained())),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(404, Some("NoSuchBucket"), "there is no object a")]
    #[case(404, Some("NoSuchKey"), "there is no object a")]
    #[case(404, None, "there is no object a")]
    #[case(200, Some("NoSuchUpload"), "there is no object a")]
    #[case(403, Some("AccessDenied"), "access was denied to object a")]
    #[case(403, None, "access was denied to object a")]
    #[case(400, Some("KMS.DisabledException"), "the storage refused object a: said")]
    #[case(
        403,
        Some("InvalidObjectState"),
        "object a is in an archive storage class and must be restored from there first"
    )]
    #[case(412, Some("PreconditionFailed"), "object a has changed meanwhile")]
    #[case(412, None, "object a has changed meanwhile")]
    #[case(416, Some("InvalidRange"), "object a has changed meanwhile")]
    #[case(
        301,
        Some("PermanentRedirect"),
        "the storage refused object a: the bucket is in another region than the one that was asked"
    )]
    #[case(400, Some("InvalidPart"), "object a has changed meanwhile")]
    #[case(400, Some("BadDigest"), "the storage refused object a: said")]
    #[case(400, Some("ExpiredToken"), "the storage could not be reached: object a: said")]
    #[case(200, Some("InternalError"), "the storage could not be reached: object a: said")]
    #[case(503, Some("SlowDown"), "the storage could not be reached: object a: said")]
    #[case(500, None, "the storage could not be reached: object a: said")]
    #[case(429, Some("TooManyRequests"), "the storage could not be reached: object a: said")]
    #[case(0, None, "the storage could not be reached: object a: said")]
    fn an_answer_means(#[case] status: u16, #[case] code: Option<&str>, #[case] message: &str) {
        assert_eq!(judge(status, code, "object a", || "said".to_owned()).to_string(), message);
    }
}
