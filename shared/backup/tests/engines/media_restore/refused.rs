//! What stands in the way of a restore, and is found before anything is changed.

use holdfast_domain::restore::MediaMode;
use holdfast_testing::faults::{Fault, Moment};
use rstest::rstest;

use super::*;

/// Where the manifest of the archive stands.
const MANIFEST_KEY: &str =
    "applications/shop/019d4b8e-7a00-7000-8000-000000000000/DEFAULT/media.manifest.jsonl.zst";

/// It is refused by this code, in these words, and a restore that does not ask changes nothing either.
async fn assert_refused(scene: &Scene, restorer: &dyn Restorer, code: &str, words: &str) {
    let looked = restorer.preflight().await.unwrap();
    let codes: Vec<_> = looked.refusals.iter().map(|refusal| refusal.code.as_str()).collect();
    assert!(codes.contains(&code), "{:?}", looked.refusals);
    let refusal = looked.refusals.iter().find(|refusal| refusal.code == code).unwrap();
    assert!(refusal.what.contains(words), "{refusal:?}");
    assert!(!refusal.fix.is_empty());
    assert_eq!(scene.world.media_target.written(), Vec::<String>::new());
    scene.assert_nothing_open();
}

/// A restore that did not look before fails by the same code.
async fn assert_fails(restorer: &dyn Restorer, code: &str) {
    let failure = failure(restore(restorer, HOUR).await);
    assert_eq!((failure.code.as_str(), failure.transient), (code, false), "{}", failure.message);
}

#[tokio::test]
async fn files_that_differ_are_replaced_only_if_that_is_wanted() {
    let scene = Scene::plain().await;
    scene.world.media.put(BUCKET, "m/z.txt", "something else");
    scene.world.media.put(BUCKET, "m/film.mp4", "a shorter film");
    let restorer = scene.in_place(RestoreOptions::default()).await;
    assert_refused(&scene, restorer.as_ref(), "overwrite_needed", "2 files would be replaced").await;
    assert_fails(restorer.as_ref(), "overwrite_needed").await;
    assert_eq!(scene.world.media.bytes(BUCKET, "m/z.txt").unwrap(), "something else");
    assert_eq!(scene.world.media.bytes(BUCKET, "m/film.mp4").unwrap(), "a shorter film");
}

#[tokio::test]
async fn files_are_removed_only_if_that_is_wanted() {
    let scene = Scene::plain().await;
    scene.world.media.put(BUCKET, "m/new.txt", "added since");
    let options = RestoreOptions { media: MediaMode::Mirror, ..RestoreOptions::default() };
    let restorer = scene.in_place(options).await;
    assert_refused(&scene, restorer.as_ref(), "overwrite_needed", "1 removed, such as [\"new.txt\"]").await;
    assert_fails(restorer.as_ref(), "overwrite_needed").await;
    assert!(scene.world.media.bytes(BUCKET, "m/new.txt").is_some());
}

/// What has appeared since the look is not replaced either.
#[rstest]
#[case::small("z.txt")]
#[case::large("film.mp4")]
#[tokio::test]
async fn a_file_that_appears_meanwhile_is_not_replaced(#[case] key: &str) {
    let scene = Scene::plain().await;
    let restorer = scene.elsewhere().await;
    assert!(restorer.preflight().await.unwrap().refusals.is_empty());
    scene.world.media.put(OTHER, &format!("back/{key}"), "somebody's");
    let failure = failure(restore(restorer.as_ref(), HOUR).await);
    assert_eq!(failure.code, "overwrite_needed");
    assert!(failure.message.contains(key), "{}", failure.message);
    assert_eq!(scene.world.media.bytes(OTHER, &format!("back/{key}")).unwrap(), "somebody's");
    scene.assert_nothing_open();
}

#[rstest]
#[case(&["a.txt", "missing.txt"], "file_missing", "no file \"missing.txt\"")]
#[case(&["album"], "file_missing", "no file \"album\"")]
#[case(&["albums/", "a.txt"], "file_missing", "begins with \"albums/\"")]
#[case(&["album/", "album/9.jpg"], "file_missing", "album/9.jpg")]
#[tokio::test]
async fn names_that_the_backup_does_not_have_are_refused(
    #[case] files: &[&str],
    #[case] code: &str,
    #[case] words: &str,
) {
    let scene = Scene::plain().await;
    let restorer = scene.restorer(OTHER, "", files, RestoreOptions::default()).await;
    assert_refused(&scene, restorer.as_ref(), code, words).await;
    assert_fails(restorer.as_ref(), code).await;
    assert_eq!(scene.world.media.keys(OTHER), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_was_left_out_is_refused_with_the_reason() {
    let scene = Scene::of(|world| {
        world.media.put(BUCKET, "m/cold.txt", "cold");
        world.media.archive(BUCKET, "m/cold.txt");
    })
    .await;
    let restorer = scene.restorer(OTHER, "", &["cold.txt"], RestoreOptions::default()).await;
    assert_refused(&scene, restorer.as_ref(), "file_skipped", "archive storage class").await;
    assert_fails(restorer.as_ref(), "file_missing").await;
}

#[tokio::test]
async fn a_bucket_that_cannot_be_used_is_refused() {
    let scene = Scene::plain().await;
    let missing = scene.restorer("no-such-bucket", "", &[], RestoreOptions::default()).await;
    assert_refused(&scene, missing.as_ref(), "bucket_missing", "no-such-bucket").await;
    scene.world.media_target.deny(OTHER);
    let elsewhere = scene.elsewhere().await;
    assert_refused(&scene, elsewhere.as_ref(), "bucket_not_writable", OTHER).await;
    assert_fails(elsewhere.as_ref(), "object_denied").await;
    scene.world.media.deny(OTHER);
    assert_refused(&scene, elsewhere.as_ref(), "bucket_denied", OTHER).await;
    let backups = scene.restorer("holdfast-backups", "", &[], RestoreOptions::default()).await;
    assert_refused(&scene, backups.as_ref(), "bucket_of_backups", "holdfast-backups").await;
}

#[rstest]
#[case::not_a_folder("m/restored", "prefix_not_a_folder", "\"m/restored\"")]
#[case::too_long(&format!("m/{}/", "x".repeat(1_018)), "key_impossible", "6 files")]
#[tokio::test]
async fn a_prefix_that_makes_no_good_keys_is_refused(
    #[case] prefix: &str,
    #[case] code: &str,
    #[case] words: &str,
) {
    let scene = Scene::plain().await;
    let options = RestoreOptions { into_prefix: Some(prefix.to_owned()), ..RestoreOptions::default() };
    assert_refused(&scene, scene.in_place(options).await.as_ref(), code, words).await;
}

#[tokio::test]
async fn an_archive_that_is_not_there_is_refused() {
    let scene = Scene::plain().await;
    scene.world.artifacts.delete(&[MANIFEST_KEY.to_owned()]).await.unwrap();
    let restorer = scene.elsewhere().await;
    assert_refused(&scene, restorer.as_ref(), "manifest_missing", MANIFEST_KEY).await;
    assert_fails(restorer.as_ref(), "manifest_missing").await;
    scene.world.artifacts.purge("applications/shop/019d4b8e-7a00-7000-8000-000000000000/").await.unwrap();
    assert_refused(&scene, restorer.as_ref(), "archive_missing", KEY).await;
}

/// Each byte of the manifest counts, and a whole one of another archive does not do.
#[tokio::test]
async fn a_manifest_that_is_not_what_was_stored_is_refused() {
    let scene = Scene::plain().await;
    let whole = scene.world.artifacts.bytes(MANIFEST_KEY).unwrap();
    for at in [0, 20, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 1;
        scene.world.artifacts.damage(MANIFEST_KEY, damaged);
        let restorer = scene.elsewhere().await;
        assert_refused(&scene, restorer.as_ref(), "archive_damaged", "manifest").await;
        assert_fails(restorer.as_ref(), "archive_damaged").await;
    }
    let other = Scene::of(|world| world.media.put(BUCKET, "m/a.txt", "another")).await;
    let other = other.world.artifacts.bytes(MANIFEST_KEY).unwrap();
    scene.world.artifacts.insert(MANIFEST_KEY, other);
    assert_refused(&scene, scene.elsewhere().await.as_ref(), "archive_damaged", "of another archive").await;
}

#[tokio::test]
async fn an_archive_that_is_cut_off_is_refused() {
    let scene = Scene::plain().await;
    let tar = scene.world.artifacts.bytes(KEY).unwrap();
    scene.world.artifacts.damage(KEY, tar.slice(..tar.len() - 600));
    assert_refused(&scene, scene.elsewhere().await.as_ref(), "archive_damaged", KEY).await;
}

#[tokio::test]
async fn what_is_in_the_way_for_now_is_no_refusal() {
    let scene = Scene::plain().await;
    for call in ["media.list", "media_target.begin", "artifacts.read", "artifacts.describe"] {
        let fault = (holdfast_testing::faults::Moment::Before, holdfast_testing::faults::Fault::Unavailable);
        scene.world.faults.on(call, 1, fault.0, fault.1);
        let failure = failure(scene.elsewhere().await.preflight().await);
        assert!(failure.transient, "{call}: {failure:?}");
        scene.assert_nothing_open();
    }
}

/// The bucket may hold another application's files, which whoever may restore this one has no right to.
#[rstest]
#[case("blog/")]
#[case("")]
#[case("other/m/")]
#[tokio::test]
async fn files_do_not_go_beside_the_storage(#[case] prefix: &str) {
    let scene = Scene::plain().await;
    scene.world.media.put(BUCKET, "blog/a.txt", "somebody's");
    let options =
        RestoreOptions { into_prefix: Some(prefix.to_owned()), media: MediaMode::Mirror, ..overwrite() };
    let restorer = scene.in_place(options).await;
    assert_refused(&scene, restorer.as_ref(), "prefix_outside", "not below that of the storage").await;
    assert_fails(restorer.as_ref(), "prefix_outside").await;
    assert_eq!(scene.world.media_target.written(), Vec::<String>::new());
}

/// What was not there when it was listed is in no safety backup.
#[rstest]
#[case::small("z.txt", "media_target.put")]
#[case::large("film.mp4", "media_target.copy_part")]
#[tokio::test(start_paused = true)]
async fn a_file_that_appears_while_others_are_replaced_is_not(#[case] key: &str, #[case] call: &str) {
    let scene = Scene::plain().await;
    let restorer = scene.restorer(OTHER, "back/", &[], overwrite()).await;
    let slow = Fault::Delay(Duration::from_secs(10));
    scene.world.faults.always(call, Moment::Before, slow);
    let mut follower = Follower::default();
    let somebody = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        scene.world.media.put(OTHER, &format!("back/{key}"), "somebody's");
    };
    let (outcome, ()) = tokio::join!(restorer.restore(None, HOUR, &mut follower), somebody);
    let failure = failure(outcome);
    assert_eq!((failure.code.as_str(), failure.transient), ("file_appeared", false), "{}", failure.message);
    assert!(failure.message.contains(key), "{}", failure.message);
    assert_eq!(scene.world.media.bytes(OTHER, &format!("back/{key}")).unwrap(), "somebody's");
    scene.assert_nothing_open();
}
