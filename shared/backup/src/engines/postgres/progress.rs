//! How far a dump has come, for whoever looks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a dump that runs. They only grow, until the next dump begins.
#[derive(Debug, Default)]
pub struct DumpProgress {
    tables: AtomicU64,
    tables_done: AtomicU64,
    table_bytes: AtomicU64,
    table_bytes_done: AtomicU64,
    rows: AtomicU64,
    raw_bytes: AtomicU64,
}

/// How far a dump has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpAdvance {
    /// Tables whose rows are dumped; 0 until it is known.
    pub tables: u64,
    /// Those of them that are done.
    pub tables_done: u64,
    /// Bytes of these tables on the server's disk; 0 until it is known.
    pub table_bytes: u64,
    /// Those of them that are done, about.
    pub table_bytes_done: u64,
    /// Rows read.
    pub rows: u64,
    /// Bytes of rows, as text.
    pub raw_bytes: u64,
}

impl DumpProgress {
    /// How far it has come.
    pub fn advance(&self) -> DumpAdvance {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DumpAdvance {
            tables: get(&self.tables),
            tables_done: get(&self.tables_done),
            table_bytes: get(&self.table_bytes),
            table_bytes_done: get(&self.table_bytes_done),
            rows: get(&self.rows),
            raw_bytes: get(&self.raw_bytes),
        }
    }

    /// A dump begins.
    pub(super) fn restart(&self) {
        for counter in [
            &self.tables,
            &self.tables_done,
            &self.table_bytes,
            &self.table_bytes_done,
            &self.rows,
            &self.raw_bytes,
        ] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn has_tables(&self, tables: u64) {
        self.tables.store(tables, Ordering::Relaxed);
    }

    pub(super) fn has_table_bytes(&self, bytes: u64) {
        self.table_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn read_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn wrote_piece(&self, raw_bytes: u64) {
        self.raw_bytes.fetch_add(raw_bytes, Ordering::Relaxed);
    }

    pub(super) fn wrote_unit(&self, table_bytes: u64) {
        self.table_bytes_done.fetch_add(table_bytes, Ordering::Relaxed);
    }

    pub(super) fn wrote_table(&self) {
        self.tables_done.fetch_add(1, Ordering::Relaxed);
    }
}
