//! How far a running backup has come.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::ServiceName;

/// What a slice is doing for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not begun.
    Pending,
    /// Snapshot, temporary copy, and removing both: RDS is at work, and we wait.
    Isolating,
    /// Connecting, or listing what there is.
    Preparing,
    /// Reading and uploading.
    Copying,
    /// Reading back what the bucket has stored.
    Verifying,
    /// Stored and read back.
    Done,
}

/// How far a running backup has come with one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The service.
    pub service: ServiceName,
    /// What is being done for it.
    pub phase: Phase,
    /// Bytes stored so far.
    pub bytes: u64,
    /// Estimate of all bytes to read, where one could be made; compressed output stays below it.
    pub estimated_bytes: Option<u64>,
    /// Segments stored so far.
    pub segments: u32,
    /// When copying began.
    pub started_at: Option<DateTime<Utc>>,
    /// When this was written.
    pub updated_at: DateTime<Utc>,
}

impl Progress {
    /// Bytes per second since copying began.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    pub fn rate(&self) -> Option<f64> {
        let seconds = (self.updated_at - self.started_at?).as_seconds_f64();
        (seconds > 0.0).then(|| self.bytes as f64 / seconds)
    }

    /// Seconds left at the rate so far, where the total is known.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people to read")]
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.estimated_bytes?.saturating_sub(self.bytes);
        self.rate().filter(|rate| *rate > 0.0).map(|rate| left as f64 / rate)
    }
}
