//! A dump in legs: some tables at a time, each time by a program of its own, and at last everything else.
//!
//! What each writes is a whole dump, with its head and its last line, and one after the other they are SQL as well: of another
//! form than one dump of everything, and with the same in it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    access::Access,
    dump::{self, Part},
    questions::{self, Sized},
    rows::RowCounts,
};
use crate::{
    engines::{
        Halt, moved,
        segments::{HaltedStream, SegmentSender, SegmentWriter},
    },
    error::SliceError,
};

/// Bytes of tables that one program dumps, unless they are of one table.
pub(super) const BATCH_BYTES: u64 = 256 * 1024 * 1024;

/// A database of fewer batches is dumped as a whole: it fits into one invocation.
const BATCHES: u64 = 16;

/// The most tables of a batch, and the most of a database that is dumped in legs: they are arguments of a program.
const BATCH_TABLES: usize = 1_000;
const TABLES: usize = 10_000;

/// A dump in legs.
pub(super) struct Legs<'a> {
    pub(super) access: &'a Access,
    /// All tables, in their order.
    pub(super) tables: Vec<Sized>,
    pub(super) batch_bytes: u64,
}

/// A dump that has halted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HaltedDump {
    /// Who makes it: the versions of server and program.
    made_by: [String; 2],
    /// The moment of its data.
    pub(super) taken_at: DateTime<Utc>,
    /// Tables that are of no moment.
    pub(super) outside: Vec<String>,
    /// What the database was like when it was begun.
    standing: String,
    /// How many of its tables are dumped.
    done: usize,
    /// How many rows they have, if that was understood of each.
    pub(super) counts: Option<RowCounts>,
    stream: Option<HaltedStream>,
}

impl HaltedDump {
    /// A dump of which nothing is done.
    pub(super) fn begun(
        made_by: [String; 2],
        taken_at: DateTime<Utc>,
        outside: Vec<String>,
        standing: String,
    ) -> Self {
        let counts = Some(RowCounts::default());
        Self { made_by, taken_at, outside, standing, done: 0, counts, stream: None }
    }

    /// The one that has halted there, if it can go on.
    pub(super) fn of(halt: &Halt, made_by: &[String; 2], standing: &str) -> Result<Self, SliceError> {
        let halted: Self = halt.read()?;
        if halted.made_by != *made_by {
            return Err(SliceError::permanent(
                "dump_not_resumed",
                format!(
                    "the dump was begun with {:?} and would go on with {made_by:?}: the worker or the server was changed meanwhile; \
                     start a new backup",
                    halted.made_by
                ),
            ));
        }
        halted.check(standing)?;
        Ok(halted)
    }

    fn check(&self, standing: &str) -> Result<(), SliceError> {
        if self.standing == standing {
            Ok(())
        } else {
            Err(moved("rows were written, or tables were altered"))
        }
    }

    fn count(&mut self, more: Option<RowCounts>) {
        self.counts = self.counts.take().zip(more).map(|(mut counts, more)| {
            counts.0.extend(more.0);
            counts
        });
    }
}

/// How far a leg came.
pub(super) enum Ended {
    Whole(HaltedDump),
    Halted(Halt),
}

impl Legs<'_> {
    /// Whether so many tables of so many bytes are dumped in legs.
    pub(super) fn are_worth_it(&self) -> bool {
        let bytes: u64 = self.tables.iter().map(|table| table.bytes).sum();
        self.tables.len() <= TABLES && bytes > self.batch_bytes.saturating_mul(BATCHES)
    }

    /// Goes on from `dump`, with the bytes of its stream that are no segment yet, until it is time to halt.
    pub(super) async fn go_on(
        &self,
        mut dump: HaltedDump,
        bytes: Bytes,
        until: Instant,
        out: SegmentSender,
    ) -> Result<Ended, SliceError> {
        let mut writer = match dump.stream {
            None => SegmentWriter::new(out),
            Some(stream) => SegmentWriter::resume(out, stream, bytes),
        };
        let names: Vec<String> = self.tables.iter().map(|sized| sized.table.clone()).collect();
        while dump.done < names.len() {
            let batch = self.batch(dump.done);
            let part = Part::Tables(&names[dump.done..dump.done + batch]);
            let (written, counts) = dump::to_segments(self.access, part, writer).await?;
            writer = written;
            dump.count(counts);
            dump.done += batch;
            if Instant::now() >= until {
                let (stream, bytes) = writer.halt();
                dump.stream = Some(stream);
                return Ok(Ended::Halted(Halt::at(&dump, bytes)?));
            }
        }
        let (writer, counts) = dump::to_segments(self.access, Part::AllBut(&names), writer).await?;
        dump.count(counts);
        // Nothing of the last part is sent before this is known.
        dump.check(&questions::standing(self.access).await?)?;
        writer.finish().await?;
        Ok(Ended::Whole(dump))
    }

    /// How many tables go together, from `first` on.
    fn batch(&self, first: usize) -> usize {
        let mut bytes = 0;
        let fit = self.tables.iter().skip(first).take(BATCH_TABLES).take_while(|table| {
            bytes += table.bytes;
            bytes <= self.batch_bytes
        });
        fit.count().max(1)
    }
}
