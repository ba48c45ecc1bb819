//! Restores of custom-format archives into `PostgreSQL`, several sessions at a time and all or nothing.
//!
//! ```text
//!             ┌─ relay ◀──── pg_restore ◀──── table of contents
//! server ◀────┤     (schema, sequences, large objects, indexes)
//!             └─ row copies ◀──── pieces ◀──── blocks of the archive
//! ```
//!
//! What is to be done is planned first, in `plan.rs`. Then everything goes into a new database (`prepared.rs`), which takes the
//! place of the one that is restored in one transaction (`filled.rs`, `place.rs`); until then that one is as it was. The
//! archive is a file, or an object in the bucket of which only the ranges are read that are needed (`source.rs`).
//! A job's slices do it one after the other; how far it is stands in the new database (`slice.rs`, `ledger.rs`, `after_data.rs`).
//! Single tables go into the database that is there, in one transaction (`tables.rs`). `docs/postgres-restore.md` says what is
//! checked.

mod after_data;
mod archive;
mod control;
mod copier;
mod counted;
mod excerpt;
mod facts;
mod failure;
mod file;
mod filled;
mod indexes;
mod kind;
mod ledger;
mod left;
mod object;
mod outline;
mod pieces;
mod place;
mod plan;
mod prepared;
mod program;
mod progress;
mod roles;
mod row_counts;
mod rows;
mod settings;
mod slice;
mod source;
mod sums;
mod survey;
mod tables;
mod values;
mod work;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_domain::{application::PostgresService, backup::StoredObject};
use tokio::sync::watch;

pub(super) use archive::assigned;
pub(super) use counted::Counted;
pub(super) use filled::FilledRestore;
pub use filled::RestoreReport;
pub(super) use pieces::{END, lines};
pub use plan::{ArchiveSummary, Refusal, Replaced, RestoreOptions, RestorePlan};
pub use prepared::PreparedRestore;
pub use progress::{RestoreAdvance, RestorePhase, RestoreProgress};
pub(super) use row_counts::RowCounts;
pub(super) use slice::{Filling, Halt, PausedRestore, RestoreSlice};
pub(super) use tables::FilledTables;
pub use tables::PreparedTables;

use self::{archive::Archive, facts::Wants, left::Whose, object::ArchiveObject, survey::Survey};
use super::{login::Upstream, tools::ClientTools};
use crate::{
    engines::trust::Trust,
    error::SliceError,
    ports::{ArtifactStore, DatabaseCredentials},
};

/// Restores one database.
pub struct PostgresRestore {
    service: PostgresService,
    credentials: DatabaseCredentials,
    tools: ClientTools,
    options: RestoreOptions,
}

impl PostgresRestore {
    /// A restore into the database that `service` names, which need not be there.
    pub fn new(
        service: PostgresService,
        credentials: DatabaseCredentials,
        tools: ClientTools,
        options: RestoreOptions,
    ) -> Self {
        Self { service, credentials, tools, options }
    }

    /// Looks through the archive at `path`, asks the server, and plans. Changes nothing.
    pub async fn prepare(&self, path: &Path) -> Result<PreparedRestore, SliceError> {
        let (path, checksum) = (path.to_owned(), self.options.checksum);
        self.prepared(blocking(move || Archive::in_file(&path, checksum)).await??).await
    }

    /// The same, for single tables of it: `schema.table`, or `table` where there is only one of that name.
    pub async fn prepare_tables(&self, path: &Path, tables: &[String]) -> Result<PreparedTables, SliceError> {
        let (path, checksum) = (path.to_owned(), self.options.checksum);
        let archive = blocking(move || Archive::in_file(&path, checksum)).await??;
        self.prepared_tables(archive, tables).await
    }

    /// The same, for the archive that `object` of `store` is. Of it, only the table of contents is looked at before it is
    /// restored: where its blocks are must be written down there, as it is in every backup.
    pub async fn prepare_from(
        &self,
        store: Arc<dyn ArtifactStore>,
        object: StoredObject,
    ) -> Result<PreparedRestore, SliceError> {
        let object = ArchiveObject::new(store, object);
        self.prepared(blocking(move || Archive::in_bucket(object)).await??).await
    }

    /// The same, for single tables of it.
    pub async fn prepare_tables_from(
        &self,
        store: Arc<dyn ArtifactStore>,
        object: StoredObject,
        tables: &[String],
    ) -> Result<PreparedTables, SliceError> {
        let object = ArchiveObject::new(store, object);
        self.prepared_tables(blocking(move || Archive::in_bucket(object)).await??, tables).await
    }

    async fn prepared(&self, archive: Archive) -> Result<PreparedRestore, SliceError> {
        let (upstream, survey, program) = self.look().await?;
        let wants = Wants::of(&archive);
        let plan = plan::plan(&archive, &wants, &survey, &self.service, &self.options);
        let (archive, progress) = (Arc::new(archive), Arc::default());
        Ok(PreparedRestore {
            plan,
            archive,
            wants,
            survey,
            upstream,
            program,
            options: self.options,
            progress,
            sums: self.options.checksums.then(Arc::default),
        })
    }

    async fn prepared_tables(
        &self,
        archive: Archive,
        tables: &[String],
    ) -> Result<PreparedTables, SliceError> {
        let (upstream, survey, program) = self.look().await?;
        let wants = Wants::of(&archive);
        PreparedTables::plan(archive, wants, (upstream, &survey, program), tables, &self.options).await
    }

    /// Asks the server.
    async fn look(&self) -> Result<(Arc<Upstream>, Survey, PathBuf), SliceError> {
        let upstream = self.upstream()?;
        let survey = survey::survey(&upstream, &self.service.database).await?;
        let program = self.tools.restorer_for(&survey.server).await?;
        Ok((upstream, survey, program))
    }

    /// Drops what restores into this database have left that were killed. Waits for the server to notice that they are gone. What
    /// `restore` can go on with stays, and so does what another one over several slices has left that has paused.
    pub(super) async fn clean_up(&self, restore: &str) -> Result<(), SliceError> {
        left::clean_up(&self.upstream()?, &self.service.database, Whose::GoesOn(restore)).await
    }

    /// The same, where nobody goes on with `restore`.
    pub(super) async fn give_up(&self, restore: &str) -> Result<(), SliceError> {
        left::clean_up(&self.upstream()?, &self.service.database, Whose::GivenUp(restore)).await
    }

    fn upstream(&self) -> Result<Arc<Upstream>, SliceError> {
        let trust = Trust::of(&self.service.tls)?.map(Arc::new);
        let (service, credentials) = (self.service.clone(), self.credentials.clone());
        Ok(Arc::new(Upstream { service, credentials, trust }))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SliceError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| broke_down(&error))
}

fn broke_down(error: &tokio::task::JoinError) -> SliceError {
    SliceError::transient("restore_refused", format!("a part of the restore broke down: {error}"))
}

/// Whether somebody wants the restore to stop.
type Stopped = watch::Receiver<bool>;

/// Does `work`, unless somebody wants it to stop.
async fn unless<T>(
    stopped: &mut Stopped,
    work: impl Future<Output = Result<T, SliceError>>,
) -> Result<T, SliceError> {
    tokio::select! {
        biased;
        _ = stopped.wait_for(|stopped| *stopped) => Err(SliceError::Cancelled),
        outcome = work => outcome,
    }
}
