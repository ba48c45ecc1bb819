//! A restore that is whole, beside the database that it is to replace: it is put in its place, or given up.

use std::sync::Arc;

use serde::Serialize;

use super::{
    counted::Counted,
    place::{Old, Place},
    plan::RestoreOptions,
    prepared::PreparedRestore,
    progress::{RestoreAdvance, RestorePhase, RestoreProgress},
};
use crate::error::SliceError;

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The database.
    pub database: String,
    /// Tables whose rows were copied.
    pub tables: u64,
    /// Rows that were copied: as many as the archive has, and as the server says it took.
    pub rows: u64,
    /// Whether they were compared with what was written down when they were dumped.
    pub rows_compared: bool,
    /// What the replaced database is called now, if it is still there.
    pub old_database: Option<String>,
    /// Why it is still there, if it was to be dropped.
    pub old_not_dropped: Option<String>,
}

/// A new database that is whole, and not in its place.
pub(in crate::engines::postgres) struct FilledRestore {
    database: String,
    options: RestoreOptions,
    rows_compared: bool,
    progress: Arc<RestoreProgress>,
    place: Place,
    /// What was counted in it, of a rehearsal.
    counted: Option<Counted>,
}

impl FilledRestore {
    pub(super) fn new(prepared: PreparedRestore, place: Place, counted: Option<Counted>) -> Self {
        Self {
            database: prepared.plan.database,
            options: prepared.options,
            rows_compared: prepared.archive.row_counts.is_some(),
            progress: prepared.progress,
            place,
            counted,
        }
    }

    /// Drops a database that was only tried, and gives what was counted in it. What could not be dropped is an error that may
    /// pass: whoever begins again cleans up first.
    pub(in crate::engines::postgres) async fn discard(self) -> Result<Counted, SliceError> {
        let name = self.place.name.clone();
        let counted = self.counted.unwrap_or_default();
        match self.place.clean_up().await {
            Ok(()) => Ok(counted),
            Err(left) => {
                let message = format!(
                    "it was restored and compared, and the database {name:?} could not be dropped ({left}); drop it"
                );
                Err(SliceError::transient("database_left", message))
            }
        }
    }

    /// What the server knows the new database by, whatever its name is.
    pub(in crate::engines::postgres) fn oid(&self) -> &str {
        &self.place.oid
    }

    /// What is restored when it is in its place.
    pub(in crate::engines::postgres) fn report(&self) -> RestoreReport {
        let RestoreAdvance { tables, rows, .. } = self.progress.advance();
        RestoreReport {
            database: self.database.clone(),
            tables,
            rows,
            rows_compared: self.rows_compared,
            old_database: None,
            old_not_dropped: None,
        }
    }

    /// Puts the database in its place.
    pub(in crate::engines::postgres) async fn swap(mut self) -> Result<RestoreReport, SliceError> {
        self.progress.enter(RestorePhase::Swap);
        let report = self.report();
        match self.place.swap(self.options.overwrite, self.options.keep_old).await {
            Ok(old) => {
                self.place.leave().await;
                let (old_database, old_not_dropped) = match old {
                    Old::None | Old::Dropped => (None, None),
                    Old::Kept(name, why) => (Some(name), why),
                };
                Ok(RestoreReport { old_database, old_not_dropped, ..report })
            }
            Err(error) => Err(given_up(self.place, error).await),
        }
    }

    /// Drops the database, because of `error`; returns that, or what could not be dropped.
    pub(in crate::engines::postgres) async fn give_up(self, error: SliceError) -> SliceError {
        given_up(self.place, error).await
    }
}

/// Drops what is in `place`, because of `error`; returns that, and what could not be dropped.
pub(super) async fn given_up(place: Place, error: SliceError) -> SliceError {
    let name = place.name.clone();
    match place.clean_up().await {
        Ok(()) => error,
        Err(left) => with_left(error, &name, &left),
    }
}

fn with_left(error: SliceError, name: &str, left: &SliceError) -> SliceError {
    let SliceError::Failed(mut failure) = error else {
        let message =
            format!("interrupted, and the database {name:?} could not be dropped ({left}); drop it");
        return SliceError::permanent("database_left", message);
    };
    failure.message =
        format!("{}; the database {name:?} could not be dropped ({left}): drop it", failure.message);
    SliceError::Failed(failure)
}
