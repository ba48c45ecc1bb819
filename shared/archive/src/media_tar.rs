//! A media archive as it is made: objects in, the blocks of a tar and the lines of its manifest out.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};

use crate::checksum::{Crc64Nvme, Sha256};
use crate::manifest::{ManifestLine, SkippedObject, StoredObject};
use crate::tar::{MANIFEST_NAME, Member, MemberKind, MemberNames, OutOfOrder, writer};

/// An object about to be archived, in the version whose bytes stand in the tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The key, relative to the prefix.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, as S3 gave it.
    pub etag: String,
    /// The version, in a bucket that keeps versions.
    pub version_id: Option<String>,
    /// When the object was last modified.
    pub last_modified: DateTime<Utc>,
    /// Header `Content-Type`.
    pub content_type: Option<String>,
    /// Header `Cache-Control`.
    pub cache_control: Option<String>,
    /// Header `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// Header `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// Header `Content-Language`.
    pub content_language: Option<String>,
    /// Header `Expires`, as S3 gave it: it keeps any text.
    pub expires: Option<String>,
    /// Header `x-amz-website-redirect-location`.
    pub website_redirect_location: Option<String>,
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A step that would have torn the archive. The archive is lost: abort its upload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaTarError {
    /// The listing is not in order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The bytes are not as many as the object was said to have.
    #[error(
        "the object {key:?} has {size} bytes and {actual} were read: the read broke off or was of another version, make \
         the archive again"
    )]
    OtherSize {
        /// The key.
        key: String,
        /// The size that the header has, in bytes.
        size: u64,
        /// The bytes that came.
        actual: u64,
    },
}

/// Makes one media archive: says what stands around the bytes of each object, and what the manifest says of it.
///
/// Memory: the names that the next key may be in conflict with; no data.
#[derive(Debug, Clone, Default)]
pub struct MediaTar {
    names: MemberNames,
    /// The length of the tar so far, in bytes.
    offset: u64,
}

/// What stands around the data of an object, and its line of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The blocks before its data.
    pub header: Bytes,
    /// The zeros after its data.
    pub padding: Bytes,
    /// What the manifest says about it.
    pub line: ManifestLine,
}

impl MediaTar {
    /// An archive without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// An archive that goes on at `offset` bytes, with the names that the next key may be in conflict with.
    pub fn continuing(names: MemberNames, offset: u64) -> Self {
        Self { names, offset }
    }

    /// Blocks that say nothing, of at least so many bytes.
    pub fn fill(&mut self, least: u64) -> Bytes {
        let filler = writer::filler(least);
        self.offset += filler.len() as u64;
        filler
    }

    /// Adds the next object of the listing, all of whose bytes are here.
    pub fn read(&mut self, entry: ObjectEntry, bytes: &[u8]) -> Result<Archived, MediaTarError> {
        let actual = bytes.len() as u64;
        if actual != entry.size {
            return Err(MediaTarError::OtherSize { key: entry.key, size: entry.size, actual });
        }
        self.add(entry, Some(Sha256::of(bytes)), None)
    }

    /// Adds the next object of the listing, whose bytes S3 copies. `crc64nvme` is the checksum of all of them.
    pub fn copied(&mut self, entry: ObjectEntry, crc64nvme: Crc64Nvme) -> Result<Archived, MediaTarError> {
        self.add(entry, None, Some(crc64nvme))
    }

    /// Names an object that is left out, and why.
    pub fn skip(&self, key: &str, reason: &str) -> ManifestLine {
        ManifestLine::Skipped(SkippedObject { key: key.to_owned(), reason: reason.to_owned() })
    }

    /// The length of the tar so far, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Ends the archive with a manifest of so many bytes.
    pub fn finish(self, manifest_bytes: u64, taken_at: DateTime<Utc>) -> MediaTarEnd {
        let member = Member { name: MANIFEST_NAME.to_owned(), kind: MemberKind::File };
        let header = writer::header(&member, manifest_bytes, taken_at);
        let mut trailer = BytesMut::from(writer::padding(manifest_bytes));
        trailer.extend_from_slice(writer::end());
        let archive_bytes = self.offset + header.len() as u64 + manifest_bytes + trailer.len() as u64;
        MediaTarEnd { header, trailer: trailer.freeze(), archive_bytes }
    }

    fn add(
        &mut self,
        entry: ObjectEntry,
        sha256: Option<Sha256>,
        crc64nvme: Option<Crc64Nvme>,
    ) -> Result<Archived, MediaTarError> {
        let member = self.names.assign(&entry.key, entry.size)?;
        let header = writer::header(&member, entry.size, entry.last_modified);
        let padding = Bytes::from_static(writer::padding(entry.size));
        let offset = self.offset + header.len() as u64;
        self.offset = offset + entry.size + padding.len() as u64;
        let object = StoredObject {
            key: entry.key,
            member: member.name,
            size: entry.size,
            offset,
            sha256,
            crc64nvme,
            etag: entry.etag,
            version_id: entry.version_id,
            last_modified: entry.last_modified,
            content_type: entry.content_type,
            cache_control: entry.cache_control,
            content_encoding: entry.content_encoding,
            content_disposition: entry.content_disposition,
            content_language: entry.content_language,
            expires: entry.expires,
            website_redirect_location: entry.website_redirect_location,
            metadata: entry.metadata,
            tags: entry.tags,
        };
        let line = match member.kind {
            MemberKind::File => ManifestLine::File(object),
            MemberKind::Directory => ManifestLine::Directory(object),
        };
        Ok(Archived { header, padding, line })
    }
}

/// What stands around the manifest, which is the last member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTarEnd {
    /// The blocks before the manifest.
    pub header: Bytes,
    /// What follows it: padding, and the end of the tar.
    pub trailer: Bytes,
    /// The length of the whole tar in bytes.
    pub archive_bytes: u64,
}
