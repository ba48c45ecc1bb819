//! Listings, as a bucket gives them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use holdfast_archive::manifest::ManifestSource;
use holdfast_archive::media_tar::ObjectEntry;

/// What a bucket has under a key.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Vec<u8>,
    pub(crate) modified: DateTime<Utc>,
    pub(crate) metadata: BTreeMap<String, String>,
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
        version_id: None,
        last_modified: object.modified,
        content_type: Some("image/jpeg".to_owned()),
        cache_control: None,
        content_encoding: None,
        content_disposition: Some("attachment; filename=\"a b\"".to_owned()),
        content_language: None,
        expires: None,
        website_redirect_location: None,
        metadata: object.metadata.clone(),
        tags: BTreeMap::new(),
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
