use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// What went wrong with a call, in one line: the service's own code and message, or why it could not be reached.
/// Neither requests nor responses are printed, for those may hold signed URLs and secrets.
pub(crate) fn explain<E: ProvideErrorMetadata, R>(operation: &str, error: &SdkError<E, R>) -> String {
    let why = match error {
        SdkError::ServiceError(refusal) => {
            let code = refusal.err().code().unwrap_or("an error without a code");
            match refusal.err().message() {
                Some(message) => format!("{code}: {message}"),
                None => code.to_owned(),
            }
        }
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::DispatchFailure(failure) => {
            let kind = if failure.is_timeout() { "no answer in time" } else { "no connection" };
            match failure.as_connector_error() {
                Some(error) => format!("{kind}: {}", root(error)),
                None => kind.to_owned(),
            }
        }
        SdkError::ResponseError(_) => "an answer that could not be understood".to_owned(),
        _ => "the request could not be made".to_owned(),
    };
    format!("{operation}: {why}")
}

/// The innermost cause, which is where the operating system speaks.
fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}
