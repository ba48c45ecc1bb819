use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::job::{Caught, Job};

/// Executions of the state machine, one for each job.
#[async_trait]
pub trait Executions: Send + Sync {
    /// Starts the job's execution. One that was started before is left alone, and that is a success.
    async fn start(&self, job: &Job) -> Result<(), ExecutionsError>;

    /// Starts an execution that only aborts the job, because of `reason`: for a job whose own execution ended without
    /// bringing its record to an end. Its name is [`Job::abort_name`]; one that was started before is left alone, so that
    /// an abort which fails for good is tried again in the next hour.
    async fn start_abort(
        &self,
        job: &Job,
        reason: &Caught,
        now: DateTime<Utc>,
    ) -> Result<(), ExecutionsError>;

    /// Where the job's execution is.
    async fn status(&self, job: &Job) -> Result<ExecutionStatus, ExecutionsError>;
}

/// Where an execution is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// There is none of that name.
    Missing,
    /// It is running.
    Running,
    /// It ended, however it ended; with the error it ended with, where there was one.
    Ended(Option<Caught>),
}

/// The state machine could not be reached.
#[derive(Debug, thiserror::Error)]
#[error("the state machine could not be reached: {0}")]
pub struct ExecutionsError(pub String);
