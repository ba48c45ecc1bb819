use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;

use super::{ManifestCounts, ManifestError, ManifestHeader, ManifestLine, ManifestSource};

/// The size of the pieces that compressed lines are kept in, in bytes. A single vector would be copied, and be
/// in memory twice, each time it grew.
const PIECE_BYTES: usize = 256 * 1024;

/// The size of the chunks that a manifest is given back in, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Lines of 400 bytes become about 90, most of them checksums, which do not compress: higher levels take longer
/// and more memory than they save.
const COMPRESSION_LEVEL: i32 = 1;

/// Collects the lines of a manifest, compressed in memory, until all of them are known.
///
/// The header comes first in the manifest and counts the lines, and the tar's header for it has its length:
/// neither is known before the last line.
pub struct ManifestBuffer {
    encoder: zstd::Encoder<'static, Pieces>,
    /// The line being written, kept for its memory.
    line: Vec<u8>,
    line_bytes: u64,
    counts: ManifestCounts,
}

impl ManifestBuffer {
    /// A buffer without lines.
    pub fn new() -> Result<Self, ManifestError> {
        let encoder =
            zstd::Encoder::new(Pieces::default(), COMPRESSION_LEVEL).map_err(ManifestError::Buffer)?;
        Ok(Self { encoder, line: Vec::new(), line_bytes: 0, counts: ManifestCounts::default() })
    }

    /// Adds the next line.
    pub fn push(&mut self, line: &ManifestLine) -> Result<(), ManifestError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(ManifestError::Encode)?;
        self.line.push(b'\n');
        self.encoder.write_all(&self.line).map_err(ManifestError::Buffer)?;
        self.line_bytes += self.line.len() as u64;
        self.counts.add(line);
        Ok(())
    }

    /// The lines so far.
    pub fn counts(&self) -> ManifestCounts {
        self.counts
    }

    /// The manifest, its header first.
    pub fn finish(self, source: ManifestSource) -> Result<ManifestChunks, ManifestError> {
        let header = ManifestHeader::new(source, self.counts);
        let mut first = serde_json::to_vec(&header).map_err(ManifestError::Encode)?;
        first.push(b'\n');
        let pieces = self.encoder.finish().map_err(ManifestError::Buffer)?;
        let lines = zstd::Decoder::with_buffer(pieces).map_err(ManifestError::Buffer)?;
        Ok(ManifestChunks {
            total_bytes: first.len() as u64 + self.line_bytes,
            given_bytes: 0,
            counts: self.counts,
            first: Some(first.into()),
            lines: Some(lines),
        })
    }
}

impl std::fmt::Debug for ManifestBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManifestBuffer").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// A finished manifest in chunks; memory is freed as they are taken.
pub struct ManifestChunks {
    total_bytes: u64,
    given_bytes: u64,
    counts: ManifestCounts,
    first: Option<Bytes>,
    lines: Option<zstd::Decoder<'static, Pieces>>,
}

impl ManifestChunks {
    /// The length of the whole manifest in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// What the manifest's header counts.
    pub fn counts(&self) -> ManifestCounts {
        self.counts
    }

    fn next_lines(&mut self) -> Result<Option<Bytes>, ManifestError> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        lines.take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map_err(ManifestError::Buffer)?;
        if !chunk.is_empty() {
            return Ok(Some(chunk.into()));
        }
        self.lines = None;
        if self.given_bytes != self.total_bytes {
            let (expected, actual) = (self.total_bytes, self.given_bytes);
            return Err(ManifestError::BufferLength { expected, actual });
        }
        Ok(None)
    }
}

impl Iterator for ManifestChunks {
    type Item = Result<Bytes, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.next_lines(),
        };
        match &chunk {
            Ok(Some(chunk)) => self.given_bytes += chunk.len() as u64,
            Ok(None) => {}
            Err(_) => self.lines = None,
        }
        chunk.transpose()
    }
}

impl std::fmt::Debug for ManifestChunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut chunks = f.debug_struct("ManifestChunks");
        chunks.field("total_bytes", &self.total_bytes).field("given_bytes", &self.given_bytes);
        chunks.field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// Bytes in pieces, written at the back and read from the front; what was read is freed.
#[derive(Default)]
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    read_of_front: usize,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.pieces.back().map_or(0, |piece| piece.capacity() - piece.len());
        if room == 0 {
            self.pieces.push_back(Vec::with_capacity(PIECE_BYTES));
        }
        let Some(back) = self.pieces.back_mut() else { return Ok(0) };
        let taken = bytes.len().min(back.capacity() - back.len());
        back.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.pieces.front().map_or(&[], |front| &front[self.read_of_front..]))
    }

    fn consume(&mut self, bytes: usize) {
        self.read_of_front += bytes;
        if self.pieces.front().is_some_and(|front| front.len() == self.read_of_front) {
            self.pieces.pop_front();
            self.read_of_front = 0;
        }
    }
}
