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
mod process;
mod programs;
mod questions;
mod restore;
mod rows;
pub(crate) mod verify;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use holdfast_domain::{application::MysqlService, backup::Contents};
use tokio::sync::OnceCell;

pub use programs::{InvalidMysqlDirs, MysqlPrograms};
pub use restore::MysqlRestorer;

use crate::{
    engines::{Beside, Engine, EngineReport, row_counts, segments::SegmentSender},
    error::SliceError,
    ports::{Clock, DatabaseCredentials},
};
use access::Access;
use questions::About;
use rows::RowCounts;

/// Dumps one database.
pub struct MysqlEngine {
    service: MysqlService,
    credentials: DatabaseCredentials,
    programs: MysqlPrograms,
    clock: Arc<dyn Clock>,
    prepared: OnceCell<Prepared>,
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
        Self { service, credentials, programs, clock, prepared: OnceCell::new(), counted: Mutex::default() }
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
        let Prepared { access, about } = self.prepared().await?;
        let columns = questions::columns(access).await?;
        let taken_at = self.clock.now();
        let outside = questions::outside_snapshot(access).await?;
        let (whole, counts) = dump::to_segments(access, out).await?;
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
        if counts.is_none() {
            tracing::warn!(
                database = self.service.database,
                "the dump program has written rows in a way that is not understood: they are not counted"
            );
        }
        let (tables, rows) =
            (counts.as_ref().map(|counts| counts.0.len() as u64), counts.as_ref().map(RowCounts::rows));
        *self.counted() = counts;
        Ok(EngineReport {
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
        })
    }

    /// The rows of each table: what a restored database is compared with.
    fn beside(&self) -> Option<Beside> {
        let bytes = self.counted().as_ref()?.to_lines();
        Some(Beside { file_name: row_counts::FILE_NAME, content_type: row_counts::CONTENT_TYPE, bytes })
    }
}
