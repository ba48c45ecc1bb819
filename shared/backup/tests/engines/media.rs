//! Media archives: what is in them, whatever happens to the objects meanwhile.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    sync::Arc,
};

use bytes::Bytes;
use holdfast_archive::{
    checksum::Sha256,
    manifest::{ManifestHeader, ManifestLine, read},
};
use holdfast_backup::{
    engines::{self, Engine},
    error::SliceError,
    upload::{Stored, store},
};
use holdfast_domain::{
    application::{Service, StorageService},
    backup::{Contents, Skipped},
};
use holdfast_testing::{
    World, builders,
    fakes::Surprise,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::{KEY, failure, observer::Witness};

const BUCKET: &str = "shop-media";
const MIB: usize = 1024 * 1024;

/// A world with the bucket and nothing in it.
fn world() -> World {
    let world = World::new();
    world.media.make_bucket(BUCKET, &builders::region());
    world
}

async fn engine(world: &World, bucket: &str, prefix: &str) -> Box<dyn Engine> {
    let service = Service::Storage(StorageService {
        name: builders::service_name("MEDIA"),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    });
    let tools = "/usr/lib/postgresql/{major}/bin".parse().unwrap();
    engines::open(&world.ports, &tools, &builders::slug("shop"), &service).await.unwrap()
}

async fn back_up_prefix(world: &World, prefix: &str) -> Result<Stored, SliceError> {
    let engine = engine(world, BUCKET, prefix).await;
    store(world.ports.artifacts.as_ref(), engine.as_ref(), KEY, &mut Witness::default()).await
}

/// Backs up everything below `m/`.
async fn back_up(world: &World) -> Result<Stored, SliceError> {
    back_up_prefix(world, "m/").await
}

/// A stored archive, read back by other code than wrote it.
struct Archive {
    /// Name, bytes and whether it is a folder, in the order of the archive, without the manifest.
    members: Vec<(String, Vec<u8>, bool)>,
    header: ManifestHeader,
    lines: Vec<ManifestLine>,
}

impl Archive {
    /// Reads it, and checks that the manifest describes what is there.
    fn of(world: &World) -> Self {
        let bytes = world.artifacts.bytes(KEY).unwrap();
        let mut members = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            members.push((name, contents, entry.header().entry_type().is_dir()));
        }
        let (name, manifest, _) = members.pop().unwrap();
        assert_eq!(name, "MANIFEST.jsonl");
        let (header, lines) = read(BufReader::new(&manifest[..])).unwrap();
        let lines: Vec<_> = lines.map(Result::unwrap).collect();
        let by_name: BTreeMap<_, _> =
            members.iter().map(|(name, contents, _)| (name.as_str(), contents)).collect();
        assert_eq!(by_name.len(), members.len(), "names are unique");
        let mut described = 0;
        for line in &lines {
            if let ManifestLine::File(object) | ManifestLine::Directory(object) = line {
                let contents = by_name[object.member.as_str()];
                assert_eq!(object.size, contents.len() as u64);
                assert_eq!(object.sha256, Sha256::of(contents));
                let start = usize::try_from(object.offset).unwrap();
                assert!(bytes[start..start + contents.len()] == contents[..]);
                described += 1;
            }
        }
        assert_eq!(described, members.len());
        Self { members, header, lines }
    }

    fn contents(&self, name: &str) -> &[u8] {
        let found = self.members.iter().find(|(member, ..)| member == name);
        &found.unwrap_or_else(|| panic!("{name} is not in the archive")).1
    }

    fn names(&self) -> Vec<&str> {
        self.members.iter().map(|(name, ..)| name.as_str()).collect()
    }
}

fn contents(stored: &Stored) -> (u64, u64, &[Skipped], u64) {
    match &stored.report.contents {
        Contents::MediaTar { files, bytes, skipped, skipped_count, .. } => {
            (*files, *bytes, skipped, *skipped_count)
        }
        other @ Contents::PostgresCustom { .. } => panic!("{other:?}"),
    }
}

fn assert_nothing(world: &World) {
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
    assert_eq!(world.artifacts.open_upload_count(), 0);
}

#[tokio::test]
async fn files_stand_under_their_keys() {
    let world = world();
    let large = Bytes::from((0..=250).cycle().take(9 * MIB).collect::<Vec<u8>>());
    let long = format!("{}{}", "é/".repeat(300), "x".repeat(122));
    world.media.put_typed(BUCKET, "m/a.jpg", "picture", Some("image/jpeg"), &[("by", "Ann")]);
    world.media.put(BUCKET, "m/b/", "");
    world.media.put(BUCKET, "m/b/large.bin", large.clone());
    world.media.put(BUCKET, "m/empty", "");
    world.media.put(BUCKET, &format!("m/{long}"), "long");
    world.media.put(BUCKET, "m/x/../../etc/passwd", "not there");
    world.media.put(BUCKET, "other/file", "not ours");
    assert_eq!(format!("m/{long}").len(), 1024);

    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored), (5, 7 + large.len() as u64 + 4 + 9, &[][..], 0));
    assert_eq!(stored.report.taken_at, builders::now());
    assert_eq!(world.artifacts.content_type(KEY).as_deref(), Some("application/x-tar"));

    let archive = Archive::of(&world);
    assert_eq!(archive.contents("a.jpg"), b"picture");
    assert!(archive.contents("b/large.bin") == large);
    assert_eq!(archive.contents("empty"), b"");
    assert_eq!(archive.contents(&long), b"long");
    assert!(archive.members.iter().any(|(name, _, is_folder)| name == "b/" && *is_folder));
    let escaped =
        archive.names().into_iter().find(|name| name.starts_with(".holdfast-escaped/passwd-")).unwrap();
    assert_eq!(archive.contents(escaped), b"not there");
    assert_eq!(
        (archive.header.source.bucket.as_str(), archive.header.source.prefix.as_str()),
        (BUCKET, "m/")
    );
    let ManifestLine::File(first) = &archive.lines[0] else { panic!() };
    assert_eq!(first.content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(first.metadata["by"], "Ann");
    let keys: Vec<_> = archive.lines.iter().filter_map(key_of).collect();
    assert!(keys.contains(&"x/../../etc/passwd"));
}

fn key_of(line: &ManifestLine) -> Option<&str> {
    match line {
        ManifestLine::File(object) | ManifestLine::Directory(object) => Some(&object.key),
        ManifestLine::Skipped(_) => None,
    }
}

#[tokio::test]
async fn an_empty_prefix_is_an_archive_of_nothing() {
    let world = world();
    world.media.put(BUCKET, "other/file", "not ours");
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored), (0, 0, &[][..], 0));
    assert!(Archive::of(&world).members.is_empty());
}

#[tokio::test]
async fn the_marker_of_the_root_is_left_out_but_a_file_of_that_name_is_not() {
    let world = world();
    world.media.put(BUCKET, "m/", "");
    world.media.put(BUCKET, "m/a", "a");
    back_up(&world).await.unwrap();
    assert_eq!(Archive::of(&world).names(), ["a"]);

    back_up_prefix(&world, "m/a").await.unwrap();
    let archive = Archive::of(&world);
    assert_eq!(archive.members[0].1, b"a");
    assert!(archive.names()[0].starts_with(".holdfast-escaped/"));
}

#[tokio::test]
async fn thousands_of_small_files_keep_their_order() {
    let world = world();
    let keys: Vec<_> = (0..5000).map(|number| format!("{number:04}.txt")).collect();
    for key in &keys {
        world.media.put(BUCKET, &format!("m/{key}"), format!("contents of {key}"));
    }
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored).0, 5000);
    let archive = Archive::of(&world);
    assert_eq!(archive.names(), keys);
    assert_eq!(archive.contents("4321.txt"), b"contents of 4321.txt");
}

#[rstest]
#[case::small(10, 20)]
#[case::small_grown_large(10, 3 * MIB)]
#[case::large(3 * MIB, 2 * MIB)]
#[case::large_shrunk_small(3 * MIB, 10)]
#[case::emptied(10, 0)]
#[tokio::test]
async fn a_file_that_changes_before_it_is_read_stands_in_its_new_version(
    #[case] before: usize,
    #[case] after: usize,
) {
    let world = world();
    world.media.put(BUCKET, "m/changing", vec![1; before]);
    world.media.put(BUCKET, "m/other", "other");
    world.media.surprise(BUCKET, "m/changing", [Surprise::Replaced(vec![2; after].into())]);
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored), (2, after as u64 + 5, &[][..], 0));
    assert!(Archive::of(&world).contents("changing") == vec![2; after]);
}

#[rstest]
#[case::small(10)]
#[case::large(3 * MIB)]
#[tokio::test]
async fn a_file_that_vanishes_is_named(#[case] bytes: usize) {
    let world = world();
    world.media.put(BUCKET, "m/a", "a");
    world.media.put(BUCKET, "m/b", vec![1; bytes]);
    world.media.surprise(BUCKET, "m/b", [Surprise::Deleted]);
    let stored = back_up(&world).await.unwrap();
    let skipped = Skipped { key: "m/b".to_owned(), reason: "deleted during the backup".to_owned() };
    assert_eq!(contents(&stored), (1, 1, &[skipped][..], 1));
    let archive = Archive::of(&world);
    assert_eq!(archive.names(), ["a"]);
    assert!(archive.lines.iter().any(|line| matches!(line, ManifestLine::Skipped(s) if s.key == "b")));
    assert_eq!(archive.header.counts.skipped, 1);
}

#[tokio::test]
async fn files_in_cold_storage_are_named_and_all_are_counted() {
    let world = world();
    for number in 0..30 {
        let key = format!("m/{number:02}");
        world.media.put(BUCKET, &key, "cold");
        world.media.archive(BUCKET, &key);
    }
    world.media.put(BUCKET, "m/warm", "warm");
    let stored = back_up(&world).await.unwrap();
    let (files, _, skipped, count) = contents(&stored);
    assert_eq!((files, skipped.len(), count), (1, Contents::SKIPPED_SHOWN, 30));
    assert!(skipped[0].reason.contains("archive storage class"), "{}", skipped[0].reason);
    assert_eq!(Archive::of(&world).header.counts.skipped, 30);
}

#[rstest]
#[case::small(100_000, &[10, 20_000, 70_000])]
#[case::small_before_the_first_byte(100_000, &[0])]
#[case::large(3 * MIB, &[0, MIB, MIB])]
#[tokio::test]
async fn a_body_that_breaks_is_resumed(#[case] bytes: usize, #[case] breaks: &[usize]) {
    let world = world();
    let body: Vec<u8> = (0..=252).cycle().take(bytes).collect();
    world.media.put(BUCKET, "m/file", body.clone());
    world.media.surprise(BUCKET, "m/file", breaks.iter().map(|after| Surprise::BreaksAfter(*after)));
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored), (1, bytes as u64, &[][..], 0));
    assert!(Archive::of(&world).contents("file") == body);
    assert_eq!(world.media.opened().len(), breaks.len() + 1);
}

#[rstest]
#[case::small(100_000)]
#[case::large(3 * MIB)]
#[tokio::test]
async fn a_body_that_keeps_breaking_fails_for_now(#[case] bytes: usize) {
    let world = world();
    world.media.put(BUCKET, "m/file", vec![1; bytes]);
    world.media.surprise(BUCKET, "m/file", (0..10).map(|_| Surprise::BreaksAfter(10)));
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("object_unavailable", true));
    assert!(failure.message.contains("m/file"), "{}", failure.message);
    assert_nothing(&world);
}

/// Nothing of a small one is in the archive when its body breaks; half of a large one is.
#[tokio::test]
async fn a_body_that_breaks_because_the_file_changed_is_never_mended_with_other_bytes() {
    let world = world();
    world.media.put(BUCKET, "m/file", vec![1; 100_000]);
    let change = Surprise::BreaksAndIsReplaced(70_000, vec![2; 100_000].into());
    world.media.surprise(BUCKET, "m/file", [change]);
    back_up(&world).await.unwrap();
    assert!(Archive::of(&world).contents("file") == vec![2; 100_000]);

    let world = self::world();
    world.media.put(BUCKET, "m/file", vec![1; 3 * MIB]);
    let change = Surprise::BreaksAndIsReplaced(MIB, vec![2; 3 * MIB].into());
    world.media.surprise(BUCKET, "m/file", [change]);
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("object_changed", true));
    assert_nothing(&world);
}

#[tokio::test]
async fn a_file_that_never_stands_still_fails_for_now() {
    let world = world();
    world.media.put(BUCKET, "m/file", vec![0; 100]);
    let changes = (1..20).map(|number| Surprise::BreaksAndIsReplaced(50, vec![number; 100].into()));
    world.media.surprise(BUCKET, "m/file", changes);
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("object_changed", true));
    assert_nothing(&world);
}

#[tokio::test]
async fn a_bucket_that_is_missing_or_closed_says_what_to_do() {
    let world = world();
    for (bucket, code, words) in [
        ("no-such-bucket", "bucket_missing", "create it"),
        (BUCKET, "bucket_denied", "let the worker's role"),
    ] {
        if bucket == BUCKET {
            world.media.deny(BUCKET);
        }
        let engine = engine(&world, bucket, "").await;
        let prepared = failure(engine.prepare().await);
        assert_eq!((prepared.code.as_str(), prepared.transient), (code, false));
        assert!(
            prepared.message.contains(bucket) && prepared.message.contains(words),
            "{}",
            prepared.message
        );
        let outcome =
            store(world.ports.artifacts.as_ref(), engine.as_ref(), KEY, &mut Witness::default()).await;
        assert_eq!(failure(outcome).code, code);
        assert_nothing(&world);
    }
}

/// Where objects are gone, the bucket may be too; it is looked at once more.
#[tokio::test]
async fn an_archive_with_skipped_files_needs_its_bucket_to_the_end() {
    let world = world();
    world.media.put(BUCKET, "m/file", "contents");
    world.media.surprise(BUCKET, "m/file", [Surprise::Deleted]);
    world.faults.on("media.list", 2, Moment::Before, Fault::Denied);
    assert_eq!(failure(back_up(&world).await).code, "bucket_denied");
    assert_nothing(&world);
}

#[tokio::test]
async fn a_listing_that_breaks_off_fails_for_now() {
    let world = world();
    world.media.page_size(10);
    for number in 0..100 {
        world.media.put(BUCKET, &format!("m/{number:03}"), "contents");
    }
    world.faults.on("media.list", 5, Moment::Before, Fault::Unavailable);
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("bucket_unavailable", true));
    assert_nothing(&world);
}

#[tokio::test]
async fn a_store_that_fails_stops_the_reading() {
    let world = world();
    for number in 0..40 {
        world.media.put(BUCKET, &format!("m/{number:02}"), vec![number; 4 * MIB]);
    }
    world.faults.on("artifacts.put_part", 2, Moment::Before, Fault::Unavailable);
    let failure = failure(back_up(&world).await);
    assert_eq!(failure.code, "storage_unavailable");
    assert!(world.media.opened().len() < 40, "everything was read");
    assert_nothing(&world);
    // Nothing reads on behind its back either.
    assert_eq!(Arc::strong_count(&world.media), 2, "a task is left");
}
