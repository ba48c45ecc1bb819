//! Where a dump halts, so that another slice goes on: what was written of the archive, and how that is recognized again.
//!
//! The next leg runs `pg_dump` anew, and expects the same archive of it: of a database that stands still, the same entries
//! and the same blocks in the same order. What was written already is passed over, and compared by its fingerprint.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};
use serde::{Deserialize, Serialize};

use super::{connect::Standing, written::TableRows};
use crate::{
    engines::{moved, segments::HaltedHead},
    error::SliceError,
};

/// A dump that has halted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HaltedDump {
    /// Who makes it, and how: another program, or another compression, would go on with another archive.
    pub(super) made_by: MadeBy,
    /// The moment of its data.
    pub(super) taken_at: DateTime<Utc>,
    /// What the database was like when it was begun.
    pub(super) standing: Standing,
    /// How far the archive is.
    pub(super) archive: HaltedArchive,
}

/// Who makes an archive, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MadeBy {
    /// The version of `pg_dump`, as it says it.
    pub(super) pg_dump: String,
    /// The version of the server.
    pub(super) server: u32,
    /// What `pg_dump` was told about compression.
    pub(super) compression: String,
}

/// An archive of which a beginning is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HaltedArchive {
    /// Its table of contents.
    pub(super) entries: Fingerprint,
    /// What of it is written after that.
    pub(super) items: Fingerprint,
    /// Where its stream stands.
    pub(super) stream: HaltedHead,
    /// Where the blocks are, by dump id.
    pub(super) positions: BTreeMap<i32, u64>,
    /// The rows of the tables that are written, by dump id.
    pub(super) rows: BTreeMap<i32, u64>,
    /// The table that is being written.
    pub(super) table: HaltedTable,
}

/// A table in the middle of its rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct HaltedTable {
    /// How many of them are written.
    pub(super) rows: u64,
    /// What joins their pieces, if there are any.
    pub(super) joint: Option<u32>,
}

/// What was seen, in its order: how much, and a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    /// How many bytes, or items.
    pub(super) count: u64,
    crc64nvme: Crc64Nvme,
}

/// Takes a [`Fingerprint`].
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    count: u64,
    hasher: Crc64NvmeHasher,
}

impl Seen {
    /// Bytes, of which each counts.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// Bytes that may be others next time, and as many.
    pub(super) fn length(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
    }

    /// One item that is known by these bytes.
    pub(super) fn item(&mut self, what: &[&[u8]]) {
        self.count += 1;
        for bytes in what {
            self.hasher.update(bytes);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint { count: self.count, crc64nvme: self.hasher.clone().finish() }
    }
}

impl HaltedDump {
    /// Goes on only as it was begun.
    pub(super) fn check(&self, made_by: &MadeBy, standing: &Standing) -> Result<(), SliceError> {
        if self.made_by != *made_by {
            return Err(SliceError::permanent(
                "dump_not_resumed",
                format!(
                    "the dump was begun with {} for a server {}, and would go on with {} for {}: the worker or the server was \
                     changed meanwhile; start a new backup",
                    self.made_by.pg_dump, self.made_by.server, made_by.pg_dump, made_by.server
                ),
            ));
        }
        if self.standing != *standing {
            return Err(moved("rows were written, or tables were rewritten"));
        }
        Ok(())
    }
}

/// The rows of the tables that were written.
pub(super) fn rows_of(tables: &[TableRows]) -> BTreeMap<i32, u64> {
    tables.iter().map(|table| (table.dump_id, table.rows)).collect()
}
