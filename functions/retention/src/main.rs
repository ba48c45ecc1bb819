//! Relabels and discards by policy: of one application at the end of its backup, of all of them every night.

use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use holdfast_aws::{
    clock,
    config::{EventsConfig, LogConfig},
    metrics::Metrics,
    telemetry, wire,
};
use holdfast_backup::{
    ports::Ports,
    retain::{self, RetentionSummary},
};
use holdfast_domain::id::ApplicationId;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::Value;

/// Who calls.
#[derive(Deserialize)]
#[serde(untagged)]
enum Call {
    /// The state machine, at the end of a backup.
    One { application: ApplicationId },
    /// The nightly schedule.
    All(#[expect(dead_code, reason = "only its shape matters")] Box<EventBridgeEvent<Value>>),
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(&LogConfig::from_env()?);
    let ports = wire::ports_from_env().await?;
    let metrics = Metrics::new(EventsConfig::from_env().stack);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Call>| {
        answer(&ports, &metrics, event.payload, event.context.deadline).await
    }))
    .await
}

/// What is left to end with what was begun.
const SPARE: Duration = Duration::from_mins(2);

/// Ends before `deadline`, in milliseconds since 1970.
async fn answer(
    ports: &Ports,
    metrics: &Metrics,
    call: Call,
    deadline: u64,
) -> Result<RetentionSummary, Error> {
    let summary = match call {
        Call::One { application } => retain::run(ports, &application).await?,
        Call::All(_) => {
            let time = clock::time_left(ports.clock.as_ref(), deadline, SPARE);
            let summary = retain::run_all_within(ports, time).await;
            let now = ports.clock.now();
            metrics.count("OverdueApplications", summary.overdue, None, now);
            metrics.count("LeftoversSwept", summary.swept, None, now);
            summary
        }
    };
    tracing::info!(?summary, "retention was run");
    // What could not be dealt with is logged by name; the error is for the alarm, and for trying again.
    if summary.failed > 0 {
        return Err(format!("{} backups or applications were left to the next run", summary.failed).into());
    }
    Ok(summary)
}
