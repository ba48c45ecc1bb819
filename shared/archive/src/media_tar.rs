//! A media archive as it is made: objects in, the blocks of a tar out.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::checksum::Sha256Hasher;
use crate::manifest::{
    ManifestBuffer, ManifestChunks, ManifestCounts, ManifestError, ManifestLine, ManifestSource,
    SkippedObject, StoredObject,
};
use crate::tar::{MANIFEST_NAME, Member, MemberKind, MemberNames, OutOfOrder, writer};

/// An object about to be archived. Its size must be that of the version whose bytes follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// The key, relative to the prefix.
    pub key: String,
    /// The size in bytes.
    pub size: u64,
    /// The entity tag, as S3 gave it.
    pub etag: String,
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
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

/// A step that would have torn the archive. The archive is lost: abort its upload.
#[derive(Debug, thiserror::Error)]
pub enum MediaTarError {
    /// The listing is not in order.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// The manifest failed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A step that must wait for the end of a file came in the middle of one.
    #[error("the file {key:?} has not ended: end it before the next step")]
    FileOpen {
        /// The key of the open file.
        key: String,
    },
    /// Data, or the end of a file, came without a file.
    #[error("no file has begun: begin one before its data or its end")]
    NoFile,
    /// The object has more bytes than it was said to have.
    #[error(
        "the object {key:?} gave more than its {size} bytes: it was read in another version than it was listed in, \
         make the archive again"
    )]
    TooLong {
        /// The key.
        key: String,
        /// The size that the header has, in bytes.
        size: u64,
    },
    /// The object has fewer bytes than it was said to have.
    #[error(
        "the object {key:?} ended after {actual} of its {size} bytes: the read broke off or was of another version, \
         make the archive again"
    )]
    TooShort {
        /// The key.
        key: String,
        /// The size that the header has, in bytes.
        size: u64,
        /// The bytes that came.
        actual: u64,
    },
}

/// Makes one media archive. An engine drives it: every `Bytes` that comes back, and every piece of data that
/// it was given, goes into the tar in that order.
///
/// Memory: the manifest, compressed, about 90 bytes for each object; no data.
#[derive(Debug)]
pub struct MediaTar {
    source: ManifestSource,
    names: MemberNames,
    manifest: ManifestBuffer,
    /// The length of the tar so far, in bytes.
    offset: u64,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    entry: ObjectEntry,
    member: Member,
    /// Where its data starts in the tar, in bytes.
    offset: u64,
    received: u64,
    hasher: Sha256Hasher,
}

impl MediaTar {
    /// An archive without members.
    pub fn new(source: ManifestSource) -> Result<Self, MediaTarError> {
        let (names, manifest) = (MemberNames::new(), ManifestBuffer::new()?);
        Ok(Self { source, names, manifest, offset: 0, open: None })
    }

    /// Begins the next object of the listing; returns its header. An object without bytes is ended like any
    /// other.
    pub fn begin_file(&mut self, entry: ObjectEntry) -> Result<Bytes, MediaTarError> {
        self.check_closed()?;
        let member = self.names.assign(&entry.key, entry.size)?;
        let header = writer::header(&member, entry.size, entry.last_modified);
        self.offset += header.len() as u64;
        let (offset, hasher) = (self.offset, Sha256Hasher::new());
        self.open = Some(OpenFile { entry, member, offset, received: 0, hasher });
        Ok(header)
    }

    /// Takes note of the next bytes of the open file, before they go into the tar.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), MediaTarError> {
        let file = self.open.as_mut().ok_or(MediaTarError::NoFile)?;
        let received = file.received + bytes.len() as u64;
        if received > file.entry.size {
            return Err(MediaTarError::TooLong { key: file.entry.key.clone(), size: file.entry.size });
        }
        file.received = received;
        file.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Ends the open file; returns the padding after its data.
    pub fn end_file(&mut self) -> Result<Bytes, MediaTarError> {
        let OpenFile { entry, member, offset, received, hasher } =
            self.open.take().ok_or(MediaTarError::NoFile)?;
        if received < entry.size {
            let (key, size) = (entry.key, entry.size);
            return Err(MediaTarError::TooShort { key, size, actual: received });
        }
        let object = StoredObject {
            key: entry.key,
            member: member.name,
            size: entry.size,
            offset,
            sha256: hasher.finish(),
            etag: entry.etag,
            last_modified: entry.last_modified,
            content_type: entry.content_type,
            cache_control: entry.cache_control,
            content_encoding: entry.content_encoding,
            content_disposition: entry.content_disposition,
            content_language: entry.content_language,
            metadata: entry.metadata,
        };
        self.manifest.push(&match member.kind {
            MemberKind::File => ManifestLine::File(object),
            MemberKind::Directory => ManifestLine::Directory(object),
        })?;
        let padding = writer::padding(received);
        self.offset += padding.len() as u64;
        Ok(Bytes::from_static(padding))
    }

    /// Names an object that is left out, and why.
    pub fn skip(&mut self, key: &str, reason: &str) -> Result<(), MediaTarError> {
        self.check_closed()?;
        let skipped = SkippedObject { key: key.to_owned(), reason: reason.to_owned() };
        self.manifest.push(&ManifestLine::Skipped(skipped))?;
        Ok(())
    }

    /// The length of the tar so far, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The lines of the manifest so far.
    pub fn counts(&self) -> ManifestCounts {
        self.manifest.counts()
    }

    /// Ends the archive: the manifest, and the end of the tar.
    pub fn finish(self) -> Result<MediaTarEnd, MediaTarError> {
        self.check_closed()?;
        let taken_at = self.source.taken_at;
        let manifest = self.manifest.finish(self.source)?;
        let member = Member { name: MANIFEST_NAME.to_owned(), kind: MemberKind::File };
        let header = writer::header(&member, manifest.total_bytes(), taken_at);
        let padding = writer::padding(manifest.total_bytes());
        let trailing_bytes =
            header.len() as u64 + manifest.total_bytes() + (padding.len() + writer::end().len()) as u64;
        let summary =
            MediaTarSummary { counts: manifest.counts(), archive_bytes: self.offset + trailing_bytes };
        let chunks =
            MediaTarChunks { header: Some(header), manifest, trailer: [padding, writer::end()].into_iter() };
        Ok(MediaTarEnd { chunks, summary })
    }

    fn check_closed(&self) -> Result<(), MediaTarError> {
        match &self.open {
            Some(file) => Err(MediaTarError::FileOpen { key: file.entry.key.clone() }),
            None => Ok(()),
        }
    }
}

/// What ends an archive.
#[derive(Debug)]
pub struct MediaTarEnd {
    /// The rest of the tar.
    pub chunks: MediaTarChunks,
    /// What the archive holds.
    pub summary: MediaTarSummary,
}

/// What an archive holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTarSummary {
    /// Files, folders and skipped objects, and the bytes of all files.
    pub counts: ManifestCounts,
    /// The length of the whole tar in bytes.
    pub archive_bytes: u64,
}

/// The rest of a tar in chunks: the manifest with its header and padding, and two blocks of zeros.
#[derive(Debug)]
pub struct MediaTarChunks {
    header: Option<Bytes>,
    manifest: ManifestChunks,
    trailer: std::array::IntoIter<&'static [u8], 2>,
}

impl Iterator for MediaTarChunks {
    type Item = Result<Bytes, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(header) = self.header.take() {
            return Some(Ok(header));
        }
        if let Some(chunk) = self.manifest.next() {
            return Some(chunk);
        }
        self.trailer.find(|bytes| !bytes.is_empty()).map(|bytes| Ok(Bytes::from_static(bytes)))
    }
}
