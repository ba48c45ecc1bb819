//! Blocks by themselves: where they are, and what is in them.

use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom};

use super::{
    codec::Compression,
    contents::ReadError,
    fields::{Fields, Malformed},
    reader::BlockKind,
};

/// Bytes of an integer.
pub(super) const INT_BYTES: usize = 5;

/// A block that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// What it holds.
    pub kind: BlockKind,
    /// Whose it is.
    pub dump_id: i32,
    /// Where it begins, in bytes from the start of the archive.
    pub position: u64,
    /// How long it is, head and end included, in bytes.
    pub bytes: u64,
}

/// The blocks of an archive that is `length` bytes long, from `start`, which is the end of its table of contents. Data are
/// passed over; that each chunk is followed by another one, and the last by the end of the archive, is checked.
pub fn find_blocks(from: impl Read + Seek, start: u64, length: u64) -> Result<Vec<Block>, ReadError> {
    let mut walk = Walk { from: BufReader::with_capacity(64 * 1024, from), at: start, length };
    walk.from.seek(SeekFrom::Start(start))?;
    let mut blocks = Vec::new();
    while walk.at < length {
        let position = walk.at;
        let code = walk.byte()?;
        let kind = BlockKind::of(code)?;
        let dump_id = walk.int()?;
        match kind {
            BlockKind::Data => walk.pass_data()?,
            BlockKind::LargeObjects => {
                // An OID from 2^31 on is no integer of the usual kind; only none at all counts here.
                while walk.field()? != [0; INT_BYTES] {
                    walk.pass_data()?;
                }
            }
        }
        blocks.push(Block { kind, dump_id, position, bytes: walk.at - position });
    }
    Ok(blocks)
}

struct Walk<R> {
    from: BufReader<R>,
    at: u64,
    length: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn byte(&mut self) -> Result<u8, ReadError> {
        let mut byte = [0];
        self.take(&mut byte)?;
        Ok(byte[0])
    }

    fn field(&mut self) -> Result<[u8; INT_BYTES], ReadError> {
        let mut field = [0; INT_BYTES];
        self.take(&mut field)?;
        Ok(field)
    }

    fn int(&mut self) -> Result<i32, ReadError> {
        Ok(Fields::new(&self.field()?).int()?)
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), ReadError> {
        self.from.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Malformed(Malformed::Incomplete),
            _ => ReadError::Unreadable(error),
        })?;
        self.at += into.len() as u64;
        Ok(())
    }

    fn pass_data(&mut self) -> Result<(), ReadError> {
        loop {
            let length = Fields::new(&self.field()?).length()?;
            if length == 0 {
                return Ok(());
            }
            self.at += length as u64;
            if self.at > self.length {
                return Err(Malformed::Incomplete.into());
            }
            // The length of a chunk fits into an i32.
            self.from.seek_relative(i64::try_from(length).unwrap_or(i64::MAX))?;
        }
    }
}

/// The data of a block, decompressed as they are read. An end is only told where the compressed data end as well, and their
/// checksum is right, if they have one.
pub struct BlockData<R: Read>(Decoder<R>);

enum Decoder<R: Read> {
    None(Chunks<R>),
    Zlib(Inflate<R>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<Chunks<R>>>),
}

impl<R: Read> BlockData<R> {
    /// The data of the block of `dump_id`, which begins where `from` does.
    pub fn open(compression: Compression, dump_id: i32, mut from: R) -> io::Result<Self> {
        let mut head = [0; 1 + INT_BYTES];
        from.read_exact(&mut head)?;
        let kind = BlockKind::of(head[0]).map_err(invalid)?;
        let found = Fields::new(&head[1..]).int().map_err(invalid)?;
        if (kind, found) != (BlockKind::Data, dump_id) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the block of entry {found} is where that of {dump_id} should be"),
            ));
        }
        Self::of_chunks(compression, from)
    }

    /// The data whose first chunk begins where `from` does.
    pub(super) fn of_chunks(compression: Compression, from: R) -> io::Result<Self> {
        let chunks = Chunks { from, left: 0, ended: false, taken: 0 };
        Ok(Self(match compression {
            Compression::None => Decoder::None(chunks),
            Compression::Zlib { .. } => Decoder::Zlib(Inflate {
                from: BufReader::with_capacity(64 * 1024, chunks),
                stream: flate2::Decompress::new(true),
                ended: false,
            }),
            Compression::Zstd => {
                let chunks = BufReader::with_capacity(128 * 1024, chunks);
                Decoder::Zstd(zstd::stream::read::Decoder::with_buffer(chunks)?)
            }
            Compression::Lz4 => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "LZ4 is not decompressed here"));
            }
        }))
    }

    /// How many bytes of the archive were taken so far.
    pub fn taken(&self) -> u64 {
        match &self.0 {
            Decoder::None(chunks) => chunks.taken,
            Decoder::Zlib(inflate) => inflate.from.get_ref().taken,
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref().taken,
        }
    }
}

impl<R: Read> Read for BlockData<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Decoder::None(chunks) => chunks.read(into),
            Decoder::Zlib(inflate) => inflate.read(into),
            Decoder::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// A zlib stream. `flate2`'s own readers take one that is cut off for one that has ended.
struct Inflate<R> {
    from: BufReader<Chunks<R>>,
    stream: flate2::Decompress,
    ended: bool,
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty() {
            let input = self.from.fill_buf()?;
            if self.ended {
                return match input {
                    [] => Ok(0),
                    _ => Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "something follows the end of the data",
                    )),
                };
            }
            let is_last = input.is_empty();
            let (read, written) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, into, flate2::FlushDecompress::None)?;
            let (read, written) = (self.stream.total_in() - read, self.stream.total_out() - written);
            // Neither is more than there was.
            self.from.consume(usize::try_from(read).unwrap_or(usize::MAX));
            self.ended = status == flate2::Status::StreamEnd;
            if written > 0 {
                return Ok(usize::try_from(written).unwrap_or(usize::MAX));
            }
            if is_last && !self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

/// The chunks of a block, joined.
struct Chunks<R> {
    from: R,
    left: usize,
    ended: bool,
    taken: u64,
}

impl<R: Read> Read for Chunks<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut field = [0; INT_BYTES];
            self.from.read_exact(&mut field)?;
            self.taken += field.len() as u64;
            self.left = Fields::new(&field).length().map_err(invalid)?;
            self.ended = self.left == 0;
        }
        let most = into.len().min(self.left);
        if most == 0 {
            return Ok(0);
        }
        let some = self.from.read(&mut into[..most])?;
        if some == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= some;
        self.taken += some as u64;
        Ok(some)
    }
}

pub(super) fn invalid(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
