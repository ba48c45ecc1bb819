//! Any lines, written into a manifest and read back, are the same lines.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its own functions too")]

use std::collections::BTreeMap;
use std::io::Cursor;

use chrono::DateTime;
use holdfast_archive::checksum::{Crc64Nvme, Sha256};
use holdfast_archive::manifest::{
    self, ManifestCounts, ManifestFrames, ManifestIndex, ManifestLine, ManifestSource, SkippedObject,
    StoredObject, parse_lines, unpack,
};
use proptest::prelude::*;

fn stored() -> impl Strategy<Value = StoredObject> {
    let text = || prop_oneof![any::<String>(), "\"?[0-9a-f]{30,600}\"?"];
    let texts = (text(), text(), text());
    let numbers = (0..1_u64 << 45, any::<u64>(), 0..1_i64 << 34);
    let headers = prop::array::uniform7(any::<Option<String>>());
    let metadata = prop::collection::btree_map(any::<String>(), any::<String>(), 0..4);
    (texts, numbers, headers, metadata).prop_map(
        |((key, member, etag), (size, offset, seconds), headers, metadata)| {
            let [
                content_type,
                cache_control,
                content_encoding,
                content_disposition,
                content_language,
                expires,
                website_redirect_location,
            ] = headers;
            StoredObject {
                sha256: (size % 2 == 0).then(|| Sha256::of(key.as_bytes())),
                crc64nvme: (size % 2 == 1).then_some(Crc64Nvme::new(offset)),
                version_id: content_type.clone(),
                tags: metadata.clone(),
                last_modified: DateTime::from_timestamp(seconds, 0).unwrap(),
                key,
                member,
                size,
                offset,
                etag,
                content_type,
                cache_control,
                content_encoding,
                content_disposition,
                content_language,
                expires,
                website_redirect_location,
                metadata,
            }
        },
    )
}

fn lines() -> impl Strategy<Value = Vec<ManifestLine>> {
    let skipped = (any::<String>(), any::<String>())
        .prop_map(|(key, reason)| ManifestLine::Skipped(SkippedObject { key, reason }));
    let line = prop_oneof![
        stored().prop_map(ManifestLine::File),
        stored().prop_map(ManifestLine::Directory),
        skipped
    ];
    prop::collection::vec(line, 0..40)
}

fn source(text: String) -> ManifestSource {
    ManifestSource {
        application: "shop".to_owned(),
        service: "MEDIA".to_owned(),
        bucket: "shop-media".to_owned(),
        prefix: text,
        taken_at: DateTime::UNIX_EPOCH,
    }
}

/// A manifest uncompressed, and compressed.
fn written(lines: &[ManifestLine], source: ManifestSource) -> (Vec<u8>, Vec<u8>) {
    let (mut manifest, mut frames) = (ManifestFrames::new(), Vec::new());
    for line in lines {
        frames.extend(manifest.push(line).unwrap());
    }
    let end = manifest.finish(source).unwrap();
    frames.extend(end.last);
    let mut bytes = end.header_line.to_vec();
    for frame in &frames {
        bytes.extend_from_slice(&unpack(frame).unwrap());
    }
    assert_eq!(bytes.len() as u64, end.total_bytes);
    let packed = [&end.header[..], &frames.concat(), &end.index_frame].concat();
    (bytes, packed)
}

proptest! {
    #[test]
    fn any_manifest_reads_back(lines in lines(), prefix in any::<String>()) {
        let (bytes, packed) = written(&lines, source(prefix.clone()));
        prop_assert!(unpack(&packed).unwrap() == bytes, "the index is passed over");
        let (header, read) = manifest::read(Cursor::new(&bytes)).unwrap();
        let read: Vec<ManifestLine> = read.map(Result::unwrap).collect();
        let mut counts = ManifestCounts::default();
        for line in &lines {
            counts.add(line);
        }
        prop_assert_eq!(header.source, source(prefix));
        prop_assert_eq!(header.counts, counts);
        prop_assert_eq!(read, lines);
    }
}

/// As it was written before there were `expires` and `website_redirect_location`.
#[test]
fn a_line_without_the_later_fields_reads_back() {
    let sha256 = Sha256::of(b"bytes");
    let line = format!(
        r#"{{"type":"file","key":"a","member":"a","size":5,"offset":512,"sha256":"{sha256}","etag":"e","last_modified":"2026-01-01T00:00:00Z","content_language":"de"}}"#
    );
    let lines: Vec<_> = parse_lines(line.as_bytes(), 1).map(Result::unwrap).collect();
    let [ManifestLine::File(object)] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&object.expires, &object.website_redirect_location), (&None, &None));
    assert_eq!(serde_json::to_string(&lines[0]).unwrap(), line, "what an object does not have is left out");
}

/// More than one frame, each of which is found by its keys and read alone.
#[test]
fn a_long_manifest_reads_back() {
    let lines: Vec<ManifestLine> = (0..20_000_u32)
        .map(|number| {
            let sha256 = Sha256::of(&number.to_le_bytes());
            ManifestLine::File(StoredObject {
                key: format!("{number:06}"),
                member: format!("{number:06}"),
                size: 1,
                offset: u64::from(number) * 1_024 + 512,
                sha256: Some(sha256),
                crc64nvme: None,
                version_id: None,
                tags: BTreeMap::new(),
                etag: sha256.to_string(),
                last_modified: DateTime::UNIX_EPOCH,
                content_type: None,
                cache_control: None,
                content_encoding: None,
                content_disposition: None,
                content_language: None,
                expires: None,
                website_redirect_location: None,
                metadata: BTreeMap::new(),
            })
        })
        .collect();
    let (bytes, packed) = written(&lines, source(String::new()));
    let (_, read) = manifest::read(Cursor::new(bytes)).unwrap();
    assert!(read.map(Result::unwrap).eq(lines.clone()));

    let index = ManifestIndex::from_tail(&packed).unwrap().unwrap();
    assert!(index.frames.len() > 3, "{}", index.frames.len());
    for line in lines.iter().step_by(997) {
        let range = index.range(index.frame_of(line.key())).unwrap();
        let frame = &packed[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(parse_lines(&unpack(frame).unwrap(), 1).any(|found| found.unwrap() == *line));
    }
}
