//! What RDS's refusals mean. <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html>

use aws_sdk_rds::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use holdfast_backup::ports::InstancesError;

use crate::explain::explain;

/// What asking for something new came to: that it is there already is what was wanted.
pub(super) fn accepted<T, E: ProvideErrorMetadata>(
    operation: &str,
    outcome: Result<T, SdkError<E, HttpResponse>>,
) -> Result<(), InstancesError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if code(&error).contains("AlreadyExists") => Ok(()),
        Err(error) => Err(of(operation, &error)),
    }
}

/// What asking for something by its name came to; none if there is nothing of that name.
pub(super) fn unless_missing<T, E: ProvideErrorMetadata>(
    operation: &str,
    outcome: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Option<T>, InstancesError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if MISSING.contains(&code(&error)) => Ok(None),
        Err(error) => Err(of(operation, &error)),
    }
}

/// How the four kinds of things say that they are not there.
const MISSING: [&str; 4] =
    ["DBInstanceNotFound", "DBSnapshotNotFound", "DBClusterNotFoundFault", "DBClusterSnapshotNotFoundFault"];

/// Why a call failed.
pub(super) fn of<E: ProvideErrorMetadata>(
    operation: &str,
    error: &SdkError<E, HttpResponse>,
) -> InstancesError {
    let words = explain(operation, error);
    let Some(response) = error.raw_response().filter(|_| error.as_service_error().is_some()) else {
        return InstancesError::Unavailable(words);
    };
    let code = code(error);
    if code.starts_with("Invalid") && (code.ends_with("State") || code.ends_with("StateFault")) {
        InstancesError::Busy(words)
    } else if code.starts_with("AccessDenied") || code.starts_with("KMSKeyNotAccessible") {
        InstancesError::Denied(words)
    } else if code.starts_with("Insufficient")
        || code.starts_with("Throttling")
        || code == "RequestLimitExceeded"
        || response.status().is_server_error()
    {
        InstancesError::Unavailable(words)
    } else {
        InstancesError::Rejected(words)
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> &str {
    error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default()
}
