//! What the state machine and the worker say to each other.

use chrono::{DateTime, Utc};
use holdfast_domain::{
    backup::Failure,
    id::{ApplicationId, BackupId, RestoreId, ServiceName},
};
use serde::{Deserialize, Serialize};

/// One job, driven slice by slice. The id is the name of its execution, so that starting twice is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    /// Make one backup.
    Backup {
        /// The application.
        application: ApplicationId,
        /// The backup.
        id: BackupId,
    },
    /// Bring a deleted backup back.
    Undelete {
        /// The application.
        application: ApplicationId,
        /// The backup.
        id: BackupId,
        /// When that was asked for: a backup can be deleted and brought back more than once.
        asked_at: DateTime<Utc>,
    },
    /// Restore a backup.
    Restore {
        /// The application that is restored.
        application: ApplicationId,
        /// The restore.
        id: RestoreId,
    },
    /// Read a backup again, from its first byte to its last.
    Verify {
        /// The application.
        application: ApplicationId,
        /// The backup.
        id: BackupId,
        /// When that was asked for: a backup can be verified more than once.
        asked_at: DateTime<Utc>,
    },
    /// Remove what late invocations have left of a backup that has ended.
    Sweep {
        /// The application.
        application: ApplicationId,
        /// The backup.
        id: BackupId,
        /// When it was found that something is left: nights may find more than once.
        asked_at: DateTime<Utc>,
    },
}

impl Job {
    /// The name of the job's execution.
    pub fn execution_name(&self) -> String {
        match self {
            Self::Backup { id, .. } => id.to_string(),
            Self::Restore { id, .. } => id.to_string(),
            Self::Undelete { id, asked_at, .. } => {
                format!("{id}-undelete-{}", asked_at.format("%Y%m%dT%H%M%S"))
            }
            Self::Verify { id, asked_at, .. } => format!("{id}-verify-{}", asked_at.format("%Y%m%dT%H%M%S")),
            Self::Sweep { id, asked_at, .. } => format!("{id}-sweep-{}", asked_at.format("%Y%m%dT%H%M%S")),
        }
    }

    /// The name of an execution that only aborts the job, started at `now`: the same within an hour (UTC), as
    /// `{id}-abort-20261124T09`. An execution's name is used up for 90 days, whatever became of it.
    pub fn abort_name(&self, now: DateTime<Utc>) -> String {
        format!("{}-abort-{}", self.execution_name(), now.format("%Y%m%dT%H"))
    }
}

/// A share of a job that a branch of the state machine's Map works on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The service to work on.
    pub service: ServiceName,
    /// Which share of it, where it is divided between branches, from 0; all of it without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
}

/// What the state machine asks of the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Call {
    /// Do the next slice.
    Slice {
        /// Of this job.
        job: Job,
        /// Of this share of it; the whole job without one.
        #[serde(default)]
        range: Option<Range>,
    },
    /// The job is failing or was cancelled: clean up and record why. Called on the way out of every failure.
    Abort {
        /// This job.
        job: Job,
        /// What the state machine caught.
        #[serde(default)]
        error: Caught,
    },
}

/// An error as Step Functions hands it to a Catch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caught {
    /// Its name, such as `Permanent`, `Lambda.Unknown` or `States.Timeout`.
    #[serde(rename = "Error", default)]
    pub error: String,
    /// Its details: JSON of the function's error, or text.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

/// What the worker answers: what the state machine does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer {
    /// Nothing is left to do.
    Done,
    /// Call again, at once.
    Continue,
    /// Call again, later.
    Wait {
        /// Seconds to wait.
        seconds: u32,
    },
    /// Call once for each range, side by side, until each says done; then go on without a range.
    FanOut {
        /// The shares.
        ranges: Vec<Range>,
    },
}

/// The error type of a Lambda error that must not be tried again.
pub const PERMANENT: &str = "Permanent";
/// The error type of a Lambda error that may pass by itself.
pub const TRANSIENT: &str = "Transient";
/// The error type of a job that was cancelled.
pub const CANCELLED: &str = "Cancelled";

impl Caught {
    /// Why the job failed, in the words its owner needs: the failure that the worker put into its error, or what is
    /// known of a worker that died.
    pub fn failure(&self) -> Failure {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct LambdaError {
            error_message: String,
        }
        let message = serde_json::from_str::<LambdaError>(&self.cause)
            .map_or_else(|_| self.cause.clone(), |error| error.error_message);
        if let Ok(failure) = serde_json::from_str::<Failure>(&message) {
            return failure;
        }
        let (code, message) = match self.error.as_str() {
            "States.Timeout" => ("timed_out", "the job took longer than a job may take".to_owned()),
            "" => ("unknown", "the job ended without saying why".to_owned()),
            _ if message.contains("Task timed out") => (
                "slice_timed_out",
                "the work did not fit into one invocation of the worker; for a backup, the database or the media are too large"
                    .to_owned(),
            ),
            error => (
                "worker_died",
                format!("the worker ended unexpectedly and trying again did not help ({error}: {})", shorten(&message)),
            ),
        };
        Failure { code: code.to_owned(), message, service: None, transient: true }
    }
}

/// The first 300 characters, which is where runtimes put what matters.
fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}
