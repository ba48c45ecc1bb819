//! The use cases of Holdfast, the ports they need, and the engines that read databases and media.
//!
//! Nothing here knows AWS: what is stored, read or started goes through [`ports`], which `shared/aws` implements
//! for the cloud and `shared/testing` in memory.

pub mod abort;
pub mod applications;
pub mod backups;
pub mod catalog;
pub mod discard;
pub mod engines;
pub mod error;
mod events;
pub mod explain;
pub mod files;
pub mod hold;
pub mod isolated;
pub mod job;
mod marks;
mod overdue;
pub mod plans;
pub mod ports;
mod read_ahead;
pub mod request;
pub mod restores;
mod restoring;
pub mod retain;
mod seat;
pub mod service;
pub mod share;
pub mod slice;
mod stored_reader;
mod sweep;
pub mod tick;
pub mod undelete;
pub mod upload;
pub mod verify;
