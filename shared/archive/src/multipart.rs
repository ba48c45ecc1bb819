//! The part layout of an S3 multipart upload whose length is not known when it starts.
//!
//! S3 allows [10,000 parts of 5 MiB to 5 GiB](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html),
//! the last one of any size. A dump does not tell its length beforehand, so parts start small (a worker holds
//! a few of them in memory at once) and grow with their number, so that 10,000 of them hold about 219 GiB.

use bytes::{Bytes, BytesMut};

use crate::checksum::{Crc64Nvme, Crc64NvmeHasher};

/// The most parts an upload may have, S3's limit.
pub const MAX_PARTS: u32 = 10_000;

/// The most bytes an object may have: 50 TB. The [limit](https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html) is
/// given as 48.8 TiB too, which is a little more; what keeps within the smaller figure is never refused at its end. (Until
/// December 2025 it was 5 TiB.)
pub const MAX_OBJECT_BYTES: u64 = 50_000_000_000_000;

/// The fewest bytes a part may have unless it is the last, S3's limit.
pub const MIN_PART_BYTES: usize = 5 * MIB;

/// The most bytes an upload can hold in this layout.
pub const MAX_STREAM_BYTES: u64 = layout_bytes();

const MIB: usize = 1024 * 1024;

/// The last part of each size, and that size in bytes.
///
/// A worker holds up to five parts (one filling, four in flight): at most 160 MiB of its 256 MiB.
const LAYOUT: [(u32, usize); 3] = [(2_000, 8 * MIB), (5_000, 16 * MIB), (MAX_PARTS, 32 * MIB)];

const _: () = assert!(LAYOUT[0].1 >= MIN_PART_BYTES, "every part but the last holds at least 5 MiB");

/// The bytes of part `number`, unless it is the last; `None` if an upload has no such part.
pub fn part_bytes(number: u32) -> Option<usize> {
    (number >= 1).then(|| LAYOUT.iter().find(|(last, _)| number <= *last).map(|(_, bytes)| *bytes)).flatten()
}

/// Where part `number` begins in the stream, in bytes; `None` if an upload has no such part.
pub fn part_offset(number: u32) -> Option<u64> {
    part_bytes(number)?;
    let (mut offset, mut before) = (0, 0);
    for (last, bytes) in LAYOUT {
        let parts = (number - 1).min(last) - before;
        offset += u64::from(parts) * bytes as u64;
        before += parts;
    }
    Some(offset)
}

/// One part of an upload: bytes, their place and their checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The part number, from 1.
    pub number: u32,
    /// The part's bytes.
    pub bytes: Bytes,
    /// Their checksum.
    pub crc64nvme: Crc64Nvme,
}

/// The stream is longer than an upload can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stream is longer than {MAX_STREAM_BYTES} bytes, the most that the {MAX_PARTS} parts of one upload hold: \
     divide it between several services, such as one for each prefix or database"
)]
pub struct TooManyParts;

/// What a [`PartBuffer`] ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEnd {
    /// The last segment, unless the stream ended exactly where a part did. An empty stream has one empty
    /// segment, for S3 completes no upload without a part.
    pub last: Option<Segment>,
    /// The bytes of the whole stream.
    pub bytes: u64,
    /// The checksum of the whole stream, to compare with what S3 reports at completion.
    pub crc64nvme: Crc64Nvme,
}

/// Where a [`PartBuffer`] was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltedBuffer {
    /// The part that is filling.
    pub number: u32,
    /// The checksum of all parts before it.
    pub cut_crc64nvme: Crc64Nvme,
    /// What it holds so far.
    pub filling: Bytes,
}

/// Cuts a byte stream into segments of the layout.
///
/// Bytes are copied once, into the part they belong to; [`PartBuffer::push_bytes`] saves that copy where a
/// piece covers a whole part.
#[derive(Debug)]
pub struct PartBuffer {
    number: u32,
    filling: BytesMut,
    hasher: Crc64NvmeHasher,
    cut_bytes: u64,
    cut_crc64nvme: Crc64Nvme,
}

impl PartBuffer {
    /// A buffer at the start of a stream.
    pub fn new() -> Self {
        Self {
            number: 1,
            filling: BytesMut::new(),
            hasher: Crc64NvmeHasher::new(),
            cut_bytes: 0,
            cut_crc64nvme: Crc64Nvme::EMPTY,
        }
    }

    /// A buffer at the place where `halted` was taken.
    pub fn resume(halted: HaltedBuffer) -> Self {
        let HaltedBuffer { number, cut_crc64nvme, filling } = halted;
        let mut hasher = Crc64NvmeHasher::new();
        hasher.update(&filling);
        let mut memory = BytesMut::new();
        if !filling.is_empty() {
            memory.reserve(part_bytes(number).unwrap_or_default());
            memory.extend_from_slice(&filling);
        }
        let cut_bytes = part_offset(number).unwrap_or(MAX_STREAM_BYTES);
        Self { number, filling: memory, hasher, cut_bytes, cut_crc64nvme }
    }

    /// Stops in the middle of the stream, to go on elsewhere.
    pub fn halt(self) -> HaltedBuffer {
        let Self { number, filling, cut_crc64nvme, .. } = self;
        HaltedBuffer { number, cut_crc64nvme, filling: filling.freeze() }
    }

    /// Adds the next bytes of the stream; returns the parts that they fill, in order. After an error the
    /// stream is lost: abort its upload.
    pub fn push(&mut self, mut data: &[u8]) -> Result<Vec<Segment>, TooManyParts> {
        let mut segments = Vec::new();
        while !data.is_empty() {
            let whole = part_bytes(self.number).ok_or(TooManyParts)?;
            if self.filling.capacity() == 0 {
                self.filling = BytesMut::with_capacity(whole);
            }
            let (head, rest) = data.split_at(data.len().min(whole - self.filling.len()));
            self.filling.extend_from_slice(head);
            self.hasher.update(head);
            if self.filling.len() == whole {
                let bytes = std::mem::take(&mut self.filling).freeze();
                segments.push(self.cut(bytes));
            }
            data = rest;
        }
        Ok(segments)
    }

    /// As [`PartBuffer::push`], but a part that lies wholly within `data` shares its memory.
    pub fn push_bytes(&mut self, mut data: Bytes) -> Result<Vec<Segment>, TooManyParts> {
        let mut segments = Vec::new();
        while !data.is_empty() {
            let whole = part_bytes(self.number).ok_or(TooManyParts)?;
            let head = data.split_to(data.len().min(whole - self.filling.len()));
            if head.len() == whole {
                self.hasher.update(&head);
                segments.push(self.cut(head));
            } else {
                segments.extend(self.push(&head)?);
            }
        }
        Ok(segments)
    }

    /// Ends the stream.
    pub fn finish(mut self) -> StreamEnd {
        let last = (!self.filling.is_empty() || self.number == 1).then(|| {
            let bytes = std::mem::take(&mut self.filling).freeze();
            self.cut(bytes)
        });
        StreamEnd { last, bytes: self.cut_bytes, crc64nvme: self.cut_crc64nvme }
    }

    fn cut(&mut self, bytes: Bytes) -> Segment {
        let segment =
            Segment { number: self.number, crc64nvme: std::mem::take(&mut self.hasher).finish(), bytes };
        let length = segment.bytes.len() as u64;
        self.number += 1;
        self.cut_bytes += length;
        self.cut_crc64nvme = Crc64Nvme::combine(self.cut_crc64nvme, segment.crc64nvme, length);
        segment
    }
}

impl Default for PartBuffer {
    fn default() -> Self {
        Self::new()
    }
}

const fn layout_bytes() -> u64 {
    let (mut total, mut before, mut step) = (0, 0, 0);
    while step < LAYOUT.len() {
        let (last, bytes) = LAYOUT[step];
        total += (last - before) as u64 * bytes as u64;
        before = last;
        step += 1;
    }
    total
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_part_zero(0, None)]
    #[case::first(1, Some(8 * MIB))]
    #[case::last_small(2_000, Some(8 * MIB))]
    #[case::first_middle(2_001, Some(16 * MIB))]
    #[case::last_middle(5_000, Some(16 * MIB))]
    #[case::first_large(5_001, Some(32 * MIB))]
    #[case::last_of_all(10_000, Some(32 * MIB))]
    #[case::beyond(10_001, None)]
    fn parts_grow_with_their_number(#[case] number: u32, #[case] bytes: Option<usize>) {
        assert_eq!(part_bytes(number), bytes);
    }

    #[test]
    fn the_layout_holds_what_its_parts_add_up_to() {
        let total: u64 = (1..=MAX_PARTS).filter_map(part_bytes).map(|bytes| bytes as u64).sum();
        assert_eq!(total, MAX_STREAM_BYTES);
        assert_eq!(MAX_STREAM_BYTES, 224_000 * 1024 * 1024);
    }

    #[test]
    fn a_part_begins_where_the_one_before_ends() {
        let mut offset = 0;
        for number in 1..=MAX_PARTS {
            assert_eq!(part_offset(number), Some(offset));
            offset += part_bytes(number).unwrap() as u64;
        }
        assert_eq!((part_offset(0), part_offset(MAX_PARTS + 1)), (None, None));
    }

    #[test]
    fn an_empty_stream_is_one_empty_segment() {
        let end = PartBuffer::new().finish();
        let last = Segment { number: 1, bytes: Bytes::new(), crc64nvme: Crc64Nvme::EMPTY };
        assert_eq!(end, StreamEnd { last: Some(last), bytes: 0, crc64nvme: Crc64Nvme::EMPTY });
    }

    #[test]
    fn a_stream_that_ends_where_a_part_does_has_no_further_segment() {
        let mut buffer = PartBuffer::new();
        let segments = buffer.push(&vec![7; 8 * MIB]).unwrap();
        assert_eq!(segments.len(), 1);
        let end = buffer.finish();
        assert_eq!(end.last, None);
        assert_eq!(end.crc64nvme, segments[0].crc64nvme);
    }

    #[test]
    fn a_piece_that_covers_a_part_is_not_copied() {
        let piece = Bytes::from(vec![7; 20 * MIB]);
        let segments = PartBuffer::new().push_bytes(piece.clone()).unwrap();
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[0].bytes.as_ptr(), piece.as_ptr());
        assert_eq!(segments[1].bytes.as_ptr(), piece[8 * MIB..].as_ptr());
    }

    #[rstest]
    #[case::nothing(0)]
    #[case::within_a_part(9 * MIB + 7)]
    #[case::where_a_part_ends(16 * MIB)]
    fn a_stream_goes_on_where_it_was_halted(#[case] before: usize) {
        let stream: Vec<u8> = (0..20 * MIB).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut whole = PartBuffer::new();
        let mut expected = whole.push(&stream).unwrap();
        let mut halted = PartBuffer::new();
        let mut segments = halted.push(&stream[..before]).unwrap();
        let mut resumed = PartBuffer::resume(halted.halt());
        segments.extend(resumed.push(&stream[before..]).unwrap());
        let (end, expected_end) = (resumed.finish(), whole.finish());
        assert_eq!(end, expected_end);
        segments.extend(end.last);
        expected.extend(expected_end.last);
        assert_eq!(segments, expected);
    }

    #[test]
    fn a_part_keeps_its_memory_from_its_first_byte_to_its_segment() {
        let mut buffer = PartBuffer::new();
        buffer.push(b"first").unwrap();
        let memory = buffer.filling.as_ptr();
        let segments = buffer.push(&vec![7; 8 * MIB]).unwrap();
        assert_eq!(segments[0].bytes.as_ptr(), memory);
    }

    #[test]
    fn the_part_after_the_last_is_refused_and_says_what_to_do() {
        let mut buffer = PartBuffer { number: MAX_PARTS, ..PartBuffer::new() };
        let piece = Bytes::from(vec![0; 32 * MIB]);
        let segments = buffer.push_bytes(piece).unwrap();
        assert_eq!(segments[0].number, 10_000);
        assert_eq!(buffer.push(b"one more"), Err(TooManyParts));
        assert_eq!(buffer.push_bytes(Bytes::from_static(b"one more")), Err(TooManyParts));
        let text = TooManyParts.to_string();
        assert!(text.contains("234881024000 bytes"), "{text}");
        assert!(text.contains("divide it between several services"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn segments_are_the_stream_in_the_layout(
            pieces in prop::collection::vec((0..9 * MIB, any::<bool>()), 0..6),
        ) {
            let stream: Vec<u8> = (0..=250).cycle().take(pieces.iter().map(|(bytes, _)| bytes).sum()).collect();
            let mut buffer = PartBuffer::new();
            let mut segments = Vec::new();
            let mut at = 0;
            for (bytes, shared) in pieces {
                let piece = &stream[at..at + bytes];
                at += bytes;
                segments.extend(if shared {
                    buffer.push_bytes(Bytes::copy_from_slice(piece)).unwrap()
                } else {
                    buffer.push(piece).unwrap()
                });
            }
            for segment in &segments {
                prop_assert_eq!(Some(segment.bytes.len()), part_bytes(segment.number));
            }
            let end = buffer.finish();
            segments.extend(end.last);
            for (segment, number) in segments.iter().zip(1..) {
                prop_assert_eq!(segment.number, number);
                prop_assert_eq!(segment.crc64nvme, Crc64Nvme::of(&segment.bytes));
            }
            prop_assert!(segments.iter().map(|segment| &segment.bytes[..]).collect::<Vec<_>>().concat() == stream);
            prop_assert_eq!(end.bytes, stream.len() as u64);
            prop_assert_eq!(end.crc64nvme, Crc64Nvme::of(&stream));
        }
    }
}
