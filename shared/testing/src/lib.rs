//! In-memory fakes, fault injection, builders and the contract suites of the ports.
//!
//! [`World`] is where a test of a use case begins: [`Ports`](holdfast_backup::ports::Ports) over fakes, and a handle
//! on each fake. The suites in [`contract`] say what a port promises; the fakes and the adapters both pass them.

#![expect(clippy::unwrap_used, reason = "only tests run this code, and a panic is how a test fails")]

pub mod builders;
pub mod contract;
pub mod fakes;
pub mod faults;
pub mod machine;
pub mod simulation;
mod world;

pub use world::World;
