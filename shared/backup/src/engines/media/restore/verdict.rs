//! Whether a file is there as it is in the backup.

use holdfast_archive::{checksum::Crc64Nvme, manifest::StoredObject};
use holdfast_domain::restore::MediaChanges;

use super::{site::Site, trouble::of_put};
use crate::{
    error::SliceError,
    ports::{Described, ListedObject, StorageError},
};

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is not there.
    Added,
    /// Something else is there.
    Replaced,
    /// It is there as it is in the backup, and is left alone.
    Unchanged,
}

impl Verdict {
    /// What a listing tells; none if its checksum has to be asked for.
    pub(super) fn of_listing(file: &StoredObject, found: Option<&ListedObject>) -> Option<Self> {
        let Some(found) = found else { return Some(Self::Added) };
        if found.size != file.size {
            return Some(Self::Replaced);
        }
        // An entity tag is of the bytes, or of the one version that was written: equal ones are of equal bytes either way.
        if found.etag == file.etag || file.size == 0 {
            return Some(Self::Unchanged);
        }
        // Of a file whose SHA-256 is known S3 would have to have been told it too; few are.
        if file.crc64nvme.is_some() { None } else { Some(Self::Replaced) }
    }

    /// What the checksum tells of a file that is there in the same size, and about which the listing does not decide.
    pub(super) async fn of_checksum(site: &Site, file: &StoredObject) -> Result<Self, SliceError> {
        let Some(crc64nvme) = file.crc64nvme else { return Ok(Self::Replaced) };
        let same = is_there(site, &file.key, file.size, crc64nvme).await?;
        Ok(if same { Self::Unchanged } else { Self::Replaced })
    }

    /// Counts it.
    pub(super) fn count(self, changes: &mut MediaChanges) {
        match self {
            Self::Added => changes.added += 1,
            Self::Replaced => changes.replaced += 1,
            Self::Unchanged => changes.unchanged += 1,
        }
    }
}

/// Whether there is an object of just these bytes, as far as the storage tells.
pub(super) async fn is_there(
    site: &Site,
    key: &str,
    length: u64,
    crc64nvme: Crc64Nvme,
) -> Result<bool, SliceError> {
    match site.target.describe(&site.bucket, &site.key(key)).await {
        Ok(found) => Ok(found == Some(Described { size: length, crc64nvme: Some(crc64nvme) })),
        // It may be encrypted with a key that is not ours, and be replaced all the same.
        Err(StorageError::Denied(_) | StorageError::Rejected(_) | StorageError::Archived(_)) => Ok(false),
        Err(error) => Err(of_put(&site.bucket, key, &error)),
    }
}
