//! A restore of all of an archive, or of single tables of it.

use std::{path::Path, sync::Arc};

use holdfast_backup::{
    engines::postgres::{
        PostgresRestore, PreparedRestore, PreparedTables, RestorePlan, RestoreProgress, RestoreReport,
    },
    error::SliceError,
};

/// One that is planned.
pub(super) enum Prepared {
    Whole(Box<PreparedRestore>),
    Tables(Box<PreparedTables>),
}

impl Prepared {
    /// Plans a restore of the archive in `file`: of `tables`, or of all of it where there are none.
    pub(super) async fn of(
        restore: &PostgresRestore,
        file: &Path,
        tables: &[String],
    ) -> Result<Self, SliceError> {
        Ok(if tables.is_empty() {
            Self::Whole(Box::new(restore.prepare(file).await?))
        } else {
            Self::Tables(Box::new(restore.prepare_tables(file, tables).await?))
        })
    }

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

    /// Restores, unless `stop` resolves before it cannot be taken back any more.
    pub(super) async fn run(self, stop: impl Future<Output = ()>) -> Result<RestoreReport, SliceError> {
        match self {
            Self::Whole(prepared) => Box::pin(prepared.run(stop)).await,
            Self::Tables(prepared) => Box::pin(prepared.run(stop)).await,
        }
    }
}
