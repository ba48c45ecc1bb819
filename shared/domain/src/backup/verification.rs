//! Whether a backup was looked at again since it was made, and what was found.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Failure;
use crate::id::ServiceName;

/// The last look at all of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// What came of it.
    pub state: VerificationState,
    /// Who asked for it: an identity's ARN, or `schedule`.
    pub by: String,
    /// When that was.
    pub at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What was found to be good so far.
    pub artifacts: Vec<VerifiedArtifact>,
    /// Where the next slice goes on within the artifact that is being read; for the reader to understand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What was found to be wrong, or why it could not be looked at.
    pub failure: Option<Failure>,
}

/// What came of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerificationState {
    /// It is under way.
    Running,
    /// Every byte is what it should be.
    Passed,
    /// Something is not what it should be: the backup cannot be relied on.
    Damaged,
    /// It could not be looked at everything; this says nothing about the backup.
    Failed,
}

impl VerificationState {
    /// The state as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
        }
    }
}

/// An artifact that was read from its first byte to its last, and is what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedArtifact {
    /// The service it is of.
    pub service: ServiceName,
    /// How many bytes were read.
    pub bytes: u64,
    /// Of a `PostgreSQL` dump: tables whose rows were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Of a `PostgreSQL` dump: rows, as many as were counted when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Of a media archive: files, each with the checksum that its manifest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}
