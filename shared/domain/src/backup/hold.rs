//! Who keeps a backup whatever the policy says, and who is bringing one back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Keeps a backup whatever the policy says: it is neither relabelled nor discarded nor counted, nor can it be deleted, until
/// the hold is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Who put it on: an identity's ARN.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, in that person's words.
    pub reason: String,
}

/// A deleted backup that is being brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Undelete {
    /// Who asked for it: an identity's ARN.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}
