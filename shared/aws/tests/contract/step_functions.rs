use std::time::Duration;

use aws_sdk_sfn::Client;
use chrono::{TimeDelta, TimeZone, Utc};
use holdfast_aws::sfn::StateMachine;
use holdfast_backup::{
    job::{Caught, Job},
    ports::{ExecutionStatus, Executions},
};
use holdfast_testing::builders;

use crate::emulator;

/// Waits until it is stopped.
const WAITS: &str = r#"{"StartAt":"Wait","States":{"Wait":{"Type":"Wait","Seconds":3600,"End":true}}}"#;

fn job() -> Job {
    Job::Backup {
        application: builders::slug("shop"),
        id: "0195d9a2-0000-7000-8000-000000000000".parse().unwrap(),
    }
}

async fn state_machine() -> (Client, String) {
    let client = Client::new(&emulator::sdk().await);
    let role = "arn:aws:iam::000000000000:role/jobs";
    let name = emulator::unique("jobs");
    let made =
        client.create_state_machine().name(name).definition(WAITS).role_arn(role).send().await.unwrap();
    (client, made.state_machine_arn)
}

/// A job has one execution, named after it, however often it is started, and even when it has ended.
#[tokio::test]
async fn starting_a_job_twice_is_harmless() {
    let (client, arn) = state_machine().await;
    let executions = StateMachine::new(client.clone(), Some(arn.clone()));
    assert_eq!(executions.status(&job()).await.unwrap(), ExecutionStatus::Missing);
    for _ in 0..2 {
        Executions::start(&executions, &job()).await.unwrap();
        assert_eq!(executions.status(&job()).await.unwrap(), ExecutionStatus::Running);
    }
    let listed = client.list_executions().state_machine_arn(&arn).send().await.unwrap().executions;
    assert_eq!(
        listed.iter().map(|execution| execution.name.as_str()).collect::<Vec<_>>(),
        [job().execution_name()]
    );
    client.stop_execution().execution_arn(&listed[0].execution_arn).send().await.unwrap();
    while executions.status(&job()).await.unwrap() == ExecutionStatus::Running {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(matches!(executions.status(&job()).await.unwrap(), ExecutionStatus::Ended(_)));
    Executions::start(&executions, &job()).await.unwrap();
    assert_eq!(client.list_executions().state_machine_arn(&arn).send().await.unwrap().executions.len(), 1);
}

/// An abort is an execution of its own, and carries its reason.
#[tokio::test]
async fn an_abort_is_an_execution_of_its_own() {
    let (client, arn) = state_machine().await;
    let executions = StateMachine::new(client.clone(), Some(arn.clone()));
    let reason = Caught { error: "States.Timeout".to_owned(), cause: "it stopped moving".to_owned() };
    let now = Utc.with_ymd_and_hms(2026, 11, 24, 9, 59, 59).unwrap();
    for _ in 0..2 {
        executions.start_abort(&job(), &reason, now).await.unwrap();
    }
    let listed = client.list_executions().state_machine_arn(&arn).send().await.unwrap().executions;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, format!("{}-abort-20261124T09", job().execution_name()));
    let execution = client.describe_execution().execution_arn(&listed[0].execution_arn).send().await.unwrap();
    assert!(execution.input.unwrap().contains("it stopped moving"));
    assert_eq!(executions.status(&job()).await.unwrap(), ExecutionStatus::Missing);
    executions.start_abort(&job(), &reason, now + TimeDelta::seconds(1)).await.unwrap();
    let listed = client.list_executions().state_machine_arn(&arn).send().await.unwrap().executions;
    assert_eq!(listed.len(), 2, "tried again in the next hour");
}

/// A function that starts no jobs says so.
#[tokio::test]
async fn without_a_state_machine_nothing_starts() {
    let executions = StateMachine::new(Client::new(&emulator::sdk().await), None);
    let error = Executions::start(&executions, &job()).await.unwrap_err();
    assert!(error.to_string().contains("HOLDFAST_STATE_MACHINE_ARN"));
}
