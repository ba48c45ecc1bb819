//! What one slice does of a restore that may take several.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use holdfast_archive::pg_custom::Contents;

use super::{
    after_data::{AfterData, Which},
    filled::{FilledRestore, given_up},
    ledger::{Begun, Entries, Ledger},
    outline::outlined,
    place::{Entrance, Place},
    prepared::PreparedRestore,
    program::{PgRestore, Section},
};
use crate::{engines::restorer::goes_on_after, error::SliceError};

/// One slice of a restore.
#[derive(Debug, Clone)]
pub(in crate::engines::postgres) struct RestoreSlice {
    /// What the restore is known by. Its new database has a mark with that.
    pub(in crate::engines::postgres) restore: String,
    /// Whether one table, or one entry after the data, has all sessions for itself.
    pub(in crate::engines::postgres) alone: bool,
    /// After how many tables and entries it pauses, if its time has not come before.
    pub(in crate::engines::postgres) steps: Option<usize>,
}

/// Why a restore is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engines::postgres) enum Halt {
    /// Nobody wants it any more.
    GiveUp,
    /// Its time is up: another slice goes on with it.
    Pause,
}

/// How far a slice came.
pub(in crate::engines::postgres) enum Filling {
    /// The new database is whole.
    Whole(Box<FilledRestore>),
    /// Some of it is there, and the next slice goes on.
    Paused(Box<PausedRestore>),
}

/// A new database of which some is there.
pub(in crate::engines::postgres) struct PausedRestore {
    pub(super) place: Place,
    /// Whether another slice can go on: the schema is there.
    pub(in crate::engines::postgres) can_go_on: bool,
    /// Whether this slice has finished a table or an entry, or the schema.
    pub(in crate::engines::postgres) has_advanced: bool,
    /// What comes next, in words.
    pub(in crate::engines::postgres) next: String,
}

impl PausedRestore {
    /// What the server knows the new database by.
    pub(in crate::engines::postgres) fn oid(&self) -> &str {
        &self.place.oid
    }

    /// Leaves the database to the next slice.
    pub(in crate::engines::postgres) async fn leave(self) {
        self.place.leave().await;
    }

    /// Drops it, because of `error`; returns that, and what could not be dropped.
    pub(in crate::engines::postgres) async fn give_up(self, error: SliceError) -> SliceError {
        given_up(self.place, error).await
    }
}

/// A slice that is at work.
pub(super) struct Sliced {
    slice: RestoreSlice,
    pub(super) ledger: Ledger,
    /// How many entries were done when it began, if it goes on.
    before: OnceLock<usize>,
    /// Whether its ledger is or was open: the database has its schema.
    has_ledger: AtomicBool,
    /// Whether its ledger is closed: it comes to its end now, or has to be begun anew.
    is_ending: AtomicBool,
}

impl Sliced {
    pub(super) fn new(slice: RestoreSlice) -> Self {
        let ledger = Ledger::of(&slice.restore);
        Self {
            slice,
            ledger,
            before: OnceLock::new(),
            has_ledger: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        }
    }

    pub(super) fn restore(&self) -> &str {
        &self.slice.restore
    }

    pub(super) fn is_alone(&self) -> bool {
        self.slice.alone
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Whether another slice can go on after `error`.
    pub(super) fn goes_on_after(&self, error: &SliceError) -> bool {
        self.has_ledger.load(Ordering::Relaxed) && !self.is_ending() && goes_on_after(error)
    }

    /// How many tables and entries it may do.
    pub(super) fn steps(&self) -> usize {
        self.slice.steps.unwrap_or(usize::MAX)
    }

    /// Finds what earlier slices have left, and what of it is done; nothing if it has to be begun. It goes on only if nothing has
    /// changed meanwhile.
    pub(super) async fn find(
        &self,
        prepared: &PreparedRestore,
        place: &mut Place,
    ) -> Result<Option<Entries>, SliceError> {
        if !place.take_over().await? {
            return Ok(None);
        }
        let mut inside = place.entrance().open().await?;
        let found = self.ledger.read(&mut inside).await?;
        inside.end().await;
        drop(inside);
        let now = begun(prepared);
        let done = match found {
            Some((then, _)) if then.target != now.target && !prepared.options.rehearsal => {
                let message = format!(
                    "{:?} is another database than when the restore began; ask for the restore again",
                    prepared.plan.database
                );
                return Err(SliceError::permanent("target_changed", message));
            }
            Some((then, done)) if (&then.archive, then.server) == (&now.archive, now.server) => done,
            // It was stopped before anything was written down, or is of something else.
            _ => {
                place.discard().await?;
                return Ok(None);
            }
        };
        for (dump_id, done) in &done {
            if let Some(crc64nvme) = done.crc64nvme {
                prepared.archive.was_read(*dump_id, crc64nvme);
            }
            if let (Some(sums), Some(sum)) = (&prepared.sums, done.sum) {
                sums.keep(*dump_id, sum);
            }
            if let Some(block) = prepared.archive.blocks.get(dump_id) {
                prepared.progress.copied(block.bytes, 0);
            }
            if let Some(rows) = done.rows {
                prepared.progress.finished_table(rows);
            }
        }
        self.before.get_or_init(|| done.len());
        self.has_ledger.store(true, Ordering::Relaxed);
        Ok(Some(done))
    }

    /// Opens the ledger of a database that has its schema, with what else is done.
    pub(super) async fn open(
        &self,
        prepared: &PreparedRestore,
        entrance: &Entrance,
        done: &Entries,
    ) -> Result<(), SliceError> {
        let mut inside = entrance.open().await?;
        self.ledger.open(&mut inside, &begun(prepared), done).await?;
        self.has_ledger.store(true, Ordering::Relaxed);
        inside.end().await;
        Ok(())
    }

    /// Makes indexes and what else comes after the data, as far as that is not `done`, and `steps` of them at the most. Says whether
    /// all is made then. The ledger is closed then, unless the database is only tried.
    pub(super) async fn restore_after_data(
        &self,
        prepared: &PreparedRestore,
        pg_restore: &PgRestore,
        outline: &Contents,
        done: &Entries,
        entrance: &Entrance,
        steps: usize,
    ) -> Result<bool, SliceError> {
        let which = if prepared.options.rehearsal { Which::All } else { Which::NoEventTriggers };
        let mut left = AfterData::left(outline, done, which);
        let is_part = left.len() > steps;
        left.truncate(steps);
        if left.len() > 0 {
            pg_restore.restore_contents(Section::PostData, &left.recorded(&self.ledger)).await?;
        }
        if is_part {
            return Ok(false);
        }
        if prepared.options.rehearsal {
            return Ok(true);
        }
        self.is_ending.store(true, Ordering::Relaxed);
        let mut inside = entrance.open().await?;
        inside.run(&self.ledger.removal()).await?;
        inside.end().await;
        drop(inside);
        let event_triggers = AfterData::left(outline, &Entries::new(), Which::EventTriggers);
        if event_triggers.len() > 0 {
            pg_restore.restore_contents(Section::PostData, &event_triggers.unrecorded()).await?;
        }
        Ok(true)
    }

    /// Leaves what is there to the next slice.
    pub(super) async fn pause(
        self,
        prepared: &PreparedRestore,
        mut place: Place,
    ) -> Result<Filling, SliceError> {
        let mut inside = place.entrance().open().await?;
        let found = self.ledger.read(&mut inside).await?;
        inside.end().await;
        drop(inside);
        let Some((_, done)) = found else {
            let next = "the schema, with the data that are no rows".to_owned();
            let paused = PausedRestore { place, can_go_on: false, has_advanced: false, next };
            return Ok(Filling::Paused(Box::new(paused)));
        };
        place.mark().await?;
        let has_advanced = self.before.into_inner() != Some(done.len());
        let next = next(prepared, &done);
        Ok(Filling::Paused(Box::new(PausedRestore { place, can_go_on: true, has_advanced, next })))
    }
}

fn begun(prepared: &PreparedRestore) -> Begun {
    Begun {
        archive: prepared.archive.identity(),
        target: prepared.target_oid().cloned().unwrap_or_default(),
        server: prepared.survey.server.major(),
    }
}

/// What comes next when `done` is, in words.
fn next(prepared: &PreparedRestore, done: &Entries) -> String {
    let tables = prepared.wants.tables.iter().filter(|table| !done.contains_key(&table.dump_id));
    if let Some(table) = tables.max_by_key(|table| (table.is_fresh, table.bytes)) {
        return format!("the rows of {}", String::from_utf8_lossy(&table.name));
    }
    let outline = outlined(&prepared.archive.contents, &prepared.plan.leave_out);
    let left = AfterData::left(&outline, done, Which::All);
    left.first().unwrap_or_else(|| "the comparison of what is restored".to_owned())
}
