//! A dump in legs: it halts before its invocation's time is over, and another one goes on.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::EngineReport;
use crate::error::SliceError;

/// How far an engine is to go at once.
#[derive(Debug, Clone)]
pub struct Leg {
    /// Where the leg before this one has halted; none for the first.
    pub from: Option<Halt>,
    /// When it is time to halt, at the next place where that can be done. Each leg comes further than the one before, however
    /// little time it has.
    pub until: Instant,
}

/// Where an engine has halted, for itself alone to understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Where it goes on, as JSON.
    pub state: String,
    /// Bytes of the artifact that have been read and are no whole segment yet, or are held back until its end.
    pub bytes: Bytes,
}

impl Halt {
    /// Where `state` is, with `bytes` of the artifact.
    pub(super) fn at(state: &impl Serialize, bytes: Bytes) -> Result<Self, SliceError> {
        let state = serde_json::to_string(state)
            .map_err(|error| SliceError::permanent("document_unwritable", error.to_string()))?;
        Ok(Self { state, bytes })
    }

    /// What was [halted at](Halt::at).
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, SliceError> {
        serde_json::from_str(&self.state).map_err(|error| {
            SliceError::permanent(
                "document_unreadable",
                format!("where the dump has halted is not understood ({error}); start a new backup"),
            )
        })
    }
}

/// How a leg has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegEnd {
    /// At the end of the artifact.
    Ended(EngineReport),
    /// On the way.
    Halted(Halt),
}

/// What is read in several invocations is one database only if it stands still.
pub(super) fn moved(what: &str) -> SliceError {
    SliceError::permanent(
        "copy_changed",
        format!(
            "the database was changed while it was dumped over several invocations ({what}), so that it would be of several \
             moments; stop what writes to the temporary copy too, such as jobs of pg_cron or events of MySQL, then start a new backup"
        ),
    )
}
