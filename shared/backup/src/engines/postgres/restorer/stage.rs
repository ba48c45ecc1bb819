//! A restore of all of an archive, or of single tables of it: planned, then ready for what cannot be taken back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    engines::postgres::restore::{
        Counted, FilledRestore, FilledTables, Filling, Halt, PausedRestore, PreparedRestore, PreparedTables,
        RestorePlan, RestoreProgress, RestoreReport, RestoreSlice,
    },
    error::SliceError,
};

/// A restore that is planned.
pub(super) enum Prepared {
    Whole(Box<PreparedRestore>),
    Tables(Box<PreparedTables>),
}

/// A restore that is ready to be seen by everybody.
pub(super) enum Filled {
    Whole(Box<FilledRestore>),
    Tables(Box<FilledTables>),
}

/// How far a slice came.
pub(super) enum Stage {
    Filled(Filled),
    Paused(Box<PausedRestore>),
}

/// What is about to be done that cannot be taken back, as the server knows it: whether it was done can be asked later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LastStep {
    /// The database with this OID is put in its place.
    Swap(String),
    /// The transaction with this id is committed.
    Commit(String),
}

impl Prepared {
    pub(super) fn plan(&self) -> &RestorePlan {
        match self {
            Self::Whole(prepared) => &prepared.plan,
            Self::Tables(prepared) => &prepared.plan,
        }
    }

    pub(super) fn progress(&self) -> Arc<RestoreProgress> {
        match self {
            Self::Whole(prepared) => prepared.progress(),
            Self::Tables(prepared) => prepared.progress(),
        }
    }

    /// Whether an earlier restore came to its end with `last`.
    pub(super) async fn has_done(&self, last: &LastStep) -> Result<bool, SliceError> {
        match (self, last) {
            (Self::Whole(prepared), LastStep::Swap(oid)) => Ok(prepared.target_oid() == Some(oid)),
            (Self::Tables(prepared), LastStep::Commit(transaction)) => {
                prepared.has_committed(transaction).await
            }
            _ => Ok(false),
        }
    }

    /// Restores as much as `slice` comes to; single tables all at once.
    pub(super) async fn fill(
        self,
        slice: RestoreSlice,
        halt: impl Future<Output = Halt> + Send,
    ) -> Result<Stage, SliceError> {
        match self {
            Self::Whole(prepared) => Ok(match prepared.fill_slice(slice, halt).await? {
                Filling::Whole(filled) => Stage::Filled(Filled::Whole(filled)),
                Filling::Paused(paused) => Stage::Paused(paused),
            }),
            Self::Tables(prepared) => {
                let stop = async {
                    halt.await;
                };
                prepared.fill(stop).await.map(Box::new).map(Filled::Tables).map(Stage::Filled)
            }
        }
    }
}

impl Filled {
    pub(super) fn last_step(&self) -> LastStep {
        match self {
            Self::Whole(filled) => LastStep::Swap(filled.oid().to_owned()),
            Self::Tables(filled) => LastStep::Commit(filled.transaction().to_owned()),
        }
    }

    /// What is restored when the last step is done.
    pub(super) fn report(&self) -> RestoreReport {
        match self {
            Self::Whole(filled) => filled.report(),
            Self::Tables(filled) => filled.report().clone(),
        }
    }

    pub(super) async fn finish(self) -> Result<RestoreReport, SliceError> {
        match self {
            Self::Whole(filled) => filled.swap().await,
            Self::Tables(filled) => filled.commit().await,
        }
    }

    /// Removes what was only tried, and gives what was counted in it.
    pub(super) async fn discard(self) -> Result<Counted, SliceError> {
        match self {
            Self::Whole(filled) => filled.discard().await,
            // Nobody tries single tables.
            Self::Tables(filled) => Err(filled.give_up(SliceError::Cancelled).await),
        }
    }

    /// Takes it back, because of `error`; returns that.
    pub(super) async fn give_up(self, error: SliceError) -> SliceError {
        match self {
            Self::Whole(filled) => filled.give_up(error).await,
            Self::Tables(filled) => filled.give_up(error).await,
        }
    }
}
