//! The tick: starts what is due, and looks after what is running. Once a minute, by the schedule of the template.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use holdfast_aws::{config::LogConfig, telemetry, wire};
use holdfast_backup::{
    ports::Ports,
    tick::{self, TickSummary},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start(&LogConfig::from_env()?);
    let ports = wire::ports_from_env().await?;
    lambda_runtime::run(service_fn(async |_: LambdaEvent<EventBridgeEvent<Value>>| answer(&ports).await))
        .await
}

/// What the event says does not matter: a tick goes by the records and the time it is now.
async fn answer(ports: &Ports) -> Result<TickSummary, Error> {
    let summary = tick::tick(ports).await?;
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
