//! Rehearsals: files go to a place of their own, are compared there, and are removed.

use holdfast_domain::backup::Contents;
use rstest::rstest;

use super::*;

/// What the keys of all such files begin with.
const SCRATCH: &str = ".holdfast-rehearsal-";

impl Scene {
    async fn rehearsal(&self, prefix: &str) -> Box<dyn Restorer> {
        let restore = Restore { rehearsal: true, ..builders::restore_with(&RestoreOptions::default()) };
        self.restorer_for(BUCKET, prefix, &[], &restore).await
    }

    /// Keys of files that rehearsals have put.
    fn scratch(&self) -> Vec<String> {
        let keys = self.world.media.keys(BUCKET).into_iter();
        keys.filter(|key| key.starts_with(SCRATCH)).collect()
    }

    /// Rehearses until all files are put, and gives where it would go on.
    async fn put_all(&self, restorer: &dyn Restorer) -> String {
        let mut cursor = None::<String>;
        loop {
            let outcome = restorer.restore(cursor.as_deref(), Duration::ZERO, &mut Follower::default()).await;
            let Outcome::Paused { cursor: next } = outcome.unwrap() else { panic!("it is done") };
            if next.contains("\"after\":\"z.txt\"") {
                return next;
            }
            cursor = Some(next);
        }
    }
}

#[rstest]
#[case(HOUR)]
#[case(Duration::ZERO)]
#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_compared_and_nothing_is_left(#[case] time: Duration) {
    let scene = everything().await;
    let (before, files) = (scene.found(BUCKET, "").await, scene.found(BUCKET, "m/").await.len());
    let restorer = scene.rehearsal("m/").await;
    let preflight = restorer.preflight().await.unwrap();
    assert!(preflight.refusals.is_empty() && !preflight.is_occupied, "{preflight:?}");
    assert!(preflight.target.contains(SCRATCH), "{preflight:?}");
    let (restored, _) = restore(restorer.as_ref(), time).await.unwrap();
    assert_eq!(restored.files_compared, Some(files as u64));
    assert_eq!(scene.found(BUCKET, "").await, before);
    scene.assert_nothing_open();
}

#[rstest]
#[case("album/1.jpg", "the SHA-256")]
#[case("film.mp4", "the CRC64NVME")]
#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_found(#[case] key: &str, #[case] said: &str) {
    let scene = Scene::plain().await;
    let restorer = scene.rehearsal("m/").await;
    let cursor = scene.put_all(restorer.as_ref()).await;
    let whole = scene.scratch().into_iter().find(|whole| whole.ends_with(key)).unwrap();
    let mut other = plain()[key].to_vec();
    other[0] ^= 1;
    scene.world.media.put(BUCKET, &whole, other);
    let outcome = restorer.restore(Some(&cursor), HOUR, &mut Follower::default()).await;
    assert_failure(&failure(outcome), "restored_differs", false, &[said, key]);
    restorer.give_up().await.unwrap();
    assert_eq!(scene.scratch(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_headers_are_found_and_what_somebody_removes_says_nothing() {
    let scene = Scene::plain().await;
    let restorer = scene.rehearsal("m/").await;
    let cursor = scene.put_all(restorer.as_ref()).await;
    let whole = scene.scratch().into_iter().find(|whole| whole.ends_with("a.txt")).unwrap();
    scene.world.media.set_headers(BUCKET, &whole, &[("cache-control", "no-store")]);
    let outcome = restorer.restore(Some(&cursor), HOUR, &mut Follower::default()).await;
    assert_failure(&failure(outcome), "restored_differs", false, &["beside the bytes", "a.txt"]);
    scene.world.media.delete(BUCKET, &whole);
    let outcome = restorer.restore(Some(&cursor), HOUR, &mut Follower::default()).await;
    assert_failure(&failure(outcome), "rehearsal_disturbed", false, &["a.txt", "leave what begins with"]);
    restorer.give_up().await.unwrap();
    assert_eq!(scene.scratch(), Vec::<String>::new());
}

/// A storage that is the whole bucket has the place in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_made_meanwhile_leaves_it_out() {
    let scene = Scene::plain().await;
    let restorer = scene.rehearsal("m/").await;
    let cursor = scene.put_all(restorer.as_ref()).await;
    assert_eq!(scene.scratch().len(), plain().len());
    let service = Service::Storage(storage(BUCKET, ""));
    let (ports, slug) = (&scene.world.ports, builders::slug("shop"));
    let engine = engines::open(ports, &clients(), &slug, &service).await.unwrap();
    let key = KEY.replace("DEFAULT", "MEANWHILE");
    let stored =
        store(ports.artifacts.as_ref(), engine.as_ref(), &key, &mut Witness::default()).await.unwrap();
    let Contents::MediaTar { files, .. } = stored.report.contents else { panic!("a tar") };
    assert_eq!(files, 5, "its own files alone");
    let outcome = restorer.restore(Some(&cursor), HOUR, &mut Follower::default()).await;
    assert!(matches!(outcome, Ok(Outcome::Done(_))), "{outcome:?}");
    assert_eq!(scene.scratch(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_archive_is_said() {
    let scene = Scene::plain().await;
    scene.damage(b"a picture of two");
    let restorer = scene.rehearsal("m/").await;
    let outcome = restorer.restore(None, HOUR, &mut Follower::default()).await;
    assert_failure(&failure(outcome), "archive_damaged", false, &["album/2.jpg"]);
    restorer.give_up().await.unwrap();
    assert_eq!(scene.scratch(), Vec::<String>::new());
}
