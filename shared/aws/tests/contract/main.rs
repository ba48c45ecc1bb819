//! The adapters keep what the ports promise, on an emulated AWS that each run starts and ends by itself.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod dynamodb;
mod emulator;
mod faulty_s3;
mod rds;
mod s3_artifacts;
mod s3_asked;
mod s3_faults;
mod s3_media;
mod s3_media_target;
mod secrets;
mod step_functions;
