//! `MySQL` and `MariaDB`: SQL as the dump program of the server's own family writes it, compressed on all cores.
//!
//! `dump.rs` is how it goes, and `docs/mysql-dump.md` says what it can be relied on for; `restore.rs` and
//! `docs/mysql-restore.md` are the way back.

mod access;
mod dump;
mod failure;
mod frames;
mod grants;
mod greeting;
mod legs;
mod process;
mod programs;
mod questions;
mod restore;
mod rows;
pub(crate) mod verify;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_domain::{application::MysqlService, backup::Contents};
use tokio::sync::OnceCell;

pub use programs::{InvalidMysqlDirs, MysqlPrograms};
pub use restore::MysqlRestorer;

use crate::{
    engines::{
        Beside, Engine, EngineReport, Leg, LegEnd, row_counts,
        segments::{SegmentSender, SegmentWriter},
    },
    error::SliceError,
    ports::{Clock, DatabaseCredentials},
};
use access::Access;
use dump::Part;
use legs::{BATCH_BYTES, Ended, HaltedDump, Legs};
use questions::About;
use rows::RowCounts;

/// Dumps one database.
pub struct MysqlEngine {
    service: MysqlService,
    credentials: DatabaseCredentials,
    programs: MysqlPrograms,
    clock: Arc<dyn Clock>,
    prepared: OnceCell<Prepared>,
    /// What is dumped at a time where it can halt, in bytes of tables.
    batch_bytes: u64,
    /// What the last run has counted.
    counted: Mutex<Option<RowCounts>>,
}

/// What is known before the dump begins.
struct Prepared {
    access: Access,
    about: About,
}

impl MysqlEngine {
    /// An engine for `service`, which connects as `credentials` say and has not done so yet.
    pub fn new(
        service: MysqlService,
        credentials: DatabaseCredentials,
        programs: MysqlPrograms,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (prepared, counted) = (OnceCell::new(), Mutex::default());
        Self { service, credentials, programs, clock, prepared, batch_bytes: BATCH_BYTES, counted }
    }

    /// The same, which can halt after so many bytes of tables.
    #[must_use]
    pub fn with_batches(self, batch_bytes: u64) -> Self {
        Self { batch_bytes, ..self }
    }

    /// What to say of what was written at last.
    fn report(
        &self,
        Prepared { access, about }: &Prepared,
        counts: Option<RowCounts>,
        outside: Vec<String>,
        taken_at: DateTime<Utc>,
    ) -> EngineReport {
        if counts.is_none() {
            tracing::warn!(
                database = self.service.database,
                "the dump program has written rows in a way that is not understood: they are not counted"
            );
        }
        let (tables, rows) =
            (counts.as_ref().map(|counts| counts.0.len() as u64), counts.as_ref().map(RowCounts::rows));
        *self.counted() = counts;
        EngineReport {
            contents: Contents::MysqlSql {
                database: self.service.database.clone(),
                server_version: about.version.clone(),
                dump_version: access.programs.version.clone(),
                outside_snapshot_count: outside.len() as u64,
                outside_snapshot: outside.into_iter().take(Contents::OUTSIDE_SHOWN).collect(),
                tables,
                rows,
            },
            taken_at,
        }
    }

    fn counted(&self) -> MutexGuard<'_, Option<RowCounts>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn prepared(&self) -> Result<&Prepared, SliceError> {
        self.prepared
            .get_or_try_init(|| async {
                let greeting = greeting::ask(&self.service).await?;
                let pair = self.programs.of_family(&greeting).await?;
                let access = Access::new(self.service.clone(), &self.credentials, pair)?;
                let about = questions::about(&access).await?;
                grants::check(&self.service, &about.grants)?;
                Ok(Prepared { access, about })
            })
            .await
    }
}

#[async_trait]
impl Engine for MysqlEngine {
    fn content_type(&self) -> &'static str {
        "application/zstd"
    }

    /// Connects, finds the fitting programs, checks what the role may read, and estimates by the size of the tables on disk.
    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        Ok(Some(self.prepared().await?.about.bytes))
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let prepared = self.prepared().await?;
        let access = &prepared.access;
        let columns = questions::columns(access).await?;
        let taken_at = self.clock.now();
        let outside = questions::outside_snapshot(access).await?;
        let (whole, counts) = dump::to_segments(access, Part::All, SegmentWriter::new(out)).await?;
        // Nothing of the last part is sent before this is known.
        columns.check_unchanged(access, &questions::columns(access).await?)?;
        whole.finish().await?;
        if !outside.is_empty() {
            tracing::warn!(
                database = self.service.database,
                tables = outside.len(),
                first = outside[0],
                "tables without transactions are not of one moment with the others"
            );
        }
        Ok(self.report(prepared, counts, outside, taken_at))
    }

    /// Halts between tables, where the database stands still, as a copy does that nobody else uses, and is too large for one go.
    async fn run_leg(&self, out: SegmentSender, Leg { from, until }: Leg) -> Result<LegEnd, SliceError> {
        let prepared = self.prepared().await?;
        let access = &prepared.access;
        let tables = questions::tables(access).await?;
        let legs = tables.map(|tables| Legs { access, tables, batch_bytes: self.batch_bytes });
        let Some(legs) = legs.filter(|legs| from.is_some() || legs.are_worth_it()) else {
            return self.run(out).await.map(LegEnd::Ended);
        };
        let made_by = [prepared.about.version.clone(), access.programs.version.clone()];
        let standing = questions::standing(access).await?;
        let (dump, bytes) = if let Some(halt) = from {
            (HaltedDump::of(&halt, &made_by, &standing)?, halt.bytes)
        } else {
            let outside = questions::outside_snapshot(access).await?;
            (HaltedDump::begun(made_by, self.clock.now(), outside, standing), Bytes::new())
        };
        Ok(match legs.go_on(dump, bytes, until, out).await? {
            Ended::Halted(halt) => LegEnd::Halted(halt),
            Ended::Whole(HaltedDump { counts, outside, taken_at, .. }) => {
                LegEnd::Ended(self.report(prepared, counts, outside, taken_at))
            }
        })
    }

    /// The rows of each table: what a restored database is compared with.
    fn beside(&self) -> Option<Beside> {
        let bytes = self.counted().as_ref()?.to_lines();
        Some(Beside { file_name: row_counts::FILE_NAME, content_type: row_counts::CONTENT_TYPE, bytes })
    }
}
