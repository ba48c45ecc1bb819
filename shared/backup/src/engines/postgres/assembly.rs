//! The archive, put together in its order.

use std::{collections::HashMap, sync::Arc};

use holdfast_archive::pg_custom::{Codec, Compressor, Joint, Offset};
use tokio::sync::{mpsc, watch};

use super::{
    outline::{Item, TableEnd},
    progress::DumpProgress,
    unit::{Pressing, UnitIn},
    window::Window,
};
use crate::{
    engines::segments::{HeldHead, SegmentSender},
    error::SliceError,
};

/// An archive that lacks nothing but its beginning, which is held back until all positions are known.
pub(super) struct Assembled {
    head: HeldHead,
    positions: Vec<(u64, u64)>,
}

impl Assembled {
    /// Sends the beginning.
    pub(super) async fn finish(self) -> Result<(), SliceError> {
        let patch = |(field, position)| (field, Offset::At(position).to_bytes().to_vec());
        let patches: Vec<_> = self.positions.into_iter().map(patch).collect();
        self.head.finish(&patches).await
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
        let mut positions = Vec::new();
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
                    let field = fields.get(&dump_id).ok_or_else(|| torn(&format!("no entry {dump_id}")))?;
                    positions.push((*field, head.position()));
                    head.write(&bytes).await?;
                }
                Item::Rows(unit, table_bytes) => {
                    self.write_rows(unit, &mut joint, &mut head).await?;
                    self.progress.wrote_unit(table_bytes);
                }
                Item::TableEnd(end) => {
                    self.end_table(end, joint.take(), &mut compressor, &mut head).await?;
                    self.progress.wrote_table();
                }
            }
        }
        Ok(Assembled { head, positions })
    }

    async fn write_rows(
        &self,
        mut unit: UnitIn,
        joint: &mut Option<Joint>,
        head: &mut HeldHead,
    ) -> Result<(), SliceError> {
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
                Ok(())
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
