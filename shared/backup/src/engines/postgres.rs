//! `PostgreSQL`: the stock `pg_dump -Fc` of the server's own major version, its output straight into segments.

mod connect;
mod dump;
mod failure;
mod inherited_file;
mod tools;
mod trust;

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_domain::{application::PostgresService, backup::Contents};
use tokio::sync::OnceCell;

pub use tools::{ClientTools, InvalidClientDirs, PgDump};

use crate::{
    engines::{Engine, EngineReport, segments::SegmentSender},
    error::SliceError,
    ports::{Clock, DatabaseCredentials},
};
use connect::Server;
use trust::Trust;

/// Dumps one database.
pub struct PostgresEngine {
    service: PostgresService,
    credentials: DatabaseCredentials,
    tools: ClientTools,
    clock: Arc<dyn Clock>,
    prepared: OnceCell<Prepared>,
}

/// What is known before the dump begins.
struct Prepared {
    server: Server,
    pg_dump: PgDump,
    trust: Option<Trust>,
}

impl PostgresEngine {
    /// An engine for `service`, which connects as `credentials` say and has not done so yet.
    pub fn new(
        service: PostgresService,
        credentials: DatabaseCredentials,
        tools: ClientTools,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { service, credentials, tools, clock, prepared: OnceCell::new() }
    }

    async fn prepared(&self) -> Result<&Prepared, SliceError> {
        self.prepared
            .get_or_try_init(|| async {
                let trust = Trust::of(&self.service.tls)?;
                let server = connect::ask(&self.service, &self.credentials, trust.as_ref()).await?;
                let pg_dump = self.tools.for_server(&server).await?;
                Ok(Prepared { server, pg_dump, trust })
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
        dump::run(&self.service, &self.credentials, &prepared.pg_dump, prepared.trust.as_ref(), out).await?;
        Ok(EngineReport {
            contents: Contents::PostgresCustom {
                database: self.service.database.clone(),
                server_version: prepared.server.version(),
                pg_dump_version: prepared.pg_dump.version.clone(),
            },
            taken_at,
        })
    }
}
