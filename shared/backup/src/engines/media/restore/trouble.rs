//! What is wrong with an archive: in a preflight it stands in the way, in a restore it is a failure.

use holdfast_domain::restore::Refusal;

use crate::{error::SliceError, ports::StorageError};

/// Why an archive cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Somebody has to do something first.
    Refused(Refusal),
    /// It could not be looked at.
    Failed(SliceError),
}

impl Trouble {
    /// The archive, or its manifest, is not what was backed up.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(
            "archive_damaged",
            what,
            "restore another backup; the files that can still be read, RESTORING.md says how to take out",
        ))
    }

    /// As it is said by a restore, which has refused nothing before.
    pub(super) fn into_error(self) -> SliceError {
        match self {
            Self::Refused(Refusal { code, what, fix }) => {
                SliceError::permanent(&code, format!("{what}; {fix}"))
            }
            Self::Failed(error) => error,
        }
    }
}

/// What it means that the object `key` of the archive could not be read.
pub(super) fn of_archive(key: &str, error: &StorageError) -> Trouble {
    match error {
        StorageError::NotFound(_) => Trouble::Refused(Refusal::new(
            "archive_missing",
            format!("the object {key} is not in the bucket of backups any more"),
            "restore another backup",
        )),
        StorageError::Changed(_) => {
            Trouble::damaged(format!("the object {key} is shorter than what was stored, or another one"))
        }
        StorageError::Denied(_) => Trouble::Refused(Refusal::new(
            "archive_denied",
            format!("the object {key} in the bucket of backups may not be read"),
            "let the role of the restore function read it and use the key that it is encrypted with",
        )),
        StorageError::Rejected(_) | StorageError::Archived(_) => Trouble::Refused(Refusal::new(
            "archive_refused",
            format!("the object {key} in the bucket of backups could not be read: {error}"),
            "mend that, then restore again",
        )),
        StorageError::Unavailable(_) => Trouble::Failed(SliceError::transient(
            "archive_unavailable",
            format!("the object {key} in the bucket of backups could not be read: {error}"),
        )),
    }
}

/// The bytes of a file are not those that were backed up.
pub(super) fn other_bytes(key: &str) -> SliceError {
    let what = format!(
        "the bytes of {key:?} in the archive are not those of its checksum, and nothing of it was written"
    );
    Trouble::damaged(what).into_error()
}

/// What it means that the file `key` could not be written to `bucket`.
pub(super) fn of_put(bucket: &str, key: &str, error: &StorageError) -> SliceError {
    let failed = format!("the file {key:?} could not be written to the bucket {bucket}: {error}");
    match error {
        StorageError::Denied(_) => SliceError::permanent(
            "object_denied",
            format!(
                "the file {key:?} may not be written to the bucket {bucket}; let the role of the restore function put objects and \
                 their tags there, in the bucket's policy too, and use the key that the bucket encrypts with"
            ),
        ),
        StorageError::NotFound(_) => SliceError::permanent(
            "bucket_missing",
            format!("the bucket {bucket} does not exist any more; create it, then restore again"),
        ),
        StorageError::Rejected(_) | StorageError::Archived(_) => {
            SliceError::permanent("object_refused", failed)
        }
        StorageError::Changed(_) | StorageError::Unavailable(_) => {
            SliceError::transient("object_unavailable", failed)
        }
    }
}

/// What it means that the storage could not copy the file `key` out of the archive.
pub(super) fn of_copy(bucket: &str, key: &str, error: &StorageError) -> SliceError {
    match error {
        StorageError::Changed(_) => Trouble::damaged(format!(
            "the archive is not the one any more that {key:?} was to be copied out of"
        ))
        .into_error(),
        StorageError::Denied(_) => SliceError::permanent(
            "object_denied",
            format!(
                "the file {key:?} may not be copied from the archive to the bucket {bucket}; let the role of the restore function \
                 read the one and write the other, also from within S3 (conditions on the network a call comes from do not hold \
                 there)"
            ),
        ),
        // The upload, which somebody has given up, or the archive: then the next reading of it says so.
        StorageError::NotFound(_) => SliceError::transient(
            "object_unavailable",
            format!("the file {key:?} could not be copied from the archive to the bucket {bucket}: {error}"),
        ),
        other => of_put(bucket, key, other),
    }
}

/// Something else is at the place of a file, and may not be replaced.
pub(super) fn in_the_way(key: &str) -> SliceError {
    SliceError::permanent(
        "overwrite_needed",
        format!(
            "there is another file {key:?} already; ask for `overwrite` to replace it, or restore below another prefix of the storage"
        ),
    )
}

/// A file has come into the place of another one since that was looked at, and no safety backup has it.
pub(super) fn appeared(key: &str, overwrite: bool) -> SliceError {
    if !overwrite {
        return in_the_way(key);
    }
    SliceError::permanent(
        "file_appeared",
        format!("another file {key:?} has appeared meanwhile, and was left as it is; restore again"),
    )
}
