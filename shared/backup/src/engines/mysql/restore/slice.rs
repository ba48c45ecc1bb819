//! What one slice loads of a dump.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    ledger::Ledger,
    load::{Load, Loading, Reached},
    lock::Lock,
    names::Names,
    reading::{Reading, Spot},
    session::{self, identifier},
};
use crate::{
    engines::restorer::{RestoreObserver, goes_on_after},
    error::SliceError,
};

/// How often is written down how far it is, at the next table: what a slice that is killed has loaded since is loaded once more. Of a short
/// slice, as often as this part of it: a table that does not come to its end has all the rest.
const WRITE_EVERY: Duration = Duration::from_secs(30);
const WRITE_PART: u32 = 16;

/// How much of its time a slice goes on loading for. What it cannot load in the rest has all of the next one.
const LOADING: f64 = 0.75;

/// The time of a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// All of it.
    pub(super) time: Duration,
    began: Instant,
    /// When it has to have ended.
    pub(super) ends_at: Instant,
    /// From when on it pauses before the next table.
    pauses_at: Instant,
    /// After how many tables it pauses before that, for tests.
    steps: Option<usize>,
}

impl Budget {
    /// That of a slice which has `time` from now on.
    pub(super) fn of(time: Duration, steps: Option<usize>) -> Self {
        let now = Instant::now();
        Self { time, began: now, ends_at: now + time, pauses_at: now + time.mul_f64(LOADING), steps }
    }

    /// Whether a slice that has written down how far it is so many times begins nothing more.
    pub(super) fn is_over(&self, written: usize) -> bool {
        Instant::now() >= self.pauses_at || self.steps.is_some_and(|steps| written >= steps)
    }

    /// When it is to be written down how far it is.
    fn writes_at(&self) -> Instant {
        let now = Instant::now();
        let every = WRITE_EVERY.min(self.time / WRITE_PART);
        if self.steps.is_some() { now } else { self.pauses_at.min(now + every) }
    }
}

/// How far a slice came.
pub(super) enum Loads {
    /// Everything is loaded.
    All,
    /// The rest is for the next slice, as the ledger says.
    Some,
    /// A table takes longer than a slice has.
    Nothing,
}

/// A slice that loads.
pub(super) struct Slice<'a> {
    pub(super) load: Load<'a>,
    pub(super) names: &'a Names,
    pub(super) budget: Budget,
    pub(super) ledger: Ledger,
    /// Whether it is written down: another slice can go on.
    pub(super) has_ledger: bool,
    /// How often this slice has done so.
    pub(super) written: usize,
    /// When this slice began, by the server's clock, in seconds since 1970.
    pub(super) began_at: i64,
}

impl Slice<'_> {
    /// Loads what is left, as far as the time goes.
    pub(super) async fn run(
        &mut self,
        read: impl FnOnce(Spot) -> Reading,
        lock: &mut Lock<'_>,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Loads, SliceError> {
        let loaded = &self.ledger.loaded;
        let Some(spot) = loaded.rest else { return Ok(Loads::All) };
        let mut loading = Loading::begin(self.load, loaded, spot, read);
        loop {
            let stretch = loading.stretch(self.budget.writes_at(), observer);
            match lock.keep(Box::pin(timeout_at(self.budget.ends_at, stretch))).await {
                Ok(Ok(Reached::End)) => break,
                Ok(Ok(Reached::Table)) => self.ledger.loaded = loading.loaded(),
                Ok(Err(error)) => return Err(error),
                Err(_) if self.written == 0 => return Ok(Loads::Nothing),
                Err(_) => {
                    // It may be in the middle of a statement.
                    lock.keep(session::kill_in(self.load.access, self.load.database)).await?;
                    return Ok(Loads::Some);
                }
            }
            self.write(lock).await?;
            if self.budget.is_over(self.written) {
                return Ok(Loads::Some);
            }
        }
        lock.check().await?;
        self.ledger.loaded = loading.loaded();
        Ok(Loads::All)
    }

    /// Writes down how far it is.
    pub(super) async fn write(&mut self, lock: &mut Lock<'_>) -> Result<(), SliceError> {
        let since = self.budget.began.elapsed().as_secs();
        self.ledger.at = self.began_at.saturating_add_unsigned(since);
        lock.ask(&self.ledger.statements(self.load.access, self.names)?).await?;
        self.has_ledger = true;
        self.written += 1;
        Ok(())
    }

    /// Removes what says how far it is: nobody goes on with it any more.
    pub(super) async fn close(&mut self, lock: &mut Lock<'_>) -> Result<(), SliceError> {
        if self.has_ledger {
            let database = self.ledger.database(self.names);
            lock.ask(&format!("DROP DATABASE IF EXISTS {};\n", identifier(&database))).await?;
            self.has_ledger = false;
        }
        Ok(())
    }

    /// Whether another slice can go on after `error`. Without the lock, the databases may be somebody else's by now.
    pub(super) async fn can_go_on(&self, error: &SliceError, lock: &mut Lock<'_>) -> bool {
        let is_passing = matches!(error, SliceError::Fenced) || goes_on_after(error);
        self.has_ledger && (is_passing || lock.check().await.is_err())
    }
}
