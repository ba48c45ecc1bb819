//! What an engine may do, and what it is told when it does something else.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its own functions too")]

mod listing;

use std::collections::BTreeMap;
use std::io::Cursor;

use holdfast_archive::manifest::{self, ManifestCounts, ManifestError, ManifestLine, SkippedObject};
use holdfast_archive::media_tar::{MediaTar, MediaTarError};
use holdfast_archive::tar::MANIFEST_NAME;
use listing::{Object, archive, entry, object, source};
use rstest::rstest;

fn tar() -> MediaTar {
    MediaTar::new(source()).unwrap()
}

#[test]
fn a_skipped_object_is_named_with_its_reason() {
    let mut tar = tar();
    tar.begin_file(entry("a", 1, &object("x"))).unwrap();
    tar.data(b"x").unwrap();
    tar.end_file().unwrap();
    tar.skip("b", "deleted after it was listed").unwrap();
    let end = tar.finish().unwrap();
    assert_eq!(end.summary.counts, ManifestCounts { files: 1, directories: 0, skipped: 1, bytes: 1 });

    let rest: Vec<u8> = end.chunks.flat_map(Result::unwrap).collect();
    let text = &rest[512..];
    let text = &text[..text.iter().position(|byte| *byte == 0).unwrap()];
    let (header, lines) = manifest::read(Cursor::new(text)).unwrap();
    assert_eq!(header.source, source());
    let skipped = SkippedObject { key: "b".to_owned(), reason: "deleted after it was listed".to_owned() };
    assert_eq!(lines.last().unwrap().unwrap(), ManifestLine::Skipped(skipped));
}

#[test]
fn more_bytes_than_the_header_says_are_refused_before_they_are_written() {
    let mut tar = tar();
    tar.begin_file(entry("a", 3, &object("abc"))).unwrap();
    tar.data(b"ab").unwrap();
    let error = tar.data(b"cd").unwrap_err();
    assert!(matches!(&error, MediaTarError::TooLong { key, size: 3 } if key == "a"), "{error:?}");
}

#[rstest]
#[case::none_came(b"")]
#[case::some_came(b"ab")]
fn fewer_bytes_than_the_header_says_are_refused(#[case] bytes: &[u8]) {
    let mut tar = tar();
    tar.begin_file(entry("a", 3, &object("abc"))).unwrap();
    tar.data(bytes).unwrap();
    let error = tar.end_file().unwrap_err();
    let MediaTarError::TooShort { key, size: 3, actual } = &error else { panic!("{error:?}") };
    assert_eq!((key.as_str(), *actual), ("a", bytes.len() as u64));
}

#[test]
fn nothing_begins_or_ends_in_the_middle_of_a_file() {
    let mut tar = tar();
    tar.begin_file(entry("a", 3, &object("abc"))).unwrap();
    let is_open = |error: &MediaTarError| matches!(error, MediaTarError::FileOpen { key } if key == "a");
    assert!(is_open(&tar.begin_file(entry("b", 3, &object("abc"))).unwrap_err()));
    assert!(is_open(&tar.skip("b", "gone").unwrap_err()));
    assert!(is_open(&tar.finish().unwrap_err()));
}

#[test]
fn data_and_ends_need_a_file() {
    let mut tar = tar();
    assert!(matches!(tar.data(b"x").unwrap_err(), MediaTarError::NoFile));
    assert!(matches!(tar.end_file().unwrap_err(), MediaTarError::NoFile));
}

#[test]
fn a_listing_out_of_order_is_refused() {
    let mut tar = tar();
    for key in ["b", "a"] {
        let begun = tar.begin_file(entry(key, 0, &object("")));
        match key {
            "b" => drop((begun.unwrap(), tar.end_file().unwrap())),
            _ => assert!(matches!(begun.unwrap_err(), MediaTarError::OutOfOrder(_))),
        }
    }
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
        r#"{"type":"header","format":"holdfast-media-manifest","version":1,"application":"shop","service":"MEDIA","#,
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
    let error = read_error("{\"format\":\"holdfast-media-manifest\",\"version\":2,\"shape\":\"another\"}\n");
    assert!(error.to_string().contains("version 2"), "{error}");
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
    let text = manifest_of(&["a"]).replacen("\"key\":", "\"tags\":{\"a\":\"b\"},\"key\":", 1);
    let (_, lines) = manifest::read(Cursor::new(text)).unwrap();
    assert_eq!(lines.map(Result::unwrap).count(), 1);
}
