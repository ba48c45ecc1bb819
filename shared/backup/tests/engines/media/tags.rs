//! Tags: they are restored with an object, or it is said why not.

use std::time::Duration;

use rstest::rstest;

use super::*;

/// S3 does not even tell how many there are to who may not read them.
#[rstest]
#[case::small(10)]
#[case::large(12 * MIB)]
#[tokio::test]
async fn tags_that_may_not_be_read_are_no_reason_to_leave_them_out(#[case] bytes: usize) {
    let world = world();
    world.media.put(BUCKET, "m/tagged", vec![1; bytes]);
    world.media.tag(BUCKET, "m/tagged", &[("kind", "photo")]);
    world.media.deny_tags(BUCKET);
    let failure = failure(back_up(&world).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("tags_denied", false));
    assert!(failure.message.contains("s3:GetObjectTagging"), "{}", failure.message);
    assert_nothing(&world);
}

#[tokio::test]
async fn of_many_objects_without_tags_few_are_asked_for_them() {
    let world = world();
    for number in 0..2_500 {
        world.media.put(BUCKET, &format!("m/{number:04}"), "contents");
    }
    back_up(&world).await.unwrap();
    assert_eq!(world.faults.count("media.tags"), 3);
}

/// What it had nobody knows any more: it is gone, and named as such.
#[rstest]
#[case::small(10)]
#[case::large(12 * MIB)]
#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_before_its_tags_are_read_is_named(#[case] bytes: usize) {
    let world = world();
    world.media.put(BUCKET, "m/a", vec![1; bytes]);
    world.media.tag(BUCKET, "m/a", &[("kind", "photo")]);
    world.faults.on("media.tags", 1, Moment::Before, Fault::Delay(Duration::from_secs(1)));
    let delete = async {
        while world.faults.count("media.tags") == 0 {
            tokio::task::yield_now().await;
        }
        world.media.delete(BUCKET, "m/a");
    };
    let (stored, ()) = tokio::join!(back_up(&world), delete);
    let skipped = Skipped { key: "m/a".to_owned(), reason: "deleted during the backup".to_owned() };
    assert_eq!(contents(&stored.unwrap()), (0, 0, &[skipped][..], 1));
    assert!(Archive::of(&world).members.is_empty());
}
