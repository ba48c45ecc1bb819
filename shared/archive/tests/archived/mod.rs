//! Makes archives of listings in one piece.

use std::collections::BTreeMap;

use holdfast_archive::manifest::{ManifestFrames, unpack};
use holdfast_archive::media_tar::MediaTar;

use crate::listing::{Object, entry, source, taken_at};

/// A whole archive in memory.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn archive(objects: &BTreeMap<String, Object>) -> Archive {
    let mut bytes = Vec::new();
    let (mut tar, mut manifest, mut frames) = (MediaTar::new(), ManifestFrames::new(), Vec::new());
    for (key, object) in objects {
        let archived = tar.read(entry(key, object.bytes.len() as u64, object), &object.bytes).unwrap();
        for piece in [&archived.header[..], &object.bytes, &archived.padding] {
            bytes.extend_from_slice(piece);
        }
        assert_eq!(tar.offset(), bytes.len() as u64);
        frames.extend(manifest.push(&archived.line).unwrap());
    }
    let end = manifest.finish(source()).unwrap();
    let around = tar.finish(end.total_bytes, taken_at());
    bytes.extend_from_slice(&around.header);
    bytes.extend_from_slice(&end.header_line);
    for frame in frames.into_iter().chain(end.last) {
        bytes.extend_from_slice(&unpack(&frame).unwrap());
    }
    bytes.extend_from_slice(&around.trailer);
    assert_eq!(around.archive_bytes, bytes.len() as u64);
    Archive { bytes }
}
