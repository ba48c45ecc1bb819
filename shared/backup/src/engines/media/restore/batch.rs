//! Files that are read: those that lie beside each other in the archive at once, and put one by one.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_archive::{
    checksum::{Crc64Nvme, Sha256},
    manifest::StoredObject,
};

use super::{
    progress::Tally,
    site::{ROOM_KIB, Site, headers},
    trouble::{Trouble, appeared, in_the_way, of_archive, of_put, other_bytes},
    verdict::{Verdict, is_there},
};
use crate::{error::SliceError, ports::StorageError};

/// The most bytes that are read at once, unless a file is larger.
const BATCH_BYTES: u64 = 8 << 20;

/// The most bytes between two files that are read although nobody wants them.
const GAP_BYTES: u64 = 256 << 10;

/// The most files of a batch: a slice that stops waits for all of them.
const BATCH_FILES: usize = 1_000;

/// Files that follow each other.
#[derive(Default)]
pub(super) struct Batch {
    files: Vec<Planned>,
    /// The bytes of the archive that all of them are in.
    range: Range<u64>,
    tally: Tally,
    entries: usize,
    last: Option<String>,
}

/// A file that is to be put.
struct Planned {
    object: StoredObject,
    /// Whether something else is in its place.
    is_there: bool,
}

impl Batch {
    /// Whether there is room for a file, and it lies near enough.
    pub(super) fn takes(&self, object: &StoredObject) -> bool {
        let end = object.offset.saturating_add(object.size);
        self.range.is_empty()
            || object.size == 0
            || (object.offset >= self.range.end
                && object.offset - self.range.end <= GAP_BYTES
                && end - self.range.start <= BATCH_BYTES)
    }

    /// Adds a file that is to be put.
    pub(super) fn add(&mut self, object: StoredObject, is_there: bool) {
        if object.size > 0 {
            let end = object.offset.saturating_add(object.size);
            let start = if self.range.is_empty() { object.offset } else { self.range.start };
            self.range = start..end;
        }
        self.note(&object.key);
        self.files.push(Planned { object, is_there });
    }

    /// Adds a file that is left alone.
    pub(super) fn pass(&mut self, object: &StoredObject) {
        self.tally.changes.unchanged += 1;
        self.tally.bytes += object.size;
        self.note(&object.key);
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries >= BATCH_FILES || self.range.end - self.range.start >= BATCH_BYTES
    }

    /// The last key in it; none if it is empty.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    fn note(&mut self, key: &str) {
        self.entries += 1;
        self.last = Some(key.to_owned());
    }

    /// Reads what is to be put, and puts it.
    pub(super) async fn carry_out(self, site: Arc<Site>) -> Result<Tally, SliceError> {
        let Self { files, range, mut tally, .. } = self;
        if files.is_empty() {
            return Ok(tally);
        }
        let kib = usize::try_from((range.end - range.start) / 1024).unwrap_or(usize::MAX).clamp(1, ROOM_KIB);
        // At most what a semaphore counts, so the conversion cannot fail.
        let room = site.room.clone().acquire_many_owned(u32::try_from(kib).unwrap_or(u32::MAX));
        let _room = room.await.map_err(|_| stopped())?;
        let tar = &site.tar;
        let bytes = site.artifacts.read(tar, range.clone()).await;
        let bytes = bytes.map_err(|error| of_archive(&tar.key, &error).into_error())?;
        // Some megabytes: other work goes on meanwhile.
        let checked = tokio::task::spawn_blocking(move || check(files, &bytes, range.start)).await;
        let checked = checked.map_err(|error| {
            SliceError::transient("task_failed", format!("comparing checksums failed: {error}"))
        })??;
        let mut putting: FuturesUnordered<_> =
            checked.into_iter().map(|(file, bytes)| put(site.clone(), file, bytes)).collect();
        while let Some(put) = putting.next().await {
            let (verdict, length) = put?;
            verdict.count(&mut tally.changes);
            tally.bytes += length;
        }
        Ok(tally)
    }
}

/// The bytes of each file, compared with its checksum. `bytes` begin at `start` of the archive.
fn check(files: Vec<Planned>, bytes: &Bytes, start: u64) -> Result<Vec<(Planned, Bytes)>, SliceError> {
    let check = |file: Planned| {
        let StoredObject { key, offset, size, sha256, crc64nvme, .. } = &file.object;
        let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let range = if *size == 0 { 0..0 } else { place(*offset)..place(offset.saturating_add(*size)) };
        // The range of the batch is made of those of its files.
        let bytes = if range.end <= bytes.len() { bytes.slice(range) } else { return Err(other_bytes(key)) };
        let is_right = match (sha256, crc64nvme) {
            (Some(sum), _) => *sum == Sha256::of(&bytes),
            (None, Some(sum)) => *sum == Crc64Nvme::of(&bytes),
            (None, None) => {
                let what = format!("the manifest has no checksum of {key:?}");
                return Err(Trouble::damaged(what).into_error());
            }
        };
        if is_right { Ok((file, bytes)) } else { Err(other_bytes(key)) }
    };
    files.into_iter().map(check).collect()
}

/// Puts one file; says what has become of it, and how large it is.
async fn put(site: Arc<Site>, file: Planned, bytes: Bytes) -> Result<(Verdict, u64), SliceError> {
    let _turn = site.puts.acquire().await.map_err(|_| stopped())?;
    let Planned { object, is_there: something_is_there } = file;
    let (key, length) = (object.key.as_str(), bytes.len() as u64);
    let is_same = || is_there(&site, key, length, Crc64Nvme::of(&bytes));
    if something_is_there && !site.overwrite {
        return if is_same().await? { Ok((Verdict::Unchanged, length)) } else { Err(in_the_way(key)) };
    }
    let headers = headers(&object);
    // What was not there when it was listed is in no safety backup: only what was seen is replaced.
    let put =
        site.target.put(&site.bucket, &site.key(key), &headers, bytes.clone(), something_is_there).await;
    match put {
        Ok(()) if something_is_there => Ok((Verdict::Replaced, length)),
        Ok(()) => Ok((Verdict::Added, length)),
        // The answer to a first call may have been lost.
        Err(StorageError::Changed(_)) if !something_is_there => {
            if is_same().await? {
                Ok((Verdict::Added, length))
            } else {
                Err(appeared(key, site.overwrite))
            }
        }
        Err(error) => Err(of_put(&site.bucket, key, &error)),
    }
}

/// Semaphores are never closed.
pub(super) fn stopped() -> SliceError {
    SliceError::transient("task_failed", "the restore was stopped in the middle")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn file(key: &str, offset: u64, size: u64) -> StoredObject {
        StoredObject {
            key: key.to_owned(),
            member: key.to_owned(),
            size,
            offset,
            sha256: None,
            crc64nvme: None,
            etag: String::new(),
            version_id: None,
            last_modified: DateTime::UNIX_EPOCH,
            content_type: None,
            cache_control: None,
            content_encoding: None,
            content_disposition: None,
            content_language: None,
            expires: None,
            website_redirect_location: None,
            metadata: std::collections::BTreeMap::new(),
            tags: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn files_that_lie_near_each_other_are_read_at_once() {
        let mut batch = Batch::default();
        assert!(batch.takes(&file("a", 512, 1 << 30)), "a large one goes alone");
        batch.add(file("a", 512, 1000), false);
        assert!(batch.takes(&file("b", 2048, 5 << 20)));
        batch.add(file("b", 2048, 5 << 20), false);
        assert!(batch.takes(&file("c", 0, 0)), "without bytes there is nothing to read");
        batch.add(file("c", 0, 0), true);
        assert!(!batch.takes(&file("d", (5 << 20) + 4096, 4 << 20)), "it would be too much");
        assert!(!batch.takes(&file("d", (6 << 20) + 4096, 10)), "it is too far away");
        assert_eq!((batch.range.clone(), batch.last()), (512..2048 + (5 << 20), Some("c")));
        assert!(!batch.is_full());
    }
}
