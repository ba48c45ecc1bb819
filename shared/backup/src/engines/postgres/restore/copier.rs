//! Copying of rows out of the archive, in a session of its own.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::FutureExt as _;

use super::{
    archive::Archive,
    control::KEEPALIVES,
    facts::{TableRows, Wants},
    failure::{lost, refused},
    ledger::Done,
    pieces::{Message, Pieces, Read, read_rows},
    progress::{RestorePhase, RestoreProgress},
    values::TableSums,
};
use crate::{
    engines::postgres::{
        connect::startup,
        login::Session,
        session::{StatementError, copied},
        sessions::Sessions,
        wire::{Refusal, message, query, unexpected},
    },
    error::SliceError,
};

/// What `pg_restore` sets in its sessions (`_doSetFixedOutputState` in `pg_backup_archiver.c`). What is lost when the server
/// crashes is restored again; what is kept is on the disk before the database is in its place.
const SETTINGS: [&str; 3] = [
    KEEPALIVES,
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout',
        'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')",
    "SET client_min_messages = warning; SET row_security = off; SET xmloption = content; SET synchronous_commit = off;
     SET default_transaction_read_only = off; SET default_tablespace = ''",
];

/// Copies the rows of tables into a database, and runs what is made of them.
pub(super) struct Copier {
    sessions: Arc<Sessions>,
    archive: Arc<Archive>,
    /// The database that rows go to.
    database: String,
    settings: Vec<Bytes>,
    progress: Arc<RestoreProgress>,
    /// Where it is kept what the rows of tables add up to, if that is wanted.
    sums: Option<Arc<TableSums>>,
}

impl Copier {
    /// One that copies from `archive`, whose text is meant as `wants` says, into `database`.
    pub(super) fn new(
        sessions: Arc<Sessions>,
        archive: Arc<Archive>,
        database: String,
        wants: &Wants,
        progress: Arc<RestoreProgress>,
    ) -> Self {
        let settings = SETTINGS.iter().map(|setting| Bytes::from_static(setting.as_bytes()));
        let settings = settings.chain(wants.settings.iter().cloned()).collect();
        Self { sessions, archive, database, settings, progress, sums: None }
    }

    /// One that keeps in `sums` what the rows of each table add up to, if they are there.
    pub(super) fn adding_up(self, sums: Option<Arc<TableSums>>) -> Self {
        Self { sums, ..self }
    }

    /// Begins a session in which rows can be copied.
    pub(super) async fn begin(&self) -> Result<Session, SliceError> {
        let mut session = self.sessions.log_in(&startup(&self.sessions.upstream, &self.database)).await?;
        for setting in &self.settings {
            self.ask(&mut session, setting).await?;
        }
        Ok(session)
    }

    /// Copies the rows of one table. Those that are to be frozen go as what everybody may see, so that nobody has to look for that
    /// later: the table must have been made or emptied in the same transaction.
    /// Returns how many there were.
    pub(super) async fn copy(
        &self,
        session: &mut Session,
        table: &TableRows,
        freeze: bool,
    ) -> Result<u64, SliceError> {
        let rows = self.read(table);
        let taken = self.take(session, table, &rows, freeze).await?;
        self.check(table, &rows, taken)
    }

    /// Begins to read the rows of a table.
    pub(super) fn read(&self, table: &TableRows) -> Pieces {
        read_rows(&self.archive, table, self.progress.clone(), self.sums.is_some())
    }

    /// The same once more, which is no progress.
    pub(super) fn read_again(&self, table: &TableRows) -> Pieces {
        read_rows(&self.archive, table, Arc::default(), false)
    }

    /// Copies what it gets of the rows of a table, until there are no more. Returns how many the server says it took.
    pub(super) async fn take(
        &self,
        session: &mut Session,
        table: &TableRows,
        rows: &Pieces,
        freeze: bool,
    ) -> Result<u64, SliceError> {
        let freeze: &[u8] = if freeze { b" WITH (FREEZE)" } else { b"" };
        let sql = [&table.copy[..], freeze].concat();
        session.copy_in(&sql, rows).await.map_err(|error| match error {
            CopyError::Statement(error) => self.failed(error, &sql),
            CopyError::Archive(error) => {
                let name = String::from_utf8_lossy(&table.name);
                self.archive.source.not_read(&format!("the rows of {name}"), error)
            }
        })
    }

    /// Compares how many rows of a table the server has taken with how many there are in the archive, and should be. Returns how many
    /// that are.
    pub(super) fn check(&self, table: &TableRows, rows: &Pieces, taken: u64) -> Result<u64, SliceError> {
        let Read { rows: read, sum } = rows.read().unwrap_or_default();
        let name = String::from_utf8_lossy(&table.name);
        if taken != read {
            let words = format!("{name} has {read} rows in the archive, and the server took {taken}");
            return Err(self.archive.source.damaged(&words));
        }
        if let Some(told) = table.rows.filter(|told| *told != read) {
            let words = format!("{name} has {read} rows, and {told} by the row counts beside it");
            return Err(self.archive.source.damaged(&words));
        }
        if let (Some(sums), Some(sum)) = (&self.sums, sum) {
            sums.keep(table.dump_id, sum);
        }
        self.progress.finished_table(read);
        Ok(read)
    }

    /// All rows are copied: what follows is made of them.
    pub(super) fn all_copied(&self) {
        self.progress.enter(RestorePhase::Indexes);
    }

    /// What is written down of a table whose `rows` were copied.
    pub(super) fn done(&self, table: &TableRows, rows: u64) -> Done {
        let sum = self.sums.as_ref().and_then(|sums| sums.of(table.dump_id));
        Done { rows: Some(rows), crc64nvme: self.archive.sum_of(table.dump_id), sum }
    }

    /// Runs a statement.
    pub(super) async fn ask(&self, session: &mut Session, sql: &[u8]) -> Result<(), SliceError> {
        session.ask(sql).await.map(|_| ()).map_err(|error| self.failed(error, sql))
    }

    /// The first value of a short answer; empty where there is none.
    pub(super) async fn value(&self, session: &mut Session, sql: &[u8]) -> Result<String, SliceError> {
        let rows = session.ask(sql).await.map_err(|error| self.failed(error, sql))?;
        let value = rows.into_iter().flatten().flatten().next().unwrap_or_default();
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    /// The same; none where this role may not read it, which may restore it.
    pub(super) async fn value_if_allowed(
        &self,
        session: &mut Session,
        sql: &[u8],
    ) -> Result<Option<String>, SliceError> {
        match self.value(session, sql).await {
            Ok(value) => Ok(Some(value)),
            Err(SliceError::Failed(failure)) if failure.code == "permission_denied" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it means that `sql` did not come to its end.
    pub(super) fn failed(&self, error: StatementError, sql: &[u8]) -> SliceError {
        let service = &self.sessions.upstream.service;
        match error {
            StatementError::Refused(refusal) => refused(service, &refusal, sql),
            StatementError::Lost(error) => lost(service, &error),
        }
    }
}

/// Ends a session.
pub(super) async fn end(mut session: Session) {
    // Whether it arrives or not, the session ends.
    let _ = session.wire.send(&message(b'X', &[])).await;
}

/// Why rows were not copied.
enum CopyError {
    Statement(StatementError),
    /// They could not be read. The session is of no use any more: the server waits for more of them.
    Archive(io::Error),
}

impl From<StatementError> for CopyError {
    fn from(error: StatementError) -> Self {
        Self::Statement(error)
    }
}

impl From<io::Error> for CopyError {
    fn from(error: io::Error) -> Self {
        Self::Statement(StatementError::Lost(error))
    }
}

impl Session {
    /// Runs a `COPY … FROM stdin` with what it gets of `rows`. Returns how many the server says it took.
    async fn copy_in(&mut self, sql: &[u8], rows: &Pieces) -> Result<u64, CopyError> {
        self.wire.send(&query(sql)).await?;
        loop {
            let message = self.wire.message().await?;
            match message.tag {
                b'G' => break,
                b'N' | b'S' | b'A' => {}
                b'E' => return Err(StatementError::Refused(Refusal::read(&message.body())).into()),
                other => return Err(unexpected(&format!("message {:?}", char::from(other))).into()),
            }
        }
        let mut kept = None;
        loop {
            let mut turn = match kept.take() {
                Some(turn) => turn,
                None => rows.turn().await,
            };
            let Some(Message { bytes, ends_row }) = turn.next().await.map_err(CopyError::Archive)? else {
                break;
            };
            // The rest of a row comes here as well; behind one that is whole, it is the next session's turn.
            kept = (!ends_row).then_some(turn);
            self.pass_on(&bytes).await?;
        }
        self.wire.send(&message(b'c', &[])).await?;
        let (mut taken, mut refusal) = (None, None);
        loop {
            let message = self.wire.message().await?;
            match message.tag {
                b'C' => taken = copied(&message.body()),
                b'E' => refusal = Some(Refusal::read(&message.body())),
                b'Z' => break,
                b'N' | b'S' | b'A' => {}
                other => return Err(unexpected(&format!("message {:?}", char::from(other))).into()),
            }
        }
        match (refusal, taken) {
            (Some(refusal), _) => Err(StatementError::Refused(refusal).into()),
            (None, Some(taken)) => Ok(taken),
            (None, None) => Err(unexpected("an end without a number of rows").into()),
        }
    }

    /// Sends rows, and hears whether the server has refused some.
    async fn pass_on(&mut self, rows: &[u8]) -> Result<(), CopyError> {
        if let Err(error) = self.wire.send(rows).await {
            // A server that ends a session says why before it closes the connection.
            let refusal = self.last_refusal().await;
            return Err(refusal.map_or(StatementError::Lost(error), StatementError::Refused).into());
        }
        // The server speaks up only when something is wrong.
        if self.wire.fill().now_or_never().is_some_and(|filled| filled.is_ok())
            && let Some(refusal) = self.refusal_so_far()?
        {
            return Err(StatementError::Refused(refusal).into());
        }
        Ok(())
    }

    async fn last_refusal(&mut self) -> Option<Refusal> {
        loop {
            let message = self.wire.message().await.ok()?;
            if message.tag == b'E' {
                return Some(Refusal::read(&message.body()));
            }
        }
    }

    /// What the server has refused by now, of what has come whole.
    fn refusal_so_far(&mut self) -> io::Result<Option<Refusal>> {
        while let Some(message) = self.wire.message().now_or_never() {
            let message = message?;
            if message.tag == b'E' {
                return Ok(Some(Refusal::read(&message.body())));
            }
        }
        Ok(None)
    }
}
