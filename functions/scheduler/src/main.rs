//! The tick: starts what is due, and looks after what is running. Once a minute, by the schedule of the template.

use std::time::Duration;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use holdfast_aws::{clock, config::LogConfig, telemetry, wire};
use holdfast_backup::{
    ports::Ports,
    tick::{self, TickSummary},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// What is left of an invocation for what was begun: calls that are tried again take some seconds.
const SPARE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(&LogConfig::from_env()?);
    let ports = wire::ports_from_env().await?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<EventBridgeEvent<Value>>| {
        answer(&ports, event.context.deadline).await
    }))
    .await
}

/// What the event says does not matter: a tick goes by the records and the time it is now, and ends before `deadline`, in
/// milliseconds since 1970.
async fn answer(ports: &Ports, deadline: u64) -> Result<TickSummary, Error> {
    let time = clock::time_left(ports.clock.as_ref(), deadline, SPARE);
    let summary = tick::tick_within(ports, time).await?;
    tracing::info!(?summary, "ticked");
    // What could not be looked at is logged by name; the error is for the alarm.
    if summary.failed > 0 {
        return Err(format!(
            "{} applications or backups could not be looked at; the next tick tries again",
            summary.failed
        )
        .into());
    }
    Ok(summary)
}
