//! The archive, put together in its order.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use holdfast_archive::pg_custom::{Codec, Compressor, Joint, Offset};
use tokio::sync::{mpsc, watch};

use super::{
    outline::{Item, TableEnd},
    progress::DumpProgress,
    unit::{Pressing, UnitIn},
    window::Window,
    written::{TableRows, Written},
};
use crate::{
    engines::segments::{HeldHead, SegmentSender},
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

/// Puts an archive together.
pub(super) struct Assembly {
    pub(super) window: Arc<Window>,
    pub(super) progress: Arc<DumpProgress>,
    pub(super) codec: watch::Receiver<Codec>,
}

impl Assembly {
    /// Writes what comes into `out`, until nothing more comes.
    pub(super) async fn write(
        self,
        mut items: mpsc::Receiver<Item>,
        out: SegmentSender,
    ) -> Result<Assembled, SliceError> {
        let mut head = HeldHead::new(out);
        let mut fields = HashMap::new();
        let (mut positions, mut tables) = (BTreeMap::new(), Vec::new());
        let mut rows = 0;
        let mut joint: Option<Joint> = None;
        let mut compressor = None;
        while let Some(item) = items.recv().await {
            match item {
                Item::Bytes(bytes) => head.write(&bytes).await?,
                Item::EntriesEnd(offset_fields) => {
                    fields = offset_fields;
                    head.hold_until_here();
                }
                Item::Block(dump_id, bytes) => {
                    if !fields.contains_key(&dump_id) || positions.insert(dump_id, head.position()).is_some()
                    {
                        return Err(torn(&format!("a block for the entry {dump_id}")));
                    }
                    head.write(&bytes).await?;
                }
                Item::Rows(unit, table_bytes) => {
                    rows += self.write_rows(unit, &mut joint, &mut head).await?;
                    self.progress.wrote_unit(table_bytes);
                }
                Item::TableEnd(end) => {
                    let TableEnd { dump_id, schema, table, .. } = &end;
                    let (dump_id, schema, table) = (*dump_id, schema.clone(), table.clone());
                    tables.push(TableRows { dump_id, schema, table, rows: std::mem::take(&mut rows) });
                    self.end_table(end, joint.take(), &mut compressor, &mut head).await?;
                    self.progress.wrote_table();
                }
            }
        }
        Ok(Assembled { head, fields, positions, tables })
    }

    /// Writes the rows of one unit; says how many they are.
    async fn write_rows(
        &self,
        mut unit: UnitIn,
        joint: &mut Option<Joint>,
        head: &mut HeldHead,
    ) -> Result<u64, SliceError> {
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
            if joint.is_none() {
                let begun = Joint::new(*self.codec.borrow());
                head.write(&begun.head()).await?;
                *joint = Some(begun);
            }
            if let Some(joint) = joint {
                joint.add(&piece);
            }
            head.write(&piece.chunk).await?;
            self.window.release(unit.number, piece.chunk.len());
            self.progress.wrote_piece(piece.raw_bytes);
        }
        match unit.rows.await {
            Ok(rows) => {
                self.progress.read_rows(rows);
                Ok(rows)
            }
            // Whoever was to read them has failed, and says why; this is not the place to guess.
            Err(_) => std::future::pending().await,
        }
    }

    async fn end_table(
        &self,
        end: TableEnd,
        joint: Option<Joint>,
        compressor: &mut Option<Compressor>,
        head: &mut HeldHead,
    ) -> Result<(), SliceError> {
        // A table without rows is what pg_dump took it for.
        let Some(mut joint) = joint else { return head.write(&end.empty).await };
        if !end.trailer.is_empty() {
            let compressor = match compressor {
                Some(compressor) => compressor,
                none => {
                    let made = Compressor::new(*self.codec.borrow());
                    none.insert(made.map_err(|error| not_compressed(&error))?)
                }
            };
            let piece = compressor.piece(&[], &end.trailer).map_err(|error| not_compressed(&error))?;
            joint.add(&piece);
            head.write(&piece.chunk).await?;
        }
        head.write(&joint.tail()).await
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
