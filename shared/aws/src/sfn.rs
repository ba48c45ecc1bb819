//! Step Functions.

use async_trait::async_trait;
use aws_sdk_sfn::{
    Client,
    operation::{describe_execution::DescribeExecutionError, start_execution::StartExecutionError},
    types::ExecutionStatus as Found,
};
use chrono::{DateTime, Utc};
use holdfast_backup::{
    job::{Caught, Job},
    ports::{ExecutionStatus, Executions, ExecutionsError},
};
use serde::Serialize;

use crate::explain::explain;

/// The state machine that drives jobs.
pub struct StateMachine {
    client: Client,
    arn: Option<String>,
}

/// The input of an execution, as `statemachines/job.asl.json` reads it.
#[derive(Serialize)]
struct Input<'a> {
    job: &'a Job,
    /// Present when all there is to do is to abort.
    #[serde(skip_serializing_if = "Option::is_none")]
    abort: Option<&'a Caught>,
}

impl StateMachine {
    /// An adapter over `client`; without an `arn`, for a function that neither starts nor watches jobs, every call fails.
    pub fn new(client: Client, arn: Option<String>) -> Self {
        Self { client, arn }
    }

    async fn start(&self, name: String, input: &Input<'_>) -> Result<(), ExecutionsError> {
        let input = serde_json::to_string(input).map_err(|error| ExecutionsError(error.to_string()))?;
        let started =
            self.client.start_execution().state_machine_arn(self.arn()?).name(name).input(input).send().await;
        match started {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(StartExecutionError::is_execution_already_exists) =>
            {
                Ok(())
            }
            Err(error) => Err(ExecutionsError(explain("StartExecution", &error))),
        }
    }

    fn arn(&self) -> Result<&str, ExecutionsError> {
        let missing =
            || ExecutionsError("HOLDFAST_STATE_MACHINE_ARN is not set for this function".to_owned());
        self.arn.as_deref().ok_or_else(missing)
    }
}

#[async_trait]
impl Executions for StateMachine {
    async fn start(&self, job: &Job) -> Result<(), ExecutionsError> {
        self.start(job.execution_name(), &Input { job, abort: None }).await
    }

    async fn start_abort(
        &self,
        job: &Job,
        reason: &Caught,
        now: DateTime<Utc>,
    ) -> Result<(), ExecutionsError> {
        self.start(job.abort_name(now), &Input { job, abort: Some(reason) }).await
    }

    async fn status(&self, job: &Job) -> Result<ExecutionStatus, ExecutionsError> {
        let arn = execution_arn(self.arn()?, &job.execution_name());
        match self.client.describe_execution().execution_arn(arn).send().await {
            Ok(execution) => Ok(match execution.status() {
                Found::Running | Found::PendingRedrive => ExecutionStatus::Running,
                _ => ExecutionStatus::Ended(
                    execution.error.map(|error| Caught { error, cause: execution.cause.unwrap_or_default() }),
                ),
            }),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeExecutionError::is_execution_does_not_exist) =>
            {
                Ok(ExecutionStatus::Missing)
            }
            Err(error) => Err(ExecutionsError(explain("DescribeExecution", &error))),
        }
    }
}

/// `arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME`, of `arn:aws:states:REGION:ACCOUNT:stateMachine:MACHINE`.
fn execution_arn(state_machine: &str, name: &str) -> String {
    format!("{}:{name}", state_machine.replacen(":stateMachine:", ":execution:", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_is_named_after_its_machine_and_job() {
        assert_eq!(
            execution_arn("arn:aws:states:eu-central-1:123456789012:stateMachine:jobs", "an-id"),
            "arn:aws:states:eu-central-1:123456789012:execution:jobs:an-id"
        );
    }

    #[test]
    fn the_input_is_what_the_state_machine_reads() {
        let job = Job::Backup {
            application: "shop".parse().unwrap(),
            id: "0195d9a2-0000-7000-8000-000000000000".parse().unwrap(),
        };
        let started = serde_json::to_value(Input { job: &job, abort: None }).unwrap();
        let expected =
            r#"{"job":{"kind":"backup","application":"shop","id":"0195d9a2-0000-7000-8000-000000000000"}}"#;
        assert_eq!(
            started.to_string(),
            serde_json::from_str::<serde_json::Value>(expected).unwrap().to_string()
        );
        let reason = Caught { error: "States.Timeout".to_owned(), cause: "x".to_owned() };
        let aborted = serde_json::to_value(Input { job: &job, abort: Some(&reason) }).unwrap();
        assert_eq!(aborted["abort"]["Error"], "States.Timeout");
        assert_eq!(aborted["abort"]["Cause"], "x");
    }
}
