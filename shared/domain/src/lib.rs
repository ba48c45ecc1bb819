//! What Holdfast knows: applications, plans, schedules, backups and retention.
//!
//! Everything here is pure: no I/O, no clock, no environment. Functions take the moment they work at as an
//! argument and return what should happen; callers make it happen.

pub mod application;
pub mod audit;
pub mod backup;
pub mod cost;
pub mod document;
pub mod event;
pub mod id;
pub mod invalid;
pub mod mark;
pub mod plan;
pub mod readme;
pub mod region;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod seats;
