//! A stream whose beginning is sent last, because it says where everything else is.

use bytes::{Bytes, BytesMut};
use holdfast_archive::{
    checksum::Crc64Nvme,
    multipart::{HaltedBuffer, PartBuffer, Segment, part_bytes, part_offset},
};
use serde::{Deserialize, Serialize};

use super::{HaltedStream, SegmentSender};
use crate::error::SliceError;

/// The head of a stream, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentHead {
    /// How many bytes it has.
    pub bytes: u64,
    /// Their checksum.
    pub crc64nvme: Crc64Nvme,
}

/// Where a stream was halted. Its bytes stand elsewhere: those of the segments that are held back, and of the one that fills.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltedHead {
    /// Where it stands.
    at: HaltedStream,
    /// Where the head ends, once that is known.
    head_end: Option<u64>,
    /// How many segments are held back, from the first one on.
    held: u32,
}

/// Cuts a stream into segments and sends them, all but those that hold its head.
#[derive(Debug)]
pub struct HeldHead {
    parts: PartBuffer,
    out: SegmentSender,
    /// Bytes that were written.
    position: u64,
    /// Bytes that were cut into segments.
    cut: u64,
    /// Where the head ends, once that is known.
    head_end: Option<u64>,
    held: Vec<(u64, Segment)>,
}

impl HeldHead {
    /// A stream that has not begun.
    pub fn new(out: SegmentSender) -> Self {
        Self { parts: PartBuffer::new(), out, position: 0, cut: 0, head_end: None, held: Vec::new() }
    }

    /// A stream where `halted` was taken. None if `bytes` are not those that came with it.
    pub fn resume(out: SegmentSender, halted: &HaltedHead, mut bytes: Bytes) -> Option<Self> {
        let mut held = Vec::new();
        for number in 1..=halted.held {
            let (start, length) = (part_offset(number)?, part_bytes(number)?);
            if bytes.len() < length {
                return None;
            }
            let bytes = bytes.split_to(length);
            held.push((start, Segment { number, crc64nvme: Crc64Nvme::of(&bytes), bytes }));
        }
        let HaltedHead { at: HaltedStream { number, cut_crc64nvme }, head_end, .. } = *halted;
        let cut = part_offset(number)?;
        let position = cut + bytes.len() as u64;
        let parts = PartBuffer::resume(HaltedBuffer { number, cut_crc64nvme, filling: bytes });
        Some(Self { parts, out, position, cut, head_end, held })
    }

    /// Stops in the middle of the stream, to go on elsewhere.
    pub fn halt(self) -> (HaltedHead, Bytes) {
        let HaltedBuffer { number, cut_crc64nvme, filling } = self.parts.halt();
        let held = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let mut bytes = BytesMut::with_capacity(filling.len());
        for (_, segment) in self.held {
            bytes.extend_from_slice(&segment.bytes);
        }
        bytes.extend_from_slice(&filling);
        let at = HaltedStream { number, cut_crc64nvme };
        (HaltedHead { at, head_end: self.head_end, held }, bytes.freeze())
    }

    /// How many bytes were written.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Everything up to here is the head.
    pub fn hold_until_here(&mut self) {
        self.head_end = Some(self.position);
    }

    /// Adds the next bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SliceError> {
        self.position += bytes.len() as u64;
        for segment in self.parts.push(bytes)? {
            self.send_or_hold(segment).await?;
        }
        Ok(())
    }

    /// Ends the stream: replaces bytes of its head at these positions, and sends what was held back. Returns the head as it
    /// is then.
    pub async fn finish(mut self, patches: &[(u64, Vec<u8>)]) -> Result<SentHead, SliceError> {
        let end = std::mem::take(&mut self.parts).finish();
        if let Some(last) = end.last {
            self.send_or_hold(last).await?;
        }
        let end = self.head_end.unwrap_or(self.position);
        let mut head = SentHead { bytes: 0, crc64nvme: Crc64Nvme::EMPTY };
        let mut segments = Vec::new();
        for (start, segment) in self.held {
            let segment = patched(start, segment, patches);
            let length = (segment.bytes.len() as u64).min(end - start);
            let part = &segment.bytes[..usize::try_from(length).unwrap_or(usize::MAX)];
            head.crc64nvme = Crc64Nvme::combine(head.crc64nvme, Crc64Nvme::of(part), length);
            head.bytes += length;
            segments.push(segment);
        }
        // The first segment last: until then, nobody can mistake what is there for a whole.
        for segment in segments.into_iter().rev() {
            self.out.send(segment).await?;
        }
        Ok(head)
    }

    async fn send_or_hold(&mut self, segment: Segment) -> Result<(), SliceError> {
        let start = self.cut;
        self.cut += segment.bytes.len() as u64;
        if self.head_end.is_none_or(|end| start < end) {
            self.held.push((start, segment));
        } else {
            self.out.send(segment).await?;
        }
        Ok(())
    }
}

/// `segment`, which begins at `start`, with those bytes replaced that the patches have for it.
fn patched(start: u64, segment: Segment, patches: &[(u64, Vec<u8>)]) -> Segment {
    let Segment { number, bytes, .. } = segment;
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    for (position, patch) in patches {
        for (byte, at) in patch.iter().zip(*position..) {
            let place = at.checked_sub(start).and_then(|place| usize::try_from(place).ok());
            if let Some(place) = place.and_then(|place| bytes.get_mut(place)) {
                *place = *byte;
            }
        }
    }
    let bytes = bytes.freeze();
    Segment { number, crc64nvme: Crc64Nvme::of(&bytes), bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::segments::channel;

    const MIB: usize = 1024 * 1024;

    /// The stream, whose head is what it was said to be, and the numbers of its segments as they came.
    async fn sent(head_bytes: usize, total: usize, patches: Vec<(u64, Vec<u8>)>) -> (Vec<u8>, Vec<u32>) {
        let (sender, mut receiver) = channel("a key");
        let writing = async move {
            let mut stream = HeldHead::new(sender);
            stream.write(&vec![1; head_bytes]).await.unwrap();
            stream.hold_until_here();
            stream.write(&vec![2; total - head_bytes]).await.unwrap();
            assert_eq!(stream.position(), total as u64);
            stream.finish(&patches).await.unwrap()
        };
        let receiving = async {
            let mut segments = Vec::new();
            while let Some(held) = receiver.next().await {
                assert_eq!(held.segment.crc64nvme, Crc64Nvme::of(&held.segment.bytes));
                segments.push(held.segment);
            }
            segments
        };
        let (head, mut segments) = tokio::join!(writing, receiving);
        let numbers = segments.iter().map(|segment| segment.number).collect();
        segments.sort_by_key(|segment| segment.number);
        let stream: Vec<u8> = segments.iter().flat_map(|segment| segment.bytes.to_vec()).collect();
        let crc64nvme = Crc64Nvme::of(&stream[..head_bytes]);
        assert_eq!(head, SentHead { bytes: head_bytes as u64, crc64nvme });
        (stream, numbers)
    }

    #[tokio::test]
    async fn the_segments_of_the_head_come_last() {
        assert_eq!(sent(MIB, 30 * MIB, vec![]).await.1, [2, 3, 4, 1]);
        assert_eq!(sent(9 * MIB, 30 * MIB, vec![]).await.1, [3, 4, 2, 1]);
        assert_eq!(sent(8 * MIB, 30 * MIB, vec![]).await.1, [2, 3, 4, 1]);
        assert_eq!(sent(100, 200, vec![]).await.1, [1]);
        assert_eq!(sent(0, 0, vec![]).await.1, [1]);
    }

    #[tokio::test]
    async fn a_stream_goes_on_where_it_was_halted() {
        let stream: Vec<u8> = (0..30 * MIB).map(|at| u8::try_from(at % 251).unwrap()).collect();
        // In the head, where it ends, and after it; within a segment, and where one ends.
        for (head_end, halted_at) in
            [(9 * MIB, MIB), (9 * MIB, 9 * MIB), (9 * MIB, 16 * MIB), (100, 20 * MIB)]
        {
            let (sender, mut receiver) = channel("a key");
            let mut before = HeldHead::new(sender.clone());
            before.write(&stream[..head_end.min(halted_at)]).await.unwrap();
            if halted_at >= head_end {
                before.hold_until_here();
                before.write(&stream[head_end..halted_at]).await.unwrap();
            }
            let (halted, bytes) = before.halt();
            let written = serde_json::to_string(&halted).unwrap();
            let halted = serde_json::from_str(&written).unwrap();
            assert!(
                HeldHead::resume(sender.clone(), &halted, bytes.slice(..bytes.len() / 2)).is_none()
                    || halted.held == 0
            );
            let mut after = HeldHead::resume(sender, &halted, bytes).unwrap();
            assert_eq!(after.position(), halted_at as u64);
            if halted_at < head_end {
                after.write(&stream[halted_at..head_end]).await.unwrap();
                after.hold_until_here();
            }
            after.write(&stream[halted_at.max(head_end)..]).await.unwrap();
            let head = after.finish(&[]).await.unwrap();
            let crc64nvme = Crc64Nvme::of(&stream[..head_end]);
            assert_eq!(head, SentHead { bytes: head_end as u64, crc64nvme });
            let mut segments = Vec::new();
            while let Some(held) = receiver.next().await {
                segments.push(held.segment);
            }
            segments.sort_by_key(|segment| segment.number);
            assert_eq!(segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
            let sent: Vec<u8> = segments.iter().flat_map(|segment| segment.bytes.to_vec()).collect();
            assert!(sent == stream);
        }
    }

    #[tokio::test]
    async fn the_head_is_patched_across_segments() {
        let edge = 8 * MIB;
        let patches = vec![(3, vec![7; 4]), (edge as u64 - 2, vec![8; 5])];
        let (stream, _) = sent(9 * MIB, 30 * MIB, patches).await;
        assert_eq!(stream.len(), 30 * MIB);
        assert_eq!(stream[..9], [1, 1, 1, 7, 7, 7, 7, 1, 1]);
        assert_eq!(stream[edge - 3..edge + 4], [1, 8, 8, 8, 8, 8, 1]);
    }
}
