//! What a look at a backup and at its target finds, and what a restore has done.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::ServiceName;

/// What was found about one service before anything was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Preflight {
    /// The service that is to be restored.
    pub service: ServiceName,
    /// What that is, in words: `"shop" at db.example:5432`, `s3://bucket/prefix`.
    pub target: String,
    /// Whether there is something in it that a safety backup can keep.
    pub is_occupied: bool,
    /// What is going to be done, in order.
    pub steps: Vec<String>,
    /// What is good to know, such as what cannot be taken back if it fails halfway.
    pub notes: Vec<String>,
    /// What stands in the way. Nothing is done while there is any.
    pub refusals: Vec<Refusal>,
    /// Bytes to read of the artifact.
    pub bytes: u64,
    /// About how long it takes, in seconds: a guess from its bytes.
    pub estimated_seconds: u64,
    /// Of a storage: what would become of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<MediaChanges>,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// Stable word for programs.
    pub code: String,
    /// What is in the way.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Refusal {
    /// `what` is in the way; `fix` says what to do about it.
    pub fn new(code: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { code: code.into(), what: what.into(), fix: fix.into() }
    }
}

/// What becomes, or became, of the files of a storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MediaChanges {
    /// Files that are not there.
    pub added: u64,
    /// Files that are there with other contents.
    pub replaced: u64,
    /// Files that are there as they are in the backup, and are left alone.
    pub unchanged: u64,
    /// Files that the backup does not have, and that are removed.
    pub removed: u64,
}

/// What was restored of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// Tables whose rows were restored; of databases whose tables were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<u64>,
    /// Rows that were restored; of databases whose rows were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Whether the rows were compared with those that were counted when they were dumped.
    #[serde(default)]
    pub rows_compared: bool,
    /// Of a database that was rehearsed with `checksums`: tables whose values were compared, and are those of the archive. The
    /// notes say what was not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_compared: Option<u64>,
    /// What became of the files of a storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<MediaChanges>,
    /// Of a storage that was rehearsed: files and folders that were there as the archive has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_compared: Option<u64>,
    /// What is good to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
