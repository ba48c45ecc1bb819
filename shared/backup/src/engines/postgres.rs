//! `PostgreSQL`: one archive in `pg_dump`'s custom format, read over several sessions and compressed on all cores.
//!
//! The stock `pg_dump` of the server's own major version decides what is in it; see `dump.rs` for how it goes, and
//! `docs/postgres-dump.md` for why it is right.

mod assembly;
mod compression;
mod connect;
mod dump;
mod failure;
#[cfg(test)]
mod fake_server;
mod halt;
mod login;
mod outline;
mod process;
mod progress;
mod ranges;
mod readers;
mod relay;
mod restore;
mod restorer;
#[cfg(test)]
mod sample;
mod session;
mod sessions;
mod statement;
mod tools;
mod unit;
pub(crate) mod verify;
mod view;
mod window;
mod wire;
mod written;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::PostgresService,
    backup::{Contents, StoredObject},
};
use tokio::{sync::OnceCell, time::Instant};

pub use compression::{DumpCompression, InvalidCompression};
pub use progress::{DumpAdvance, DumpProgress};
pub use restore::{
    ArchiveSummary, PostgresRestore, PreparedRestore, PreparedTables, Refusal, Replaced, RestoreAdvance,
    RestoreOptions, RestorePhase, RestorePlan, RestoreProgress, RestoreReport,
};
pub use restorer::PostgresRestorer;
pub use tools::{ClientTools, InvalidClientDirs, PgDump};

use crate::{
    engines::{
        Beside, Engine, EngineReport, Halt, Leg, LegEnd, moved, row_counts, segments::SegmentSender,
        trust::Trust,
    },
    error::SliceError,
    ports::{ArtifactStore, Clock, DatabaseCredentials},
};
use compression::Chosen;
use connect::Server;
use dump::{Dumped, Run};
use halt::{HaltedArchive, HaltedDump, MadeBy};
use login::Upstream;
use written::Written;

/// How long a server takes to count what a session has written that has ended, at most: half a second, before version 15.
const STATISTICS_AFTER: Duration = Duration::from_secs(1);

/// How a database is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpOptions {
    /// How many sessions read rows, beside the one that holds the snapshot.
    pub jobs: NonZeroUsize,
    /// How rows are compressed.
    pub compression: DumpCompression,
    /// Whether the rows of each table are stored beside the dump.
    pub row_counts: bool,
}

impl Default for DumpOptions {
    /// Four sessions: a server that is elsewhere gives each of them some 50 MB/s.
    fn default() -> Self {
        const JOBS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
        Self { jobs: JOBS, compression: DumpCompression::Auto, row_counts: true }
    }
}

/// Dumps one database.
pub struct PostgresEngine {
    service: PostgresService,
    credentials: DatabaseCredentials,
    tools: ClientTools,
    clock: Arc<dyn Clock>,
    options: DumpOptions,
    progress: Arc<DumpProgress>,
    prepared: OnceCell<Prepared>,
    /// What the last run has written.
    written: Mutex<Option<Arc<Written>>>,
}

/// What is known before the dump begins.
struct Prepared {
    server: Server,
    pg_dump: PgDump,
    compression: Chosen,
    upstream: Arc<Upstream>,
}

impl PostgresEngine {
    /// An engine for `service`, which connects as `credentials` say and has not done so yet.
    pub fn new(
        service: PostgresService,
        credentials: DatabaseCredentials,
        tools: ClientTools,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (options, progress) = (DumpOptions::default(), Arc::default());
        let prepared = OnceCell::new();
        Self { service, credentials, tools, clock, options, progress, prepared, written: Mutex::default() }
    }

    /// The same, dumping as `options` say.
    #[must_use]
    pub fn with_options(self, options: DumpOptions) -> Self {
        Self { options, ..self }
    }

    /// How far the dump has come, for as long as it runs.
    pub fn progress(&self) -> Arc<DumpProgress> {
        self.progress.clone()
    }

    /// A dump, or a leg of it.
    fn dump<'a>(
        &self,
        prepared: &'a Prepared,
        from: Option<(HaltedArchive, Bytes)>,
        until: Option<Instant>,
    ) -> Run<'a> {
        Run {
            upstream: prepared.upstream.clone(),
            program: &prepared.pg_dump,
            major: prepared.server.major(),
            compression: prepared.compression.clone(),
            sessions: self.options.jobs.get(),
            progress: self.progress.clone(),
            from,
            until,
        }
    }

    /// What to say of what was written at last.
    fn report(&self, prepared: &Prepared, written: Written, taken_at: DateTime<Utc>) -> EngineReport {
        let (tables, rows) = (Some(written.tables.len() as u64), Some(written.rows()));
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(written));
        EngineReport {
            contents: Contents::PostgresCustom {
                database: self.service.database.clone(),
                server_version: prepared.server.version(),
                pg_dump_version: prepared.pg_dump.version.clone(),
                tables,
                rows,
            },
            taken_at,
        }
    }

    fn written(&self) -> Option<Arc<Written>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn prepared(&self) -> Result<&Prepared, SliceError> {
        self.prepared
            .get_or_try_init(|| async {
                let trust = Trust::of(&self.service.tls)?.map(Arc::new);
                let upstream = Arc::new(Upstream {
                    service: self.service.clone(),
                    credentials: self.credentials.clone(),
                    trust,
                });
                let server = connect::ask(&upstream).await?;
                let pg_dump = self.tools.for_server(&server).await?;
                let compression = self.options.compression.choose(&pg_dump, server.major())?;
                Ok(Prepared { server, pg_dump, compression, upstream })
            })
            .await
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }

    /// Connects, finds the fitting `pg_dump`, and estimates by the size of the database on disk.
    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        Ok(Some(self.prepared().await?.server.database_bytes))
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let prepared = self.prepared().await?;
        let taken_at = self.clock.now();
        match self.dump(prepared, None, None).to_segments(out).await? {
            Dumped::Whole(written) => Ok(self.report(prepared, written, taken_at)),
            // Only a leg is told when to halt.
            Dumped::Halted(..) => Err(SliceError::permanent("dump_failed", "the dump has halted unasked")),
        }
    }

    /// Goes on with the archive as long as the database stands still, as a copy of it does that nobody else uses. A range of rows
    /// is read to its end.
    async fn run_leg(&self, out: SegmentSender, Leg { from, until }: Leg) -> Result<LegEnd, SliceError> {
        let prepared = self.prepared().await?;
        let made_by = MadeBy {
            pg_dump: prepared.pg_dump.version.clone(),
            server: prepared.server.version_number,
            compression: prepared.compression.option.clone(),
        };
        let standing = connect::standing(&prepared.upstream).await?;
        let before = from.as_ref().map(Halt::read::<HaltedDump>).transpose()?;
        if let Some(before) = &before {
            before.check(&made_by, &standing)?;
        }
        let taken_at = before.as_ref().map_or_else(|| self.clock.now(), |before| before.taken_at);
        let goes_on = before.is_some();
        let from = before.zip(from).map(|(before, from)| (before.archive, from.bytes));
        match self.dump(prepared, from, Some(until)).to_segments(out).await? {
            Dumped::Halted(archive, bytes) => {
                let halted = HaltedDump { made_by, taken_at, standing, archive: *archive };
                Ok(LegEnd::Halted(Halt::at(&halted, bytes)?))
            }
            Dumped::Whole(written) => {
                if goes_on {
                    tokio::time::sleep(STATISTICS_AFTER).await;
                    if connect::standing(&prepared.upstream).await? != standing {
                        return Err(moved("rows were written, or tables were rewritten"));
                    }
                }
                Ok(LegEnd::Ended(self.report(prepared, written, taken_at)))
            }
        }
    }

    /// The table of contents, by which everything else is found.
    async fn read_back(&self, store: &dyn ArtifactStore, object: &StoredObject) -> Result<(), SliceError> {
        match self.written() {
            Some(written) => written.compare(store, object).await,
            None => Ok(()),
        }
    }

    /// The rows of each table: what a restored database is compared with.
    fn beside(&self) -> Option<Beside> {
        let bytes = self.written().filter(|_| self.options.row_counts)?.row_counts();
        Some(Beside { file_name: row_counts::FILE_NAME, content_type: row_counts::CONTENT_TYPE, bytes })
    }
}
