use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ManifestError;

/// The magic number of a frame that decoders pass over.
/// <https://github.com/facebook/zstd/blob/dev/doc/zstd_compression_format.md#skippable-frames>
const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();

/// The last bytes of a compressed manifest, after the length of the index.
const MARK: [u8; 8] = *b"HFINDEX1";

/// How many of a compressed manifest's last bytes usually hold the whole index.
pub const INDEX_TAIL_BYTES: u64 = 256 * 1024;

/// The magic number and length before the index, in bytes.
const BEFORE_BYTES: usize = 8;
/// The length and mark after it, in bytes.
const AFTER_BYTES: usize = 12;

/// Where the frames of a compressed manifest are.
///
/// It is the last frame itself, one that `zstd` passes over: JSON, its length in four bytes (little-endian), and eight
/// bytes of a mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestIndex {
    /// The length of the first frame, which has only the manifest's header.
    pub header_bytes: u64,
    /// The frames of lines, one after the other.
    pub frames: Vec<Frame>,
}

/// A frame of lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its length in bytes, compressed.
    pub bytes: u64,
    /// How many lines it has.
    pub lines: u32,
    /// The key of its first line.
    pub first: String,
}

impl ManifestIndex {
    /// The index, if `tail`, the last bytes of a compressed manifest, has all of it; otherwise how many of the last bytes
    /// that needs.
    pub fn from_tail(tail: &[u8]) -> Result<Result<Self, u64>, ManifestError> {
        let (rest, mark) = tail.split_last_chunk::<8>().ok_or(ManifestError::NoIndex)?;
        let (rest, length) = rest.split_last_chunk::<4>().ok_or(ManifestError::NoIndex)?;
        if *mark != MARK {
            return Err(ManifestError::NoIndex);
        }
        let length = u32::from_le_bytes(*length) as usize;
        match rest.len().checked_sub(length) {
            Some(start) => serde_json::from_slice(&rest[start..]).map(Ok).map_err(|_| ManifestError::NoIndex),
            None => Ok(Err((length + AFTER_BYTES) as u64)),
        }
    }

    /// The bytes of frame `number`, from 0, within the compressed manifest.
    pub fn range(&self, number: usize) -> Option<Range<u64>> {
        let frame = self.frames.get(number)?;
        let start = self.header_bytes + self.frames[..number].iter().map(|frame| frame.bytes).sum::<u64>();
        Some(start..start + frame.bytes)
    }

    /// The frame that a line with this key would be in, or the first one after it: lines are in the order of their keys.
    pub fn frame_of(&self, key: &str) -> usize {
        self.frames.partition_point(|frame| frame.first.as_str() <= key).saturating_sub(1)
    }

    pub(super) fn to_frame(&self) -> Result<Bytes, ManifestError> {
        let json = serde_json::to_vec(self).map_err(ManifestError::Encode)?;
        let too_long = |_| ManifestError::Frame(std::io::Error::other("the index is longer than 4 GiB"));
        let length = u32::try_from(json.len()).map_err(too_long)?;
        let content = u32::try_from(json.len() + AFTER_BYTES).map_err(too_long)?;
        let mut frame = Vec::with_capacity(BEFORE_BYTES + json.len() + AFTER_BYTES);
        frame.extend_from_slice(&SKIPPABLE);
        frame.extend_from_slice(&content.to_le_bytes());
        frame.extend_from_slice(&json);
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&MARK);
        Ok(frame.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(frames: usize) -> ManifestIndex {
        let frame =
            |number: usize| Frame { bytes: 10 + number as u64, lines: 3, first: format!("{number:05}") };
        ManifestIndex { header_bytes: 100, frames: (0..frames).map(frame).collect() }
    }

    #[test]
    fn an_index_reads_back_from_the_end_of_what_it_ends() {
        let index = index(3);
        let mut file = b"frames before it".to_vec();
        file.extend_from_slice(&index.to_frame().unwrap());
        assert_eq!(ManifestIndex::from_tail(&file).unwrap(), Ok(index.clone()));
        let Err(needed) = ManifestIndex::from_tail(&file[file.len() - 20..]).unwrap() else {
            panic!("too few")
        };
        let tail = &file[file.len() - usize::try_from(needed).unwrap()..];
        assert_eq!(ManifestIndex::from_tail(tail).unwrap(), Ok(index));
    }

    #[test]
    fn what_does_not_end_in_an_index_is_refused() {
        for tail in [&b""[..], b"HFINDEX1", b"something else altogether", b"{}x\x03\0\0\0HFINDEX1"] {
            assert!(matches!(ManifestIndex::from_tail(tail), Err(ManifestError::NoIndex)), "{tail:?}");
        }
    }

    #[test]
    fn frames_lie_end_to_end_and_are_found_by_key() {
        let index = index(3);
        assert_eq!(index.range(0), Some(100..110));
        assert_eq!(index.range(2), Some(121..133));
        assert_eq!(index.range(3), None);
        let found = ["", "00000", "00000x", "00001", "00002x", "x"].map(|key| index.frame_of(key));
        assert_eq!(found, [0, 0, 0, 1, 2, 2]);
    }
}
