//! How far a restore has come, for whoever looks.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a restore is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RestorePhase {
    /// Making the database, and restoring its schema.
    #[default]
    Schema,
    /// Copying rows.
    Rows,
    /// Making indexes and constraints.
    Indexes,
    /// Counting what has come in.
    Counting,
    /// Putting the new database in its place.
    Swap,
}

/// Counters of a restore that runs. They only grow.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    phase: AtomicU8,
    tables: AtomicU64,
    rows: AtomicU64,
    archive_bytes: AtomicU64,
    raw_bytes: AtomicU64,
}

/// How far a restore has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreAdvance {
    /// What it is doing.
    pub phase: RestorePhase,
    /// Tables whose rows are there.
    pub tables: u64,
    /// Rows copied.
    pub rows: u64,
    /// Bytes of the archive that were copied.
    pub archive_bytes: u64,
    /// What they were as text, in bytes.
    pub raw_bytes: u64,
}

impl RestoreProgress {
    /// How far it has come.
    pub fn advance(&self) -> RestoreAdvance {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let phases = [
            RestorePhase::Schema,
            RestorePhase::Rows,
            RestorePhase::Indexes,
            RestorePhase::Counting,
            RestorePhase::Swap,
        ];
        RestoreAdvance {
            phase: phases[usize::from(self.phase.load(Ordering::Relaxed)).min(phases.len() - 1)],
            tables: get(&self.tables),
            rows: get(&self.rows),
            archive_bytes: get(&self.archive_bytes),
            raw_bytes: get(&self.raw_bytes),
        }
    }

    pub(super) fn enter(&self, phase: RestorePhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn copied(&self, archive_bytes: u64, raw_bytes: u64) {
        self.archive_bytes.fetch_add(archive_bytes, Ordering::Relaxed);
        self.raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
    }

    pub(super) fn finished_table(&self, rows: u64) {
        self.tables.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}
