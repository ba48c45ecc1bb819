//! Restores of custom-format archives into `PostgreSQL`, several sessions at a time and all or nothing.
//!
//! ```text
//!             ┌─ relay ◀──── pg_restore ◀──── table of contents
//! server ◀────┤     (schema, sequences, large objects, indexes)
//!             └─ row copies ◀──── pieces ◀──── blocks of the archive
//! ```
//!
//! What is to be done is planned first, in `plan.rs`. Then everything goes into a new database, which takes the place of the
//! one that is restored in one transaction (`place.rs`); until then that one is as it was. `docs/postgres-restore.md` says
//! what is checked.

mod archive;
mod control;
mod facts;
mod failure;
mod kind;
mod outline;
mod pieces;
mod place;
mod plan;
mod program;
mod progress;
mod roles;
mod row_counts;
mod rows;
mod settings;
mod survey;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_domain::application::PostgresService;
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet};

pub(super) use archive::assigned;
pub(super) use pieces::{END_OF_ROWS, lines};
pub use plan::{ArchiveSummary, Refusal, Replaced, RestoreOptions, RestorePlan};
pub(super) use row_counts::RowCounts;

pub use progress::{RestoreAdvance, RestorePhase, RestoreProgress};

use self::{
    archive::Archive,
    facts::Wants,
    place::{Old, Place},
    program::{Restorer, Section},
    rows::RowCopy,
    survey::Survey,
};
use super::{
    login::Upstream,
    sessions::{CancelOnDrop, Sessions},
    tools::ClientTools,
};
use crate::{engines::trust::Trust, error::SliceError, ports::DatabaseCredentials};

/// Restores one database.
pub struct PostgresRestore {
    service: PostgresService,
    credentials: DatabaseCredentials,
    tools: ClientTools,
    options: RestoreOptions,
}

/// A restore that is planned, and not begun.
pub struct PreparedRestore {
    /// What it is going to do.
    pub plan: RestorePlan,
    archive: Arc<Archive>,
    wants: Wants,
    survey: Survey,
    upstream: Arc<Upstream>,
    program: PathBuf,
    options: RestoreOptions,
    progress: Arc<RestoreProgress>,
}

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
        let archive = blocking(move || Archive::open(&path, checksum)).await??;
        let trust = Trust::of(&self.service.tls)?.map(Arc::new);
        let (service, credentials) = (self.service.clone(), self.credentials.clone());
        let upstream = Arc::new(Upstream { service, credentials, trust });
        let survey = survey::survey(&upstream, &self.service.database).await?;
        let program = self.tools.restorer_for(&survey.server).await?;
        let wants = Wants::of(&archive);
        let PostgresService { host, port, database, .. } = &self.service;
        let server = format!("{host}:{port}");
        let plan = plan::plan(&archive, &wants, &survey, (database, server), &self.options);
        let (archive, options) = (Arc::new(archive), self.options);
        Ok(PreparedRestore {
            plan,
            archive,
            wants,
            survey,
            upstream,
            program,
            options,
            progress: Arc::default(),
        })
    }
}

impl PreparedRestore {
    /// How far the restore has come, for as long as it runs.
    pub fn progress(&self) -> Arc<RestoreProgress> {
        self.progress.clone()
    }

    /// Restores. Ok means that the restored database is in its place, whole. After an error, or when `stop` resolves, which is
    /// [`SliceError::Cancelled`], the one that was there is as it was, and nothing else is left: no database, session, process
    /// or file. If something could not be removed, the error names it. Once the new database takes its place, `stop` is not
    /// heard any more. This future has to be waited for: dropped, it leaves the new database behind.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<RestoreReport, SliceError> {
        if let Some(refusal) = self.plan.refusals.first() {
            return Err(SliceError::permanent(refusal.code, format!("{}; {}", refusal.what, refusal.fix)));
        }
        let RestoreOptions { overwrite, keep_old, .. } = self.options;
        let (upstream, survey) = (self.upstream.clone(), self.survey.clone());
        let mut place = Place::choose(upstream, survey, &self.plan.database, keep_old).await?;
        let (stop_sender, stopped) = watch::channel(false);
        let filled = {
            let mut filling = std::pin::pin!(self.fill(&mut place, stopped));
            tokio::select! {
                filled = &mut filling => filled,
                () = stop => {
                    stop_sender.send_replace(true);
                    filling.await.and(Err(SliceError::Cancelled))
                }
            }
        };
        let outcome = match filled {
            Ok(()) => {
                self.progress.enter(RestorePhase::Swap);
                place.swap(overwrite, keep_old).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(old) => {
                place.leave().await;
                Ok(self.report(old))
            }
            Err(error) => {
                let name = place.name.clone();
                match place.clean_up().await {
                    Ok(()) => Err(error),
                    Err(left) => Err(with_left(error, &name, &left)),
                }
            }
        }
    }

    /// Makes the new database and everything in it. However it ends, nobody is on it any more, but for sessions that the
    /// server has not noticed to be gone.
    async fn fill(&self, place: &mut Place, mut stopped: Stopped) -> Result<(), SliceError> {
        unless(&mut stopped, place.make(self.wants.database_options.as_deref())).await?;
        let sessions = Arc::new(Sessions::at(self.upstream.clone(), place.peer()));
        let guard = CancelOnDrop::new(sessions.clone());
        let outcome = self.restore(&sessions, place.name.clone(), stopped).await;
        if outcome.is_err() {
            sessions.cancel().await;
        }
        guard.ended();
        outcome
    }

    async fn restore(
        &self,
        sessions: &Arc<Sessions>,
        database: String,
        mut stopped: Stopped,
    ) -> Result<(), SliceError> {
        let outline = temporary(&outline::outline(&self.archive.contents, &self.plan.leave_out))?;
        let restorer = Restorer {
            program: self.program.clone(),
            sessions: sessions.clone(),
            database: database.clone(),
            jobs: self.plan.jobs,
            stopped: stopped.clone(),
        };
        restorer.restore(Section::PreData, outline.path(), None).await?;
        self.progress.enter(RestorePhase::Rows);
        if !self.wants.others.is_empty() {
            let lines = self.listed().flat_map(|id| format!("{id};\n").into_bytes()).collect::<Vec<_>>();
            let list = temporary(&lines)?;
            restorer.restore(Section::Data, &self.archive.path, Some(list.path())).await?;
        }
        let copy = RowCopy::new(
            sessions.clone(),
            self.archive.clone(),
            database,
            &self.wants,
            self.progress.clone(),
        );
        let (copy, mut copying) = (Arc::new(copy), JoinSet::new());
        for number in 0..self.plan.jobs {
            copying.spawn(copy.clone().run(number == 0));
        }
        let copied = unless(&mut stopped, async {
            while let Some(ended) = copying.join_next().await {
                ended.map_err(|error| broke_down(&error))??;
            }
            Ok(())
        });
        let copied = copied.await;
        copying.shutdown().await;
        copied?;
        self.archive.unchanged()?;
        self.progress.enter(RestorePhase::Indexes);
        restorer.restore(Section::PostData, outline.path(), None).await
    }

    /// The entries that `pg_restore` is to see in the data section: all others, and those by which it knows what is where.
    fn listed(&self) -> impl Iterator<Item = i32> {
        let copied: std::collections::HashSet<i32> =
            self.wants.tables.iter().map(|table| table.dump_id).collect();
        self.archive.contents.entries.iter().map(|entry| entry.dump_id).filter(move |id| !copied.contains(id))
    }

    fn report(&self, old: Old) -> RestoreReport {
        let RestoreAdvance { tables, rows, .. } = self.progress.advance();
        let (old_database, old_not_dropped) = match old {
            Old::None | Old::Dropped => (None, None),
            Old::Kept(name, why) => (Some(name), why),
        };
        RestoreReport {
            database: self.plan.database.clone(),
            tables,
            rows,
            rows_compared: self.archive.row_counts.is_some(),
            old_database,
            old_not_dropped,
        }
    }
}

/// A file that only this user can read, and that is gone when nobody needs it any more.
fn temporary(bytes: &[u8]) -> Result<tempfile::NamedTempFile, SliceError> {
    let written = || -> io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix("holdfast-").tempfile()?;
        file.write_all(bytes)?;
        Ok(file)
    };
    written().map_err(|error| {
        let message = format!("the temporary folder cannot be written to: {error}; make room in it");
        SliceError::permanent("restore_refused", message)
    })
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
