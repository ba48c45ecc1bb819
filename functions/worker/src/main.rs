//! One slice of a job, or its abort: what the state machine calls the worker for.

use std::{sync::Arc, time::Duration};

use holdfast_aws::{
    clock,
    config::{ClientsConfig, DumpsConfig, IsolatedConfig, LogConfig, MediaConfig},
    memory, telemetry, wire,
};
use holdfast_backup::{
    abort,
    engines::{ClientEngines, restorer::EngineRestorers},
    error::SliceError,
    job::{Answer, Call},
    slice::{self, Worker},
};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};

/// What is left of an invocation for writing down how its slice ended.
const SPARE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start(&LogConfig::from_env()?);
    let ports = wire::ports_from_env().await?;
    let clients = ClientsConfig::from_env()?.clients;
    let worker = Worker {
        engines: Arc::new(ClientEngines::new(ports.clone(), clients.clone())),
        restorers: Arc::new(EngineRestorers::new(ports.clone(), clients.clone())),
        dumps_per_server: DumpsConfig::from_env()?.per_server,
        stretches: MediaConfig::from_env()?.stretches,
        placement: IsolatedConfig::from_env().placement,
        ports,
        clients,
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Call>| answer(&worker, event).await)).await
}

async fn answer(
    worker: &Worker,
    LambdaEvent { payload: call, context }: LambdaEvent<Call>,
) -> Result<Answer, Refusal> {
    let outcome = match &call {
        Call::Slice { job, range } => {
            let time = clock::time_left(worker.ports.clock.as_ref(), context.deadline, SPARE);
            Box::pin(slice::slice(worker, job, range.as_ref(), time)).await
        }
        Call::Abort { job, error } => abort::abort(worker, job, error).await,
    };
    tracing::info!(?call, ?outcome, peak_memory_bytes = memory::peak_bytes(), "called");
    outcome.map_err(Refusal)
}

/// A slice's error as Lambda reports it: its type decides whether the state machine tries again, and its message carries
/// the failure to the abort.
#[derive(Debug)]
struct Refusal(SliceError);

impl From<Refusal> for Diagnostic {
    fn from(Refusal(error): Refusal) -> Self {
        Self { error_type: error.lambda_type().to_owned(), error_message: error.lambda_message() }
    }
}
