//! Why a backup failed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::ServiceName;

/// Why a backup failed, in the words its owner needs. Never a secret, never a signed URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// Stable word for programs, such as `wrong_password` or `bucket_missing`.
    pub code: String,
    /// What happened and what to do.
    pub message: String,
    /// The service it happened to, where it was one.
    pub service: Option<ServiceName>,
    /// Whether trying again later can help without anybody changing anything.
    pub transient: bool,
}
