//! What is inside a media archive, one file at a time: found by the manifest beside the tar, read by a range of the tar.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_archive::{
    checksum::{Crc64Nvme, Sha256},
    manifest::{INDEX_TAIL_BYTES, ManifestIndex, ManifestLine, StoredObject, parse_lines, unpack},
};
use holdfast_domain::{
    backup::{self, Artifact, Contents, State},
    id::{ApplicationId, BackupId, ServiceName},
    invalid::Invalid,
};
use secrecy::SecretString;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    backups,
    error::RequestError,
    ports::{self, Page, Ports},
};

/// What a line of the manifest is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file in the archive.
    File,
    /// An empty object whose key ends in `/`, a folder in the archive.
    Directory,
    /// An object that was listed and is not in the archive.
    Skipped,
}

/// One entry of a media archive's manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ArchivedFile {
    /// The key, relative to the service's prefix.
    #[schema(example = "photos/2026/a.jpg")]
    pub key: String,
    /// File, folder, or left out.
    pub kind: EntryKind,
    /// The name in the tar, where a path cannot have the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When the object was last modified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<DateTime<Utc>>,
    /// The object's `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// SHA-256 of its bytes in hexadecimal digits, where all of them were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// CRC64NVME of its bytes, base64 of the big-endian value, where S3 copied most of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crc64nvme: Option<String>,
    /// Why it is not in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<ManifestLine> for ArchivedFile {
    fn from(line: ManifestLine) -> Self {
        let (kind, object) = match line {
            ManifestLine::File(object) => (EntryKind::File, object),
            ManifestLine::Directory(object) => (EntryKind::Directory, object),
            ManifestLine::Skipped(skipped) => {
                return Self {
                    key: skipped.key,
                    kind: EntryKind::Skipped,
                    member: None,
                    size: None,
                    last_modified: None,
                    content_type: None,
                    sha256: None,
                    crc64nvme: None,
                    reason: Some(skipped.reason),
                };
            }
        };
        Self {
            kind,
            member: (object.member != object.key).then_some(object.member),
            size: Some(object.size),
            last_modified: Some(object.last_modified),
            content_type: object.content_type,
            sha256: object.sha256.map(|sum| sum.to_string()),
            crc64nvme: object.crc64nvme.map(|sum| sum.to_string()),
            reason: None,
            key: object.key,
        }
    }
}

/// One file of an archive: what it is, and which bytes of the tar it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInArchive {
    /// What the manifest says about it.
    pub file: ArchivedFile,
    /// Its bytes within the tar.
    pub range: Range<u64>,
    artifact: backup::StoredObject,
}

impl FileInArchive {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Lists the entries whose keys begin with `prefix`, in the order of their bytes; the page's `next` is the last key.
pub async fn list(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    service: &ServiceName,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<ArchivedFile, String>, RequestError> {
    let artifact = archive(ports, application, id, service).await?;
    let manifest = Manifest::open(ports, &artifact).await?;
    let from = after.map_or(prefix, |after| after.max(prefix));
    let mut items: Vec<ArchivedFile> = Vec::new();
    for number in manifest.index.frame_of(from)..manifest.index.frames.len() {
        // The keys of a prefix stand side by side.
        let first = manifest.index.frames[number].first.as_str();
        if first > prefix && !first.starts_with(prefix) {
            break;
        }
        for line in manifest.lines(number).await? {
            if !line.key().starts_with(prefix) || after.is_some_and(|after| line.key() <= after) {
                continue;
            }
            if items.len() == limit {
                let next = items.last().map(|last| last.key.clone());
                return Ok(Page { items, next });
            }
            items.push(line.into());
        }
    }
    Ok(Page { items, next: None })
}

/// Finds one file.
pub async fn find(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    service: &ServiceName,
    key: &str,
) -> Result<FileInArchive, RequestError> {
    let artifact = archive(ports, application, id, service).await?;
    let manifest = Manifest::open(ports, &artifact).await?;
    let missing = || RequestError::not_found("file", &key);
    let number = manifest.index.frame_of(key);
    if manifest.index.frames.is_empty() {
        return Err(missing());
    }
    let line = manifest.lines(number).await?.into_iter().find(|line| line.key() == key);
    let line = line.ok_or_else(missing)?;
    let (offset, size) = match &line {
        ManifestLine::File(StoredObject { offset, size, .. })
        | ManifestLine::Directory(StoredObject { offset, size, .. }) => (*offset, *size),
        ManifestLine::Skipped(skipped) => {
            return Err(RequestError::Conflict(format!(
                "the file {key:?} was listed and is not in the archive: {}",
                skipped.reason
            )));
        }
    };
    let end = offset.checked_add(size).filter(|end| *end <= artifact.object.size);
    let end = end.ok_or_else(|| unreadable("it names bytes beyond the end of the tar"))?;
    Ok(FileInArchive { range: offset..end, artifact: artifact.object, file: line.into() })
}

/// The bytes of a file, which must be few, compared with its checksum.
pub async fn content(ports: &Ports, file: &FileInArchive) -> Result<Bytes, RequestError> {
    let bytes = ports.artifacts.read(&file.artifact, file.range.clone()).await?;
    let sha256 = file.file.sha256.as_ref().is_none_or(|sum| *sum == Sha256::of(&bytes).to_string());
    let crc64nvme = file.file.crc64nvme.as_ref().is_none_or(|sum| *sum == Crc64Nvme::of(&bytes).to_string());
    if sha256 && crc64nvme {
        Ok(bytes)
    } else {
        Err(unreadable(&format!("the bytes of {:?} are not those of its checksum", file.file.key)))
    }
}

/// A fresh signed URL, valid for `valid`, for the bytes of a file and no others of the tar. The backup remembers how long.
pub async fn link(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    file: &FileInArchive,
    valid: Duration,
) -> Result<(SecretString, DateTime<Utc>), RequestError> {
    let expires_at = ports.clock.now() + valid;
    backups::promise_link(ports, application, id, expires_at, valid).await?;
    let url = ports.artifacts.range_url(&file.artifact, file.range.clone(), valid).await?;
    Ok((url, expires_at))
}

/// The media archive of one service, if the backup has it and it can be read.
async fn archive(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    service: &ServiceName,
) -> Result<Artifact, RequestError> {
    let backup = backups::find(ports, application, id).await?.value;
    if backup.state != State::Succeeded {
        return Err(RequestError::Conflict(format!(
            "the backup {id} is {}; only one that succeeded can be looked into",
            backup.state.as_str()
        )));
    }
    let artifact = backup.artifacts.iter().find(|artifact| artifact.service == *service).cloned();
    let artifact = artifact.ok_or_else(|| RequestError::not_found("artifact", service))?;
    match artifact.contents {
        Contents::MediaTar { .. } => Ok(artifact),
        Contents::PostgresCustom { .. } | Contents::MysqlSql { .. } => Err(Invalid::new(
            "service",
            "is a database, whose dump has no files",
            "name a storage service, or download the dump",
        )
        .into()),
    }
}

/// The manifest beside a tar.
struct Manifest<'a> {
    ports: &'a Ports,
    object: backup::StoredObject,
    index: ManifestIndex,
}

impl<'a> Manifest<'a> {
    async fn open(ports: &'a Ports, artifact: &Artifact) -> Result<Self, RequestError> {
        let key = ports::beside(&artifact.object.key, Contents::MANIFEST_FILE_NAME);
        let object = ports.artifacts.describe(&key).await?.ok_or_else(|| {
            RequestError::Conflict(
                "the archive has no manifest beside it, as those of earlier versions; download the archive itself"
                    .to_owned(),
            )
        })?;
        let (size, mut wanted) = (object.size, INDEX_TAIL_BYTES);
        loop {
            let tail = ports.artifacts.read(&object, size - wanted.min(size)..size).await?;
            match ManifestIndex::from_tail(&tail).map_err(|error| unreadable(&error.to_string()))? {
                Ok(index) => return Ok(Self { ports, object, index }),
                Err(more) if more <= size && more > wanted => wanted = more,
                Err(_) => return Err(unreadable("its index is longer than itself")),
            }
        }
    }

    /// The lines of one frame.
    async fn lines(&self, number: usize) -> Result<Vec<ManifestLine>, RequestError> {
        let range = self.index.range(number).ok_or_else(|| unreadable("it has no such frame"))?;
        let frame = self.ports.artifacts.read(&self.object, range).await?;
        let text = unpack(&frame).map_err(|error| unreadable(&error.to_string()))?;
        let lines: Result<Vec<_>, _> = parse_lines(&text, 1).collect();
        lines.map_err(|error| unreadable(&error.to_string()))
    }
}

fn unreadable(why: &str) -> RequestError {
    RequestError::Unavailable(format!("the manifest of the archive cannot be read: {why}"))
}
