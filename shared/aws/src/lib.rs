//! Adapters to AWS, the clock and the environment.
//!
//! [`wire::ports_from_env`] is what a function's main begins with. Everything else here implements a port of
//! `shared/backup`, or is the one place that reads the clock, the environment or the kernel's randomness. The command line
//! takes S3 and the feature `records`; the rest is the feature `stack`.

pub mod clock;
pub mod config;
#[cfg(feature = "records")]
pub mod dynamodb;
#[cfg(feature = "records")]
pub mod entropy;
#[cfg(feature = "stack")]
pub mod eventbridge;
mod explain;
pub mod memory;
#[cfg(feature = "stack")]
pub mod metrics;
#[cfg(feature = "stack")]
pub mod rds;
pub mod s3;
#[cfg(feature = "stack")]
pub mod secrets;
#[cfg(feature = "stack")]
pub mod sfn;
#[cfg(feature = "stack")]
pub mod telemetry;
pub mod wire;
