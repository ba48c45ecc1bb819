//! What was written of an archive: to compare what is stored with it, and to say how many rows each table has.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_archive::{
    checksum::Crc64Nvme,
    pg_custom::{ArchiveReader, Event, Malformed, Offset},
};
use holdfast_domain::backup::StoredObject;
use serde::Serialize;

use crate::{
    engines::{
        row_counts::{self, TableLine},
        segments::SentHead,
    },
    error::SliceError,
    ports::ArtifactStore,
};

/// What is read back at once, in bytes.
const READ_BYTES: u64 = 8 * 1024 * 1024;

/// An archive that was written whole.
#[derive(Debug)]
pub(super) struct Written {
    /// Its header and its table of contents.
    pub(super) head: SentHead,
    /// How many entries it has.
    pub(super) entries: usize,
    /// Where the blocks of entries are, by dump id.
    pub(super) positions: BTreeMap<i32, u64>,
    /// Its tables, in their order.
    pub(super) tables: Vec<TableRows>,
}

/// The rows of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TableRows {
    /// The dump id of its data.
    pub(super) dump_id: i32,
    /// Its schema, in the encoding of the database.
    pub(super) schema: Bytes,
    /// Its name, in the encoding of the database.
    pub(super) table: Bytes,
    /// How many the server counted, and came.
    pub(super) rows: u64,
}

impl Written {
    /// Reads the table of contents of `object` back, and compares it with what was written: every byte, and as it is
    /// understood, how many entries there are and where their blocks are.
    pub(super) async fn compare(
        &self,
        store: &dyn ArtifactStore,
        object: &StoredObject,
    ) -> Result<(), SliceError> {
        let differs = |what: &str| {
            SliceError::permanent(
                "archive_differs",
                format!(
                    "the table of contents of {} is not stored as it was written: {what}; back up again",
                    object.key
                ),
            )
        };
        let not_read = |error: Malformed| differs(&error.to_string());
        let (mut archive, mut crc64nvme) = (ArchiveReader::new(), Crc64Nvme::EMPTY);
        let (mut entries, mut positions) = (0, BTreeMap::new());
        let mut at = 0;
        while at < self.head.bytes {
            let end = self.head.bytes.min(at + READ_BYTES);
            let bytes = store.read(object, at..end).await?;
            if bytes.len() as u64 != end - at {
                return Err(differs("bytes are missing"));
            }
            crc64nvme = Crc64Nvme::combine(crc64nvme, Crc64Nvme::of(&bytes), end - at);
            archive.push(&bytes);
            at = end;
            while let Some((event, _)) = archive.next_event().map_err(not_read)? {
                let Event::Entry { entry, .. } = event else { continue };
                entries += 1;
                if let Offset::At(position) = entry.offset {
                    positions.insert(entry.dump_id, position);
                }
            }
        }
        archive.finish().map_err(not_read)?;
        if entries != self.entries {
            return Err(differs(&format!("it has {entries} entries of {}", self.entries)));
        }
        if positions != self.positions {
            return Err(differs("blocks are said to be where they are not"));
        }
        if crc64nvme != self.head.crc64nvme {
            return Err(differs("a byte is another one"));
        }
        Ok(())
    }

    /// The rows of all tables.
    pub(super) fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// The rows of each table, to stand beside the archive. Names that are not UTF-8 are shown as far as they are; the dump id
    /// tells tables apart.
    pub(super) fn row_counts(&self) -> Bytes {
        let line = |table: &TableRows| RowsLine {
            dump_id: table.dump_id,
            schema: String::from_utf8_lossy(&table.schema).into_owned(),
            table: String::from_utf8_lossy(&table.table).into_owned(),
            rows: table.rows,
        };
        row_counts::to_lines(&self.tables.iter().map(line).collect::<Vec<_>>())
    }
}

/// What is told of a table beside the archive.
#[derive(Serialize)]
struct RowsLine {
    dump_id: i32,
    schema: String,
    table: String,
    rows: u64,
}

impl TableLine for RowsLine {
    fn rows(&self) -> u64 {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_table_by_table() {
        let table = |dump_id, table: &'static [u8], rows| TableRows {
            dump_id,
            schema: "public".into(),
            table: Bytes::from_static(table),
            rows,
        };
        let written = Written {
            head: SentHead { bytes: 0, crc64nvme: Crc64Nvme::EMPTY },
            entries: 2,
            positions: BTreeMap::new(),
            tables: vec![table(7, b"a \"b\"\n", 3), table(8, b"K\xe4se", 4)],
        };
        let lines = String::from_utf8(written.row_counts().to_vec()).unwrap();
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines,
            [
                serde_json::json!({ "format": "holdfast-row-counts", "version": 1, "tables": 2, "rows": 7 }),
                serde_json::json!({ "dump_id": 7, "schema": "public", "table": "a \"b\"\n", "rows": 3 }),
                serde_json::json!({ "dump_id": 8, "schema": "public", "table": "K\u{fffd}se", "rows": 4 }),
            ]
        );
    }
}
