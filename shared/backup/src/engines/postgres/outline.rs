//! `pg_dump`'s own archive, whose tables are empty, taken apart as it comes: what stays as it is, and where rows go.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use holdfast_archive::pg_custom::{
    ArchiveReader, BlockKind, Codec, Compression, Entry, Event, Malformed, decompress,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

use super::{
    progress::DumpProgress,
    ranges::{RANGES_SINCE, TableSize, divide},
    relay::{Reading, Recorded},
    statement::CopyStatement,
    unit::{Press, Unit, UnitIn, way},
    window::Window,
};
use crate::error::SliceError;

/// What a pipe holds, and so the most that one read gives.
const READ_BYTES: usize = 64 * 1024;

/// The most that `pg_dump` writes for an empty table, in bytes: `\.` and line ends.
const LONGEST_TRAILER: usize = 64;

/// What the archive is made of, in its order.
pub(super) enum Item {
    /// Bytes of `pg_dump`.
    Bytes(Bytes),
    /// All entries have come; where their offset fields are, by dump id.
    EntriesEnd(HashMap<i32, u64>),
    /// A block begins, with these bytes.
    Block(i32, Bytes),
    /// Rows of the block, and the bytes of the table that they stand for.
    Rows(UnitIn, u64),
    /// The block of a table ends.
    TableEnd(TableEnd),
}

/// What `pg_dump` has made of a table that it takes for empty.
pub(super) struct TableEnd {
    /// Its data, as they stand in the archive.
    pub(super) empty: Bytes,
    /// The same, not compressed: what follows the last row.
    pub(super) trailer: Vec<u8>,
}

/// Why the outline could not be read.
#[derive(Debug)]
pub(super) enum OutlineError {
    /// It is no archive, or not a whole one.
    Malformed(Malformed),
    /// It is an archive, and not the one that was expected.
    Unexpected(String),
    /// There is nowhere to go with it, and who is there knows why.
    Stopped,
    /// Anything else.
    Failed(SliceError),
}

impl From<Malformed> for OutlineError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// Where the parts of an outline go.
pub(super) struct Outline {
    pub(super) level: i32,
    pub(super) major: u32,
    pub(super) window: Arc<Window>,
    pub(super) recorded: mpsc::UnboundedReceiver<Recorded>,
    pub(super) units: mpsc::Sender<(Unit, Press)>,
    pub(super) items: mpsc::Sender<Item>,
    pub(super) progress: Arc<DumpProgress>,
    /// The codec is known from the header on.
    pub(super) codec: tokio::sync::watch::Sender<Codec>,
}

/// A table whose empty block is being read.
struct Table {
    dump_id: i32,
    chunks: Vec<Bytes>,
    raw: Vec<u8>,
}

impl Outline {
    /// Reads `output` to its end.
    pub(super) async fn read(mut self, mut output: impl AsyncRead + Unpin) -> Result<(), OutlineError> {
        let mut buffer = vec![0; READ_BYTES];
        let mut archive = ArchiveReader::new();
        let mut state = State::default();
        loop {
            let count = output.read(&mut buffer).await.map_err(|error| {
                OutlineError::Failed(SliceError::transient(
                    "dump_failed",
                    format!("the output of pg_dump broke: {error}"),
                ))
            })?;
            if count == 0 {
                break;
            }
            archive.push(&buffer[..count]);
            while let Some((event, bytes)) = archive.next_event()? {
                self.take(&mut state, event, bytes).await?;
            }
        }
        archive.finish()?;
        self.end_entries(&mut state).await
    }

    async fn take(&mut self, state: &mut State, event: Event, bytes: Bytes) -> Result<(), OutlineError> {
        match event {
            Event::Header(header) => {
                let codec = header.compression.at(self.level);
                state.compression = header.compression;
                state.press = Some(Press::new(codec, self.window.clone()));
                self.codec.send_replace(codec);
                self.send(Item::Bytes(bytes)).await
            }
            Event::Entries(_) => self.send(Item::Bytes(bytes)).await,
            Event::Entry { entry, offset_field } => {
                state.offset_fields.insert(entry.dump_id, offset_field);
                if entry.is_table_data() {
                    let Entry { dump_id, copy_statement, .. } = *entry;
                    state.tables.insert(dump_id, copy_statement.unwrap_or_default());
                }
                self.send(Item::Bytes(bytes)).await
            }
            Event::Block { kind, dump_id } => {
                self.end_entries(state).await?;
                if kind == BlockKind::Data && state.tables.contains_key(&dump_id) {
                    state.table = Some(Table { dump_id, chunks: Vec::new(), raw: Vec::new() });
                }
                self.send(Item::Block(dump_id, bytes)).await
            }
            Event::Chunk(chunk) if state.table.is_some() => {
                if let Some(table) = &mut state.table {
                    table.raw.extend_from_slice(&bytes);
                    table.chunks.push(chunk);
                    if table.raw.len() > 4 * LONGEST_TRAILER {
                        return Err(OutlineError::Unexpected("pg_dump has read rows by itself".to_owned()));
                    }
                }
                Ok(())
            }
            Event::EndOfData if state.table.is_some() => {
                let Some(mut table) = state.table.take() else { return Ok(()) };
                table.raw.extend_from_slice(&bytes);
                self.fill(state, table).await
            }
            Event::LargeObject(_) | Event::Chunk(_) | Event::EndOfData | Event::EndOfLargeObjects => {
                self.send(Item::Bytes(bytes)).await
            }
        }
    }

    /// The table of contents is complete with the first block, or with the end of an archive without blocks.
    async fn end_entries(&mut self, state: &mut State) -> Result<(), OutlineError> {
        if state.entries_ended {
            return Ok(());
        }
        state.entries_ended = true;
        self.progress.has_tables(state.tables.len() as u64);
        self.send(Item::EntriesEnd(std::mem::take(&mut state.offset_fields))).await
    }

    /// Has the rows of `table` read, and makes room for them.
    async fn fill(&mut self, state: &mut State, table: Table) -> Result<(), OutlineError> {
        let trailer = decompress(state.compression, &table.chunks, LONGEST_TRAILER + 1)?;
        if trailer.len() > LONGEST_TRAILER {
            return Err(OutlineError::Unexpected("pg_dump has read rows by itself".to_owned()));
        }
        let statement = self.statement_of(state, table.dump_id)?;
        let (Some(reading), Some(press)) = (&state.reading, &state.press) else {
            return Err(OutlineError::Unexpected(
                "pg_dump has written rows that it did not ask for".to_owned(),
            ));
        };
        let (reading, press) = (reading.clone(), press.clone());
        let size = self.size_of(&reading, &statement);
        let statements = divide(&statement, size);
        let share = size.unwrap_or_default().bytes / statements.len() as u64;
        for sql in statements {
            let (out, rows) = way(state.units);
            let unit = Unit { number: state.units, entry: table.dump_id, sql, reading: reading.clone(), out };
            state.units += 1;
            self.send(Item::Rows(rows, share)).await?;
            self.units.send((unit, press.clone())).await.map_err(|_| OutlineError::Stopped)?;
        }
        self.send(Item::TableEnd(TableEnd { empty: table.raw.into(), trailer })).await
    }

    /// The statement by which `pg_dump` has read the table: it asks in the order in which it writes, and has asked before
    /// it writes.
    fn statement_of(&mut self, state: &mut State, dump_id: i32) -> Result<CopyStatement, OutlineError> {
        let restoring = state.tables.remove(&dump_id).unwrap_or_default();
        loop {
            match self.recorded.try_recv() {
                Ok(Recorded::Reading(reading)) => {
                    self.progress.has_table_bytes(reading.table_bytes);
                    state.reading = Some(reading);
                }
                Ok(Recorded::Copy(statement)) if statement.feeds(&restoring) => return Ok(statement),
                Ok(Recorded::Copy(statement)) => {
                    return Err(OutlineError::Unexpected(format!(
                        "pg_dump has read {:?} and written it as {:?}",
                        statement.whole(),
                        String::from_utf8_lossy(&restoring)
                    )));
                }
                Err(_) => {
                    let words = "pg_dump has written a table that it did not ask for";
                    return Err(OutlineError::Unexpected(words.to_owned()));
                }
            }
        }
    }

    fn size_of(&self, reading: &Reading, statement: &CopyStatement) -> Option<TableSize> {
        let (schema, name) = statement.divisible().filter(|_| self.major >= RANGES_SINCE)?;
        reading.sizes.get(&(schema.to_owned(), name.to_owned())).copied()
    }

    async fn send(&self, item: Item) -> Result<(), OutlineError> {
        self.items.send(item).await.map_err(|_| OutlineError::Stopped)
    }
}

/// What is known of the archive so far.
struct State {
    compression: Compression,
    press: Option<Press>,
    reading: Option<Arc<Reading>>,
    offset_fields: HashMap<i32, u64>,
    entries_ended: bool,
    /// Entries whose rows are still to come, with the statements that will take them.
    tables: HashMap<i32, Bytes>,
    table: Option<Table>,
    /// Units so far.
    units: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            press: None,
            reading: None,
            offset_fields: HashMap::new(),
            entries_ended: false,
            tables: HashMap::new(),
            table: None,
            units: 0,
        }
    }
}
