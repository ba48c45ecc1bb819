//! What the command line reads of a backup. States and labels are read as text, so that those of a newer API show too.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;

use crate::{left_out, outlook::Next};

/// A backup.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct View {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) trigger: String,
    pub(super) state: String,
    pub(super) label: Option<String>,
    pub(super) slot_date: Option<NaiveDate>,
    pub(super) note: Option<String>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) requested_by: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) taken_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) artifacts: Vec<Artifact>,
    pub(super) failure: Option<Failed>,
    pub(super) retention_reason: Option<String>,
    pub(super) retention: Option<Retention>,
    pub(super) hold: Option<Hold>,
    pub(super) undelete: Option<serde_json::Value>,
    pub(super) verification: Option<Verification>,
    pub(super) undelete_until: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) progress: Vec<Progress>,
}

/// Why it is kept or goes, and what comes next.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Retention {
    pub(super) reason: String,
    #[serde(flatten)]
    pub(super) next: Next,
}

/// The hold that is on it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hold {
    pub(super) by: String,
    pub(super) at: DateTime<Utc>,
    pub(super) reason: String,
}

/// The last look at all of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Verification {
    pub(super) state: String,
    pub(super) by: String,
    pub(super) at: DateTime<Utc>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) artifacts: Vec<Verified>,
    pub(super) rehearsal: Option<Rehearsal>,
    pub(super) failure: Option<Failed>,
}

/// An artifact that was read and is good.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Verified {
    pub(super) bytes: u64,
    pub(super) tables: Option<u64>,
    pub(super) rows: Option<u64>,
    pub(super) files: Option<u64>,
    pub(super) rehearsed: Option<Rehearsed>,
}

/// The restore that it was tried with.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rehearsal {
    pub(super) restore: String,
    pub(super) seconds: Option<u64>,
}

/// What was there when it was restored.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rehearsed {
    pub(super) tables: Option<u64>,
    pub(super) rows: Option<u64>,
    pub(super) values_compared: Option<u64>,
    pub(super) files: Option<u64>,
}

/// What it wrote for one service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Artifact {
    pub(super) service: String,
    pub(super) object: Object,
    #[serde(default)]
    pub(super) contents: Contents,
    pub(super) milliseconds: u64,
}

/// What is in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Contents {
    pub(super) format: String,
    pub(super) tables: Option<u64>,
    pub(super) rows: Option<u64>,
    pub(super) files: Option<u64>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) skipped_count: u64,
    pub(super) outside_snapshot: Vec<String>,
    pub(super) outside_snapshot_count: u64,
}

/// A file that was left out.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Skipped {
    pub(super) key: String,
    pub(super) reason: String,
}

/// The object it wrote.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Object {
    pub(super) size: u64,
    pub(super) crc64nvme: String,
    pub(super) storage_class: String,
    pub(super) encryption: Encryption,
}

/// How the object is encrypted.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Encryption {
    pub(super) algorithm: String,
}

/// Why it failed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failed {
    pub(super) code: String,
    pub(super) message: String,
    #[serde(default)]
    pub(super) transient: bool,
}

/// How far it has come with one service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Progress {
    pub(super) service: String,
    pub(super) phase: String,
    #[serde(default)]
    pub(super) bytes: u64,
    pub(super) estimated_bytes: Option<u64>,
    pub(super) bytes_per_second: Option<f64>,
    pub(super) seconds_left: Option<f64>,
}

impl Verification {
    /// Bytes that were read of artifacts that are good.
    pub(super) fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.bytes).sum()
    }
}

impl View {
    /// Whether it still runs, or will.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "running")
    }

    /// Files that were listed and left out, of all services.
    pub(super) fn skipped(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.contents.skipped_count).sum()
    }

    /// How many files were left out, in words; none where none were.
    pub(super) fn left_out(&self) -> Option<String> {
        left_out::count(self.skipped())
    }

    /// Whether it is being brought back from its deletion.
    pub(super) fn is_coming_back(&self) -> bool {
        self.undelete.is_some()
    }

    /// Bytes of all it wrote.
    pub(super) fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.object.size).sum()
    }
}
