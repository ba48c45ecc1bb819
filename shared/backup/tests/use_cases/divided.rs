//! Storages that are divided between branches: what is in the archive, whoever dies and whatever changes meanwhile.

use std::{collections::BTreeMap, io::Read, time::Duration};

use bytes::Bytes;
use holdfast_archive::manifest::{ManifestLine, parse_lines, unpack};
use holdfast_backup::{
    abort::abort,
    engines::media::Stretches,
    job::{Answer, Caught, Job, Range},
    request::{self, BackupRequest},
    slice::{Worker, slice},
};
use holdfast_domain::{
    backup::{Backup, State},
    id::{ApplicationId, BackupId},
};
use holdfast_testing::{
    World,
    fakes::Surprise,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::machine::{INVOCATION, drive_worker, register_media_only, worker};

const BUCKET: &str = "shop-media";
const MIB: usize = 1 << 20;

/// A worker that divides whatever it is given.
fn dividing(world: &World) -> Worker {
    Worker { stretches: Stretches::of_seconds(0), ..worker(world) }
}

/// A backup of small files and large ones, in four stretches.
async fn requested(world: &World) -> (ApplicationId, BackupId, BTreeMap<String, Bytes>) {
    let shop = register_media_only(world, "shop").id;
    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    for number in 0..5 {
        files.insert(format!("{number}.txt"), format!("file {number}").into());
    }
    for (number, key) in ["b", "b-large.mp4", "c/large.mp4", "d/middling"].into_iter().enumerate() {
        let size = if key == "d/middling" { 6 * MIB } else { 11 * MIB + number };
        files.insert(key.to_owned(), vec![u8::try_from(number).unwrap(); size].into());
    }
    // Below a file that stands in an earlier stretch.
    files.insert("b/below".to_owned(), "below".into());
    for (key, bytes) in &files {
        world.media.put(BUCKET, &format!("media/{key}"), bytes.clone());
    }
    let requested =
        request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    (shop, requested.backup.value.id, files)
}

/// The backup succeeded with these files, each where the manifest says, and nothing else is left.
fn assert_whole(world: &World, backup: &Backup, files: &BTreeMap<String, Bytes>, what: &str) {
    assert_eq!(backup.state, State::Succeeded, "{what}: {:?}", backup.failure);
    let keys = world.artifacts.object_keys();
    assert_eq!(keys.len(), 4, "{what}: {keys:?}");
    assert_eq!(world.artifacts.open_upload_count(), 0, "{what}");
    let find = |end: &str| keys.iter().find(|key| key.ends_with(end)).unwrap();
    let tar = world.artifacts.bytes(find("media.tar")).unwrap();
    let mut members: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut archive = tar::Archive::new(&tar[..]);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_pax_global_extensions() {
            continue;
        }
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        assert!(members.insert(name, contents).is_none(), "{what}: names are unique");
    }
    let manifest = members.remove("MANIFEST.jsonl").unwrap();
    assert!(unpack(&world.artifacts.bytes(find(".jsonl.zst")).unwrap()).unwrap() == manifest, "{what}");
    let after_header = manifest.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut described = BTreeMap::new();
    for line in parse_lines(&manifest[after_header..], 2) {
        if let ManifestLine::File(object) = line.unwrap() {
            let start = usize::try_from(object.offset).unwrap();
            let end = start + usize::try_from(object.size).unwrap();
            assert!(members[&object.member] == tar[start..end], "{what}: {}", object.key);
            described.insert(object.key, tar.slice(start..end));
        }
    }
    assert_eq!(described.len(), members.len(), "{what}");
    assert!(described.keys().eq(files.keys()), "{what}: {:?}", described.keys());
    assert!(described == *files, "{what}: the bytes are those of the files");
}

fn assert_nothing(world: &World, shop: &ApplicationId, id: BackupId, what: &str) {
    assert_eq!(world.artifacts.version_count(&holdfast_domain::backup::prefix(shop, id)), 0, "{what}");
    assert_eq!(world.artifacts.open_upload_count(), 0, "{what}");
}

/// The ranges of the first fan-out.
async fn divided(worker: &Worker, job: &Job) -> Vec<Range> {
    assert_eq!(slice(worker, job, None, INVOCATION).await.unwrap(), Answer::Continue);
    match slice(worker, job, None, INVOCATION).await.unwrap() {
        Answer::FanOut { ranges } => ranges,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn branches_make_one_archive() {
    let world = World::new();
    let (shop, id, files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    let ranges = divided(&worker, &job).await;
    assert!(ranges.len() == 4 && ranges.iter().all(|range| range.share.is_some()), "{ranges:?}");
    let branches = ranges.iter().rev().map(|range| slice(&worker, &job, Some(range), INVOCATION));
    for answer in futures::future::join_all(branches).await {
        assert_eq!(answer.unwrap(), Answer::Done);
    }
    let backup = drive_worker(&world, &worker, &shop, id).await;
    assert_whole(&world, &backup, &files, "in branches");
    assert_eq!(world.faults.count("artifacts.copy_part"), 3);
}

/// The same archive whatever it is divided into, but for what fills stretches up.
#[tokio::test]
async fn what_one_slice_carries_is_not_divided() {
    let world = World::new();
    let (shop, id, files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    assert_eq!(slice(&worker(&world), &job, None, INVOCATION).await.unwrap(), Answer::Continue);
    let listed = world.faults.count("media.list");
    assert_eq!(listed, 2, "the first page to see the bucket, and once through the listing");
    let backup = drive_worker(&world, &worker(&world), &shop, id).await;
    assert_whole(&world, &backup, &files, "whole");
}

#[rstest]
#[tokio::test]
async fn a_slice_that_dies_at_any_call_loses_no_more_than_its_stretch(
    #[values(
        "artifacts.begin",
        "artifacts.put",
        "artifacts.get",
        "artifacts.put_part",
        "artifacts.copy_part",
        "artifacts.open_uploads",
        "artifacts.complete",
        "artifacts.describe",
        "artifacts.purge",
        "records.put_service_run",
        "records.service_runs",
        "media.list",
        "media.open"
    )]
    call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    // The first such call, the second, the fourth and so on, until there are no more.
    for nth in (0..).map(|power| 1 << power) {
        let world = World::new();
        let (shop, id, files) = requested(&world).await;
        world.faults.on(call, nth, moment, Fault::Unavailable);
        let backup = drive_worker(&world, &dividing(&world), &shop, id).await;
        assert_whole(&world, &backup, &files, &format!("{call}, call {nth}, {moment:?}"));
        if world.faults.left() > 0 {
            assert!(nth > 1, "{call} is never made");
            break;
        }
    }
}

/// Killed: the future is dropped wherever it stands, as a process that ends.
#[rstest]
#[case::planning("artifacts.begin", 1, Moment::After)]
#[case::plan_staged("artifacts.put", 1, Moment::After)]
#[case::in_a_stretch("artifacts.put_part", 3, Moment::After)]
#[case::copying("artifacts.copy_part", 2, Moment::After)]
#[case::lines_staged("artifacts.put", 2, Moment::After)]
#[case::stretch_written_down("artifacts.put", 3, Moment::After)]
#[case::joined("artifacts.complete", 1, Moment::After)]
#[case::read_back("artifacts.describe", 2, Moment::After)]
#[case::cleaned_up("artifacts.purge", 1, Moment::After)]
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_is_followed_by_another(
    #[case] call: &str,
    #[case] nth: usize,
    #[case] moment: Moment,
) {
    let world = World::new();
    let (shop, id, files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    world.faults.on(call, nth, moment, Fault::Hang);
    let until_killed = async {
        loop {
            match slice(&worker, &job, None, INVOCATION * 100).await.unwrap() {
                Answer::Done => break,
                Answer::FanOut { ranges } => {
                    for range in &ranges {
                        slice(&worker, &job, Some(range), INVOCATION * 100).await.unwrap();
                    }
                }
                _ => {}
            }
        }
    };
    assert!(tokio::time::timeout(INVOCATION, until_killed).await.is_err(), "{call} {nth} was never made");
    let backup = drive_worker(&world, &worker, &shop, id).await;
    assert_whole(&world, &backup, &files, &format!("killed at {call} {nth}"));
}

#[tokio::test]
async fn a_stretch_that_is_stored_is_not_stored_again() {
    let world = World::new();
    let (shop, id, files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    let ranges = divided(&worker, &job).await;
    slice(&worker, &job, Some(&ranges[0]), INVOCATION).await.unwrap();
    let opened = world.faults.count("media.open");
    slice(&worker, &job, Some(&ranges[0]), INVOCATION).await.unwrap();
    assert_eq!(world.faults.count("media.open"), opened);
    let Answer::FanOut { ranges: left } = slice(&worker, &job, None, INVOCATION).await.unwrap() else {
        panic!("there is more to do")
    };
    assert_eq!(left, ranges[1..]);
    let backup = drive_worker(&world, &worker, &shop, id).await;
    assert_whole(&world, &backup, &files, "one branch first");
}

/// A stretch takes a little less than half of the time of a slice: a second one behind it does not fit.
#[tokio::test(start_paused = true)]
async fn what_a_slice_has_no_time_for_is_for_the_next() {
    let world = World::new();
    let (shop, id, files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    divided(&worker, &job).await;
    let mut run = world.ports.records.service_runs(id).await.unwrap().remove(0);
    let shares = &mut run.value.divided.as_mut().unwrap().shares;
    shares[0].until = shares.last().unwrap().until;
    shares.truncate(1);
    world.ports.records.put_service_run(id, &run.value, Some(run.version)).await.unwrap();
    world.faults.always("media.list", Moment::After, Fault::Delay(INVOCATION * 47 / 100));
    let range = Range { service: run.value.service, share: Some(0) };
    for expected in [Answer::Continue, Answer::Continue, Answer::Continue, Answer::Done] {
        assert_eq!(slice(&worker, &job, Some(&range), INVOCATION).await.unwrap(), expected);
    }
    world.faults.clear();
    let backup = drive_worker(&world, &worker, &shop, id).await;
    assert_whole(&world, &backup, &files, "one stretch a slice");
}

#[tokio::test]
async fn of_two_slices_of_one_share_one_counts() {
    let world = World::new();
    let (shop, id, files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    let ranges = divided(&worker, &job).await;
    let slow = async {
        world.faults.on("media.list", 1, Moment::After, Fault::Delay(Duration::from_millis(300)));
        slice(&worker, &job, Some(&ranges[1]), INVOCATION).await
    };
    let quick = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        slice(&worker, &job, Some(&ranges[1]), INVOCATION).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(quick.unwrap(), Answer::Done);
    assert_eq!(slow.unwrap_err().lambda_type(), holdfast_backup::job::TRANSIENT);
    let backup = drive_worker(&world, &worker, &shop, id).await;
    // The replaced one may have stored other parts under the same numbers: then there is no archive rather than a torn one.
    if backup.state == State::Succeeded {
        assert_whole(&world, &backup, &files, "after the replaced slice had ended");
    } else {
        assert_nothing(&world, &shop, id, "after the replaced slice had ended");
    }
}

/// What happens to the files between the plan and the branches.
#[rstest]
#[case::deleted(&[("b-large.mp4", None), ("0.txt", None)])]
#[case::all_of_a_stretch_deleted(&[("c/large.mp4", None), ("d/middling", None)])]
#[case::shrunk(&[("c/large.mp4", Some(3))])]
#[case::grown(&[("1.txt", Some(30 * MIB))])]
#[case::added(&[("c/added", Some(12 * MIB)), ("zz", Some(5))])]
#[case::added_in_the_way(&[("c", Some(5))])]
#[case::many_added(&[("b0/1", Some(12 * MIB)), ("b0/2", Some(12 * MIB)), ("b0/3", Some(12 * MIB)), ("b0/4", Some(12 * MIB))])]
#[tokio::test]
async fn files_that_change_after_the_plan_do_not_shift_each_other(#[case] changes: &[(&str, Option<usize>)]) {
    let world = World::new();
    let (shop, id, mut files) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    divided(&worker, &job).await;
    for (key, size) in changes {
        let whole = format!("media/{key}");
        if let Some(size) = size {
            let bytes = Bytes::from(vec![9; *size]);
            world.media.put(BUCKET, &whole, bytes.clone());
            files.insert((*key).to_owned(), bytes);
        } else {
            world.media.delete(BUCKET, &whole);
            files.remove(*key);
        }
    }
    let backup = drive_worker(&world, &worker, &shop, id).await;
    assert_whole(&world, &backup, &files, &format!("{changes:?}"));
}

#[tokio::test]
async fn a_storage_that_never_stands_still_fails_and_leaves_nothing() {
    let world = World::new();
    let (shop, id, _) = requested(&world).await;
    let changes = (1..200).map(|number| Surprise::Replaced(vec![number; 12 * MIB].into()));
    world.media.surprise_copies(BUCKET, "media/c/large.mp4", changes);
    let backup = drive_worker(&world, &dividing(&world), &shop, id).await;
    assert_eq!(backup.state, State::Failed);
    assert_eq!(backup.failure.unwrap().code, "storage_unsettled");
    assert_nothing(&world, &shop, id, "given up");
}

#[tokio::test]
async fn an_abort_in_mid_run_leaves_nothing() {
    let world = World::new();
    let (shop, id, _) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    let worker = dividing(&world);
    let ranges = divided(&worker, &job).await;
    slice(&worker, &job, Some(&ranges[0]), INVOCATION).await.unwrap();
    abort(&worker, &job, &Caught::default()).await.unwrap();
    assert_nothing(&world, &shop, id, "aborted");
    assert!(slice(&worker, &job, Some(&ranges[1]), INVOCATION).await.is_err());
    assert_nothing(&world, &shop, id, "after a late branch");
}

#[tokio::test]
async fn chaos_ends_in_a_whole_backup_or_in_nothing() {
    for seed in 0..40 {
        let world = World::seeded(seed);
        let (shop, id, files) = requested(&world).await;
        world.faults.chaos(seed, 20);
        let _ = drive_worker(&world, &dividing(&world), &shop, id).await;
        world.faults.clear();
        let job = Job::Backup { application: shop.clone(), id };
        if world.backup(&shop, id).state.is_open() {
            abort(&worker(&world), &job, &Caught::default()).await.unwrap();
        }
        let backup = world.backup(&shop, id);
        if backup.state == State::Succeeded {
            assert_whole(&world, &backup, &files, &format!("seed {seed}"));
        } else {
            assert_nothing(&world, &shop, id, &format!("seed {seed}"));
        }
    }
}
