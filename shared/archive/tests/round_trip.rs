//! Any listing, made into a tar, is the same listing when it is read back.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its own functions too")]

mod archived;
mod listing;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use archived::{Archive, archive};
use holdfast_archive::checksum::Sha256;
use holdfast_archive::manifest::{self, ManifestLine};
use holdfast_archive::tar::{MANIFEST_NAME, MemberKind};
use listing::{Object, object, taken_at};
use proptest::prelude::*;

/// One member as the `tar` crate reads it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    name: Vec<u8>,
    kind: MemberKind,
    modified: u64,
    bytes: Vec<u8>,
}

fn read_back(tar: &[u8]) -> Vec<Found> {
    let mut reader = tar::Archive::new(Cursor::new(tar));
    let mut found = Vec::new();
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular => MemberKind::File,
            tar::EntryType::Directory => MemberKind::Directory,
            other => panic!("a member of type {other:?}"),
        };
        let (name, modified) = (entry.path_bytes().into_owned(), entry.header().mtime().unwrap());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        found.push(Found { name, kind, modified, bytes });
    }
    found
}

fn assert_reads_back(objects: &BTreeMap<String, Object>, archive: &Archive) {
    let mut found = read_back(&archive.bytes);

    let last = found.pop().unwrap();
    assert_eq!(last.name, MANIFEST_NAME.as_bytes());
    assert_eq!(last.modified, taken_at().timestamp().cast_unsigned());
    let (header, lines) = manifest::read(Cursor::new(last.bytes)).unwrap();
    let lines: Vec<ManifestLine> = lines.map(Result::unwrap).collect();
    assert_eq!(header.counts.files + header.counts.directories, lines.len() as u64);

    assert_eq!((found.len(), lines.len()), (objects.len(), objects.len()));
    for ((found, line), (key, object)) in found.iter().zip(&lines).zip(objects) {
        let (stored, kind) = match line {
            ManifestLine::File(stored) => (stored, MemberKind::File),
            ManifestLine::Directory(stored) => (stored, MemberKind::Directory),
            ManifestLine::Skipped(skipped) => panic!("{skipped:?}"),
        };
        assert_eq!(&stored.key, key);
        assert_eq!(stored.sha256, Some(Sha256::of(&object.bytes)));
        assert_eq!(stored.metadata, object.metadata);
        assert_eq!(stored.last_modified, object.modified);
        let from = usize::try_from(stored.offset).unwrap();
        assert_eq!(&archive.bytes[from..from + object.bytes.len()], object.bytes);

        assert_eq!(found.kind, kind);
        assert_eq!(found.modified, object.modified.timestamp().cast_unsigned());
        assert_eq!(found.bytes, object.bytes);
        assert_eq!(String::from_utf8_lossy(&found.name), stored.member);
    }
}

/// Keys of everything, but for a line feed in a name that needs an extended header: the `tar` crate takes each
/// line of that for a record. The stock tools do not, see `stock_tools.rs`.
fn keys() -> impl Strategy<Value = String> {
    let hostile =
        "(\\.\\.?|[ab]|é|😀|MANIFEST\\.jsonl|\\.holdfast-escaped)?(/(\\.\\.?|[ab]|[a-z]{300}|é)?){0,6}/?";
    prop_oneof![
        3 => hostile.prop_map(|key: String| key),
        1 => "[a-z]{1,40}(/[a-z]{90,120}){0,6}",
        2 => any::<String>().prop_filter("a line feed", |key| !key.contains('\n') || (key.is_ascii() && key.len() <= 100)),
        1 => "[ -~\n\t\u{1}]{1,60}",
    ]
}

proptest! {
    #[test]
    fn any_listing_reads_back(
        listed in prop::collection::btree_map(keys(), (0..3_u8, prop::collection::vec(any::<u8>(), 0..1_200), 0..1_i64 << 34), 0..12),
    ) {
        let objects: BTreeMap<String, Object> = listed
            .into_iter()
            .map(|(key, (kind, bytes, seconds))| {
                let bytes = if kind == 0 { Vec::new() } else { bytes };
                (key, Object { modified: chrono::DateTime::from_timestamp(seconds, 0).unwrap(), ..object(bytes) })
            })
            .collect();
        let made = archive(&objects);
        assert_reads_back(&objects, &made);
        prop_assert!(archive(&objects).bytes == made.bytes, "the same listing gives the same bytes");
    }
}

#[test]
fn an_empty_listing_is_an_archive_with_a_manifest() {
    assert_reads_back(&BTreeMap::new(), &archive(&BTreeMap::new()));
}
