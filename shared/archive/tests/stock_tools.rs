//! GNU tar, bsdtar and Python's `tarfile` read an archive without a warning, and give back what went in.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its own functions too")]

mod archived;
mod listing;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, UNIX_EPOCH};

use archived::{Archive, archive};
use chrono::DateTime;
use holdfast_archive::manifest::{self, ManifestLine, StoredObject};
use holdfast_archive::tar::{MANIFEST_NAME, Member, MemberKind, writer};
use listing::{Object, object};
use proptest::prelude::*;
use rstest::rstest;

#[derive(Debug, Clone, Copy)]
enum Tool {
    GnuTar,
    BsdTar,
    PythonTarfile,
}

impl Tool {
    fn list(self, archive: &Path) -> Output {
        match self {
            Self::GnuTar => self.run(Command::new("tar").arg("tf").arg(archive)),
            Self::BsdTar => self.run(Command::new("bsdtar").arg("tf").arg(archive)),
            Self::PythonTarfile => {
                self.run(python("for member in archive: print(ascii(member.name), member.size)").arg(archive))
            }
        }
    }

    fn extract(self, archive: &Path, into: &Path) -> Output {
        match self {
            Self::GnuTar => self.run(Command::new("tar").arg("xf").arg(archive).arg("-C").arg(into)),
            Self::BsdTar => self.run(Command::new("bsdtar").arg("xf").arg(archive).arg("-C").arg(into)),
            Self::PythonTarfile => self.run(
                python("archive.extractall(sys.argv[2], **({'filter': 'data'} if hasattr(tarfile, 'data_filter') else {}))")
                    .arg(archive)
                    .arg(into),
            ),
        }
    }

    /// Runs it in a UTF-8 locale, as names are UTF-8, and expects silence on standard error.
    fn run(self, command: &mut Command) -> Output {
        let package = match self {
            Self::GnuTar => "tar",
            Self::BsdTar => "libarchive-tools",
            Self::PythonTarfile => "python3",
        };
        let output = command.env("LC_ALL", "C.UTF-8").output().unwrap_or_else(|error| {
            panic!(
                "{} does not start ({error}): install the package {package}",
                command.get_program().display()
            )
        });
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {}: {errors}", output.status);
        assert_eq!(errors, "", "{self:?} warns");
        output
    }
}

/// Python with `archive` open; every warning is an error.
fn python(statement: &str) -> Command {
    let mut command = Command::new("python3");
    let program =
        format!("import sys, tarfile\nwith tarfile.open(sys.argv[1], 'r:') as archive:\n {statement}\n");
    command.args(["-W", "error", "-c"]).arg(program);
    command
}

/// Every kind of key that a bucket can hold.
fn hostile_listing() -> BTreeMap<String, Object> {
    let segment_of_255 = "é".repeat(127) + "x";
    let planes: String = (0..=16_u32)
        .flat_map(|plane| [0x61, 0x4e2d, 0xfdd0, 0xfffe, 0xffff].map(|low| plane << 16 | low))
        .filter_map(char::from_u32)
        .collect();
    let every_control_character: String = (1..0x20_u8).chain([0x7f]).map(char::from).collect();
    let mut keys: Vec<String> = [
        "plain.txt",
        "photos/2024/a b.jpg",
        "",
        "/",
        "/etc/passwd",
        "../outside",
        "a/../../outside",
        "./here",
        "double//slash",
        "trailing/bytes/",
        "file",
        "file/below",
        "file/below/that",
        "line\nfeed",
        "MANIFEST.jsonl",
        "MANIFEST.jsonl/below",
        ".holdfast-escaped/pretended",
        "-rf",
        "--help",
        "C:\\windows",
        "c:colon",
        "\\leading",
        "back\\slash\\n",
        "glob*[?]",
        "quote'\"`$(x)",
        "path=x",
        " leading and trailing ",
        "composed é",
        "composed e\u{301}",
        "한글",
        "\u{1112}\u{1161}\u{11ab}",
        "right\u{200f}to\u{202e}left",
        "next\u{85}line\u{2028}separator",
        "\u{feff}mark",
        "zero\0byte",
        "._resource",
        "GNUSparseFile.0/x",
        "PaxHeaders/member",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.extend([
        every_control_character.clone(),
        format!("é{every_control_character}"),
        format!("long line\nfeed/{}", "l".repeat(200)),
        planes.chars().take(40).collect(),
        planes.chars().skip(40).collect(),
        "n".repeat(100),
        "n".repeat(101),
        "n".repeat(255),
        "n".repeat(256),
        format!("{}/{}", "d".repeat(150), "f".repeat(104)),
        format!("{}/{}", "d".repeat(151), "f".repeat(105)),
        segment_of_255.clone(),
        [segment_of_255.as_str(); 4].join("/") + "x",
        ["abcdefg"; 128].join("/") + "x",
    ]);
    let mut objects: BTreeMap<String, Object> =
        keys.into_iter().map(|key| (key.clone(), object(format!("the bytes of {key:?}")))).collect();
    for folder in ["folder/", "folder/in/folder/", "file/", "../", "é/", &format!("{}/", "d".repeat(180))] {
        objects.insert(folder.to_owned(), object(""));
    }
    objects.insert("empty".to_owned(), object(""));
    objects.insert("folder/empty".to_owned(), object(""));
    for size in [1, 511, 512, 513, 1_024, 100_000] {
        objects.insert(format!("size/{size}"), object(vec![b'x'; size]));
    }
    let old = Object { modified: DateTime::from_timestamp(0, 0).unwrap(), ..object("old") };
    objects.insert("1970".to_owned(), old);
    objects
}

fn stored_objects(archive: &Archive) -> Vec<(MemberKind, StoredObject)> {
    let last = archive.bytes.windows(10).rposition(|window| window == b"{\"type\":\"h").unwrap();
    let text = archive.bytes[last..].split(|byte| *byte == 0).next().unwrap();
    let (_, lines) = manifest::read(Cursor::new(text)).unwrap();
    lines
        .map(|line| match line.unwrap() {
            ManifestLine::File(stored) => (MemberKind::File, stored),
            ManifestLine::Directory(stored) => (MemberKind::Directory, stored),
            ManifestLine::Skipped(skipped) => panic!("{skipped:?}"),
        })
        .collect()
}

fn assert_unpacks(tool: Tool, objects: &BTreeMap<String, Object>) {
    let archive = archive(objects);
    let folder = tempfile::tempdir().unwrap();
    let (path, into) = (folder.path().join("media.tar"), folder.path().join("out"));
    std::fs::write(&path, &archive.bytes).unwrap();
    std::fs::create_dir(&into).unwrap();

    let listed = tool.list(&path).stdout;
    assert_eq!(listed.split(|byte| *byte == b'\n').count(), objects.len() + 2, "one line for each member");
    tool.extract(&path, &into);

    let mut files = files_under(&into);
    assert!(files.remove(MANIFEST_NAME.as_bytes()).is_some());
    for (kind, stored) in stored_objects(&archive) {
        let object = &objects[&stored.key];
        if kind == MemberKind::Directory {
            assert!(into.join(&stored.member).is_dir(), "{:?}", stored.key);
            continue;
        }
        let (bytes, modified) = files
            .remove(stored.member.as_bytes())
            .unwrap_or_else(|| panic!("{:?} is missing", stored.member));
        assert_eq!(bytes, object.bytes, "{:?}", stored.key);
        let seconds = object.modified.timestamp().cast_unsigned();
        assert_eq!(modified, UNIX_EPOCH + Duration::from_secs(seconds), "{:?}", stored.key);
    }
    let left: Vec<OsString> = files.into_keys().map(OsString::from_vec).collect();
    assert!(left.is_empty(), "files that nobody archived: {left:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing was unpacked outside");
}

/// The files under `folder` by their paths in it.
fn files_under(folder: &Path) -> BTreeMap<Vec<u8>, (Vec<u8>, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let (entry, path) = entry.map(|entry| (entry.file_type().unwrap(), entry.path())).unwrap();
            if entry.is_dir() {
                folders.push(path);
                continue;
            }
            assert!(entry.is_file(), "{}", path.display());
            let name = path.strip_prefix(folder).unwrap().as_os_str().as_bytes().to_vec();
            let modified = path.metadata().unwrap().modified().unwrap();
            files.insert(name, (std::fs::read(path).unwrap(), modified));
        }
    }
    files
}

#[rstest]
fn every_kind_of_key_is_unpacked_without_a_warning(
    #[values(Tool::GnuTar, Tool::BsdTar, Tool::PythonTarfile)] tool: Tool,
) {
    assert_unpacks(tool, &hostile_listing());
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn any_keys_are_unpacked_without_a_warning(
        keys in prop::collection::btree_set(
            prop_oneof![
                any::<String>(),
                "[ -~]{1,30}",
                "[\\PC]{1,80}(/[\\PC]{1,40}){0,3}",
                "[a-c.:\\\\/?-]{1,8}",
                "\\PC{1,4}\n[a-zé]{0,120}",
            ],
            1..60,
        ),
    ) {
        let objects = keys.into_iter().map(|key| (key.clone(), object(key))).collect();
        for tool in [Tool::GnuTar, Tool::BsdTar, Tool::PythonTarfile] {
            assert_unpacks(tool, &objects);
        }
    }
}

#[rstest]
fn an_archive_of_nothing_is_listed_without_a_warning(
    #[values(Tool::GnuTar, Tool::BsdTar, Tool::PythonTarfile)] tool: Tool,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("media.tar");
    std::fs::write(&path, archive(&BTreeMap::new()).bytes).unwrap();
    assert!(String::from_utf8_lossy(&tool.list(&path).stdout).contains(MANIFEST_NAME));
}

/// Between two files stands what says nothing; the names and times around it are as they are without it.
#[rstest]
fn a_filler_is_passed_over_without_a_warning(
    #[values(Tool::GnuTar, Tool::BsdTar, Tool::PythonTarfile)] tool: Tool,
    #[values(1, 512 * 1024, 5 << 20)] least: u64,
) {
    let folder = tempfile::tempdir().unwrap();
    let (path, unpacked) = (folder.path().join("media.tar"), folder.path().join("unpacked"));
    let mut bytes = Vec::new();
    for (number, name) in ["before", "größer", &"long".repeat(50)].into_iter().enumerate() {
        // Never the last: the manifest follows.
        if number > 0 {
            bytes.extend_from_slice(&writer::filler(least));
        }
        let member = Member { name: name.to_owned(), kind: MemberKind::File };
        let modified = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        bytes.extend_from_slice(&writer::header(&member, 3, modified));
        bytes.extend_from_slice(b"abc");
        bytes.extend_from_slice(writer::padding(3));
    }
    bytes.extend_from_slice(writer::end());
    std::fs::write(&path, bytes).unwrap();
    let listed = String::from_utf8(tool.list(&path).stdout).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    std::fs::create_dir(&unpacked).unwrap();
    tool.extract(&path, &unpacked);
    let files = files_under(&unpacked);
    assert_eq!(files.len(), 3, "{:?}", files.keys());
    for (contents, modified) in files.values() {
        assert_eq!(contents, b"abc");
        assert_eq!(*modified, UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    }
}

/// A file of zeros that takes no room on the disk, with one of 9 GiB and one after it.
#[rstest]
fn a_file_over_8_gib_is_followed_by_the_next(
    #[values(Tool::GnuTar, Tool::BsdTar, Tool::PythonTarfile)] tool: Tool,
    #[values("large", "größer")] name: &str,
) {
    let size = (9 << 30) + 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("media.tar");
    write_sparse(&path, name, size);
    let listed = String::from_utf8(tool.list(&path).stdout).unwrap();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.lines().nth(1).unwrap().contains("after"), "{listed}");
    if matches!(tool, Tool::PythonTarfile) {
        assert!(listed.contains(&size.to_string()), "{listed}");
    }

    let mut reader = tar::Archive::new(File::open(&path).unwrap());
    let sizes: Vec<u64> = reader.entries_with_seek().unwrap().map(|entry| entry.unwrap().size()).collect();
    assert_eq!(sizes, [size, 0]);
}

fn write_sparse(path: &Path, name: &str, size: u64) {
    let file = |name: &str| Member { name: name.to_owned(), kind: MemberKind::File };
    let modified = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let mut archive = File::create(path).unwrap();
    archive.write_all(&writer::header(&file(name), size, modified)).unwrap();
    archive.seek(SeekFrom::Current(size.cast_signed())).unwrap();
    archive.write_all(writer::padding(size)).unwrap();
    archive.write_all(&writer::header(&file("after"), 0, modified)).unwrap();
    archive.write_all(writer::end()).unwrap();
}
