use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_domain::{
    backup::StoredObject,
    id::{ApplicationId, BackupId},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The bucket that backups are kept in, or another place for artifacts. Every object it writes carries the CRC64NVME of its
/// whole contents; those of backups are Standard-IA and encrypted with the stack's key.
#[async_trait]
pub trait ArtifactStore: Send + Sync {
    /// Opens a multipart upload.
    async fn begin(&self, key: &str, content_type: &str) -> Result<OpenUpload, StorageError>;

    /// Stores one segment as the part of its number. Repeating a number replaces the part.
    async fn put_part(&self, upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError>;

    /// Has the storage copy a range of another object as the part of its number, without the bytes coming here. The object
    /// must still be the one with that entity tag ([`StorageError::Changed`] otherwise). The checksum of the part is what
    /// the storage has computed of the bytes it copied. Repeating a number replaces the part.
    async fn copy_part(&self, upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError>;

    /// Makes the object out of its parts, which are in order. The store compares `whole` with what it has computed
    /// itself and refuses if they differ.
    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError>;

    /// Gives an upload up. One that is gone already is a success.
    async fn abort(&self, upload: &OpenUpload) -> Result<(), StorageError>;

    /// Uploads that are open below `prefix`.
    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, StorageError>;

    /// Stores a small object in one piece.
    async fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> Result<(), StorageError>;

    /// A small object's bytes, if it is there.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError>;

    /// Some bytes of exactly the version `object` is, as many as can be held. Fewer than were asked for are an error.
    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError>;

    /// What the store says about an object, if it is there.
    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError>;

    /// Keys below `prefix`, which must be a backup's own.
    async fn keys(&self, prefix: &str) -> Result<Vec<String>, StorageError>;

    /// Deletes objects; within the bucket's grace period they can be brought back. Absent ones are a success.
    async fn delete(&self, keys: &[String]) -> Result<(), StorageError>;

    /// Takes back every deletion below `prefix`: what was the newest version of each object before is there again, and is
    /// that same version. Versions that are gone for good stay so; repeating it is harmless.
    async fn bring_back(&self, prefix: &str) -> Result<(), StorageError>;

    /// Deletes every version of everything below `prefix` for good: what a failed backup leaves was never a backup. What the storage
    /// has locked for a time is only hidden, and goes when that is over.
    async fn purge(&self, prefix: &str) -> Result<(), StorageError>;

    /// A signed URL to download exactly the version `object` is, saved as `file_name`, valid for `valid`. It is a secret.
    async fn download_url(
        &self,
        object: &StoredObject,
        file_name: &str,
        valid: Duration,
    ) -> Result<SecretString, StorageError>;

    /// A signed URL to download a range of exactly the version `object` is, valid for `valid`, and only with the header
    /// `Range` that names just that range. It is a secret.
    async fn range_url(
        &self,
        object: &StoredObject,
        range: Range<u64>,
        valid: Duration,
    ) -> Result<SecretString, StorageError>;

    /// Fails unless an object is stored as all here must be. Every backup must be Standard-IA, with the stack's key and its bucket
    /// key.
    fn check_protection(&self, object: &StoredObject) -> Result<(), StorageError>;

    /// The key of what belongs to the artifact `key` and has the name `file_name` among all that a backup may hold.
    fn beside(&self, key: &str, file_name: &str) -> String {
        beside(key, file_name)
    }
}

/// Whether `key` is, or begins with, the prefix of one backup: `applications/{application}/{backup id}/`. A store lists,
/// deletes and purges nothing else.
pub fn is_within_a_backup(key: &str) -> bool {
    let mut segments = key.splitn(4, '/');
    segments.next() == Some("applications")
        && segments.next().is_some_and(|slug| slug.parse::<ApplicationId>().is_ok())
        && segments
            .next()
            .is_some_and(|id| id.parse::<BackupId>().is_ok_and(|parsed| parsed.to_string() == id))
        && segments.next().is_some()
}

/// A multipart upload that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenUpload {
    /// The key the object will have.
    pub key: String,
    /// The store's id of the upload.
    pub upload_id: String,
}

/// A range of an object of an application's bucket, to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartCopy {
    /// The number of the part, from 1.
    pub number: u32,
    /// The bucket to copy from.
    pub bucket: String,
    /// The key to copy from.
    pub key: String,
    /// The entity tag, with its quotes, that the object must have.
    pub etag: String,
    /// The first byte to copy.
    pub offset: u64,
    /// How many bytes to copy: 5 MiB to 5 GiB.
    pub bytes: u64,
}

/// A part that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPart {
    /// Its number, from 1.
    pub number: u32,
    /// Its size in bytes.
    pub size: u64,
    /// Its entity tag.
    pub etag: String,
    /// Its checksum.
    pub crc64nvme: Crc64Nvme,
}

impl StoredPart {
    /// The checksum and the bytes of what `parts` are together, in their order.
    pub(crate) fn joined(parts: &[Self]) -> (Crc64Nvme, u64) {
        parts.iter().fold((Crc64Nvme::EMPTY, 0), |(whole, bytes), part| {
            (Crc64Nvme::combine(whole, part.crc64nvme, part.size), bytes + part.size)
        })
    }
}

/// The key of the object `file_name` in the folder of the object `key`.
pub fn beside(key: &str, file_name: &str) -> String {
    let folder = key.rfind('/').map_or("", |slash| &key[..=slash]);
    format!("{folder}{file_name}")
}

/// The same for an artifact that has any name: `media.manifest.jsonl.zst` of `a/shop.tar` is `a/shop.tar.manifest.jsonl.zst`,
/// so that several can be in one folder.
pub fn named_after(key: &str, file_name: &str) -> String {
    let (_, ending) = file_name.split_once('.').unwrap_or(("", file_name));
    format!("{key}.{ending}")
}

/// Why an object could not be stored or read. Never holds a signed URL.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such bucket, object or upload.
    #[error("there is no {0}")]
    NotFound(String),
    /// The object is not the one that was listed any more.
    #[error("{0} has changed meanwhile")]
    Changed(String),
    /// The function may not.
    #[error("access was denied to {0}")]
    Denied(String),
    /// The object is in an archive storage class, and cannot be read until it is restored from there.
    #[error("{0} is in an archive storage class and must be restored from there first")]
    Archived(String),
    /// The store refused, and would again.
    #[error("the storage refused {0}")]
    Rejected(String),
    /// The store did not answer, or asked to slow down.
    #[error("the storage could not be reached: {0}")]
    Unavailable(String),
}
