//! What went wrong with a bucket or the archive, as a stable code and as words that say what to do.

use holdfast_archive::{manifest::ManifestError, media_tar::MediaTarError, tar::OutOfOrder};

use crate::{error::SliceError, ports::StorageError};

/// What an error of the listing means.
pub(super) fn of_listing(bucket: &str, error: &StorageError) -> SliceError {
    match error {
        StorageError::NotFound(_) => SliceError::permanent(
            "bucket_missing",
            format!(
                "the bucket {bucket} does not exist; create it, or register the service with the right bucket"
            ),
        ),
        StorageError::Denied(_) => SliceError::permanent(
            "bucket_denied",
            format!(
                "the bucket {bucket} may not be listed; let the worker's role list and read it, in the bucket's policy too"
            ),
        ),
        StorageError::Rejected(_) | StorageError::Archived(_) => SliceError::permanent(
            "bucket_refused",
            format!("the bucket {bucket} could not be listed: {error}"),
        ),
        StorageError::Changed(_) | StorageError::Unavailable(_) => SliceError::transient(
            "bucket_unavailable",
            format!("the bucket {bucket} could not be listed: {error}"),
        ),
    }
}

/// What an error of one object means, where the object is neither gone nor archived.
pub(super) fn of_object(key: &str, error: StorageError) -> SliceError {
    match error {
        StorageError::Denied(_) => SliceError::permanent(
            "object_denied",
            format!(
                "the object {key:?} may not be read; let the worker's role read it and use the key it is encrypted with"
            ),
        ),
        // Left out of the archive it would be missing from a backup that succeeded.
        refused @ (StorageError::Rejected(_) | StorageError::Archived(_)) => SliceError::permanent(
            "object_refused",
            format!("the object {key:?} could not be read: {refused}; mend that, or delete the object"),
        ),
        other => SliceError::transient(
            "object_unavailable",
            format!("the object {key:?} could not be read: {other}"),
        ),
    }
}

/// What it means that the tags of an object could not be read.
pub(super) fn of_tags(key: &str, error: StorageError) -> SliceError {
    match error {
        StorageError::Denied(_) => SliceError::permanent(
            "tags_denied",
            format!(
                "the tags of the object {key:?} may not be read, and without them the backup would not be what is there; let the \
                 worker's role do s3:GetObjectTagging on the bucket's objects, in the bucket's policy too"
            ),
        ),
        other => of_object(key, other),
    }
}

/// What it means that an object could not be copied, although it could be read.
pub(super) fn of_copy(key: &str, error: StorageError) -> SliceError {
    match error {
        StorageError::Denied(_) => SliceError::permanent(
            "object_denied",
            format!(
                "the object {key:?} may be read and not be copied into the backup bucket; let the policies of its bucket and of \
                 the key it is encrypted with allow the worker's role to read it from within S3 too (conditions on the \
                 network a call comes from do not hold there)"
            ),
        ),
        other => of_object(key, other),
    }
}

/// The object has grown beyond what was planned for it when it was listed.
pub(super) fn outgrown(key: &str) -> SliceError {
    SliceError::transient(
        "object_changed",
        format!(
            "the object {key:?} has become much larger since it was listed; the backup of its storage begins again"
        ),
    )
}

/// The objects have together grown beyond what one object can hold.
pub(super) fn outgrown_all() -> SliceError {
    SliceError::transient(
        "object_changed",
        "the objects have become more since they were listed than one object can hold; the backup of their storage begins again",
    )
}

/// The object was replaced or deleted while it was being read.
pub(super) fn torn(key: &str) -> SliceError {
    SliceError::transient(
        "object_changed",
        format!("the object {key:?} changed while it was being read; the backup of its storage begins again"),
    )
}

/// What an error of the archive means.
pub(super) fn of_tar(error: &MediaTarError) -> SliceError {
    let message = error.to_string();
    match error {
        MediaTarError::OtherSize { .. } => SliceError::transient("object_changed", message),
        MediaTarError::OutOfOrder(_) => SliceError::permanent("bucket_unordered", message),
    }
}

/// The listing is not in order.
pub(super) fn of_listing_order(error: &OutOfOrder) -> SliceError {
    SliceError::permanent("bucket_unordered", error.to_string())
}

/// A file was added that makes a folder of another's name.
pub(super) fn unsettled(key: &str) -> SliceError {
    SliceError::transient(
        "object_changed",
        format!(
            "a file was added in the way of {key:?} during the backup; the backup of its storage begins again"
        ),
    )
}

/// What an error of the manifest means.
pub(super) fn of_manifest(error: &ManifestError) -> SliceError {
    SliceError::permanent("archive_failed", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_refused_fails_the_backup_for_good() {
        let refused =
            StorageError::Rejected("to read a.jpg: the key is disabled (KMS.DisabledException)".to_owned());
        let SliceError::Failed(failure) = of_object("a.jpg", refused) else { panic!("not a failure") };
        assert_eq!((failure.code.as_str(), failure.transient), ("object_refused", false));
        assert!(failure.message.contains("a.jpg") && failure.message.contains("KMS.DisabledException"));
    }
}
