//! Makes archives of listings, as an engine does.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use holdfast_archive::manifest::ManifestSource;
use holdfast_archive::media_tar::{MediaTar, MediaTarSummary, ObjectEntry};

/// What a bucket has under a key.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) modified: DateTime<Utc>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A whole archive in memory.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
    pub(crate) summary: MediaTarSummary,
}

pub(crate) fn object(bytes: impl Into<Vec<u8>>) -> Object {
    let bytes = bytes.into();
    let metadata = BTreeMap::from([("length".to_owned(), bytes.len().to_string())]);
    Object { bytes, modified: DateTime::from_timestamp(1_700_000_000, 0).unwrap(), metadata }
}

pub(crate) fn entry(key: &str, size: u64, object: &Object) -> ObjectEntry {
    ObjectEntry {
        key: key.to_owned(),
        size,
        etag: "\"0f343b0931126a20f133d67c2b018a3b\"".to_owned(),
        last_modified: object.modified,
        content_type: Some("image/jpeg".to_owned()),
        cache_control: None,
        content_encoding: None,
        content_disposition: Some("attachment; filename=\"a b\"".to_owned()),
        content_language: None,
        metadata: object.metadata.clone(),
    }
}

pub(crate) fn taken_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_710_000_000, 0).unwrap()
}

pub(crate) fn source() -> ManifestSource {
    ManifestSource {
        application: "shop".to_owned(),
        service: "MEDIA".to_owned(),
        bucket: "shop-media".to_owned(),
        prefix: "media/".to_owned(),
        taken_at: taken_at(),
    }
}

pub(crate) fn archive(objects: &BTreeMap<String, Object>) -> Archive {
    let mut bytes = Vec::new();
    let mut tar = MediaTar::new(source()).unwrap();
    for (key, object) in objects {
        bytes.extend_from_slice(&tar.begin_file(entry(key, object.bytes.len() as u64, object)).unwrap());
        for piece in object.bytes.chunks(500) {
            tar.data(piece).unwrap();
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(&tar.end_file().unwrap());
        assert_eq!(tar.offset(), bytes.len() as u64);
    }
    let end = tar.finish().unwrap();
    for chunk in end.chunks {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    let archive = Archive { bytes, summary: end.summary };
    assert_eq!(archive.summary.archive_bytes, archive.bytes.len() as u64);
    archive
}
