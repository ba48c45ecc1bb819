//! Member names: which keys stand in the tar as they are, and how the others are named.

use serde::{Deserialize, Serialize};

use crate::checksum::Sha256;

/// The name of the last member, the manifest of contents.
pub const MANIFEST_NAME: &str = "MANIFEST.jsonl";

/// The folder of the members whose keys cannot be a path.
pub const ESCAPED_FOLDER: &str = ".holdfast-escaped";

/// The longest name that stands as it is, in bytes: what an S3 key may have. It leaves three quarters of the
/// 4,096 bytes that Linux allows a path to the folder that the archive is unpacked in.
const MAX_NAME_BYTES: usize = 1_024;

/// The longest segment of a path, in bytes: `NAME_MAX` of every usual file system.
const MAX_SEGMENT_BYTES: usize = 255;

/// The most characters of its key that an escaped name repeats.
const MAX_TAIL_CHARS: usize = 64;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A file.
    File,
    /// A folder, from an empty object whose key ends in `/`.
    Directory,
}

/// One entry of a tar: its name and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The path, relative to the archive's root; a folder's ends in `/`.
    pub name: String,
    /// File or folder.
    pub kind: MemberKind,
}

/// A key did not come after the one before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key {key:?} was listed after {previous:?}: an archive needs every key once, in the order of its UTF-8 bytes, \
     as a general purpose bucket lists them (a directory bucket does not)"
)]
pub struct OutOfOrder {
    /// The key.
    pub key: String,
    /// The key before it.
    pub previous: String,
}

/// Gives each key of a listing its member name, unique within the archive.
///
/// A key is a name as it stands unless a path cannot have it everywhere: `.` or `..` or nothing between two
/// slashes or at an end; a drive letter or a backslash at the start; a zero byte; letters and accents apart
/// (not in Unicode's form NFC); more than 255 bytes between slashes or 1,024 in all; a name that the archive
/// uses itself; a file among its own folders (`a` beside `a/b`: the first listed, `a`, keeps its name). Such a
/// key is stored as `.holdfast-escaped/<end of the key>-<sha256 of the key>`.
///
/// Memory does not grow with the listing: in byte order all keys between `a` and `a/b` start with `a`, so the
/// files that may be in the way of the next key are all prefixes of the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNames {
    previous: Option<String>,
    /// The lengths of the files named as they stand whose keys are prefixes of `previous`, ascending.
    files: Vec<usize>,
}

impl MemberNames {
    /// Names for a listing that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The member for the next key of the listing, relative to the prefix, of an object of `size` bytes.
    pub fn assign(&mut self, key: &str, size: u64) -> Result<Member, OutOfOrder> {
        if let Some(previous) = &self.previous {
            if previous.as_str() >= key {
                return Err(OutOfOrder { key: key.to_owned(), previous: previous.clone() });
            }
            let shared = previous.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
            while self.files.last().is_some_and(|length| *length > shared) {
                self.files.pop();
            }
        }
        let below_a_file = self.files.iter().any(|length| key.as_bytes().get(*length) == Some(&b'/'));
        self.previous = Some(key.to_owned());

        let (path, kind) = match key.strip_suffix('/') {
            Some(path) if size == 0 => (path, MemberKind::Directory),
            _ => (key, MemberKind::File),
        };
        if below_a_file || is_reserved(path) || !is_path(path) {
            return Ok(Member { name: escaped(key), kind: MemberKind::File });
        }
        if kind == MemberKind::File {
            self.files.push(key.len());
        }
        Ok(Member { name: key.to_owned(), kind })
    }
}

fn is_path(path: &str) -> bool {
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..") && segment.len() <= MAX_SEGMENT_BYTES && !segment.contains('\0')
    };
    path.len() <= MAX_NAME_BYTES
        && !has_windows_root(path)
        // `bsdtar` composes the names that it reads, and macOS takes both forms for one name.
        && unicode_normalization::is_nfc(path)
        && path.split('/').all(is_segment)
}

/// Whether it starts as an absolute path of Windows does. `bsdtar` removes such a start on every system, with a
/// warning, and two names may then be one.
fn has_windows_root(path: &str) -> bool {
    matches!(path.as_bytes(), [b'\\', ..] | [b'a'..=b'z' | b'A'..=b'Z', b':', ..])
}

fn is_reserved(path: &str) -> bool {
    let first = path.split('/').next();
    first == Some(MANIFEST_NAME) || first == Some(ESCAPED_FOLDER)
}

/// A name that is a path whatever the key: the key's last segment, so that a person knows it again, and the
/// checksum of all of it, so that no two keys share a name.
fn escaped(key: &str) -> String {
    let last = key.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let skipped = last.chars().count().saturating_sub(MAX_TAIL_CHARS);
    let tail: String = last.chars().skip(skipped).map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("{ESCAPED_FOLDER}/{tail}-{}", Sha256::of(key.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn name_of(key: &str, size: u64) -> Member {
        MemberNames::new().assign(key, size).unwrap()
    }

    fn is_escaped(member: &Member) -> bool {
        member.name.starts_with(".holdfast-escaped/")
    }

    #[rstest]
    #[case::plain("photos/2024/a.jpg")]
    #[case::hidden(".well-known/x")]
    #[case::three_dots("a/.../b")]
    #[case::newline("a\nb")]
    #[case::control_characters("a\u{1}\t\r\u{7f}b")]
    #[case::every_plane("a\u{e9}\u{ffff}\u{1f600}\u{10ffff}")]
    #[case::backslash("a\\b")]
    #[case::two_letters_and_a_colon("ab:c")]
    #[case::letter_and_a_colon_inside("a/x:y")]
    #[case::almost_the_manifest("MANIFEST.jsonl2")]
    #[case::manifest_in_a_folder("x/MANIFEST.jsonl")]
    #[case::almost_the_escaped_folder(".holdfast-escaped2/x")]
    fn a_key_that_is_a_path_stands_as_it_is(#[case] key: &str) {
        assert_eq!(name_of(key, 3), Member { name: key.to_owned(), kind: MemberKind::File });
    }

    #[rstest]
    #[case::parent("../etc/passwd")]
    #[case::parent_inside("a/../b")]
    #[case::parent_at_the_end("a/..")]
    #[case::parent_folder("../")]
    #[case::here("./a")]
    #[case::root("/etc/passwd")]
    #[case::only_a_slash("/")]
    #[case::empty_segment("a//b")]
    #[case::two_slashes_at_the_end("a//")]
    #[case::empty("")]
    #[case::zero_byte("a\0b")]
    #[case::decomposed("e\u{301}")]
    #[case::drive_letter("C:\\windows")]
    #[case::any_letter_and_a_colon("x:y")]
    #[case::backslash_at_the_start("\\a")]
    #[case::manifest("MANIFEST.jsonl")]
    #[case::manifest_as_a_folder("MANIFEST.jsonl/")]
    #[case::below_the_manifest("MANIFEST.jsonl/x")]
    #[case::escaped_folder(".holdfast-escaped/")]
    #[case::escaped_folder_as_a_file(".holdfast-escaped")]
    #[case::below_the_escaped_folder(".holdfast-escaped/x")]
    fn a_key_that_cannot_be_a_path_is_escaped(#[case] key: &str) {
        for size in [0, 3] {
            let member = name_of(key, size);
            assert!(is_escaped(&member), "{member:?}");
            assert!(member.name.ends_with(&Sha256::of(key.as_bytes()).to_string()), "{member:?}");
            assert_eq!(member.kind, MemberKind::File);
            assert!(is_path(&member.name), "{member:?}");
        }
    }

    #[test]
    fn an_escaped_name_ends_with_what_a_person_knows() {
        let sum = Sha256::of("../a/Zürich plan.pdf".as_bytes());
        assert_eq!(
            name_of("../a/Zürich plan.pdf", 1).name,
            format!(".holdfast-escaped/Z_rich_plan.pdf-{sum}")
        );
    }

    #[rstest]
    #[case::segment_of_255(&"é".repeat(127), false)]
    #[case::segment_of_256(&"é".repeat(128), true)]
    #[case::key_of_1024(&"abcdefg/".repeat(128), false)]
    #[case::key_of_1026(&"abcdefg/".repeat(129), true)]
    fn limits_are_in_bytes(#[case] key: &str, #[case] escapes: bool) {
        assert_eq!(is_escaped(&name_of(key, 0)), escapes);
    }

    #[test]
    fn an_empty_object_whose_key_ends_in_a_slash_is_a_folder() {
        assert_eq!(name_of("a/b/", 0), Member { name: "a/b/".to_owned(), kind: MemberKind::Directory });
    }

    #[test]
    fn a_key_that_ends_in_a_slash_but_has_bytes_is_an_escaped_file() {
        assert!(is_escaped(&name_of("a/b/", 1)));
    }

    /// Keys in listing order, those that are escaped marked.
    #[rstest]
    #[case::beside_its_folder(&[("a", false), ("a/b", true), ("a/c/d", true), ("b", false)])]
    #[case::others_between(&[("a", false), ("a!", false), ("a!b", false), ("a/b", true), ("a0", false)])]
    #[case::nested(&[("a/b", false), ("a/b-c", false), ("a/b/c", true), ("a/b/c/d", true), ("a/c/d", false)])]
    #[case::folder_marker(&[("a", false), ("a/", true), ("a/b", true)])]
    #[case::folder_first(&[("a/", false), ("a/b", false), ("a/b/", true)])]
    #[case::escaped_is_not_in_the_way(&[("..", true), ("../a", true), ("MANIFEST.jsonl", true), ("x", false)])]
    fn a_file_among_its_own_folders(#[case] keys: &[(&str, bool)]) {
        let mut names = MemberNames::new();
        for (key, escapes) in keys {
            let member = names.assign(key, 0).unwrap();
            assert_eq!(is_escaped(&member), *escapes, "{key}: {member:?}");
        }
    }

    #[rstest]
    #[case::repeated("b", "b")]
    #[case::backwards("b", "a")]
    #[case::not_in_byte_order("é", "z")]
    fn a_listing_out_of_order_is_refused(#[case] previous: &str, #[case] key: &str) {
        let mut names = MemberNames::new();
        names.assign(previous, 1).unwrap();
        let error = names.assign(key, 1).unwrap_err();
        assert_eq!(error, OutOfOrder { key: key.to_owned(), previous: previous.to_owned() });
    }

    proptest! {
        /// Against the rule stated without a stream: no two names are equal, and none is a folder of another
        /// unless it is one.
        #[test]
        fn names_are_unique_and_no_file_is_in_the_way(
            keys in prop::collection::btree_map("[ab./!-]{0,6}|MANIFEST.jsonl(/[ab])?|.holdfast-escaped/[ab]{1,3}", 0..3_u64, 0..40),
        ) {
            let mut names = MemberNames::new();
            let members: Vec<Member> =
                keys.iter().map(|(key, size)| names.assign(key, *size).unwrap()).collect();
            let files: HashSet<&str> =
                members.iter().filter(|m| m.kind == MemberKind::File).map(|m| m.name.as_str()).collect();
            let mut seen = HashSet::new();
            for member in &members {
                let path = member.name.trim_end_matches('/');
                prop_assert!(seen.insert(path), "{} twice", path);
                prop_assert!(path != MANIFEST_NAME && is_path(path));
                for (at, _) in path.match_indices('/') {
                    prop_assert!(!files.contains(&path[..at]), "{} is a file and a folder", &path[..at]);
                }
            }
        }

        #[test]
        fn only_a_conflict_or_its_own_text_escapes_a_key(
            keys in prop::collection::btree_map("[ab/]{1,6}", 1..3_u64, 0..40),
        ) {
            let mut names = MemberNames::new();
            let escaped: BTreeMap<&str, bool> = keys
                .iter()
                .map(|(key, size)| (key.as_str(), is_escaped(&names.assign(key, *size).unwrap())))
                .collect();
            for (key, escapes) in &escaped {
                let below = key.match_indices('/').any(|(at, _)| escaped.get(&key[..at]) == Some(&false));
                prop_assert_eq!(*escapes, below || !is_path(key), "{}", key);
            }
        }
    }
}
