//! What was written of an archive: to compare what is stored with it, and to say how many rows each table has.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_archive::{
    checksum::Crc64Nvme,
    pg_custom::{ArchiveReader, Event, Malformed, Offset},
};
use holdfast_domain::backup::StoredObject;

use crate::{engines::segments::SentHead, error::SliceError, ports::ArtifactStore};

/// What is read back at once, in bytes.
const READ_BYTES: u64 = 8 * 1024 * 1024;

/// The value of `format` in the first line of the row counts.
pub(super) const FORMAT: &str = "holdfast-row-counts";

/// What the object is called that they are stored in.
pub(super) const ROW_COUNTS: &str = "database.rows.jsonl";

/// The version of their format.
pub(super) const VERSION: u32 = 1;

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

    /// The rows of each table, as lines of JSON: the first says how many tables and rows there are in all. Names that are not
    /// UTF-8 are shown as far as they are; the dump id tells tables apart.
    pub(super) fn row_counts(&self) -> Bytes {
        let (tables, rows) = (self.tables.len(), self.rows());
        let head =
            serde_json::json!({ "format": FORMAT, "version": VERSION, "tables": tables, "rows": rows });
        let line = |table: &TableRows| {
            serde_json::json!({
                "dump_id": table.dump_id,
                "schema": String::from_utf8_lossy(&table.schema),
                "table": String::from_utf8_lossy(&table.table),
                "rows": table.rows,
            })
        };
        let lines = std::iter::once(head).chain(self.tables.iter().map(line));
        lines.flat_map(|line| format!("{line}\n").into_bytes()).collect()
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
                serde_json::json!({ "format": FORMAT, "version": 1, "tables": 2, "rows": 7 }),
                serde_json::json!({ "dump_id": 7, "schema": "public", "table": "a \"b\"\n", "rows": 3 }),
                serde_json::json!({ "dump_id": 8, "schema": "public", "table": "K\u{fffd}se", "rows": 4 }),
            ]
        );
    }
}
