use bytes::Bytes;

use super::{
    Frame, ManifestCounts, ManifestError, ManifestHeader, ManifestIndex, ManifestLine, ManifestSource,
};

/// The lines of a frame, in bytes before they are compressed; a frame is unpacked to find one line of it.
const FRAME_BYTES: usize = 512 * 1024;

/// Lines of 400 bytes become about 100, most of them checksums, which do not compress: higher levels take longer
/// and more memory than they save.
const COMPRESSION_LEVEL: i32 = 1;

/// Packs the lines of a manifest into frames, as they come.
///
/// The header comes first in the manifest and counts the lines, so it is a frame of its own that is made last. Memory:
/// one frame, and about 100 bytes of the index for each frame of some thousand lines.
#[derive(Debug, Default)]
pub struct ManifestFrames {
    lines: Vec<u8>,
    first: Option<String>,
    count: u32,
    index: ManifestIndex,
    counts: ManifestCounts,
    line_bytes: u64,
}

impl ManifestFrames {
    /// A manifest without lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next line; returns the frame that it fills.
    pub fn push(&mut self, line: &ManifestLine) -> Result<Option<Bytes>, ManifestError> {
        let before = self.lines.len();
        serde_json::to_writer(&mut self.lines, line).map_err(ManifestError::Encode)?;
        self.lines.push(b'\n');
        self.line_bytes += (self.lines.len() - before) as u64;
        self.first.get_or_insert_with(|| line.key().to_owned());
        self.count += 1;
        self.counts.add(line);
        if self.lines.len() < FRAME_BYTES { Ok(None) } else { self.pack() }
    }

    /// The lines so far.
    pub fn counts(&self) -> ManifestCounts {
        self.counts
    }

    /// Ends the manifest.
    pub fn finish(mut self, source: ManifestSource) -> Result<ManifestEnd, ManifestError> {
        let last = self.pack()?;
        let header = ManifestHeader::new(source, self.counts);
        let mut header_line = serde_json::to_vec(&header).map_err(ManifestError::Encode)?;
        header_line.push(b'\n');
        let header = packed(&header_line)?;
        self.index.header_bytes = header.len() as u64;
        let index_frame = self.index.to_frame()?;
        Ok(ManifestEnd {
            total_bytes: header_line.len() as u64 + self.line_bytes,
            header_line: header_line.into(),
            header,
            last,
            index: self.index,
            index_frame,
            counts: self.counts,
        })
    }

    fn pack(&mut self) -> Result<Option<Bytes>, ManifestError> {
        let Some(first) = self.first.take() else { return Ok(None) };
        let frame = packed(&self.lines)?;
        self.lines.clear();
        let lines = std::mem::take(&mut self.count);
        self.index.frames.push(Frame { bytes: frame.len() as u64, lines, first });
        Ok(Some(frame))
    }
}

/// What ends a manifest.
///
/// Compressed it is `header`, then every frame that [`ManifestFrames::push`] gave, then `last` and `index_frame`.
/// Uncompressed it is `header_line`, and what every frame but the index [`unpack`]s to.
#[derive(Debug)]
pub struct ManifestEnd {
    /// The length of the manifest in bytes, uncompressed.
    pub total_bytes: u64,
    /// The first line.
    pub header_line: Bytes,
    /// The first line, packed.
    pub header: Bytes,
    /// The last frame of lines, unless the lines ended where a frame did.
    pub last: Option<Bytes>,
    /// Where the frames are.
    pub index: ManifestIndex,
    /// The index, as a frame that `zstd` passes over.
    pub index_frame: Bytes,
    /// What the header counts.
    pub counts: ManifestCounts,
}

/// The lines of a frame, or of several laid end to end.
pub fn unpack(frames: &[u8]) -> Result<Vec<u8>, ManifestError> {
    zstd::decode_all(frames).map_err(ManifestError::Frame)
}

fn packed(lines: &[u8]) -> Result<Bytes, ManifestError> {
    let mut frame = zstd::bulk::compress(lines, COMPRESSION_LEVEL).map_err(ManifestError::Frame)?;
    // It was as large as the worst case.
    frame.shrink_to_fit();
    Ok(frame.into())
}
