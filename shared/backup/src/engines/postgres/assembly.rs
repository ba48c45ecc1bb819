//! The archive, put together in its order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use holdfast_archive::pg_custom::{Codec, Compressor, Joint, Offset};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    halt::{HaltedArchive, HaltedTable, Seen, rows_of},
    outline::{Item, Rows, TableEnd},
    progress::DumpProgress,
    unit::{Pressing, UnitIn},
    window::Window,
    written::{TableRows, Written},
};
use crate::{
    engines::{
        moved,
        segments::{HeldHead, SegmentSender},
    },
    error::SliceError,
};

/// An archive that lacks nothing but its beginning, which is held back until all positions are known.
pub(super) struct Assembled {
    head: HeldHead,
    /// Where the offset field of each entry is, by dump id.
    fields: HashMap<i32, u64>,
    /// Where the blocks are, by dump id.
    positions: BTreeMap<i32, u64>,
    tables: Vec<TableRows>,
}

impl Assembled {
    /// Sends the beginning.
    pub(super) async fn finish(self) -> Result<Written, SliceError> {
        let Self { head, fields, positions, tables } = self;
        let patch = |(dump_id, position): (&i32, &u64)| {
            fields.get(dump_id).map(|field| (*field, Offset::At(*position).to_bytes().to_vec()))
        };
        let patches: Vec<_> = positions.iter().filter_map(patch).collect();
        let head = head.finish(&patches).await?;
        Ok(Written { head, entries: fields.len(), positions, tables })
    }
}

/// How far an archive was put together.
pub(super) enum Assembly {
    /// To its end, but for its beginning.
    Whole(Box<Assembled>),
    /// To where another leg goes on, with the bytes of its stream.
    Halted(Box<HaltedArchive>, Bytes),
}

/// Puts an archive together.
pub(super) struct Assembler {
    window: Arc<Window>,
    progress: Arc<DumpProgress>,
    codec: watch::Receiver<Codec>,
    /// Where another leg has halted.
    from: Option<HaltedArchive>,
    /// When to halt, if ever.
    until: Option<Instant>,
    head: HeldHead,
    fields: HashMap<i32, u64>,
    positions: BTreeMap<i32, u64>,
    tables: Vec<TableRows>,
    /// The table that is being written: how many rows it has so far, and what joins them.
    rows: u64,
    joint: Option<Joint>,
    compressor: Option<Compressor>,
    /// What came before the first block, and after.
    entries: Seen,
    items: Seen,
}

impl Assembler {
    /// An assembler that writes into `out`; from where `from` has halted, and until it is time to halt.
    pub(super) fn new(
        window: Arc<Window>,
        progress: Arc<DumpProgress>,
        codec: watch::Receiver<Codec>,
        (from, until): (Option<(HaltedArchive, Bytes)>, Option<Instant>),
        out: SegmentSender,
    ) -> Result<Self, SliceError> {
        let (from, head) = match from {
            None => (None, HeldHead::new(out)),
            Some((from, bytes)) => {
                let head = HeldHead::resume(out, &from.stream, bytes)
                    .ok_or_else(|| torn("bytes of the leg before are missing"))?;
                (Some(from), head)
            }
        };
        let (positions, rows) =
            from.as_ref().map(|from| (from.positions.clone(), from.table.rows)).unwrap_or_default();
        Ok(Self {
            window,
            progress,
            codec,
            from,
            until,
            head,
            fields: HashMap::new(),
            positions,
            tables: Vec::new(),
            rows,
            joint: None,
            compressor: None,
            entries: Seen::default(),
            items: Seen::default(),
        })
    }

    /// Writes what comes, until nothing more comes or it is time to halt.
    pub(super) async fn write(mut self, mut items: mpsc::Receiver<Item>) -> Result<Assembly, SliceError> {
        while let Some(item) = items.recv().await {
            match item {
                Item::Header(bytes) => {
                    self.entries.length(&bytes);
                    self.write_entry(&bytes).await?;
                }
                Item::Entry(bytes) => {
                    self.entries.bytes(&bytes);
                    self.write_entry(&bytes).await?;
                }
                Item::EntriesEnd(offset_fields) => self.end_entries(offset_fields)?,
                item if self.is_passed_over() => self.pass_over(item)?,
                item => {
                    item.see(&mut self.items);
                    self.write_item(item).await?;
                    if self.until.is_some_and(|until| Instant::now() >= until) {
                        return Ok(self.halt());
                    }
                }
            }
        }
        if self.is_passed_over() {
            return Err(moved("its archive is shorter than it was"));
        }
        let Self { head, fields, positions, tables, .. } = self;
        Ok(Assembly::Whole(Box::new(Assembled { head, fields, positions, tables })))
    }

    /// Entries are in the stream already where another leg has halted.
    async fn write_entry(&mut self, bytes: &[u8]) -> Result<(), SliceError> {
        if self.from.is_some() { Ok(()) } else { self.head.write(bytes).await }
    }

    fn end_entries(&mut self, offset_fields: HashMap<i32, u64>) -> Result<(), SliceError> {
        self.fields = offset_fields;
        match &self.from {
            Some(from) if from.entries != self.entries.fingerprint() => {
                Err(moved("its table of contents is another one"))
            }
            Some(_) => Ok(()),
            None => {
                self.head.hold_until_here();
                Ok(())
            }
        }
    }

    /// Whether what comes next was written by another leg.
    fn is_passed_over(&self) -> bool {
        self.from.as_ref().is_some_and(|from| self.items.count() < from.items.count)
    }

    fn pass_over(&mut self, item: Item) -> Result<(), SliceError> {
        item.see(&mut self.items);
        let Some(from) = &self.from else { return Ok(()) };
        match item {
            Item::Rows(rows) => self.progress.wrote_unit(rows.bytes),
            Item::TableEnd(TableEnd { dump_id, schema, table, .. }) => {
                let rows = *from.rows.get(&dump_id).ok_or_else(|| torn("a table without its rows"))?;
                self.progress.read_rows(rows);
                self.progress.wrote_table();
                self.tables.push(TableRows { dump_id, schema, table, rows });
            }
            _ => {}
        }
        if self.items.count() == from.items.count {
            if self.items.fingerprint() != from.items {
                return Err(moved("its archive is another one"));
            }
            self.joint = from.table.joint.map(|checksum| Joint::resume(*self.codec.borrow(), checksum));
        }
        Ok(())
    }

    async fn write_item(&mut self, item: Item) -> Result<(), SliceError> {
        match item {
            Item::Header(_) | Item::Entry(_) | Item::EntriesEnd(_) => Ok(()),
            Item::Bytes(bytes) => self.head.write(&bytes).await,
            Item::Block(dump_id, bytes) => {
                let position = self.head.position();
                if !self.fields.contains_key(&dump_id) || self.positions.insert(dump_id, position).is_some() {
                    return Err(torn(&format!("a block for the entry {dump_id}")));
                }
                self.head.write(&bytes).await
            }
            Item::Rows(Rows { unit, bytes, .. }) => {
                self.write_rows(unit.ok_or_else(|| torn("rows that nobody reads"))?).await?;
                self.progress.wrote_unit(bytes);
                Ok(())
            }
            Item::TableEnd(end) => {
                let (dump_id, schema, table) = (end.dump_id, end.schema.clone(), end.table.clone());
                self.tables.push(TableRows { dump_id, schema, table, rows: std::mem::take(&mut self.rows) });
                self.end_table(end).await?;
                self.progress.wrote_table();
                Ok(())
            }
        }
    }

    /// Writes the rows of one unit.
    async fn write_rows(&mut self, mut unit: UnitIn) -> Result<(), SliceError> {
        self.window.turn_to(unit.number);
        while let Some(piece) = unit.pieces.recv().await {
            let piece = match piece {
                Pressing::Done(piece) => piece,
                Pressing::Working(piece) => {
                    let piece = piece.await.map_err(|error| not_compressed(&error))?;
                    piece.map_err(|error| not_compressed(&error))?
                }
                Pressing::Failed(error) => return Err(not_compressed(&error)),
            };
            if self.joint.is_none() {
                let begun = Joint::new(*self.codec.borrow());
                self.head.write(&begun.head()).await?;
                self.joint = Some(begun);
            }
            if let Some(joint) = &mut self.joint {
                joint.add(&piece);
            }
            self.head.write(&piece.chunk).await?;
            self.window.release(unit.number, piece.chunk.len());
            self.progress.wrote_piece(piece.raw_bytes);
        }
        match unit.rows.await {
            Ok(rows) => {
                self.progress.read_rows(rows);
                self.rows += rows;
                Ok(())
            }
            // Whoever was to read them has failed, and says why; this is not the place to guess.
            Err(_) => std::future::pending().await,
        }
    }

    async fn end_table(&mut self, end: TableEnd) -> Result<(), SliceError> {
        // A table without rows is what pg_dump took it for.
        let Some(mut joint) = self.joint.take() else { return self.head.write(&end.empty).await };
        if !end.trailer.is_empty() {
            let compressor = match &mut self.compressor {
                Some(compressor) => compressor,
                none => {
                    let made = Compressor::new(*self.codec.borrow());
                    none.insert(made.map_err(|error| not_compressed(&error))?)
                }
            };
            let piece = compressor.piece(&[], &end.trailer).map_err(|error| not_compressed(&error))?;
            joint.add(&piece);
            self.head.write(&piece.chunk).await?;
        }
        self.head.write(&joint.tail()).await
    }

    fn halt(self) -> Assembly {
        let (stream, bytes) = self.head.halt();
        let archive = HaltedArchive {
            entries: self.entries.fingerprint(),
            items: self.items.fingerprint(),
            stream,
            positions: self.positions,
            rows: rows_of(&self.tables),
            table: HaltedTable { rows: self.rows, joint: self.joint.map(|joint| joint.checksum()) },
        };
        Assembly::Halted(Box::new(archive), bytes)
    }
}

fn not_compressed(error: &dyn std::error::Error) -> SliceError {
    SliceError::transient(
        "dump_failed",
        format!("rows could not be compressed: {error}; check the worker's memory"),
    )
}

fn torn(what: &str) -> SliceError {
    let words = "this is a fault of Holdfast, please report it";
    SliceError::permanent(
        "dump_failed",
        format!("the archive of pg_dump was not understood: {what}; {words}"),
    )
}

#[cfg(test)]
mod tests {
    use holdfast_archive::pg_custom::{ArchiveReader, Event, write_int};

    use super::*;
    use crate::engines::{
        postgres::sample::{header, table_data},
        segments::channel,
    };

    /// Nobody has to write them: only positions say how much there is.
    #[tokio::test]
    async fn blocks_may_be_beyond_four_gibibytes() {
        let positions = BTreeMap::from([(7, 1234), (8, (1 << 32) + 5), (300, u64::MAX / 2)]);
        let mut bytes = Vec::new();
        header().write(&mut bytes);
        write_int(&mut bytes, 3);
        let mut fields = HashMap::new();
        for dump_id in positions.keys() {
            table_data(*dump_id).write(&mut bytes);
            fields.insert(*dump_id, bytes.len() as u64 - 9);
        }
        let (sender, mut segments) = channel("a key");
        let mut head = HeldHead::new(sender);
        head.write(&bytes).await.unwrap();
        head.hold_until_here();
        let assembled = Assembled { head, fields, positions: positions.clone(), tables: Vec::new() };
        let written = assembled.finish().await.unwrap();
        assert_eq!((written.head.bytes, written.entries), (bytes.len() as u64, 3));

        let mut archive = ArchiveReader::new();
        archive.push(&segments.next().await.unwrap().segment.bytes);
        let mut found = BTreeMap::new();
        while let Some((event, _)) = archive.next_event().unwrap() {
            if let Event::Entry { entry, .. } = event {
                let Offset::At(position) = entry.offset else { panic!("{:?}", entry.offset) };
                found.insert(entry.dump_id, position);
            }
        }
        assert_eq!(found, positions);
    }
}
