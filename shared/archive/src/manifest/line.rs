use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::checksum::{Crc64Nvme, Sha256};

/// The name of the format, in every header.
pub const FORMAT: &str = "holdfast-media-manifest";

/// The version that this library writes, and the latest that it reads. Further fields do not make a new
/// version, for readers ignore what they do not know; another meaning of a field does.
///
/// Version 2: a file may have `crc64nvme` in place of `sha256`.
pub const VERSION: u32 = 2;

/// Where the objects came from, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSource {
    /// The application.
    pub application: String,
    /// The storage service of the application.
    pub service: String,
    /// Its bucket.
    pub bucket: String,
    /// Its prefix; keys and member names are relative to it.
    pub prefix: String,
    /// When the listing began.
    pub taken_at: DateTime<Utc>,
}

/// How many lines of each type the manifest has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestCounts {
    /// Files in the archive.
    pub files: u64,
    /// Folders in the archive that are objects of their own.
    pub directories: u64,
    /// Objects left out.
    pub skipped: u64,
    /// The bytes of all files, without headers and padding.
    pub bytes: u64,
}

impl ManifestLine {
    /// The key, relative to the prefix.
    pub fn key(&self) -> &str {
        match self {
            Self::File(object) | Self::Directory(object) => &object.key,
            Self::Skipped(skipped) => &skipped.key,
        }
    }
}

impl ManifestCounts {
    /// Counts one more line.
    pub fn add(&mut self, line: &ManifestLine) {
        match line {
            ManifestLine::File(object) => {
                self.files += 1;
                self.bytes += object.size;
            }
            ManifestLine::Directory(_) => self.directories += 1,
            ManifestLine::Skipped(_) => self.skipped += 1,
        }
    }
}

/// The first line of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "header")]
pub struct ManifestHeader {
    /// Always [`FORMAT`].
    pub format: String,
    /// The version of the format.
    pub version: u32,
    /// Where the objects came from.
    #[serde(flatten)]
    pub source: ManifestSource,
    /// What follows.
    #[serde(flatten)]
    pub counts: ManifestCounts,
}

impl ManifestHeader {
    /// A header of the version that this library writes.
    pub fn new(source: ManifestSource, counts: ManifestCounts) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, source, counts }
    }
}

/// Every line of a manifest but the first, in the order of the listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ManifestLine {
    /// A file in the archive.
    File(StoredObject),
    /// An empty object whose key ends in `/`, a folder in the archive.
    Directory(StoredObject),
    /// An object that is not in the archive.
    Skipped(SkippedObject),
}

/// An object in the archive. Headers that it did not have are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// The key, relative to the prefix.
    pub key: String,
    /// The name in the tar: the key, unless a path cannot have it.
    pub member: String,
    /// The size in bytes.
    pub size: u64,
    /// The first byte of its data, counted from the start of the tar.
    pub offset: u64,
    /// The checksum of its bytes, where all of them were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
    /// The checksum of its bytes, where S3 copied most of them: put together from that of the bytes read and those that
    /// S3 gave for its copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<Crc64Nvme>,
    /// The entity tag, as S3 gave it (with its quotes).
    pub etag: String,
    /// The version, in a bucket that keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// When the object was last modified.
    pub last_modified: DateTime<Utc>,
    /// Header `Content-Type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Header `Cache-Control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// Header `Content-Encoding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Header `Content-Disposition`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// Header `Content-Language`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Header `Expires`, as S3 gave it: it keeps any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Header `x-amz-website-redirect-location`: where a bucket that is a website sends who asks for the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website_redirect_location: Option<String>,
    /// User metadata, without `x-amz-meta-`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// An object left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedObject {
    /// The key, relative to the prefix.
    pub key: String,
    /// Why, for a person to read.
    pub reason: String,
}
