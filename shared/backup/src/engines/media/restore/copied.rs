//! Files that the storage copies out of the archive itself: those that it has copied into it.

use std::{ops::Range, sync::Arc};

use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_archive::{checksum::Crc64Nvme, manifest::StoredObject, multipart::MAX_PARTS};
use holdfast_domain::restore::MediaChanges;

use super::{
    batch::stopped,
    progress::Tally,
    site::{Site, headers},
    trouble::{appeared, in_the_way, of_copy, of_put, other_bytes},
    verdict::{Verdict, is_there},
};
use crate::{
    error::SliceError,
    ports::{ListedObject, MediaUpload, StorageError, StoredPart},
};

/// Bytes of one copy, where an upload has enough parts for it. Several run side by side.
const COPY_BYTES: u64 = 128 << 20;

/// Copies one file, of `whole` as its checksum, unless it is there already.
pub(super) async fn copy(
    site: Arc<Site>,
    object: StoredObject,
    whole: Crc64Nvme,
    found: Option<ListedObject>,
) -> Result<Tally, SliceError> {
    let key = object.key.as_str();
    let mut verdict = match Verdict::of_listing(&object, found.as_ref()) {
        Some(verdict) => verdict,
        None => Verdict::of_checksum(&site, &object).await?,
    };
    if verdict == Verdict::Replaced && !site.overwrite {
        return Err(in_the_way(key));
    }
    if verdict != Verdict::Unchanged {
        let begun = site.target.begin(&site.bucket, &site.key(key), &headers(&object)).await;
        let upload = begun.map_err(|error| of_put(&site.bucket, key, &error))?;
        site.opened(&upload);
        // What was not there when it was listed is in no safety backup: only what was seen is replaced.
        let filled = fill(&site, &upload, &object, whole, found.is_some()).await;
        let made = match filled {
            Ok(()) => Ok(()),
            Err(Filling::InTheWay) if is_there(&site, key, object.size, whole).await? => {
                verdict = Verdict::Added;
                Err(None)
            }
            Err(Filling::InTheWay) => Err(Some(appeared(key, site.overwrite))),
            Err(Filling::Failed(error)) => Err(Some(error)),
        };
        if let Err(error) = made {
            // What cannot be given up now is given up at the end of the slice, or by cleaning up.
            if site.target.abort(&upload).await.is_ok() {
                site.closed(&upload);
            }
            if let Some(error) = error {
                return Err(error);
            }
        } else {
            site.closed(&upload);
        }
    }
    let mut changes = MediaChanges::default();
    verdict.count(&mut changes);
    Ok(Tally { changes, bytes: object.size })
}

/// Why an upload did not become a file.
enum Filling {
    /// A file has appeared in its place.
    InTheWay,
    Failed(SliceError),
}

/// Copies all parts, and makes the file of them if they are the bytes that were backed up.
async fn fill(
    site: &Arc<Site>,
    upload: &MediaUpload,
    object: &StoredObject,
    whole: Crc64Nvme,
    overwrite: bool,
) -> Result<(), Filling> {
    let mut copying: FuturesUnordered<_> = divide(object.offset, object.size)
        .zip(1..)
        .map(|(range, number)| part(site.clone(), upload.clone(), object.key.clone(), number, range))
        .collect();
    let mut parts = Vec::new();
    while let Some(part) = copying.next().await {
        parts.push(part.map_err(Filling::Failed)?);
    }
    parts.sort_by_key(|part| part.number);
    let (found, bytes) = StoredPart::joined(&parts);
    if (found, bytes) != (whole, object.size) {
        return Err(Filling::Failed(other_bytes(&object.key)));
    }
    match site.target.complete(upload, &parts, whole, overwrite).await {
        Ok(()) => Ok(()),
        Err(StorageError::Changed(_)) if !overwrite => Err(Filling::InTheWay),
        Err(error) => Err(Filling::Failed(of_copy(&site.bucket, &object.key, &error))),
    }
}

async fn part(
    site: Arc<Site>,
    upload: MediaUpload,
    key: String,
    number: u32,
    range: Range<u64>,
) -> Result<StoredPart, SliceError> {
    let _turn = site.copies.acquire().await.map_err(|_| stopped())?;
    let copied = site.target.copy_part(&upload, number, &site.tar, range).await;
    copied.map_err(|error| of_copy(&site.bucket, &key, &error))
}

/// The ranges of the archive that make up a file, all about as long.
fn divide(offset: u64, size: u64) -> impl Iterator<Item = Range<u64>> {
    let count = size.div_ceil(COPY_BYTES).clamp(1, u64::from(MAX_PARTS));
    let (each, longer) = (size / count, size % count);
    (0..count).scan(offset, move |at, index| {
        let start = *at;
        *at += each + u64::from(index < longer);
        Some(start..*at)
    })
}

#[cfg(test)]
mod tests {
    use holdfast_archive::{
        assembly::MAX_COPY_BYTES,
        multipart::{MAX_OBJECT_BYTES, MIN_PART_BYTES},
    };
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(1, 1)]
    #[case(128 << 20, 1)]
    #[case((128 << 20) + 1, 2)]
    #[case(6 << 30, 48)]
    #[case(MAX_OBJECT_BYTES, 10_000)]
    fn a_file_is_divided_as_s3_takes_it(#[case] size: u64, #[case] parts: usize) {
        let ranges: Vec<_> = divide(512, size).collect();
        assert_eq!(ranges.len(), parts);
        assert_eq!((ranges[0].start, ranges[parts - 1].end), (512, 512 + size));
        assert!(ranges.windows(2).all(|two| two[0].end == two[1].start));
        let lengths = || ranges.iter().map(|range| range.end - range.start);
        assert!(lengths().all(|bytes| bytes <= MAX_COPY_BYTES));
        assert!(parts == 1 || lengths().all(|bytes| bytes >= MIN_PART_BYTES as u64));
    }
}
