//! `pg_dump`'s own archive, whose tables are empty, taken apart as it comes: what stays as it is, and where rows go.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use holdfast_archive::{
    checksum::Crc64Nvme,
    pg_custom::{ArchiveReader, BlockKind, Codec, Compression, Entry, Event, Malformed, decompress},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc::{self, error::TrySendError},
};

use super::{
    halt::Seen,
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

/// What `pg_dump` writes after the rows of a table, and all that it writes for an empty one.
const TRAILER: &[u8] = b"\\.\n\n\n";

/// The most that chunks with that are long.
const LONGEST_RAW: usize = 256;

/// What the archive is made of, in its order.
pub(super) enum Item {
    /// Its header, which has the time in it.
    Header(Bytes),
    /// An entry, or how many there are.
    Entry(Bytes),
    /// Bytes of `pg_dump` in a block.
    Bytes(Bytes),
    /// All entries have come; where their offset fields are, by dump id.
    EntriesEnd(HashMap<i32, u64>),
    /// A block begins, with these bytes.
    Block(i32, Bytes),
    /// Rows of the block.
    Rows(Rows),
    /// The block of a table ends.
    TableEnd(TableEnd),
}

/// Rows that one statement gives.
pub(super) struct Rows {
    /// Where they come from; nowhere if another leg has written them.
    pub(super) unit: Option<UnitIn>,
    /// The bytes of the table that they stand for.
    pub(super) bytes: u64,
    /// The checksum of the statement.
    statement: Crc64Nvme,
}

impl Item {
    /// Adds what it is known by again.
    pub(super) fn see(&self, seen: &mut Seen) {
        match self {
            Self::Header(bytes) | Self::Entry(bytes) | Self::Bytes(bytes) => seen.item(&[bytes]),
            Self::EntriesEnd(_) => seen.item(&[]),
            Self::Block(dump_id, bytes) => seen.item(&[&dump_id.to_be_bytes(), bytes]),
            Self::Rows(rows) => seen.item(&[rows.statement.to_string().as_bytes()]),
            Self::TableEnd(end) => seen.item(&[&end.dump_id.to_be_bytes()]),
        }
    }
}

/// What `pg_dump` has made of a table that it takes for empty.
pub(super) struct TableEnd {
    pub(super) dump_id: i32,
    /// Its schema and its name, in the encoding of the database.
    pub(super) schema: Bytes,
    pub(super) table: Bytes,
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

/// Small tables that one session is to read with one query: to ask for each of them and to wait takes longer than to read it.
#[derive(Default)]
pub(super) struct Pending {
    units: Vec<Unit>,
    /// Bytes of their statements.
    sql: usize,
    /// Bytes of their tables, on the server's disk.
    bytes: u64,
}

impl Pending {
    /// The most tables of a batch; few enough that all sessions have some.
    const UNITS: usize = 32;

    /// The most bytes of its statements.
    const SQL: usize = 64 * 1024;

    /// The most bytes of its tables.
    const BYTES: u64 = 1024 * 1024;

    /// Whether `unit`, of a table of so many bytes, can go along with the others.
    fn has_room(&self, unit: &Unit, bytes: u64) -> bool {
        self.units.is_empty()
            || self.units.len() < Self::UNITS
                && self.sql + unit.sql.len() <= Self::SQL
                && self.bytes.saturating_add(bytes) <= Self::BYTES
    }

    fn add(&mut self, unit: Unit, bytes: u64) {
        self.sql += unit.sql.len();
        self.bytes = self.bytes.saturating_add(bytes);
        self.units.push(unit);
    }
}

/// Where the parts of an outline go.
pub(super) struct Outline {
    pub(super) level: i32,
    pub(super) major: u32,
    pub(super) window: Arc<Window>,
    pub(super) recorded: mpsc::UnboundedReceiver<Recorded>,
    pub(super) batches: mpsc::Sender<Vec<Unit>>,
    pub(super) pending: Pending,
    pub(super) items: mpsc::Sender<Item>,
    pub(super) progress: Arc<DumpProgress>,
    /// The codec is known from the header on.
    pub(super) codec: tokio::sync::watch::Sender<Codec>,
    /// How many items after the entries another leg has written: their rows are not read.
    pub(super) passed: u64,
}

/// A table as its entry has it.
#[derive(Default)]
struct Announced {
    schema: Bytes,
    table: Bytes,
    definition: Bytes,
    /// The statement that will take the rows.
    restoring: Bytes,
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
            // Nobody knows when pg_dump writes more.
            self.send_batch().await?;
        }
        archive.finish()?;
        self.end_entries(&mut state).await?;
        self.ended(&state)
    }

    /// Nothing that was announced or read may be missing: that would be a dump without the rows of a table.
    fn ended(&mut self, state: &State) -> Result<(), OutlineError> {
        if !state.tables.is_empty() {
            let words = format!("pg_dump has announced the rows of {} more tables", state.tables.len());
            return Err(OutlineError::Unexpected(words));
        }
        while let Ok(recorded) = self.recorded.try_recv() {
            if let Recorded::Copy(statement) = recorded {
                let whole = statement.whole();
                let words =
                    format!("pg_dump has read {:?} and not written it", String::from_utf8_lossy(&whole));
                return Err(OutlineError::Unexpected(words));
            }
        }
        Ok(())
    }

    async fn take(&mut self, state: &mut State, event: Event, bytes: Bytes) -> Result<(), OutlineError> {
        match event {
            Event::Header(header) => {
                let codec = header.compression.at(self.level).map_err(Malformed::from)?;
                state.compression = header.compression;
                state.press = Some(Press::new(codec, self.window.clone()));
                self.codec.send_replace(codec);
                self.send(Item::Header(bytes)).await
            }
            Event::Entries(_) => self.send(Item::Entry(bytes)).await,
            Event::Entry { entry, offset_field } => {
                state.offset_fields.insert(entry.dump_id, offset_field);
                if entry.is_table_data() {
                    let Entry { dump_id, definition, copy_statement, namespace, tag, .. } = *entry;
                    let announced = Announced {
                        schema: namespace.unwrap_or_default(),
                        table: tag.unwrap_or_default(),
                        definition: definition.unwrap_or_default(),
                        restoring: copy_statement.unwrap_or_default(),
                    };
                    state.tables.insert(dump_id, announced);
                }
                self.send(Item::Entry(bytes)).await
            }
            Event::Block { kind, dump_id } => {
                self.end_entries(state).await?;
                if kind == BlockKind::Data && state.tables.contains_key(&dump_id) {
                    state.table = Some(Table { dump_id, chunks: Vec::new(), raw: Vec::new() });
                }
                self.send_item(state, Item::Block(dump_id, bytes)).await
            }
            Event::Chunk(chunk) if state.table.is_some() => {
                if let Some(table) = &mut state.table {
                    table.raw.extend_from_slice(&bytes);
                    table.chunks.push(chunk);
                    if table.raw.len() > LONGEST_RAW {
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
                self.send_item(state, Item::Bytes(bytes)).await
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
        // One byte more than is right shows what is wrong.
        let trailer = decompress(state.compression, &table.chunks, TRAILER.len() + 1)?;
        if trailer != TRAILER {
            return Err(OutlineError::Unexpected("pg_dump has read rows by itself".to_owned()));
        }
        let announced = state.tables.remove(&table.dump_id).unwrap_or_default();
        let statement = self.statement_of(state, &announced)?;
        let (Some(reading), Some(press)) = (&state.reading, &state.press) else {
            return Err(OutlineError::Unexpected(
                "pg_dump has written rows that it did not ask for".to_owned(),
            ));
        };
        let (reading, press) = (reading.clone(), press.clone());
        let size = size_of(&reading, &statement);
        let statements = divide(&statement, size.filter(|_| self.major >= RANGES_SINCE));
        let (bytes, count) = (size.unwrap_or_default().bytes, statements.len() as u64);
        for (at, sql) in (0..).zip(statements) {
            // All of them together are the table, to the byte.
            let share = bytes / count + u64::from(at < bytes % count);
            let statement = Crc64Nvme::of(&sql);
            if state.items < self.passed {
                self.send_item(state, Item::Rows(Rows { unit: None, bytes: share, statement })).await?;
                continue;
            }
            let (out, rows) = way(state.units);
            let (reading, press) = (reading.clone(), press.clone());
            let unit = Unit { number: state.units, entry: table.dump_id, sql, reading, press, out };
            state.units += 1;
            let rows = Rows { unit: Some(rows), bytes: share, statement };
            self.send_item(state, Item::Rows(rows)).await?;
            // A part of a table is read alone, and so is what may be of any size.
            let weight = if count == 1 { size.map_or(u64::MAX, |size| size.bytes) } else { u64::MAX };
            if !self.pending.has_room(&unit, weight) {
                self.send_batch().await?;
            }
            self.pending.add(unit, weight);
        }
        let (Announced { schema, table: name, .. }, Table { dump_id, raw, .. }) = (announced, table);
        let end = TableEnd { dump_id, schema, table: name, empty: raw.into(), trailer };
        self.send_item(state, Item::TableEnd(end)).await
    }

    /// The statement by which `pg_dump` has read the table: it asks in the order in which it writes, and has asked before
    /// it writes.
    fn statement_of(
        &mut self,
        state: &mut State,
        announced: &Announced,
    ) -> Result<CopyStatement, OutlineError> {
        let Announced { definition, restoring, .. } = announced;
        loop {
            match self.recorded.try_recv() {
                Ok(Recorded::Reading(reading)) => {
                    self.progress.has_table_bytes(reading.sizes.table_bytes);
                    state.reading = Some(reading);
                }
                Ok(Recorded::Copy(statement)) if statement.feeds(definition, restoring) => {
                    return Ok(statement);
                }
                Ok(Recorded::Copy(statement)) => {
                    return Err(OutlineError::Unexpected(format!(
                        "pg_dump has read {:?} and written it as {:?}",
                        String::from_utf8_lossy(&statement.whole()),
                        String::from_utf8_lossy(restoring)
                    )));
                }
                Err(_) => {
                    let words = "pg_dump has written a table that it did not ask for";
                    return Err(OutlineError::Unexpected(words.to_owned()));
                }
            }
        }
    }

    /// Has what is pending read.
    async fn send_batch(&mut self) -> Result<(), OutlineError> {
        let Pending { units, .. } = std::mem::take(&mut self.pending);
        if units.is_empty() {
            return Ok(());
        }
        self.batches.send(units).await.map_err(|_| OutlineError::Stopped)
    }

    /// Sends an item that comes after the entries.
    async fn send_item(&mut self, state: &mut State, item: Item) -> Result<(), OutlineError> {
        state.items += 1;
        self.send(item).await
    }

    async fn send(&mut self, item: Item) -> Result<(), OutlineError> {
        match self.items.try_send(item) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(OutlineError::Stopped),
            Err(TrySendError::Full(item)) => {
                // The one that is written may be among those that are pending.
                self.send_batch().await?;
                self.items.send(item).await.map_err(|_| OutlineError::Stopped)
            }
        }
    }
}

fn size_of(reading: &Reading, statement: &CopyStatement) -> Option<TableSize> {
    let (schema, name) = statement.divisible()?;
    reading.sizes.divisible.get(&(Bytes::copy_from_slice(schema), Bytes::copy_from_slice(name))).copied()
}

/// What is known of the archive so far.
struct State {
    compression: Compression,
    press: Option<Press>,
    reading: Option<Arc<Reading>>,
    offset_fields: HashMap<i32, u64>,
    entries_ended: bool,
    /// Entries whose rows are still to come.
    tables: HashMap<i32, Announced>,
    table: Option<Table>,
    /// Items after the entries so far.
    items: u64,
    /// Units that are read so far.
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
            items: 0,
            units: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_archive::pg_custom::{block_head, chunk, end_of_data, write_int};
    use rstest::rstest;

    use super::*;
    use crate::engines::postgres::{
        sample::{header, table_data},
        statement::Statement,
        view::{Sizes, View},
    };

    const COPY: &str = "COPY public.t (a) TO stdout;";
    const OTHER: &str = "COPY public.u (a) TO stdout;";

    /// An archive with one table, whose block has these data.
    fn archive(data: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        header().write(&mut bytes);
        write_int(&mut bytes, 1);
        let copy_statement = Some("COPY public.t (a) FROM stdin;\n".into());
        Entry { copy_statement, ..table_data(7) }.write(&mut bytes);
        if let Some(data) = data {
            bytes.extend(block_head(BlockKind::Data, 7));
            bytes.extend(chunk(data));
            bytes.extend(end_of_data());
        }
        bytes
    }

    #[rstest]
    #[case::right(Some(TRAILER), &[COPY], None)]
    #[case::no_block(None, &[], Some("announced the rows of 1 more"))]
    #[case::nothing_read(Some(TRAILER), &[], Some("did not ask for"))]
    #[case::read_twice(Some(TRAILER), &[COPY, COPY], Some("and not written it"))]
    #[case::another_table(Some(TRAILER), &[OTHER], Some("and written it as"))]
    #[case::rows(Some(&b"1\n2\n\\.\n\n\n"[..]), &[COPY], Some("rows by itself"))]
    #[case::another_end(Some(&b"\\.\n\n"[..]), &[COPY], Some("rows by itself"))]
    #[tokio::test]
    async fn every_table_is_read_and_written(
        #[case] data: Option<&[u8]>,
        #[case] copied: &[&str],
        #[case] words: Option<&str>,
    ) {
        let (recorded_sender, recorded) = mpsc::unbounded_channel();
        let view = View {
            startup: Bytes::new(),
            settings: Vec::new(),
            snapshot: Bytes::new(),
            moment: Bytes::new(),
            process: Bytes::new(),
        };
        let (late_settings, sizes) = (Vec::new(), Sizes::default());
        let reading = Reading { view: Arc::new(view), late_settings, sizes };
        recorded_sender.send(Recorded::Reading(Arc::new(reading))).unwrap();
        for sql in copied {
            let Ok(Statement::Copy(statement)) = Statement::of(sql.as_bytes()) else { panic!("{sql}") };
            recorded_sender.send(Recorded::Copy(statement)).unwrap();
        }
        let ((batches, _batches), (items, _items)) = (mpsc::channel(8), mpsc::channel(16));
        let outline = Outline {
            level: 1,
            major: 15,
            window: Arc::default(),
            recorded,
            batches,
            pending: Pending::default(),
            items,
            progress: Arc::default(),
            codec: tokio::sync::watch::channel(Codec::None).0,
            passed: 0,
        };
        match (outline.read(&archive(data)[..]).await, words) {
            (Ok(()), None) => {}
            (Err(OutlineError::Unexpected(said)), Some(words)) => assert!(said.contains(words), "{said}"),
            (outcome, _) => panic!("{outcome:?}"),
        }
    }
}
