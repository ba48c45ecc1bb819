//! The HTTP API over the in-memory fakes: what each call answers, to the letter.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod applications;
mod artifacts;
mod backups;
mod bodies;
mod client;
mod contract;
mod events;
mod files;
mod holds;
mod plans;
mod refusals;
mod restores;
mod retention;
mod schema;
