//! How far a restore has come: what a cursor holds, and what whoever follows it is told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_domain::{
    backup::Failure,
    restore::{MediaChanges, Restored},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    engines::restorer::{RestoreObserver, Restoring},
    error::SliceError,
};

/// How often whoever follows is told.
const REPORT_EVERY: Duration = Duration::from_secs(2);

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Files are put.
    Files,
    /// Of a rehearsal: all files are there, and are compared.
    Comparing,
    /// All files are there; what the backup does not have is removed, and of a rehearsal everything.
    Removals,
}

/// How far a restore has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) stage: Stage,
    /// The last key that is done, with all before it.
    pub(super) after: Option<String>,
    pub(super) changes: MediaChanges,
    /// Bytes of the files that are done, those that were there among them.
    pub(super) bytes: u64,
    pub(super) of_bytes: Option<u64>,
    /// When the restore was asked for: what was written later is not removed.
    pub(super) since: DateTime<Utc>,
    /// Files that would have been removed but for that.
    pub(super) spared: u64,
    /// Of a rehearsal: files that were there as the archive has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) compared: Option<u64>,
    /// Whether the slice that wrote this stopped by itself, and had done nothing beyond it.
    pub(super) at_rest: bool,
    /// Whether a slice was killed, so that what it did last was not counted.
    pub(super) was_killed: bool,
}

/// What became of some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) changes: MediaChanges,
    pub(super) bytes: u64,
}

impl Progress {
    pub(super) fn begin(since: DateTime<Utc>) -> Self {
        Self {
            stage: Stage::Files,
            after: None,
            changes: MediaChanges::default(),
            bytes: 0,
            of_bytes: None,
            since,
            spared: 0,
            compared: None,
            at_rest: false,
            was_killed: false,
        }
    }

    /// Where an earlier slice has stopped, or was killed.
    pub(super) fn parse(cursor: &str) -> Result<Self, SliceError> {
        let progress: Self = serde_json::from_str(cursor).map_err(|error| {
            let what = format!(
                "the restore's own note of how far it has come cannot be read: {error}; restore again"
            );
            SliceError::permanent("cursor_malformed", what)
        })?;
        Ok(Self { was_killed: progress.was_killed || !progress.at_rest, at_rest: false, ..progress })
    }

    /// The cursor, of a slice that has stopped (`at_rest`) or goes on.
    pub(super) fn cursor(&self, at_rest: bool) -> Result<String, SliceError> {
        serde_json::to_string(&Self { at_rest, ..self.clone() })
            .map_err(|error| SliceError::permanent("cursor_malformed", error.to_string()))
    }

    /// Everything up to and with `key` is done.
    pub(super) fn advance(&mut self, key: String, tally: Tally) {
        let Tally { changes, bytes } = tally;
        self.after = Some(key);
        self.bytes += bytes;
        self.changes.added += changes.added;
        self.changes.replaced += changes.replaced;
        self.changes.unchanged += changes.unchanged;
        self.changes.removed += changes.removed;
    }

    fn so_far(&self) -> Result<Restoring, SliceError> {
        let doing = match self.stage {
            Stage::Files => "files",
            Stage::Comparing => "comparing",
            Stage::Removals => "removing files",
        };
        let cursor = Some(self.cursor(false)?);
        Ok(Restoring { bytes: self.bytes, of_bytes: self.of_bytes, doing, cursor })
    }

    /// What came of it all.
    pub(super) fn restored(self) -> Restored {
        let mut notes = Vec::new();
        if self.spared > 0 {
            notes.push(format!(
                "{} files that the backup does not have were written after the restore was asked for, and were left.",
                self.spared
            ));
        }
        if self.was_killed && self.compared.is_none() {
            notes.push(
                "A slice of the restore was killed: files that it had written last are counted as unchanged, and those that it \
                 had removed last are not counted."
                    .to_owned(),
            );
        }
        Restored {
            tables: None,
            rows: None,
            rows_compared: false,
            values_compared: None,
            changes: Some(self.changes),
            files_compared: self.compared,
            notes,
        }
    }

    /// The failure, and what was done before it.
    pub(super) fn explain(&self, error: SliceError) -> SliceError {
        let MediaChanges { added, replaced, removed, .. } = self.changes;
        match error {
            SliceError::Failed(failure) if added + replaced + removed > 0 => SliceError::Failed(Failure {
                message: format!(
                    "{}. Before that, {added} files or more were added, {replaced} replaced and {removed} removed; they stay so. A \
                     safety backup, if one was made, has what was there before",
                    failure.message
                ),
                ..failure
            }),
            other => other,
        }
    }
}

/// Tells whoever follows.
pub(super) struct Reporter<'a> {
    pub(super) progress: Progress,
    observer: &'a mut dyn RestoreObserver,
    reported: Instant,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(progress: Progress, observer: &'a mut dyn RestoreObserver) -> Self {
        Self { progress, observer, reported: Instant::now() }
    }

    /// Tells how far it is now.
    pub(super) async fn report(&mut self) -> Result<(), SliceError> {
        let so_far = self.progress.so_far()?;
        self.observer.advanced(so_far).await?;
        self.reported = Instant::now();
        Ok(())
    }

    /// Waits for some work, and tells meanwhile how far it is. What it is told to stop for stops the work.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, SliceError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep_until(self.reported + REPORT_EVERY) => self.report().await?,
            }
        }
    }
}

/// When a slice stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Nothing is begun any more.
    pub(super) soft: Instant,
    /// What is not done by now is left for the next slice.
    pub(super) hard: Instant,
}

impl Deadlines {
    /// A fourth of the time, and at most a minute, is for what has begun by then. With no time at all, one file is done.
    pub(super) fn within(time: Duration) -> Self {
        let (now, time) = (Instant::now(), time.min(Duration::from_hours(24)));
        let ending = (time / 4).min(Duration::from_mins(1));
        let hard = match time {
            Duration::ZERO => Duration::from_secs(10),
            time => time.saturating_sub((time / 10).min(Duration::from_secs(5))),
        };
        Self { soft: now + time.saturating_sub(ending), hard: now + hard }
    }
}
