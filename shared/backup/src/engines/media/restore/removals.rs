//! What the backup does not have is removed, after all of its files are there.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_domain::restore::MediaChanges;

use super::{
    super::object::relative,
    comparison::{Comparison, Met},
    manifest::Manifest,
    progress::{Deadlines, Reporter, Tally},
    selection::Selection,
    site::Site,
    trouble::Trouble,
};
use crate::{
    error::SliceError,
    ports::{ListedObject, StorageError},
};

/// How many are removed by one call.
const BATCH: usize = 1_000;

/// Removes every object behind where the restore is that the backup does not have, of what was selected. Objects that were
/// written after the restore was asked for are in no safety backup, and stay. Returns whether it came to the end before the time was
/// up.
pub(super) async fn remove(
    site: &Arc<Site>,
    manifest: &Arc<Manifest>,
    selection: &Selection,
    deadlines: Deadlines,
    reporter: &mut Reporter<'_>,
) -> Result<bool, SliceError> {
    // Before what cannot be taken back whoever follows can say no.
    reporter.report().await?;
    let after = reporter.progress.after.clone();
    let mut comparison = Comparison::new(site, manifest, selection, after.as_deref());
    let mut extra = Vec::new();
    loop {
        let met = reporter.during(comparison.next()).await?.map_err(Trouble::into_error)?;
        let key = match met {
            Some(Met::Archived(object, _)) => Some(object.key),
            Some(Met::Skipped(skipped)) => Some(skipped.key),
            Some(Met::Extra(object)) => {
                let key = relative(&site.prefix, &object.key).to_owned();
                if is_later(&object, reporter.progress.since) {
                    reporter.progress.spared += 1;
                } else {
                    extra.push(object.key);
                }
                Some(key)
            }
            None => None,
        };
        let is_late = tokio::time::Instant::now() >= deadlines.soft;
        if extra.len() >= BATCH || ((is_late || key.is_none()) && !extra.is_empty()) {
            remove_batch(site, &std::mem::take(&mut extra), reporter).await?;
        }
        let Some(key) = key else { return Ok(true) };
        if is_late {
            reporter.progress.after = Some(key);
            return Ok(false);
        }
    }
}

/// Whether an object was written after `since`, or in the same second: S3 lists times in whole seconds.
pub(super) fn is_later(object: &ListedObject, since: DateTime<Utc>) -> bool {
    object.last_modified.timestamp() >= since.timestamp()
}

async fn remove_batch(
    site: &Arc<Site>,
    keys: &[String],
    reporter: &mut Reporter<'_>,
) -> Result<(), SliceError> {
    if !site.overwrite {
        return Err(SliceError::permanent(
            "overwrite_needed",
            format!(
                "files that the backup does not have, such as {:?}, are only removed with `overwrite`",
                keys[0]
            ),
        ));
    }
    let deleted = reporter.during(site.target.delete(&site.bucket, keys)).await?;
    deleted.map_err(|error| of_delete(&site.bucket, &error))?;
    let changes = MediaChanges { removed: keys.len() as u64, ..MediaChanges::default() };
    if let Some(last) = keys.last() {
        let last = relative(&site.prefix, last).to_owned();
        reporter.progress.advance(last, Tally { changes, bytes: 0 });
    }
    Ok(())
}

/// What it means that objects could not be removed.
pub(super) fn of_delete(bucket: &str, error: &StorageError) -> SliceError {
    match error {
        StorageError::Denied(what) => SliceError::permanent(
            "object_denied",
            format!(
                "{what} may not be removed; let the role of the restore function delete objects of the bucket {bucket}, in the bucket's \
                 policy too, or restore without mirroring"
            ),
        ),
        StorageError::Changed(_) | StorageError::Unavailable(_) => {
            SliceError::transient("object_unavailable", format!("files could not be removed: {error}"))
        }
        _ => SliceError::permanent("object_refused", format!("files could not be removed: {error}")),
    }
}
