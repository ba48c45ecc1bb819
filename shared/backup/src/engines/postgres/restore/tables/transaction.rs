//! The transaction in which tables are restored.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{PreparedTables, absent, choice::made_of, script::script};
use crate::{
    engines::postgres::{
        login::{Session, Upstream},
        restore::{
            control::{Control, literal},
            copier::Copier,
            filled::RestoreReport,
            outline::outlined,
            progress::{RestoreAdvance, RestorePhase},
        },
        session::StatementError,
        sessions::{CancelOnDrop, Sessions},
        wire::message,
    },
    error::SliceError,
};

/// Rows are committed where others work, and are to be there whatever happens to the server after that.
const BEGIN: &[u8] = b"BEGIN; SET LOCAL synchronous_commit = on";

/// How long others may keep the tables for themselves. Whoever comes later has to wait behind this.
const LOCK_TIMEOUT: &str = "60s";

/// How often it is asked what became of a transaction, and how long is waited between.
const ASK_TRIES: u32 = 30;
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Tables that are restored, and not committed.
pub(in crate::engines::postgres) struct FilledTables {
    upstream: Arc<Upstream>,
    sessions: Arc<Sessions>,
    session: Session,
    copier: Copier,
    transaction: String,
    report: RestoreReport,
}

impl PreparedTables {
    /// Restores. Ok means that all of the tables are as in the archive, and that it is committed. After an error, or when
    /// `stop` resolves, which is [`SliceError::Cancelled`], everything is as it was.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<RestoreReport, SliceError> {
        self.fill(stop).await?.commit().await
    }

    /// The same, as far as it can be taken back.
    pub(in crate::engines::postgres) async fn fill(
        self,
        stop: impl Future<Output = ()>,
    ) -> Result<FilledTables, SliceError> {
        if let Some(refusal) = self.plan.refusals.first() {
            return Err(SliceError::permanent(refusal.code, format!("{}; {}", refusal.what, refusal.fix)));
        }
        let sessions = Arc::new(Sessions::new(self.upstream.clone()));
        let guard = CancelOnDrop::new(sessions.clone());
        let database = self.upstream.service.database.clone();
        let copier =
            Copier::new(sessions.clone(), self.archive.clone(), database, &self.wants, self.progress.clone());
        let mut session = copier.begin().await?;
        let filled = tokio::select! {
            filled = self.fill_in(&copier, &mut session) => filled,
            () = stop => Err(SliceError::Cancelled),
        };
        let outcome = match filled {
            Ok(transaction) => {
                let (upstream, report) = (self.upstream.clone(), self.report());
                Ok(FilledTables { upstream, sessions, session, copier, transaction, report })
            }
            Err(error) => {
                sessions.cancel().await;
                Err(error)
            }
        };
        guard.ended();
        outcome
    }

    /// Begins a transaction and does everything in it; returns what the server calls it.
    async fn fill_in(&self, copier: &Copier, session: &mut Session) -> Result<String, SliceError> {
        copier.ask(session, BEGIN).await?;
        let transaction = copier.value(session, b"SELECT pg_catalog.txid_current()").await?;
        let absent = absent(&self.tables);
        let made = made_of(&outlined(&self.archive.contents, &self.plan.leave_out), &absent);
        let service = &self.upstream.service;
        if !absent.is_empty() {
            copier.ask(session, &script(service, &self.program, &made, "pre-data").await?).await?;
        }
        let mut enabling = Vec::new();
        let timeout = |value: &str| format!("SET LOCAL lock_timeout = {}", literal(value)).into_bytes();
        let there: Vec<_> =
            self.tables.iter().filter_map(|table| Some((table, table.there.as_ref()?))).collect();
        if !there.is_empty() {
            let names: Vec<Bytes> = there.iter().map(|(table, _)| only(&table.chosen.rows.name)).collect();
            copier.ask(session, &timeout(LOCK_TIMEOUT)).await?;
            copier.ask(session, &[b"TRUNCATE TABLE ", &names.join(&b", "[..])[..]].concat()).await?;
            copier.ask(session, &timeout("0")).await?;
        }
        for (table, there) in there {
            let (disable, enable) =
                there.trigger_statements(&String::from_utf8_lossy(&table.chosen.rows.name));
            for statement in disable {
                copier.ask(session, statement.as_bytes()).await?;
            }
            enabling.extend(enable);
        }
        self.progress.enter(RestorePhase::Rows);
        for table in &self.tables {
            // What is there can be read by transactions that have begun before this one.
            copier.copy(session, &table.chosen.rows, table.there.is_none()).await?;
        }
        self.progress.enter(RestorePhase::Indexes);
        for statement in enabling {
            copier.ask(session, statement.as_bytes()).await?;
        }
        if !absent.is_empty() {
            copier.ask(session, &script(service, &self.program, &made, "post-data").await?).await?;
            for entry in
                made.entries.iter().filter(|entry| entry.description.as_deref() == Some(b"SEQUENCE SET"))
            {
                copier.ask(session, entry.definition.as_deref().unwrap_or_default()).await?;
            }
        }
        Ok(transaction)
    }

    fn report(&self) -> RestoreReport {
        let RestoreAdvance { tables, rows, .. } = self.progress.advance();
        RestoreReport {
            database: self.plan.database.clone(),
            tables,
            rows,
            rows_compared: self.tables.iter().all(|table| table.chosen.rows.rows.is_some()),
            old_database: None,
            old_not_dropped: None,
        }
    }
}

impl FilledTables {
    /// What the server calls the transaction.
    pub(in crate::engines::postgres) fn transaction(&self) -> &str {
        &self.transaction
    }

    /// What is restored once it is committed.
    pub(in crate::engines::postgres) fn report(&self) -> &RestoreReport {
        &self.report
    }

    /// Commits.
    pub(in crate::engines::postgres) async fn commit(mut self) -> Result<RestoreReport, SliceError> {
        match self.session.ask(b"COMMIT").await {
            Ok(_) => {}
            Err(error @ StatementError::Refused(_)) => return Err(self.copier.failed(error, b"COMMIT")),
            // It may have been done without us having heard of it.
            Err(error @ StatementError::Lost(_)) => {
                if !is_committed(&self.upstream, &self.transaction).await? {
                    return Err(self.copier.failed(error, b"COMMIT"));
                }
            }
        }
        // Whether it arrives or not, the session ends.
        let _ = self.session.wire.send(&message(b'X', &[])).await;
        Ok(self.report)
    }

    /// Takes everything back, because of `error`; returns that.
    pub(in crate::engines::postgres) async fn give_up(self, error: SliceError) -> SliceError {
        self.sessions.cancel().await;
        error
    }
}

/// Whether the `transaction` of a restore was committed. Waits until it has ended.
pub(super) async fn is_committed(upstream: &Arc<Upstream>, transaction: &str) -> Result<bool, SliceError> {
    let mut control = Control::open(upstream, &upstream.service.database, None).await?;
    // One of long ago, or of another server, is no error.
    let asked = format!(
        "SELECT CASE WHEN {id} <= pg_catalog.txid_current() THEN pg_catalog.txid_status({id}) END",
        id = format_args!("{}::int8", literal(transaction))
    );
    for _ in 0..ASK_TRIES {
        match control.value(&asked).await?.as_deref() {
            Some("in progress") => tokio::time::sleep(ASK_EVERY).await,
            status => {
                let is_committed = status == Some("committed");
                control.end().await;
                return Ok(is_committed);
            }
        }
    }
    let message =
        "it is not known whether the tables were committed: their transaction does not end; look for it";
    Err(SliceError::transient("restore_running", message))
}

/// A table without those that inherit from it.
fn only(name: &Bytes) -> Bytes {
    [b"ONLY ", &name[..]].concat().into()
}
