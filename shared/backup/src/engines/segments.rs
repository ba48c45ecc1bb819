//! The way from an engine to the upload: bounded in bytes, closed from either end.

mod held_head;

use std::sync::Arc;

use bytes::Bytes;
use holdfast_archive::{
    checksum::Crc64Nvme,
    multipart::{HaltedBuffer, PartBuffer, Segment, TooManyParts},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub use held_head::{HaltedHead, HeldHead, SentHead};

use crate::{
    error::SliceError,
    ports::{PartCopy, StorageError, StoredPart},
};

/// Bytes of segments that are cut and not yet stored, at most: 8 parts of 8 MiB, or 2 of 32 MiB. With the part that is
/// filling, up to 32 MiB more, that stays below 100 MiB of the worker's 256 MiB.
pub const HELD_BYTES: usize = 64 * 1024 * 1024;

/// Permits count KiB, for a semaphore counts in `u32`.
const PERMIT_BYTES: usize = 1024;
const PERMITS: usize = HELD_BYTES / PERMIT_BYTES;

/// Copies that are ordered and not yet begun, at most. They hold no bytes.
const WAITING_COPIES: usize = 16;

/// Both ends of a way for segments of the object `key`.
pub fn channel(key: &str) -> (SegmentSender, SegmentReceiver) {
    let room = Arc::new(Semaphore::new(PERMITS));
    // How many wait is decided by their bytes; the channel's own bound is only never the smaller one.
    let (sender, receiver) = mpsc::channel(PERMITS);
    let (copies, ordered) = mpsc::channel(WAITING_COPIES);
    // As many as an upload has parts.
    let (keep, kept) = mpsc::unbounded_channel();
    let (ask, asked) = mpsc::channel(1);
    let sender = SegmentSender { key: key.into(), sender, room: room.clone(), copies, keep, ask };
    let copies = Some(CopyReceiver { ordered, kept });
    (sender, SegmentReceiver { receiver, room, copies, asked: Some(asked) })
}

/// The engine's end. Sending waits until there is room.
#[derive(Debug, Clone)]
pub struct SegmentSender {
    key: Arc<str>,
    sender: mpsc::Sender<HeldSegment>,
    room: Arc<Semaphore>,
    copies: mpsc::Sender<CopyOrder>,
    keep: mpsc::UnboundedSender<StoredPart>,
    ask: mpsc::Sender<oneshot::Sender<()>>,
}

impl SegmentSender {
    /// The key of the object that the segments become.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Has the storage copy a part, and waits until it has. The part does not count before it is
    /// [kept](SegmentSender::keep): until then another may take its number.
    pub async fn copy(&self, copy: PartCopy) -> Result<Result<StoredPart, StorageError>, Stopped> {
        let (done, copied) = oneshot::channel();
        self.copies.send(CopyOrder { copy, done }).await.map_err(|_| Stopped)?;
        copied.await.map_err(|_| Stopped)
    }

    /// Makes a copied part one of the object's.
    pub fn keep(&self, part: StoredPart) -> Result<(), Stopped> {
        self.keep.send(part).map_err(|_| Stopped)
    }

    /// Sends one segment, once there is room for it.
    pub async fn send(&self, segment: Segment) -> Result<(), Stopped> {
        // A segment larger than all of the room waits until it has the room to itself.
        let permits = segment.bytes.len().div_ceil(PERMIT_BYTES).clamp(1, PERMITS);
        let permits = u32::try_from(permits).map_err(|_| Stopped)?;
        let room = self.room.clone().acquire_many_owned(permits).await.map_err(|_| Stopped)?;
        self.sender.send(HeldSegment { segment, room }).await.map_err(|_| Stopped)
    }

    /// Waits until whoever follows the upload has said that it is still wanted. To be asked before anything is stored that
    /// no upload can take back.
    pub async fn still_wanted(&self) -> Result<(), Stopped> {
        let (answer, wanted) = oneshot::channel();
        self.ask.send(answer).await.map_err(|_| Stopped)?;
        wanted.await.map_err(|_| Stopped)
    }

    /// Resolves when nobody wants segments any more.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

/// The upload's end. Dropping it stops the engine.
#[derive(Debug)]
pub struct SegmentReceiver {
    receiver: mpsc::Receiver<HeldSegment>,
    room: Arc<Semaphore>,
    copies: Option<CopyReceiver>,
    asked: Option<mpsc::Receiver<oneshot::Sender<()>>>,
}

impl SegmentReceiver {
    /// The next segment; none once the engine has dropped its end.
    pub async fn next(&mut self) -> Option<HeldSegment> {
        self.receiver.recv().await
    }
}

impl SegmentReceiver {
    /// The copies that are ordered; they can be taken once.
    pub fn copies(&mut self) -> Option<CopyReceiver> {
        self.copies.take()
    }

    /// The questions of [`SegmentSender::still_wanted`]; they can be taken once. To drop one is to say no.
    pub fn questions(&mut self) -> Option<mpsc::Receiver<oneshot::Sender<()>>> {
        self.asked.take()
    }
}

/// The upload's end for what the storage is to copy.
#[derive(Debug)]
pub struct CopyReceiver {
    ordered: mpsc::Receiver<CopyOrder>,
    kept: mpsc::UnboundedReceiver<StoredPart>,
}

impl CopyReceiver {
    /// The next order; none once the engine has dropped its end.
    pub async fn next(&mut self) -> Option<CopyOrder> {
        self.ordered.recv().await
    }

    /// The copied parts that count, once there are no more orders.
    pub async fn kept(mut self) -> Vec<StoredPart> {
        let mut parts = Vec::new();
        while let Some(part) = self.kept.recv().await {
            parts.push(part);
        }
        parts
    }
}

/// A part to copy, and where to say what came of it.
#[derive(Debug)]
pub struct CopyOrder {
    /// What to copy.
    pub copy: PartCopy,
    /// Who ordered it.
    pub done: oneshot::Sender<Result<StoredPart, StorageError>>,
}

impl Drop for SegmentReceiver {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// A segment, and the room it takes until it is stored.
#[derive(Debug)]
pub struct HeldSegment {
    /// The segment.
    pub segment: Segment,
    /// Given back when dropped.
    pub room: OwnedSemaphorePermit,
}

/// Nobody wants segments any more. The reason is known to who stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the upload has stopped, so there is nowhere to send the data")]
pub struct Stopped;

impl From<Stopped> for SliceError {
    fn from(stopped: Stopped) -> Self {
        Self::transient("upload_stopped", stopped.to_string())
    }
}

impl From<TooManyParts> for SliceError {
    fn from(error: TooManyParts) -> Self {
        Self::permanent("artifact_too_large", error.to_string())
    }
}

/// Where a stream was halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltedStream {
    /// The segment that fills.
    number: u32,
    /// The checksum of all before it.
    cut_crc64nvme: Crc64Nvme,
}

/// Cuts a stream into segments and sends them.
#[derive(Debug)]
pub struct SegmentWriter {
    parts: PartBuffer,
    out: SegmentSender,
}

impl SegmentWriter {
    /// A stream that has not begun.
    pub fn new(out: SegmentSender) -> Self {
        Self { parts: PartBuffer::new(), out }
    }

    /// Where its segments go.
    pub fn sender(&self) -> &SegmentSender {
        &self.out
    }

    /// Adds the next bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SliceError> {
        for segment in self.parts.push(bytes)? {
            self.out.send(segment).await?;
        }
        Ok(())
    }

    /// Adds the next bytes, without copying them where they cover a whole part.
    pub async fn write_bytes(&mut self, bytes: Bytes) -> Result<(), SliceError> {
        for segment in self.parts.push_bytes(bytes)? {
            self.out.send(segment).await?;
        }
        Ok(())
    }

    /// A stream where `halted` was taken, with the bytes that came with it.
    pub fn resume(out: SegmentSender, halted: HaltedStream, filling: Bytes) -> Self {
        let HaltedStream { number, cut_crc64nvme } = halted;
        Self { parts: PartBuffer::resume(HaltedBuffer { number, cut_crc64nvme, filling }), out }
    }

    /// Stops in the middle of the stream, to go on elsewhere. Returns the bytes that are no whole segment yet, too.
    pub fn halt(self) -> (HaltedStream, Bytes) {
        let HaltedBuffer { number, cut_crc64nvme, filling } = self.parts.halt();
        (HaltedStream { number, cut_crc64nvme }, filling)
    }

    /// Ends the stream.
    pub async fn finish(self) -> Result<(), SliceError> {
        if let Some(last) = self.parts.finish().last {
            self.out.send(last).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn segment(number: u32, bytes: usize) -> Segment {
        let bytes = Bytes::from(vec![0; bytes]);
        Segment { number, crc64nvme: Crc64Nvme::of(&bytes), bytes }
    }

    #[tokio::test]
    async fn sending_waits_until_a_segment_is_stored() {
        let (sender, mut receiver) = channel("artifact");
        let part = 8 * 1024 * 1024;
        for number in 1..=8 {
            sender.send(segment(number, part)).await.unwrap();
        }
        let mut ninth = Box::pin(sender.send(segment(9, part)));
        assert!(timeout(Duration::from_millis(50), &mut ninth).await.is_err(), "64 MiB are held already");
        let first = receiver.next().await.unwrap();
        assert!(timeout(Duration::from_millis(50), &mut ninth).await.is_err(), "received is not yet stored");
        drop(first);
        ninth.await.unwrap();
    }

    #[tokio::test]
    async fn a_segment_larger_than_all_of_the_room_goes_alone() {
        let (sender, mut receiver) = channel("artifact");
        sender.send(segment(1, HELD_BYTES + 1)).await.unwrap();
        assert_eq!(receiver.next().await.unwrap().segment.number, 1);
    }

    #[tokio::test]
    async fn a_dropped_receiver_stops_who_waits_for_room() {
        let (sender, receiver) = channel("artifact");
        sender.send(segment(1, HELD_BYTES)).await.unwrap();
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(segment(2, 1)).await }
        });
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), Err(Stopped));
        sender.closed().await;
    }
}
