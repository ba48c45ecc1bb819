//! Sessions that copy rows and make indexes of them: all of them copy those of tables that would keep one of them busy alone, then each
//! does what comes next when it is done with something.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::Notify;

use super::{
    copier::{Copier, end},
    facts::TableRows,
    indexes::Index,
    ledger::Ledger,
    pieces::Pieces,
    work::{Task, Work},
};
use crate::{engines::postgres::login::Session, error::SliceError};

/// Bytes of a block below which its rows are copied by one session, and lie in the order in which they were dumped.
const SHARED_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes of a block from which on its rows are frozen. A table has to be emptied for that, which makes it anew: of a small one, that takes
/// longer than its rows.
const FROZEN_BYTES: u64 = 256 * 1024;

/// What the sessions share.
pub(super) struct RowCopy {
    copier: Copier,
    /// Where it is written down which tables and indexes are done, in the transactions in which they are.
    ledger: Option<Ledger>,
    /// Whether a table has the sessions for itself.
    is_alone: bool,
    /// How many sessions have something to do.
    pub(super) sessions: usize,
    shared: Vec<SharedTable>,
    work: Mutex<Work>,
    /// Whoever waits for others is told when one is done with something.
    changed: Notify,
}

/// A table that all sessions copy at once.
struct SharedTable {
    table: TableRows,
    rows: OnceLock<Pieces>,
    state: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// How many sessions are copying.
    sessions: usize,
    /// How many rows the server has taken from those that have ended.
    taken: u64,
}

impl RowCopy {
    /// Copies `tables` and makes `indexes` of them, by the dump ids of rows, in `jobs` sessions at the most; if they are to be `alone`,
    /// one after the other, all sessions at one where that is worth it.
    pub(super) fn new(
        copier: Copier,
        mut tables: Vec<TableRows>,
        indexes: HashMap<i32, Vec<Index>>,
        jobs: usize,
        ledger: Option<Ledger>,
        is_alone: bool,
    ) -> Self {
        tables.sort_by_key(|table| (!table.is_fresh, std::cmp::Reverse(table.bytes)));
        let count = if is_alone { worth_sharing(&tables) } else { shared(&tables, jobs) };
        let others = tables.split_off(count);
        let work = Work::new(others.into(), &tables, indexes);
        let sessions = if tables.is_empty() { jobs.min(work.tasks()) } else { jobs };
        let share = |table| SharedTable { table, rows: OnceLock::new(), state: Mutex::default() };
        let shared = tables.into_iter().map(share).collect();
        if work.is_copied() {
            copier.all_copied();
        }
        let (work, changed) = (Mutex::new(work), Notify::new());
        Self { copier, ledger, is_alone, sessions, shared, work, changed }
    }

    /// The indexes that were made, by dump id.
    pub(super) fn made(&self) -> Vec<i32> {
        lock(&self.work).all_made().to_vec()
    }

    /// Empties those tables that all sessions copy: an earlier slice may have left some of their rows.
    pub(super) async fn empty_shared(&self) -> Result<(), SliceError> {
        if self.shared.is_empty() {
            return Ok(());
        }
        let mut session = self.copier.begin().await?;
        for SharedTable { table, .. } in &self.shared {
            self.copier.ask(&mut session, &[b"TRUNCATE TABLE ONLY ", &table.name[..]].concat()).await?;
        }
        end(session).await;
        Ok(())
    }

    /// Copies tables and makes indexes until there are none left. Unless `must`, it leaves the work to others if the server has no session
    /// to give.
    pub(super) async fn run(self: Arc<Self>, must: bool) -> Result<(), SliceError> {
        let mut session = match self.copier.begin().await {
            Ok(session) => session,
            Err(SliceError::Failed(failure)) if failure.code == "too_many_connections" && !must => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for shared in &self.shared {
            self.share(&mut session, shared).await?;
        }
        if must || !self.is_alone {
            self.work(&mut session).await?;
        }
        end(session).await;
        Ok(())
    }

    async fn work(&self, session: &mut Session) -> Result<(), SliceError> {
        loop {
            // Before it is asked what comes next: what changes between is not missed.
            let changed = self.changed.notified();
            let task = lock(&self.work).next();
            match task {
                Task::Copy(table) => {
                    self.copy(session, &table).await?;
                    self.copied(&table);
                }
                Task::Make(rows, index) => {
                    self.copier.ask(session, &index.sql(self.ledger.as_ref())).await?;
                    lock(&self.work).made(rows, &index);
                    self.changed.notify_waiters();
                }
                Task::Wait => changed.await,
                Task::End => return Ok(()),
            }
        }
    }

    fn copied(&self, table: &TableRows) {
        let mut work = lock(&self.work);
        work.copied(table.dump_id);
        if work.is_copied() {
            self.copier.all_copied();
        }
        self.changed.notify_waiters();
    }

    /// Copies a share of a table's rows. Whoever is the last to end compares how many there were.
    async fn share(&self, session: &mut Session, shared: &SharedTable) -> Result<(), SliceError> {
        let SharedTable { table, rows, state } = shared;
        let rows = rows.get_or_init(|| self.copier.read(table));
        {
            let mut state = lock(state);
            if rows.read().is_some() {
                return Ok(());
            }
            state.sessions += 1;
        }
        let taken = self.copier.take(session, table, rows, false).await?;
        let all = {
            let mut state = lock(state);
            state.sessions -= 1;
            state.taken += taken;
            (state.sessions == 0).then_some(state.taken)
        };
        let Some(taken) = all else { return Ok(()) };
        let rows = self.copier.check(table, rows, taken)?;
        if let Some(record) = self.record(table, rows) {
            self.copier.ask(session, record.as_bytes()).await?;
        }
        self.copied(table);
        Ok(())
    }

    /// Copies the rows of one table in a transaction, those of a new one that is not small in that in which it was emptied.
    async fn copy(&self, session: &mut Session, table: &TableRows) -> Result<(), SliceError> {
        let is_frozen = table.is_fresh && table.bytes >= FROZEN_BYTES;
        if !is_frozen && self.ledger.is_none() {
            // A statement is a transaction.
            return self.copier.copy(session, table, false).await.map(drop);
        }
        let begin = [b"BEGIN; TRUNCATE TABLE ONLY ", &table.name[..]].concat();
        self.copier.ask(session, if is_frozen { &begin } else { b"BEGIN" }).await?;
        let rows = self.copier.copy(session, table, is_frozen).await?;
        let end = self.record(table, rows).map_or("COMMIT".to_owned(), |record| format!("{record}; COMMIT"));
        self.copier.ask(session, end.as_bytes()).await
    }

    /// The statement that writes down that a table is done.
    fn record(&self, table: &TableRows, rows: u64) -> Option<String> {
        let done = self.copier.done(table, rows);
        self.ledger.as_ref().map(|ledger| ledger.entry(table.dump_id, &done))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many of `tables`, the first of them, are copied by all `jobs` sessions at once, because otherwise some would have nothing to do
/// for more than a tenth of the time. The others, largest first, go to whoever is free.
fn shared(tables: &[TableRows], jobs: usize) -> usize {
    let total: u64 = tables.iter().map(|table| table.bytes).sum();
    let jobs = jobs.max(1);
    let even = total / jobs as u64;
    let may_be = worth_sharing(tables);
    let (mut count, mut before) = (0, 0);
    while count < may_be && before / jobs as u64 + longest(&tables[count..], jobs) > even + even / 10 {
        before += tables[count].bytes;
        count += 1;
    }
    count
}

/// How many of `tables`, the first of them, are so large that several sessions may copy them.
fn worth_sharing(tables: &[TableRows]) -> usize {
    tables.iter().take_while(|table| table.is_fresh && table.bytes >= SHARED_BYTES).count()
}

/// How much the busiest of `jobs` sessions copies, in bytes, when each takes the next of `tables` as soon as it is free.
fn longest(tables: &[TableRows], jobs: usize) -> u64 {
    let mut sessions = vec![0; jobs];
    for table in tables {
        if let Some(free) = sessions.iter_mut().min() {
            *free += table.bytes;
        }
    }
    sessions.into_iter().max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn table(mib: u64) -> TableRows {
        TableRows {
            dump_id: 1,
            name: "t".into(),
            copy: "COPY t FROM stdin".into(),
            is_fresh: true,
            position: 0,
            bytes: mib * 1024 * 1024,
            rows: None,
        }
    }

    #[rstest]
    #[case::one_alone(&[100], 2, 1)]
    #[case::one_session(&[100], 1, 0)]
    #[case::even(&[10, 10, 10, 10], 2, 0)]
    #[case::one_too_many(&[20, 20, 20], 2, 1)]
    #[case::one_large(&[100, 10, 10, 10, 10], 2, 1)]
    #[case::three_too_small(&[10, 10, 10], 2, 0)]
    #[case::one_large_that_fits(&[100, 50, 30, 20], 2, 0)]
    #[case::two_large(&[100, 90, 5, 5], 4, 2)]
    #[case::small(&[15], 2, 0)]
    #[case::none(&[], 2, 0)]
    fn what_would_keep_one_session_busy_alone_is_shared(
        #[case] mib: &[u64],
        #[case] jobs: usize,
        #[case] expected: usize,
    ) {
        let tables: Vec<TableRows> = mib.iter().copied().map(table).collect();
        assert_eq!(shared(&tables, jobs), expected);
    }
}
