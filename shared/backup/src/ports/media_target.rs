use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_domain::backup::StoredObject;

use super::{StorageError, StoredPart};

/// The name, below a prefix, of an upload that is begun and given up at once, to see what may be done there and as whom.
pub const PROBE: &str = ".holdfast-probe";

/// The buckets that applications keep their files in, to put files back. Nothing is made more public than its bucket makes it:
/// no access control list is ever set. The bucket that backups are kept in is refused, whatever is asked.
#[async_trait]
pub trait MediaTarget: Send + Sync {
    /// The bucket that backups are kept in.
    fn backups(&self) -> &str;

    /// Puts an object in one piece, with the checksum of its bytes. Unless it may `overwrite`, one that is there already is
    /// [`StorageError::Changed`].
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
        bytes: Bytes,
        overwrite: bool,
    ) -> Result<(), StorageError>;

    /// Opens a multipart upload.
    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
    ) -> Result<MediaUpload, StorageError>;

    /// Has the storage copy a range of an object in the bucket of backups, of just that version, as the part `number`, without
    /// the bytes coming here. The checksum of the part is what the storage has computed of them. Repeating a number
    /// replaces the part.
    async fn copy_part(
        &self,
        upload: &MediaUpload,
        number: u32,
        from: &StoredObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StorageError>;

    /// Makes the object out of its parts, which are in order. The storage compares `whole` with what it has computed itself
    /// and refuses if they differ. Unless it may `overwrite`, an object that is there already is [`StorageError::Changed`].
    async fn complete(
        &self,
        upload: &MediaUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
        overwrite: bool,
    ) -> Result<(), StorageError>;

    /// Gives an upload up. One that is gone already is a success.
    async fn abort(&self, upload: &MediaUpload) -> Result<(), StorageError>;

    /// Uploads that are open below `prefix` and were begun by the same identity as those of this port: an application's own are
    /// not among them. Where the storage does not tell who has begun an upload, there are none.
    async fn open_uploads(&self, bucket: &str, prefix: &str) -> Result<Vec<MediaUpload>, StorageError>;

    /// Size and checksum of an object, if it is there.
    async fn describe(&self, bucket: &str, key: &str) -> Result<Option<Described>, StorageError>;

    /// Deletes objects. Absent ones are a success.
    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StorageError>;
}

/// Everything an object has beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Expires`, any text.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect_location: Option<String>,
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A multipart upload that has begun, of a file that is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaUpload {
    /// The bucket the object will be in.
    pub bucket: String,
    /// The key it will have.
    pub key: String,
    /// The storage's id of the upload.
    pub upload_id: String,
}

/// What tells whether an object has the same bytes as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Size in bytes.
    pub size: u64,
    /// Checksum of all of its bytes, where the storage has one.
    pub crc64nvme: Option<Crc64Nvme>,
}
