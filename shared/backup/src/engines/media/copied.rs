//! An object of which only the first bytes come here: S3 copies the others.

use std::{ops::RangeInclusive, sync::Arc};

use futures::future::join_all;
use holdfast_archive::{assembly::Policy, checksum::Crc64Nvme};

use super::{
    failure::{of_copy, outgrown, torn},
    fetched::{Copied, Fetched, GROWN_AHEAD_BYTES, Next, whole},
    object::{Body, Opened, ReadError, Source, TRIES},
};
use crate::{
    engines::segments::SegmentSender,
    error::SliceError,
    ports::{ListedObject, PartCopy, StorageError, StoredPart},
};

/// Reads the first bytes of an object and has the others copied, all of one version, as the parts of `numbers`. Nothing of
/// it is in the archive yet, so that one that changes meanwhile is begun again.
pub(super) async fn copy(
    source: Arc<Source>,
    out: SegmentSender,
    policy: Policy,
    object: ListedObject,
    numbers: RangeInclusive<u32>,
) -> Result<Fetched, SliceError> {
    let mut etag = Some(object.etag.clone());
    for _ in 0..TRIES {
        let opened = match source.open(&object, etag.as_deref(), Some(policy.head_bytes)).await? {
            Opened::Object(opened) => *opened,
            Opened::Skipped(reason) => return Ok(Fetched::Next(Next::Skipped(object, reason))),
        };
        // Whatever goes wrong from here on goes wrong with this version: the next try takes the one there is then.
        etag = None;
        if !policy.copies(opened.size) {
            if opened.size > policy.head_bytes + GROWN_AHEAD_BYTES {
                return Ok(Fetched::Grown(object));
            }
            match whole(&source, policy, &object, opened).await {
                Ok((head, bytes)) => return Ok(Fetched::Next(Next::Read(object, head, bytes))),
                Err(ReadError::Changed) => continue,
                Err(ReadError::Failed(error)) => return Err(error),
            }
        }
        let Some(copies) = policy.copies_within(opened.size, &numbers) else {
            return Err(outgrown(&object.key));
        };
        let tag_count = opened.tag_count;
        let (mut head, mut body) = Body::of(&source, &object.key, opened, policy.head_bytes);
        let copies = copies.into_iter().map(|(number, offset, bytes)| {
            let (bucket, key, etag) = (source.bucket.clone(), object.key.clone(), head.etag.clone());
            copied(&out, PartCopy { number, bucket, key, etag, offset, bytes })
        });
        // All of them are waited for: one that went on would store its part over that of the next try.
        let (first, copies) = tokio::join!(body.read_whole(), join_all(copies));
        let parts: Result<Vec<_>, _> = copies.into_iter().collect();
        let (first, parts) = match (first, parts.map_err(|error| error.of(&object.key))) {
            (Ok(first), Ok(parts)) => (first, parts),
            (Err(ReadError::Failed(error)), _) | (_, Err(ReadError::Failed(error))) => return Err(error),
            _ => continue,
        };
        let whole = parts
            .iter()
            .fold(Crc64Nvme::of(&first), |whole, part| Crc64Nvme::combine(whole, part.crc64nvme, part.size));
        match source.tags(&object.key, tag_count).await {
            Ok(tags) => head.tags = tags,
            Err(ReadError::Changed) => continue,
            Err(ReadError::Failed(error)) => return Err(error),
        }
        return Ok(Fetched::Next(Next::Copied(object, head, first, Copied { parts, whole })));
    }
    Err(torn(&object.key))
}

enum CopyError {
    Storage(StorageError),
    Stopped(SliceError),
}

impl CopyError {
    fn of(self, key: &str) -> ReadError {
        match self {
            // It may be the upload that is gone; then the next try ends the same way, and the slice with it.
            Self::Storage(StorageError::Changed(_) | StorageError::NotFound(_)) => ReadError::Changed,
            Self::Storage(error) => ReadError::Failed(of_copy(key, error)),
            Self::Stopped(error) => ReadError::Failed(error),
        }
    }
}

async fn copied(out: &SegmentSender, copy: PartCopy) -> Result<StoredPart, CopyError> {
    let copied = out.copy(copy).await.map_err(|stopped| CopyError::Stopped(stopped.into()))?;
    copied.map_err(CopyError::Storage)
}
