//! Mirroring: what the backup does not have is removed, at the very end.

use chrono::TimeDelta;
use holdfast_domain::{id::RestoreId, restore::MediaMode};
use holdfast_testing::faults::{Fault, Moment};

use super::*;

fn mirror() -> RestoreOptions {
    RestoreOptions { media: MediaMode::Mirror, ..overwrite() }
}

/// The plain files, one of which was lost, and two of which the backup knows nothing.
async fn scene() -> Scene {
    let scene = Scene::plain().await;
    for key in ["m/0.txt", "m/album/3.jpg", "m/zz.txt"] {
        scene.world.media.put(BUCKET, key, "added since");
    }
    scene.world.media.delete(BUCKET, "m/z.txt");
    scene
}

#[tokio::test]
async fn what_the_backup_does_not_have_is_removed_when_all_files_are_there() {
    let scene = scene().await;
    scene.world.media.put(BUCKET, "other/file", "not of this storage");
    let restorer = scene.in_place(mirror()).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!((looked.changes, looked.refusals.len()), (Some(changes(1, 0, 5, 3)), 0));
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(1, 0, 5, 3));
    assert_eq!(scene.world.media_target.written(), ["m/z.txt", "m/0.txt", "m/album/3.jpg", "m/zz.txt"]);
    assert_eq!(
        scene.found(BUCKET, "m/").await.keys().collect::<Vec<_>>(),
        plain().keys().collect::<Vec<_>>()
    );
    assert!(scene.world.media.bytes(BUCKET, "other/file").is_some());
}

#[tokio::test]
async fn removing_pauses_and_goes_on() {
    let scene = scene().await;
    let (done, _) = restore(scene.in_place(mirror()).await.as_ref(), Duration::ZERO).await.unwrap();
    assert_eq!(done.changes, Some(changes(1, 0, 5, 3)));
    assert_eq!(scene.world.faults.count("media_target.delete"), 3);
}

#[tokio::test]
async fn nothing_is_removed_before_all_files_are_there() {
    let scene = scene().await;
    scene.world.faults.on("media_target.put", 1, Moment::Before, Fault::Denied);
    let failure = failure(restore(scene.in_place(mirror()).await.as_ref(), HOUR).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("object_denied", false));
    assert!(failure.message.contains("z.txt"), "{}", failure.message);
    assert_eq!(scene.world.media_target.written(), Vec::<String>::new());
}

#[tokio::test]
async fn removing_that_fails_says_what_was_done_and_goes_on_later() {
    let scene = scene().await;
    let restorer = scene.in_place(mirror()).await;
    scene.world.faults.on("media_target.delete", 1, Moment::After, Fault::Unavailable);
    let mut follower = Follower::default();
    let failure = failure(restorer.restore(None, HOUR, &mut follower).await);
    assert!(
        failure.transient && failure.message.contains("1 files or more were added"),
        "{}",
        failure.message
    );
    let cursor = follower.told.last().unwrap().cursor.clone();
    let outcome = restorer.restore(cursor.as_deref(), HOUR, &mut follower).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(scene.found(BUCKET, "m/").await.len(), 6);
}

/// It is in no safety backup: whoever has written it during the restore loses nothing.
#[tokio::test]
async fn what_is_written_after_the_restore_began_stays() {
    let scene = scene().await;
    let headers = ObjectHeaders::default();
    let new = scene.world.media_target.put(BUCKET, "m/newer.txt", &headers, Bytes::from_static(b"new"), true);
    new.await.unwrap();
    let (done, _) = restore(scene.in_place(mirror()).await.as_ref(), HOUR).await.unwrap();
    assert_eq!(done.changes, Some(changes(1, 0, 5, 3)));
    assert!(done.notes[0].starts_with("1 files"), "{:?}", done.notes);
    assert!(scene.world.media.bytes(BUCKET, "m/newer.txt").is_some());
}

/// A restore asked for in the middle of a second: S3 lists whole ones, and what was written later seems to be earlier.
#[tokio::test]
async fn what_is_written_between_the_safety_backup_and_the_removals_stays() {
    let scene = scene().await;
    let headers = ObjectHeaders::default();
    let put = scene.world.media_target.put(BUCKET, "m/newer.txt", &headers, Bytes::from_static(b"new"), true);
    put.await.unwrap();
    let page = scene.world.media.list(BUCKET, "m/newer.txt", None, None).await.unwrap();
    let written = page.objects[0].last_modified;
    let at = |milliseconds| {
        let created_at = written + TimeDelta::milliseconds(milliseconds);
        Restore { created_at, ..builders::restore_with(&mirror()) }
    };
    // However late the slice that removes is.
    scene.world.clock.advance(TimeDelta::days(1_000));
    let restorer = scene.restorer_for(BUCKET, "m/", &[], &at(500)).await;
    assert_eq!(restorer.preflight().await.unwrap().changes, Some(changes(1, 0, 5, 3)));
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(1, 0, 5, 3));
    assert!(scene.world.media.bytes(BUCKET, "m/newer.txt").is_some());
    let restorer = scene.restorer_for(BUCKET, "m/", &[], &at(1_000)).await;
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(0, 0, 6, 1), "it was there before");
}

/// What single files were put in is taken back, and nothing else; a file that was not there before is no reason to refuse.
#[tokio::test]
async fn an_undo_of_single_files_leaves_the_others() {
    let scene = scene().await;
    scene.world.media.put(BUCKET, "m/a.txt", "of the restore");
    let undoes = Some(RestoreId::new(builders::now(), [3; 10]));
    let restore = Restore { undoes, ..builders::restore_with(&mirror()) };
    let names = ["a.txt", "album/3.jpg", "never/"];
    let restorer = scene.restorer_for(BUCKET, "m/", &names, &restore).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!((looked.changes, &looked.refusals[..]), (Some(changes(0, 1, 0, 1)), &[][..]));
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(0, 1, 0, 1));
    assert_eq!(scene.world.media_target.written(), ["m/a.txt", "m/album/3.jpg"]);
}

/// A file that was listed and could not be backed up is not in the backup, and removed it would be gone for good.
#[tokio::test]
async fn what_was_left_out_of_the_backup_stays() {
    let scene = Scene::of(|world| {
        world.media.put(BUCKET, "m/cold.txt", "cold");
        world.media.archive(BUCKET, "m/cold.txt");
        world.media.put(BUCKET, "m/warm.txt", "warm");
    })
    .await;
    let restorer = scene.in_place(mirror()).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!(looked.changes, Some(changes(0, 0, 1, 0)));
    assert!(looked.notes.iter().any(|note| note.starts_with("1 files were listed")), "{:?}", looked.notes);
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(0, 0, 1, 0));
    assert!(scene.world.media.bytes(BUCKET, "m/cold.txt").is_some());
}

#[tokio::test]
async fn a_folder_is_mirrored_by_itself() {
    let scene = scene().await;
    let restorer = scene.restorer(BUCKET, "m/", &["album/"], mirror()).await;
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(0, 0, 3, 1));
    assert_eq!(scene.world.media_target.written(), ["m/album/3.jpg"]);
}

/// The folder itself is the first of its files: whoever goes on behind it does not take it for one that the backup does not have.
#[tokio::test]
async fn a_folder_is_not_removed_by_a_slice_that_begins_behind_it() {
    let scene = scene().await;
    let restorer = scene.restorer(BUCKET, "m/", &["album/"], mirror()).await;
    let (done, _) = restore(restorer.as_ref(), Duration::ZERO).await.unwrap();
    assert_eq!(done.changes, Some(changes(0, 0, 3, 1)));
    assert_eq!(scene.world.media_target.written(), ["m/album/3.jpg"]);
}

/// Who follows can stop it before anything is removed.
#[tokio::test]
async fn a_restore_that_is_cancelled_removes_nothing() {
    let scene = scene().await;
    let mut follower = Follower { refuses_at: Some(2), ..Follower::default() };
    let outcome = scene.in_place(mirror()).await.restore(None, HOUR, &mut follower).await;
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    assert_eq!(scene.world.media_target.written(), ["m/z.txt"]);
}
