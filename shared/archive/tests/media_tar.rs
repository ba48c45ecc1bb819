//! What an engine may do, and what it is told when it does something else.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its own functions too")]

mod archived;
mod listing;

use std::collections::BTreeMap;
use std::io::Cursor;

use archived::archive;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_archive::manifest::{
    self, ManifestCounts, ManifestError, ManifestFrames, ManifestLine, SkippedObject, unpack,
};
use holdfast_archive::media_tar::{MediaTar, MediaTarError};
use holdfast_archive::tar::MANIFEST_NAME;
use listing::{Object, entry, object, source};
use rstest::rstest;

#[test]
fn a_skipped_object_is_named_with_its_reason() {
    let (mut tar, mut manifest) = (MediaTar::new(), ManifestFrames::new());
    manifest.push(&tar.read(entry("a", 1, &object("x")), b"x").unwrap().line).unwrap();
    manifest.push(&tar.skip("b", "deleted after it was listed")).unwrap();
    let end = manifest.finish(source()).unwrap();
    assert_eq!(end.counts, ManifestCounts { files: 1, directories: 0, skipped: 1, bytes: 1 });

    let text = [&end.header_line[..], &unpack(&end.last.unwrap()).unwrap()].concat();
    let (header, lines) = manifest::read(Cursor::new(text)).unwrap();
    assert_eq!(header.source, source());
    let skipped = SkippedObject { key: "b".to_owned(), reason: "deleted after it was listed".to_owned() };
    assert_eq!(lines.last().unwrap().unwrap(), ManifestLine::Skipped(skipped));
}

#[rstest]
#[case::none_came(b"")]
#[case::too_few(b"ab")]
#[case::too_many(b"abcd")]
fn another_number_of_bytes_than_the_header_says_is_refused(#[case] bytes: &[u8]) {
    let mut tar = MediaTar::new();
    let error = tar.read(entry("a", 3, &object("abc")), bytes).unwrap_err();
    let MediaTarError::OtherSize { key, size: 3, actual } = &error else { panic!("{error:?}") };
    assert_eq!((key.as_str(), *actual), ("a", bytes.len() as u64));
    assert_eq!(tar.offset(), 0);
}

/// An object over 8 GiB, without its bytes: where it lies, and where the next one does.
#[test]
fn a_copied_object_has_the_checksum_that_s3_gave() {
    let mut tar = MediaTar::new();
    let size = (9 << 30) + 1;
    let archived = tar.copied(entry("film.mov", size, &object("")), Crc64Nvme::new(7)).unwrap();
    assert_eq!((archived.header.len(), archived.padding.len()), (3 * 512, 511));
    let ManifestLine::File(stored) = archived.line else { panic!("not a file") };
    assert_eq!((stored.sha256, stored.crc64nvme), (None, Some(Crc64Nvme::new(7))));
    assert_eq!((stored.offset, stored.size), (3 * 512, size));
    assert_eq!(tar.offset(), 3 * 512 + size + 511);
    let next = tar.read(entry("next", 1, &object("x")), b"x").unwrap();
    let ManifestLine::File(next) = next.line else { panic!("not a file") };
    assert_eq!(next.offset, 3 * 512 + size + 511 + 512);
}

#[test]
fn a_listing_out_of_order_is_refused() {
    let mut tar = MediaTar::new();
    tar.read(entry("b", 0, &object("")), b"").unwrap();
    let error = tar.read(entry("a", 0, &object("")), b"").unwrap_err();
    assert!(matches!(error, MediaTarError::OutOfOrder(_)));
}

/// The manifest of an archive of `keys`, as text.
fn manifest_of(keys: &[&str]) -> String {
    let objects: BTreeMap<String, Object> = keys.iter().map(|key| ((*key).to_owned(), object("x"))).collect();
    let bytes = archive(&objects).bytes;
    let mut reader = tar::Archive::new(Cursor::new(bytes));
    let mut entries = reader.entries().unwrap().map(Result::unwrap);
    let manifest = entries.find(|entry| *entry.path_bytes() == *MANIFEST_NAME.as_bytes()).unwrap();
    std::io::read_to_string(manifest).unwrap()
}

/// The text of a line is a contract with everyone who reads one.
#[test]
fn lines_are_json_in_a_stable_order() {
    let text = manifest_of(&["../ä"]);
    let expected = concat!(
        r#"{"type":"header","format":"holdfast-media-manifest","version":2,"application":"shop","service":"MEDIA","#,
        r#""bucket":"shop-media","prefix":"media/","taken_at":"2024-03-09T16:00:00Z","files":1,"directories":0,"#,
        r#""skipped":0,"bytes":1}"#,
        "\n",
        r#"{"type":"file","key":"../ä","#,
        r#""member":".holdfast-escaped/_-9f307179a6ef35b0fbbb77817327541d8b67046081da0dfa0212b961541048ca","#,
        r#""size":1,"offset":512,"#,
        r#""sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","#,
        r#""etag":"\"0f343b0931126a20f133d67c2b018a3b\"","last_modified":"2023-11-14T22:13:20Z","#,
        r#""content_type":"image/jpeg","content_disposition":"attachment; filename=\"a b\"","#,
        r#""metadata":{"length":"1"}}"#,
        "\n",
    );
    assert_eq!(text, expected);
}

fn read_error(text: &str) -> ManifestError {
    match manifest::read(Cursor::new(text)) {
        Err(error) => error,
        Ok((_, mut lines)) => lines.find_map(Result::err).expect("a manifest that is not whole"),
    }
}

#[test]
fn a_manifest_that_is_not_one_is_refused() {
    assert!(matches!(read_error(""), ManifestError::Empty));
    for text in ["\0\0\0", "[]\n", "{}\n", "{\"format\":\"holdfast-dump\",\"version\":1}\n"] {
        assert!(matches!(read_error(text), ManifestError::NotAManifest), "{text:?}");
    }
}

#[test]
fn a_manifest_of_a_later_version_asks_for_a_newer_program() {
    let error = read_error("{\"format\":\"holdfast-media-manifest\",\"version\":3,\"shape\":\"another\"}\n");
    assert!(error.to_string().contains("version 3"), "{error}");
    assert!(error.to_string().contains("use a newer Holdfast"), "{error}");
}

#[test]
fn a_manifest_that_is_cut_off_is_refused_wherever_the_cut_is() {
    let text = manifest_of(&["a", "b"]);
    for cut in 0..text.len() - 1 {
        read_error(&text[..cut]);
    }
    let after_first_file = text.match_indices('\n').nth(1).unwrap().0 + 1;
    let error = read_error(&text[..after_first_file]);
    let ManifestError::Counts { expected, actual } = error else { panic!("{error:?}") };
    assert_eq!((expected.files, actual.files), (2, 1));
}

#[test]
fn a_line_that_is_damaged_is_named_by_its_number() {
    let text = manifest_of(&["a", "b"]).replacen("\"key\":\"b\"", "\"key\":7", 1);
    assert!(matches!(read_error(&text), ManifestError::Line { line: 3, .. }));
}

#[test]
fn a_field_of_a_later_writer_is_passed_over() {
    let text = manifest_of(&["a"]).replacen("\"key\":", "\"colour\":{\"a\":\"b\"},\"key\":", 1);
    let (_, lines) = manifest::read(Cursor::new(text)).unwrap();
    assert_eq!(lines.map(Result::unwrap).count(), 1);
}
