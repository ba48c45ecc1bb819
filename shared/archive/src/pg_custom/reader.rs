//! An archive taken apart as it arrives: `_WriteData` and its kin in `pg_backup_custom.c`.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    entry::{Entry, OFFSET_BYTES},
    fields::{Fields, Malformed, write_int},
    header::Header,
};

/// What a block holds (`BLK_*` in `pg_backup_archiver.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// The data of one entry.
    Data,
    /// Large objects, each with its own data.
    LargeObjects,
}

impl BlockKind {
    fn code(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::LargeObjects => 3,
        }
    }

    pub(super) fn of(code: u8) -> Result<Self, Malformed> {
        match code {
            1 => Ok(Self::Data),
            3 => Ok(Self::LargeObjects),
            other => Err(Malformed::Invalid(format!("a block of kind {other}"))),
        }
    }
}

/// What a block begins with.
pub fn block_head(kind: BlockKind, dump_id: i32) -> Vec<u8> {
    let mut out = vec![kind.code()];
    write_int(&mut out, dump_id);
    out
}

/// The next thing in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The header.
    Header(Header),
    /// How many entries follow.
    Entries(usize),
    /// An entry.
    Entry {
        /// It.
        entry: Box<Entry>,
        /// Where its offset field is, in bytes from the start of the archive.
        offset_field: u64,
    },
    /// A block begins.
    Block {
        /// What it holds.
        kind: BlockKind,
        /// Whose it is.
        dump_id: i32,
    },
    /// A large object begins; its OID.
    LargeObject(i32),
    /// Some of the data.
    Chunk(Bytes),
    /// The data of the entry, or of the large object, have ended.
    EndOfData,
    /// The block of large objects has ended.
    EndOfLargeObjects,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Header,
    Count,
    Entries(usize),
    Block,
    LargeObject,
    Chunk(BlockKind),
}

/// Takes an archive apart. Bytes go in with [`ArchiveReader::push`], events come out of [`ArchiveReader::next_event`].
#[derive(Debug)]
pub struct ArchiveReader {
    unread: BytesMut,
    position: u64,
    expected: Expected,
    header: Option<Header>,
}

impl ArchiveReader {
    /// A reader at the start of an archive.
    pub fn new() -> Self {
        Self { unread: BytesMut::new(), position: 0, expected: Expected::Header, header: None }
    }

    /// Adds the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// How many bytes the events so far were, from the start of the archive.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next event and the bytes that it is made of; none until there are more bytes.
    pub fn next_event(&mut self) -> Result<Option<(Event, Bytes)>, Malformed> {
        let mut fields = Fields::new(&self.unread);
        let (event, next) = match self.parse(&mut fields) {
            Ok(parsed) => parsed,
            Err(Malformed::Incomplete) => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = fields.position();
        self.position += length as u64;
        self.expected = next;
        let bytes = self.unread.split_to(length).freeze();
        let event = match event {
            Event::Header(header) => {
                self.header = Some(header.clone());
                Event::Header(header)
            }
            Event::Entry { entry, .. } => {
                Event::Entry { entry, offset_field: self.position - OFFSET_BYTES as u64 }
            }
            // A chunk is what follows its length, and shares its memory.
            Event::Chunk(_) => {
                let mut data = bytes.clone();
                data.advance(5);
                Event::Chunk(data)
            }
            event => event,
        };
        Ok(Some((event, bytes)))
    }

    /// Fails unless the bytes so far are a whole archive.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.expected == Expected::Block && self.unread.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Incomplete)
        }
    }

    fn parse(&self, fields: &mut Fields<'_>) -> Result<(Event, Expected), Malformed> {
        match self.expected {
            Expected::Header => Ok((Event::Header(Header::read(fields)?), Expected::Count)),
            Expected::Count => {
                let count = fields.length()?;
                Ok((Event::Entries(count), entries_left(count)))
            }
            Expected::Entries(left) => {
                let Some(header) = &self.header else { return Err(Malformed::Incomplete) };
                let entry = Box::new(Entry::read(header.version, fields)?);
                Ok((Event::Entry { entry, offset_field: 0 }, entries_left(left - 1)))
            }
            Expected::Block => {
                let kind = BlockKind::of(fields.byte()?)?;
                let next = match kind {
                    BlockKind::Data => Expected::Chunk(kind),
                    BlockKind::LargeObjects => Expected::LargeObject,
                };
                Ok((Event::Block { kind, dump_id: fields.int()? }, next))
            }
            Expected::LargeObject => match oid(fields)? {
                0 => Ok((Event::EndOfLargeObjects, Expected::Block)),
                oid => Ok((Event::LargeObject(oid), Expected::Chunk(BlockKind::LargeObjects))),
            },
            Expected::Chunk(kind) => match (fields.length()?, kind) {
                (0, BlockKind::Data) => Ok((Event::EndOfData, Expected::Block)),
                (0, BlockKind::LargeObjects) => Ok((Event::EndOfData, Expected::LargeObject)),
                (length, kind) => {
                    fields.take(length)?;
                    Ok((Event::Chunk(Bytes::new()), Expected::Chunk(kind)))
                }
            },
        }
    }
}

impl Default for ArchiveReader {
    fn default() -> Self {
        Self::new()
    }
}

fn entries_left(count: usize) -> Expected {
    if count == 0 { Expected::Block } else { Expected::Entries(count) }
}

/// The OID of a large object. An OID is unsigned and goes through `WriteInt` as a signed integer, so that those from 2^31
/// on come out negative; 2^31 itself has the magnitude that no other integer has.
pub(super) fn oid(fields: &mut Fields<'_>) -> Result<i32, Malformed> {
    let field = fields.take(5)?;
    let magnitude = u32::from_le_bytes([field[1], field[2], field[3], field[4]]);
    Ok(match field[0] {
        0 => magnitude.cast_signed(),
        _ => magnitude.cast_signed().wrapping_neg(),
    })
}
