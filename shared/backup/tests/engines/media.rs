//! Media archives: what is in them, whatever happens to the objects meanwhile.

mod grown;
mod headers;
mod tags;
mod vanished;

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use holdfast_archive::{
    checksum::{Crc64Nvme, Sha256},
    manifest::{ManifestHeader, ManifestIndex, ManifestLine, parse_lines, read, unpack},
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
    fakes::{SeededEntropy, Surprise},
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::{KEY, failure, observer::Witness};

const BUCKET: &str = "shop-media";
const MIB: usize = 1024 * 1024;
/// Where the manifest of an archive at [`KEY`] stands.
const MANIFEST_KEY: &str =
    "applications/shop/019d4b8e-7a00-7000-8000-000000000000/DEFAULT/media.manifest.jsonl.zst";

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
    let clients = engines::Clients {
        postgres: "/usr/lib/postgresql/{major}/bin".parse().unwrap(),
        mysql: "/usr/bin".parse().unwrap(),
    };
    engines::open(&world.ports, &clients, &builders::slug("shop"), &service).await.unwrap()
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
    manifest_bytes: usize,
}

impl Archive {
    /// Reads it, and checks that the manifest describes what is there.
    fn of(world: &World) -> Self {
        let bytes = world.artifacts.bytes(KEY).unwrap();
        let mut members = Vec::new();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let mut entry = entry.unwrap();
            // What fills in for what has vanished.
            if entry.header().entry_type().is_pax_global_extensions() {
                continue;
            }
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            members.push((name, contents, entry.header().entry_type().is_dir()));
        }
        let (name, manifest, _) = members.pop().unwrap();
        assert_eq!(name, "MANIFEST.jsonl");
        let manifest_bytes = manifest.len();
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
                match (object.sha256, object.crc64nvme) {
                    (Some(sha256), None) => assert_eq!(sha256, Sha256::of(contents)),
                    (None, Some(crc64nvme)) => assert_eq!(crc64nvme, Crc64Nvme::of(contents)),
                    both => panic!("{}: {both:?}", object.key),
                }
                let start = usize::try_from(object.offset).unwrap();
                assert!(bytes[start..start + contents.len()] == contents[..]);
                described += 1;
            }
        }
        assert_eq!(described, members.len());
        let beside = world.artifacts.bytes(MANIFEST_KEY).unwrap();
        assert!(unpack(&beside).unwrap() == manifest, "the manifest beside the tar is the one in it");
        assert_eq!(world.artifacts.open_upload_count(), 0);
        Self { members, header, lines, manifest_bytes }
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
        other => panic!("{other:?}"),
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
#[case::middling(3 * MIB, 2 * MIB)]
#[case::middling_shrunk(3 * MIB, 10)]
#[case::middling_grown_large(3 * MIB, 30 * MIB)]
#[case::emptied(10, 0)]
#[case::large(20 * MIB, 14 * MIB)]
#[case::large_grown(11 * MIB, 40 * MIB)]
#[case::large_shrunk_below_its_head(20 * MIB, 3 * MIB)]
#[case::large_shrunk(20 * MIB, 7 * MIB)]
#[case::large_emptied(20 * MIB, 0)]
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
#[case::middling(3 * MIB)]
#[case::large(20 * MIB)]
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
#[case::middling(3 * MIB, &[0, MIB, MIB])]
#[case::head_of_a_large_one(20 * MIB, &[0, MIB, MIB])]
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
#[case::middling(3 * MIB)]
#[case::large(20 * MIB)]
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

/// Nothing of it is in the archive when its body breaks, or its copy fails.
#[rstest]
#[case::small(100_000)]
#[case::middling(3 * MIB)]
#[case::large(20 * MIB)]
#[tokio::test]
async fn a_body_that_breaks_because_the_file_changed_is_never_mended_with_other_bytes(#[case] bytes: usize) {
    let world = world();
    world.media.put(BUCKET, "m/file", vec![1; bytes]);
    let change = Surprise::BreaksAndIsReplaced(70_000, vec![2; bytes].into());
    world.media.surprise(BUCKET, "m/file", [change]);
    back_up(&world).await.unwrap();
    assert!(Archive::of(&world).contents("file") == vec![2; bytes]);
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
    // The world, its port, the fake storage that copies from it, and the way back.
    assert_eq!(Arc::strong_count(&world.media), 4, "a task is left");
}

/// A bucket of large and small files, the large ones each of bytes of their own.
fn mixed() -> (World, BTreeMap<String, Bytes>) {
    let world = world();
    let mut files = BTreeMap::new();
    for number in 0..3_u8 {
        let large =
            (0..=250).cycle().skip(usize::from(number)).take(11 * MIB + usize::from(number) * 100_000);
        files.insert(format!("{number}/large.mp4"), large.collect::<Vec<u8>>().into());
        for small in 0..40 {
            files.insert(format!("{number}/small-{small:02}.jpg"), Bytes::from(vec![number; 3_000 + small]));
        }
    }
    for (key, bytes) in &files {
        world.media.put(BUCKET, &format!("m/{key}"), bytes.clone());
    }
    (world, files)
}

#[tokio::test]
async fn large_files_are_copied_by_the_storage_itself() {
    let (world, files) = mixed();
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored).0, files.len() as u64);
    let archive = Archive::of(&world);
    for (name, bytes) in &files {
        assert!(archive.contents(name) == bytes, "{name}");
    }
    assert_eq!(world.faults.count("artifacts.copy_part"), 3);
    let small: usize = files.values().map(Bytes::len).filter(|bytes| *bytes < 10 * MIB).sum();
    assert_eq!(world.media.bytes_read(), (small + 3 * 5 * MIB) as u64, "5 MiB of each large one are read");
    let received = usize::try_from(world.artifacts.bytes_received()).unwrap();
    assert!(received < small + 3 * 5 * MIB + MIB, "{received}");
}

#[tokio::test]
async fn what_restores_an_object_is_recorded() {
    let world = world();
    for (key, bytes) in [("m/large.bin", 12 * MIB), ("m/small.txt", 12)] {
        world.media.put_typed(BUCKET, key, vec![7; bytes], Some("application/x-own"), &[("by", "Ann")]);
        world.media.tag(BUCKET, key, &[("kind", "photo"), ("owner", "ann")]);
    }
    world.media.put(BUCKET, "m/untagged", "x");
    back_up(&world).await.unwrap();
    assert_eq!(world.faults.count("media.tags"), 3, "where there are any, and of the first that has none");
    let archive = Archive::of(&world);
    for line in &archive.lines[..2] {
        let ManifestLine::File(object) = line else { panic!("{line:?}") };
        assert_eq!(object.content_type.as_deref(), Some("application/x-own"));
        assert_eq!((object.metadata["by"].as_str(), object.tags["owner"].as_str()), ("Ann", "ann"));
    }
}

/// What happens while the storage copies a file, and what stands in the archive then.
#[rstest]
#[case::replaced(Surprise::Replaced(vec![2; 13 * MIB].into()), Some(13 * MIB))]
#[case::grown(Surprise::Replaced(vec![2; 50 * MIB].into()), Some(50 * MIB))]
#[case::shrunk(Surprise::Replaced(vec![2; 100].into()), Some(100))]
#[case::emptied(Surprise::Replaced(Bytes::new()), Some(0))]
#[case::deleted(Surprise::Deleted, None)]
#[tokio::test]
async fn a_file_that_changes_while_it_is_copied_stands_in_one_version_or_not_at_all(
    #[case] change: Surprise,
    #[case] then: Option<usize>,
) {
    let (world, mut files) = mixed();
    let key = "1/large.mp4";
    world.media.surprise_copies(BUCKET, &format!("m/{key}"), [change]);
    let stored = back_up(&world).await.unwrap();
    let archive = Archive::of(&world);
    match then {
        Some(bytes) => files.insert(key.to_owned(), vec![2; bytes].into()),
        None => files.remove(key),
    };
    assert_eq!(archive.names(), files.keys().map(String::as_str).collect::<Vec<_>>());
    for (name, bytes) in &files {
        assert!(archive.contents(name) == bytes, "{name}");
    }
    assert_eq!(contents(&stored).3, u64::from(then.is_none()));
}

#[tokio::test]
async fn a_file_that_changes_at_every_copy_fails_for_now() {
    let (world, _) = mixed();
    let changes = (1..20).map(|number| Surprise::Replaced(vec![number; 12 * MIB].into()));
    world.media.surprise_copies(BUCKET, "m/2/large.mp4", changes);
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("object_changed", true));
    assert_nothing(&world);
}

#[tokio::test]
async fn a_file_that_may_be_read_and_not_be_copied_says_what_to_do() {
    let (world, _) = mixed();
    world.faults.on("artifacts.copy_part", 3, Moment::Before, Fault::Denied);
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("object_denied", false));
    assert!(failure.message.contains("from within S3"), "{}", failure.message);
    assert_nothing(&world);
}

/// Each call fails in its turn, before or after its effect: the archive is whole, or there is none and nothing is open.
#[rstest]
#[tokio::test]
async fn whichever_call_fails_nothing_is_left_open(
    #[values(
        "media.list",
        "media.open",
        "media.tags",
        "artifacts.begin",
        "artifacts.put_part",
        "artifacts.copy_part",
        "artifacts.put",
        "artifacts.describe",
        "artifacts.complete"
    )]
    call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
    #[values(1, 2)] nth: usize,
) {
    let (world, _) = mixed();
    world.media.tag(BUCKET, "m/1/small-01.jpg", &[("a", "b")]);
    world.media.tag(BUCKET, "m/2/large.mp4", &[("a", "b")]);
    world.faults.on(call, nth, moment, Fault::Unavailable);
    let outcome = back_up(&world).await;
    if world.faults.count(call) < nth {
        outcome.unwrap();
        return;
    }
    let failure = failure(outcome);
    assert!(failure.transient, "{call}: {failure:?}");
    let abandoned = usize::from((call, moment) == ("artifacts.begin", Moment::After));
    assert_eq!(
        world.artifacts.open_upload_count(),
        abandoned,
        "an upload that nobody heard of is for the abort step"
    );
}

/// While it is listed, read and copied, a second hand replaces, deletes and adds files without a pause.
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_never_stands_still_is_archived_as_its_manifest_says(#[values(1, 2, 3)] seed: u64) {
    let (world, files) = mixed();
    world.media.page_size(20);
    let (media, keys) = (world.media.clone(), files.into_keys().collect::<Vec<_>>());
    let entropy = SeededEntropy::new(seed);
    let changing = tokio::spawn(async move {
        for round in 0_u8.. {
            let key = format!("m/{}", keys[usize::try_from(entropy.next() % keys.len() as u64).unwrap()]);
            match entropy.next() % 4 {
                0 => media.delete(BUCKET, &key),
                1 => media.put(BUCKET, &format!("{key}.new"), vec![round; 500]),
                2 => media.put(BUCKET, &key, vec![round; 2_000]),
                _ => media.put(BUCKET, &key, vec![round; 12 * MIB]),
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    });
    let outcome = back_up(&world).await;
    changing.abort();
    match outcome {
        // `Archive::of` compares the tar with its manifest; here every file is of one version.
        Ok(_) => {
            let archive = Archive::of(&world);
            let changed = archive
                .members
                .iter()
                .filter(|(_, bytes, _)| bytes.len() == 2_000 || bytes.len() == 12 * MIB);
            changed
                .for_each(|(name, bytes, _)| assert!(bytes.windows(2).all(|two| two[0] == two[1]), "{name}"));
        }
        Err(SliceError::Failed(failure)) => {
            assert_eq!((failure.code.as_str(), failure.transient), ("object_changed", true));
            assert_nothing(&world);
        }
        Err(other) => panic!("{other}"),
    }
}

/// So many files, and so much to say about each, that neither the listing nor the manifest is held.
fn many() -> World {
    let world = world();
    let entropy = SeededEntropy::new(7);
    for number in 0..41_000 {
        let noise = (0..48).map(|_| format!("{:016x}", entropy.next())).collect::<Vec<_>>().concat();
        world.media.put_typed(
            BUCKET,
            &format!("m/{number:05}"),
            number.to_string(),
            None,
            &[("noise", &noise)],
        );
    }
    world
}

#[tokio::test]
async fn the_manifest_of_very_many_files_waits_in_the_bucket() {
    let world = many();
    let stored = back_up(&world).await.unwrap();
    assert_eq!(contents(&stored).0, 41_000);
    assert_eq!(world.faults.count("artifacts.begin"), 2, "the tar, and the manifest");
    assert!(world.faults.count("artifacts.read") > 10, "it was read back some at a time");
    let archive = Archive::of(&world);
    assert_eq!(archive.contents("40999"), b"40999");
    let packed = world.artifacts.bytes(MANIFEST_KEY).unwrap();
    assert!(packed.len() > 12 * MIB, "{}", packed.len());
    let index = ManifestIndex::from_tail(&packed).unwrap().unwrap();
    let range = index.range(index.frame_of("20000")).unwrap();
    let frame = &packed[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
    assert!(parse_lines(&unpack(frame).unwrap(), 1).any(|line| line.unwrap().key() == "20000"));
}

/// The manifest has an upload of its own, which is given up too.
#[rstest]
#[case("artifacts.read", 3)]
#[case("artifacts.complete", 1)]
#[case("media.list", 42)]
#[tokio::test]
async fn a_manifest_that_waits_is_given_up_with_its_archive(#[case] call: &str, #[case] nth: usize) {
    let world = many();
    world.faults.on(call, nth, Moment::Before, Fault::Unavailable);
    assert!(failure(back_up(&world).await).transient);
    assert!(world.faults.count("artifacts.begin") > 0);
    assert_eq!(world.artifacts.open_upload_count(), 0);
}
