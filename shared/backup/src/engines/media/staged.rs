//! The manifest's second copy, beside the tar. It is also where the lines wait: those of a million objects would fill a
//! worker's memory, and the tar takes them only once all of them are known.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use holdfast_archive::{
    checksum::Crc64Nvme,
    manifest::{ManifestEnd, unpack},
    multipart::{MIN_PART_BYTES, Segment},
};
use holdfast_domain::backup::StoredObject;

use super::failure::of_manifest;
use crate::{
    engines::segments::SegmentSender,
    error::SliceError,
    ports::{ArtifactStore, OpenUpload, StoredPart},
};

/// Media type of the manifest, compressed.
const CONTENT_TYPE: &str = "application/zstd";

/// Compressed bytes that are unpacked at once, at the least; they become some five times as many.
const UNPACK_BYTES: u64 = 256 * 1024;

/// Frames of a manifest on their way into the object beside the tar. What is held is below 11 MiB.
pub(super) struct StagedManifest {
    store: Arc<dyn ArtifactStore>,
    key: String,
    /// What follows the header in the first part, which is stored last: the header counts all lines.
    first: BytesMut,
    filling: BytesMut,
    open: Open,
    parts: Vec<StoredPart>,
}

/// The upload that is open, if one is: known to whoever must give it up.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<Mutex<Option<OpenUpload>>>);

impl Open {
    fn get(&self) -> Option<OpenUpload> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, upload: Option<OpenUpload>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = upload;
    }

    /// Gives up what did not come to its end.
    pub(super) async fn give_up(&self, store: &dyn ArtifactStore) {
        let Some(upload) = self.get() else { return };
        if let Err(left) = store.abort(&upload).await {
            tracing::warn!(key = %upload.key, error = %left, "an upload could not be aborted; the abort step will try again");
        }
    }
}

impl StagedManifest {
    /// A manifest beside the object `artifact`, without frames.
    pub(super) fn new(store: Arc<dyn ArtifactStore>, artifact: &str, file_name: &str, open: Open) -> Self {
        Self {
            key: store.beside(artifact, file_name),
            store,
            first: BytesMut::new(),
            filling: BytesMut::new(),
            open,
            parts: Vec::new(),
        }
    }

    /// Adds the next frame.
    pub(super) async fn add(&mut self, frame: &[u8]) -> Result<(), SliceError> {
        if self.first.len() < MIN_PART_BYTES {
            self.first.extend_from_slice(frame);
            return Ok(());
        }
        self.filling.extend_from_slice(frame);
        if self.filling.len() >= MIN_PART_BYTES {
            let bytes = mem::take(&mut self.filling).freeze();
            let number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(2);
            let part = self.put_part(number, bytes).await?;
            self.parts.push(part);
        }
        Ok(())
    }

    /// Stores what is left, and makes the object, unless the backup is not wanted any more: a slice that was replaced must
    /// not leave it behind.
    pub(super) async fn finish(
        mut self,
        end: &ManifestEnd,
        out: &SegmentSender,
    ) -> Result<ReadBack, SliceError> {
        if let Some(last) = &end.last {
            self.add(last).await?;
        }
        let head = [&end.header[..], &self.first].concat();
        self.filling.extend_from_slice(&end.index_frame);
        let rest = mem::take(&mut self.filling).freeze();
        let frames = end.index.frames.iter().map(|frame| frame.bytes).collect();
        if self.parts.is_empty() {
            let whole: Bytes = [&head[..], &rest].concat().into();
            out.still_wanted().await?;
            self.store.put(&self.key, CONTENT_TYPE, whole.clone()).await?;
            let object = self.verify(whole.len() as u64, Crc64Nvme::of(&whole)).await?;
            return Ok(ReadBack {
                held: Some(whole),
                store: self.store,
                object,
                at: end.header.len() as u64,
                frames,
            });
        }
        let number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX).saturating_add(2);
        let last = self.put_part(number, rest).await?;
        let first = self.put_part(1, head.into()).await?;
        self.parts.insert(0, first);
        self.parts.push(last);
        let (whole, bytes) = StoredPart::joined(&self.parts);
        if let Some(upload) = self.open.get() {
            out.still_wanted().await?;
            self.store.complete(&upload, &self.parts, whole).await?;
            self.open.set(None);
        }
        let object = self.verify(bytes, whole).await?;
        Ok(ReadBack { held: None, store: self.store, object, at: end.header.len() as u64, frames })
    }

    async fn put_part(&self, number: u32, bytes: Bytes) -> Result<StoredPart, SliceError> {
        let upload = if let Some(upload) = self.open.get() {
            upload
        } else {
            let upload = self.store.begin(&self.key, CONTENT_TYPE).await?;
            self.open.set(Some(upload.clone()));
            upload
        };
        let segment = Segment { number, crc64nvme: Crc64Nvme::of(&bytes), bytes };
        Ok(self.store.put_part(&upload, segment).await?)
    }

    /// Reads back what the bucket says about the object, as is done with every artifact.
    async fn verify(&self, bytes: u64, whole: Crc64Nvme) -> Result<StoredObject, SliceError> {
        let key = &self.key;
        let differs = |what: String| SliceError::permanent("object_differs", what);
        let found = self.store.describe(key).await?.ok_or_else(|| {
            differs(format!(
                "{key} was stored and is not there any more; find out who deletes from the backup bucket"
            ))
        })?;
        if (found.size, found.crc64nvme.as_str()) != (bytes, whole.to_string().as_str()) {
            return Err(differs(format!(
                "{key} is stored with {} bytes and CRC64NVME {:?}, but {bytes} bytes with {whole} were sent; find out who \
                 else writes to the backup bucket, then back up again",
                found.size, found.crc64nvme,
            )));
        }
        self.store.check_protection(&found)?;
        Ok(found)
    }
}

/// The lines of a stored manifest, some at a time.
pub(super) struct ReadBack {
    /// All of it, if it was short.
    held: Option<Bytes>,
    store: Arc<dyn ArtifactStore>,
    object: StoredObject,
    /// Where the next frame begins.
    at: u64,
    /// The lengths of the frames that are left, in bytes.
    frames: VecDeque<u64>,
}

impl ReadBack {
    /// The next lines; none after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, SliceError> {
        let mut bytes = 0;
        while bytes < UNPACK_BYTES
            && let Some(frame) = self.frames.pop_front()
        {
            bytes += frame;
        }
        if bytes == 0 {
            return Ok(None);
        }
        let range = self.at..self.at + bytes;
        self.at = range.end;
        let packed = match &self.held {
            // It was put together here, from frames of these lengths.
            Some(held) => {
                let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
                held.slice(place(range.start)..place(range.end))
            }
            None => self.store.read(&self.object, range).await?,
        };
        unpack(&packed).map(Some).map_err(|error| of_manifest(&error))
    }
}
