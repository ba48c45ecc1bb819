use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use holdfast_domain::region::Region;

use super::StorageError;

/// The buckets that applications keep their files in. Read only.
#[async_trait]
pub trait MediaSource: Send + Sync {
    /// The region `bucket` is in.
    async fn region(&self, bucket: &str) -> Result<Region, StorageError>;

    /// One page of the objects below `prefix`, in the byte order of their keys: the first behind the whole key `after`, or,
    /// with a `token`, which is the last page's `next`, the page after that.
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError>;

    /// Opens an object for reading from byte `offset` on: to its end, or `length` bytes where it has as many. With `etag`
    /// the object must still be that one ([`StorageError::Changed`] otherwise).
    async fn open(
        &self,
        bucket: &str,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<MediaObject, StorageError>;

    /// The tags of an object, as it is now.
    async fn tags(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, StorageError>;
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct MediaPage {
    /// The objects, in the byte order of their keys.
    pub objects: Vec<ListedObject>,
    /// Token of the next page, unless this is the last.
    pub next: Option<String>,
}

/// An object as a listing names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// The whole key.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// Entity tag, with its quotes.
    pub etag: String,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
}

/// An object opened for reading: one version of it, however long the reading takes.
pub struct MediaObject {
    /// Size of the whole object in bytes.
    pub size: u64,
    /// Entity tag, with its quotes.
    pub etag: String,
    /// The version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// When it was written.
    pub last_modified: DateTime<Utc>,
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
    /// `Expires`, as it was set: S3 keeps any text.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect_location: Option<String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// How many tags it has, as far as the caller may know.
    pub tag_count: u32,
    /// The bytes that were asked for. Short streams end with an error, never silently.
    pub body: BoxStream<'static, Result<Bytes, StorageError>>,
}
