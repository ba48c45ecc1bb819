//! The use cases over in-memory ports: what happens, what is refused, and what is left when somebody dies in between.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod applications;
mod catalog;
mod divided;
mod events;
mod holds;
mod isolated;
mod killed;
mod overdue;
mod rehearsals;
mod requests;
mod restore_killed;
mod restore_requests;
mod restoring;
mod restoring_safety;
mod restoring_slices;
mod retention;
mod retention_chaos;
mod schedule;
mod seats;
mod shop;
mod sweep;
mod undelete;
mod verification;

use holdfast_testing::machine;
