//! How a use case can fail.

use holdfast_domain::{
    backup::Failure,
    id::{ApplicationId, ServiceName},
    invalid::Invalid,
};

use crate::{
    job,
    ports::{InstancesError, RecordsError, StorageError},
};

/// How a request to a use case can fail; the API gives each its status.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request is well-formed and cannot be done as it stands (422).
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such thing (404).
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// `application`, `plan`, `backup`, `artifact` or `restore`.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// It clashes with the state or version of what is there (409).
    #[error("{0}")]
    Conflict(String),
    /// Too many, too soon (429).
    #[error("{message}")]
    TooMany {
        /// What was exceeded.
        message: String,
        /// Seconds after which it can work.
        retry_after: u64,
    },
    /// Something Holdfast needs is out of reach (503).
    #[error("{0}")]
    Unavailable(String),
}

impl RequestError {
    /// There is no `what` called `name`.
    pub fn not_found(what: &'static str, name: &impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }
}

impl From<RecordsError> for RequestError {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Conflict => Self::Conflict(
                "somebody else changed it at the same moment; read it again, then repeat".to_owned(),
            ),
            RecordsError::Unavailable(_) | RecordsError::Malformed(_) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<StorageError> for RequestError {
    fn from(error: StorageError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why a slice ended without its work done.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// It failed; transient ones are tried again by the state machine.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// Somebody cancelled the job.
    #[error("the job was cancelled")]
    Cancelled,
    /// Another slice has taken over, or the job has ended: this one must not touch anything any more.
    #[error("another slice of the same job has taken over")]
    Fenced,
}

impl SliceError {
    /// A failure that needs somebody to change something first.
    pub fn permanent(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            code: code.to_owned(),
            message: message.into(),
            service: None,
            transient: false,
        })
    }

    /// A failure that may pass by itself.
    pub fn transient(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Failure {
            code: code.to_owned(),
            message: message.into(),
            service: None,
            transient: true,
        })
    }

    /// The same failure, naming the application and service it happened to.
    #[must_use]
    pub fn of(self, application: &ApplicationId, name: &ServiceName) -> Self {
        match self {
            Self::Failed(failure) if failure.service.is_none() => Self::Failed(Failure {
                message: format!("{application}, service {name}: {}", failure.message),
                service: Some(name.clone()),
                ..failure
            }),
            other => other,
        }
    }
}

impl SliceError {
    /// The type of the Lambda error it becomes, by which the state machine decides whether to try again.
    pub fn lambda_type(&self) -> &'static str {
        match self {
            Self::Failed(failure) if !failure.transient => job::PERMANENT,
            Self::Failed(_) | Self::Fenced => job::TRANSIENT,
            Self::Cancelled => job::CANCELLED,
        }
    }

    /// The message of the Lambda error it becomes: the failure as JSON, which [`Caught::failure`](job::Caught::failure)
    /// reads back when the job is aborted.
    pub fn lambda_message(&self) -> String {
        match self {
            Self::Failed(failure) => {
                serde_json::to_string(failure).unwrap_or_else(|_| failure.message.clone())
            }
            Self::Cancelled | Self::Fenced => self.to_string(),
        }
    }
}

impl From<RecordsError> for SliceError {
    fn from(error: RecordsError) -> Self {
        match error {
            RecordsError::Conflict => Self::Fenced,
            RecordsError::Unavailable(_) => Self::transient("records_unavailable", error.to_string()),
            RecordsError::Malformed(_) => Self::permanent("record_malformed", error.to_string()),
        }
    }
}

impl From<RequestError> for SliceError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Conflict(_) => Self::Fenced,
            RequestError::Unavailable(reason) => Self::transient("unavailable", reason),
            other => Self::permanent("impossible", other.to_string()),
        }
    }
}

impl From<StorageError> for SliceError {
    fn from(error: StorageError) -> Self {
        let message = error.to_string();
        match error {
            StorageError::NotFound(_) => Self::permanent("object_missing", message),
            StorageError::Changed(_) => Self::transient("object_changed", message),
            StorageError::Denied(_) => Self::permanent("access_denied", message),
            StorageError::Archived(_) => Self::permanent("object_archived", message),
            StorageError::Rejected(_) => Self::permanent("storage_rejected", message),
            StorageError::Unavailable(_) => Self::transient("storage_unavailable", message),
        }
    }
}

impl From<InstancesError> for SliceError {
    fn from(error: InstancesError) -> Self {
        let message = error.to_string();
        match error {
            InstancesError::Busy(_) => Self::transient("rds_busy", message),
            InstancesError::Denied(_) => Self::permanent("rds_denied", message),
            InstancesError::Rejected(_) => Self::permanent("rds_rejected", message),
            InstancesError::Unavailable(_) => Self::transient("rds_unavailable", message),
        }
    }
}
