//! Restores that are killed, refused halfway, too slow, or read what is not what was stored.

use holdfast_backup::ports::PROBE;
use holdfast_testing::faults::{Fault, Moment};
use rstest::rstest;

use super::*;

/// Everything is there as it was, and nothing is left open.
async fn assert_restored(scene: &Scene) {
    assert_eq!(scene.found(OTHER, "back/").await, scene.found(BUCKET, "m/").await);
    scene.assert_nothing_open();
}

#[rstest]
#[case::small(b"a picture of one", "album/1.jpg")]
#[case::large(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], "film.mp4")]
#[tokio::test]
async fn bytes_that_are_not_those_of_their_checksum_are_not_restored(#[case] file: &[u8], #[case] key: &str) {
    let scene = Scene::plain().await;
    scene.damage(file);
    let failure = failure(restore(scene.elsewhere().await.as_ref(), HOUR).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("archive_damaged", false));
    assert!(failure.message.contains(&format!("{key:?}")), "{}", failure.message);
    assert_eq!(scene.world.media.bytes(OTHER, &format!("back/{key}")), None);
    scene.assert_nothing_open();
    // The others are restored by their names.
    let others = ["a.txt", "z.txt"];
    let restorer = scene.restorer(OTHER, "back/", &others, RestoreOptions::default()).await;
    restore(restorer.as_ref(), HOUR).await.unwrap();
}

/// Files are read from where the manifest says they are: what tar says of them is not asked. (Verification asks.)
#[tokio::test]
async fn a_tar_header_that_is_another_one_does_not_matter() {
    let scene = Scene::plain().await;
    let mut tar = scene.world.artifacts.bytes(KEY).unwrap().to_vec();
    // Of a header: its name, its size, its checksum, its type and its magic.
    for at in [0, 124, 148, 156, 257] {
        tar[at] ^= 1;
    }
    scene.world.artifacts.damage(KEY, tar);
    restore(scene.elsewhere().await.as_ref(), HOUR).await.unwrap();
    assert_restored(&scene).await;
}

/// Each call fails in its turn, before or after its effect. The next slice goes on, from where the last has said it was or
/// from the beginning, and everything is as it was.
#[rstest]
#[tokio::test]
async fn whichever_call_fails_the_next_slice_goes_on(
    #[values(
        "media.list",
        "media_target.put",
        "media_target.begin",
        "media_target.copy_part",
        "media_target.complete",
        "artifacts.read",
        "artifacts.describe"
    )]
    call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
    #[values(1, 2)] nth: usize,
    #[values(true, false)] remembers: bool,
) {
    let scene = Scene::plain().await;
    let restorer = scene.elsewhere().await;
    let before = scene.world.faults.count(call);
    scene.world.faults.on(call, nth, moment, Fault::Unavailable);
    let mut follower = Follower::default();
    let outcome = restorer.restore(None, HOUR, &mut follower).await;
    if scene.world.faults.count(call) - before < nth {
        outcome.unwrap();
        return assert_restored(&scene).await;
    }
    let failure = failure(outcome);
    assert!(failure.transient, "{call}: {failure:?}");
    restorer.clean_up().await.unwrap();
    scene.assert_nothing_open();
    let cursor = follower.told.last().filter(|_| remembers).and_then(|told| told.cursor.clone());
    let outcome = restorer.restore(cursor.as_deref(), HOUR, &mut Follower::default()).await.unwrap();
    let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
    let MediaChanges { added, replaced, unchanged, removed } = done.changes.unwrap();
    assert_eq!((added + unchanged, replaced, removed), (6, 0, 0));
    assert_restored(&scene).await;
}

/// It is begun again under the same name, and the first one would stay in the application's bucket.
#[tokio::test]
async fn a_probe_whose_answer_was_lost_is_given_up() {
    let scene = Scene::plain().await;
    let key = format!("back/{PROBE}");
    scene.world.media_target.begin(OTHER, &key, &ObjectHeaders::default()).await.unwrap();
    scene.world.media_target.begin_foreign(OTHER, &key);
    scene.elsewhere().await.preflight().await.unwrap();
    assert_eq!(scene.world.media_target.open(), [key], "that of somebody else");
}

/// A slice that is killed in the middle of a call leaves what it has written, and perhaps an upload; an application's own
/// uploads are none of its business.
#[rstest]
#[tokio::test(start_paused = true)]
async fn a_slice_that_is_killed_leaves_nothing_that_is_not_cleaned_up(
    #[values("media_target.put", "media_target.begin", "media_target.copy_part", "media_target.complete")]
    call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    let scene = Scene::plain().await;
    scene.world.media_target.begin_foreign(OTHER, "back/film.mp4");
    let restorer = scene.elsewhere().await;
    scene.world.faults.on(call, 1, moment, Fault::Hang);
    let mut follower = Follower::default();
    let killed =
        tokio::time::timeout(Duration::from_mins(10), restorer.restore(None, HOUR, &mut follower)).await;
    assert!(killed.is_err(), "{killed:?}");
    restorer.clean_up().await.unwrap();
    restorer.clean_up().await.unwrap();
    assert_eq!(scene.world.media_target.open(), ["back/film.mp4"], "that of the application");
    assert!(follower.told.len() > 100, "told every two seconds: {}", follower.told.len());
    let cursor = follower.told.last().unwrap().cursor.clone();
    let outcome = restorer.restore(cursor.as_deref(), HOUR, &mut Follower::default()).await.unwrap();
    let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
    assert!(done.notes[0].contains("was killed"), "{:?}", done.notes);
    assert_eq!(scene.found(OTHER, "back/").await, scene.found(BUCKET, "m/").await);
}

/// Where entity tags say nothing, what a killed slice has put is known by its checksum, and is not in the way.
#[tokio::test(start_paused = true)]
async fn what_a_killed_slice_has_put_is_not_in_the_way() {
    let scene = Scene::plain().await;
    scene.world.media.opaque_tags(OTHER);
    let restorer = scene.elsewhere().await;
    scene.world.faults.on("media_target.put", 5, Moment::Before, Fault::Hang);
    let mut follower = Follower::default();
    let killed = restorer.restore(None, HOUR, &mut follower);
    assert!(tokio::time::timeout(Duration::from_mins(10), killed).await.is_err());
    assert!(scene.world.media_target.written().len() > 2);
    restorer.clean_up().await.unwrap();
    let outcome = restorer.restore(None, HOUR, &mut Follower::default()).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_restored(&scene).await;
}

#[tokio::test]
async fn a_file_that_may_not_be_written_fails_with_its_name_and_what_was_done() {
    let scene = Scene::plain().await;
    let restorer = scene.elsewhere().await;
    scene.world.faults.on("media_target.put", 5, Moment::Before, Fault::Denied);
    let (mut cursor, mut follower) = (None::<String>, Follower::default());
    // File by file, so that it is known which is the fifth.
    let failed = loop {
        match restorer.restore(cursor.as_deref(), Duration::ZERO, &mut follower).await {
            Ok(Outcome::Paused { cursor: next }) => cursor = Some(next),
            other => break failure(other),
        }
    };
    assert_eq!((failed.code.as_str(), failed.transient), ("object_denied", false));
    for words in ["\"z.txt\"", OTHER, "let the role of the restore function", "5 files or more were added"] {
        assert!(failed.message.contains(words), "{words:?} is not in {:?}", failed.message);
    }
    let told = follower.told.last().unwrap();
    let done = 9 + 32 + large().len() as u64;
    assert_eq!((told.bytes, told.of_bytes), (done, Some(done + 8)));
    scene.assert_nothing_open();
}

/// A file that takes longer than a slice gives its upload up; if nothing else was done either, no slice will do.
#[tokio::test(start_paused = true)]
async fn a_file_that_takes_longer_than_a_slice_is_said_so() {
    let scene = Scene::plain().await;
    let restorer = scene.elsewhere().await;
    scene.world.faults.always("media_target.copy_part", Moment::Before, Fault::Delay(HOUR));
    let minute = Duration::from_mins(1);
    let first = restorer.restore(None, minute, &mut Follower::default()).await.unwrap();
    let Outcome::Paused { cursor } = first else { panic!("{first:?}") };
    scene.assert_nothing_open();
    let failure = failure(restorer.restore(Some(&cursor), minute, &mut Follower::default()).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("slice_too_short", false));
    assert!(failure.message.contains("album/2.jpg"), "{}", failure.message);
    scene.assert_nothing_open();
    scene.world.faults.clear();
    restorer.restore(Some(&cursor), minute, &mut Follower::default()).await.unwrap();
    assert_restored(&scene).await;
}

/// Whoever follows is asked every two seconds, and can stop it.
#[tokio::test(start_paused = true)]
async fn a_restore_that_is_cancelled_stops_and_leaves_nothing_open() {
    let scene = Scene::plain().await;
    scene.world.faults.always("media_target.copy_part", Moment::Before, Fault::Delay(HOUR));
    let mut follower = Follower { refuses_at: Some(3), ..Follower::default() };
    let began = tokio::time::Instant::now();
    let outcome = scene.elsewhere().await.restore(None, HOUR, &mut follower).await;
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    assert_eq!((follower.told.len(), began.elapsed().as_secs()), (3, 4), "at first, then every two seconds");
    assert!(follower.told.iter().all(|told| told.doing == "files"));
    scene.assert_nothing_open();
}

#[tokio::test]
async fn a_note_of_how_far_it_is_that_cannot_be_read_says_so() {
    let scene = Scene::plain().await;
    let outcome = scene.elsewhere().await.restore(Some("{}"), HOUR, &mut Follower::default()).await;
    assert_eq!(failure(outcome).code, "cursor_malformed");
}

/// An upload that cannot be given up at first is given up before the slice ends: nobody cleans up behind one that pauses.
#[tokio::test(start_paused = true)]
async fn an_upload_that_is_not_given_up_at_once_is_given_up_all_the_same() {
    let scene = Scene::plain().await;
    let restorer = scene.elsewhere().await;
    scene.world.faults.always("media_target.copy_part", Moment::Before, Fault::Delay(HOUR));
    scene.world.faults.on("media_target.abort", 1, Moment::Before, Fault::Unavailable);
    let paused = restorer.restore(None, Duration::from_mins(1), &mut Follower::default()).await.unwrap();
    assert!(matches!(paused, Outcome::Paused { .. }), "{paused:?}");
    assert_eq!(scene.world.faults.count("media_target.abort"), 2);
    scene.assert_nothing_open();
}

/// A slice may end before it has come to the first file of the archive: there may be very many others before it.
#[tokio::test]
async fn a_slice_may_end_among_files_that_the_archive_does_not_have() {
    let scene = Scene::plain().await;
    for number in 0..5 {
        scene.world.media.put(OTHER, &format!("back/0{number}"), "somebody's");
    }
    let restorer = scene.elsewhere().await;
    let mut cursor = None::<String>;
    for _ in 0..5 {
        let outcome = restorer.restore(cursor.as_deref(), Duration::ZERO, &mut Follower::default()).await;
        let Outcome::Paused { cursor: next } = outcome.unwrap() else { panic!("it pauses") };
        assert_eq!(scene.world.media_target.written(), Vec::<String>::new());
        cursor = Some(next);
    }
    let outcome = restorer.restore(cursor.as_deref(), HOUR, &mut Follower::default()).await.unwrap();
    let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
    assert_eq!(done.changes, Some(changes(6, 0, 0, 0)));
}
