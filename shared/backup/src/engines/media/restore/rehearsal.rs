//! What a rehearsal does beside putting files: it compares them where they are, and removes them.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future::ready, stream};
use holdfast_archive::{checksum::Sha256Hasher, manifest::StoredObject};

use super::{
    super::object::relative,
    comparison::{Comparison, Met},
    manifest::Manifest,
    progress::{Deadlines, Reporter, Tally},
    removals::of_delete,
    selection::Selection,
    site::{Site, headers},
    trouble::Trouble,
};
use crate::{
    engines::{media::failure::of_listing, restorer::restored_differs},
    error::SliceError,
    ports::{ListedObject, MediaObject, ObjectHeaders, StorageError},
};

/// How many files are compared at once, and how many before it is written down how far it is.
const AT_ONCE: usize = 32;
const BATCH: usize = 512;

/// What it means that a bucket is not there, or may not be listed.
const NOWHERE: [&str; 2] = ["bucket_missing", "bucket_denied"];

/// Compares every file behind where the rehearsal is with the archive: its size, its bytes, and what it has beside them. Returns
/// whether it came to the end before the time was up.
pub(super) async fn compare(
    site: &Arc<Site>,
    manifest: &Arc<Manifest>,
    deadlines: Deadlines,
    reporter: &mut Reporter<'_>,
) -> Result<bool, SliceError> {
    let after = reporter.progress.after.clone();
    let mut comparison = Comparison::new(site, manifest, &Selection::new(&[]), after.as_deref());
    loop {
        let mut batch = Vec::new();
        let mut last = None;
        while batch.len() < BATCH {
            match reporter.during(comparison.next()).await?.map_err(Trouble::into_error)? {
                Some(Met::Archived(object, found)) => {
                    last = Some(object.key.clone());
                    batch.push((*object, found));
                }
                // What else has come here is removed with the others.
                Some(Met::Skipped(_) | Met::Extra(_)) => {}
                None => break,
            }
        }
        let Some(last) = last else { return Ok(true) };
        let files = batch.len() as u64;
        let comparing = stream::iter(batch)
            .map(|(object, found)| compare_one(site.clone(), object, found))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>();
        reporter.during(comparing).await??;
        reporter.progress.advance(last, Tally::default());
        reporter.progress.compared = Some(reporter.progress.compared.unwrap_or(0) + files);
        if tokio::time::Instant::now() >= deadlines.soft {
            return Ok(false);
        }
    }
}

async fn compare_one(
    site: Arc<Site>,
    archived: StoredObject,
    found: Option<ListedObject>,
) -> Result<(), SliceError> {
    let key = &archived.key;
    let Some(found) = found else { return Err(gone(&site, key)) };
    let differs = |what: &str| restored_differs(&format!("{what} of {key:?} at {}", site.name()));
    if found.size != archived.size {
        return Err(differs("the size"));
    }
    // What was read when it was backed up is read again; of what the storage has copied it tells the checksum.
    let length = archived.crc64nvme.filter(|_| archived.size > 0).map(|_| 1);
    let whole = site.key(key);
    let opened = site.media.open(&site.bucket, &whole, Some(&found.etag), 0, length).await;
    let opened = opened.map_err(|error| unread(&site, key, &error))?;
    let (is, mut was) = (found_headers(&opened), headers(&archived));
    let tag_count = opened.tag_count;
    let wanted_tags = std::mem::take(&mut was.tags);
    if is != was {
        return Err(differs("what stands beside the bytes"));
    }
    match (archived.sha256, archived.crc64nvme) {
        (Some(sum), None) => {
            let read = opened.body.try_fold(Sha256Hasher::new(), |mut sum, bytes| {
                sum.update(&bytes);
                ready(Ok(sum))
            });
            if read.await.map_err(|error| unread(&site, key, &error))?.finish() != sum {
                return Err(differs("the SHA-256"));
            }
        }
        (_, Some(sum)) => {
            let described = site.target.describe(&site.bucket, &whole).await;
            let described = described.map_err(|error| unread(&site, key, &error))?;
            let described = described.ok_or_else(|| gone(&site, key))?;
            if described.crc64nvme.is_some_and(|is| is != sum) {
                return Err(differs("the CRC64NVME"));
            }
        }
        // Nothing was put that has no checksum.
        (None, None) => {}
    }
    if !wanted_tags.is_empty() || tag_count > 0 {
        let tags = site.media.tags(&site.bucket, &whole).await;
        if tags.map_err(|error| unread(&site, key, &error))? != wanted_tags {
            return Err(differs("the tags"));
        }
    }
    Ok(())
}

/// What stands beside the bytes, but for the tags, which are asked for on their own.
fn found_headers(found: &MediaObject) -> ObjectHeaders {
    ObjectHeaders {
        content_type: found.content_type.clone(),
        cache_control: found.cache_control.clone(),
        content_encoding: found.content_encoding.clone(),
        content_disposition: found.content_disposition.clone(),
        content_language: found.content_language.clone(),
        expires: found.expires.clone(),
        website_redirect_location: found.website_redirect_location.clone(),
        metadata: found.metadata.clone(),
        tags: std::collections::BTreeMap::new(),
    }
}

/// Removes everything at the place of the rehearsal. Returns whether it came to the end before the time was up.
pub(super) async fn remove(
    site: &Arc<Site>,
    deadlines: Deadlines,
    reporter: &mut Reporter<'_>,
) -> Result<bool, SliceError> {
    reporter.report().await?;
    loop {
        let removed = reporter.during(remove_some(site)).await?;
        let Some(last) = removed? else { return Ok(true) };
        reporter.progress.after = Some(relative(&site.prefix, &last).to_owned());
        if tokio::time::Instant::now() >= deadlines.soft {
            return Ok(false);
        }
    }
}

/// The same, whatever time it takes.
pub(super) async fn empty(site: &Site) -> Result<(), SliceError> {
    loop {
        match remove_some(site).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            // Where nobody may look, or there is no bucket, nothing was put.
            Err(SliceError::Failed(failure)) if NOWHERE.contains(&failure.code.as_str()) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Removes the first of what is there, and gives the whole key of the last of them; none where nothing is left.
async fn remove_some(site: &Site) -> Result<Option<String>, SliceError> {
    let Site { media, bucket, prefix, .. } = site;
    let page = media.list(bucket, prefix, None, None).await.map_err(|error| of_listing(bucket, &error))?;
    let keys: Vec<String> = page.objects.into_iter().map(|object| object.key).collect();
    let Some(last) = keys.last().cloned() else { return Ok(None) };
    site.target.delete(bucket, &keys).await.map_err(|error| of_delete(bucket, &error))?;
    Ok(Some(last))
}

/// A file that was put is not there any more, which says nothing about the archive.
fn gone(site: &Site, key: &str) -> SliceError {
    let message = format!(
        "the file {key:?} was put at {} and is not there any more: something removes files there; have it leave what begins with \
         .holdfast-rehearsal- alone, and ask again",
        site.name()
    );
    SliceError::permanent("rehearsal_disturbed", message)
}

/// A file that was put cannot be read.
fn unread(site: &Site, key: &str, error: &StorageError) -> SliceError {
    let failed = format!("the file {key:?} that was put at {} could not be read: {error}", site.name());
    match error {
        StorageError::Changed(_) | StorageError::NotFound(_) => gone(site, key),
        StorageError::Denied(_) | StorageError::Rejected(_) | StorageError::Archived(_) => {
            let message = format!(
                "{failed}; let the role of the restore function read objects and their tags there, in the bucket's policy too"
            );
            SliceError::permanent("object_denied", message)
        }
        StorageError::Unavailable(_) => SliceError::transient("object_unavailable", failed),
    }
}
