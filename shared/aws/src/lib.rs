//! Adapters to AWS, the clock and the environment.
//!
//! [`wire::ports_from_env`] is what a function's main begins with. Everything else here implements a port of
//! `shared/backup`, or is the one place that reads the clock, the environment or the kernel's randomness.

pub mod clock;
pub mod config;
pub mod dynamodb;
pub mod entropy;
mod explain;
pub mod memory;
pub mod s3;
pub mod secrets;
pub mod sfn;
pub mod telemetry;
pub mod wire;
