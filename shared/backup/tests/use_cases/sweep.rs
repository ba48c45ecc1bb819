//! What late invocations leave of backups that have ended is found in the night, and removed by a job.

use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    job::{Caught, Job},
    ports::ArtifactStore as _,
    request::{self, BackupRequest},
    retain,
};
use holdfast_domain::{
    backup::{Backup, State},
    document, mark, readme,
};
use holdfast_testing::{
    World,
    faults::{Fault, Moment},
};

use crate::machine::{INVOCATION, drive, drive_job, register_media_only, worker};

/// A backup that failed, behind whose abort somebody has written what only a good one has.
async fn with_leftovers(world: &World) -> Backup {
    let shop = register_media_only(world, "shop").id;
    let made = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    let id = made.backup.value.id;
    let job = Job::Backup { application: shop.clone(), id };
    abort(&worker(world), &job, &Caught::default()).await.unwrap();
    let backup = world.backup(&shop, id);
    assert_eq!(backup.state, State::Failed);
    world.artifacts.insert(&format!("{}backup.json", backup.prefix()), "{}");
    world.artifacts.insert(&format!("{}MEDIA/media.tar", backup.prefix()), "half");
    world.artifacts.begin(&format!("{}MEDIA/media.tar", backup.prefix()), "application/x-tar").await.unwrap();
    backup
}

/// Does what a night has asked for.
async fn sweep(world: &World) {
    let started = world.executions.started();
    let Some(job @ Job::Sweep { .. }) = started.last() else { panic!("{started:?}") };
    drive_job(&worker(world), job, INVOCATION).await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_a_failed_backup_is_gone_after_a_night() {
    let world = World::new();
    let backup = with_leftovers(&world).await;
    world.clock.advance(TimeDelta::minutes(29));
    assert_eq!(retain::run_all(&world.ports).await.swept, 0, "somebody may still be at it");
    assert_eq!(world.artifacts.open_upload_count(), 1);

    world.clock.advance(TimeDelta::days(1));
    assert_eq!(retain::run_all(&world.ports).await.swept, 1);
    sweep(&world).await;
    assert_eq!(world.artifacts.version_count(&backup.prefix()), 0, "not even an old version");
    assert_eq!(world.artifacts.open_upload_count(), 0);

    world.clock.advance(TimeDelta::days(1));
    assert_eq!(retain::run_all(&world.ports).await.swept, 0, "once is enough");
    assert_eq!(world.backup(&backup.application, backup.id), backup, "its record stays as it was");
}

#[tokio::test]
async fn of_a_good_backup_goes_what_was_staged_and_nothing_else() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let made = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    let backup = drive(&world, &shop, made.backup.value.id).await;
    assert_eq!(backup.state, State::Succeeded, "{:?}", backup.failure);
    let prefix = backup.prefix();
    world.artifacts.insert(&format!("{prefix}{}", mark::HOLD), "{}");
    let good = world.artifacts.object_keys();
    world.clock.advance(TimeDelta::hours(1));
    assert_eq!(retain::run_all(&world.ports).await.swept, 0, "there is nothing to sweep");

    world.artifacts.insert(&format!("{prefix}MEDIA/stretches/1/00003.json"), "{}");
    world.artifacts.begin(&format!("{prefix}MEDIA/media.tar"), "application/x-tar").await.unwrap();
    assert_eq!(retain::run_all(&world.ports).await.swept, 1);
    sweep(&world).await;
    assert_eq!(world.artifacts.object_keys(), good);
    assert_eq!(world.artifacts.open_upload_count(), 0);
}

/// Somebody has given it a label while it was deleted, and died before taking that back; and an invocation that was given up on
/// when it was made has described it once more.
#[tokio::test]
async fn of_a_backup_that_was_let_go_nothing_that_was_written_late_stays() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let made = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    let id = drive(&world, &shop, made.backup.value.id).await.id;
    world.clock.advance(TimeDelta::days(5));
    request::delete(&world.ports, "anna", &shop, id).await.unwrap();
    let backup = world.backup(&shop, id);
    assert_eq!(backup.state, State::Expired);
    let others = world.artifacts.object_keys();
    for name in [mark::LABEL, document::FILE_NAME, readme::FILE_NAME] {
        world.artifacts.insert(&format!("{}{name}", backup.prefix()), "{}");
    }
    world.clock.advance(TimeDelta::minutes(29));
    assert_eq!(retain::run_all(&world.ports).await.swept, 0, "somebody may still be at it");
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(retain::run_all(&world.ports).await.swept, 1);
    assert_eq!(world.artifacts.object_keys(), others);
    assert_eq!(retain::run_all(&world.ports).await.swept, 0, "once is enough");
    let versions = world.artifacts.version_count(&backup.prefix());
    assert!(versions > 3, "what was backed up can still be brought back: {versions}");
}

#[tokio::test]
async fn nights_look_at_what_ended_lately_and_the_end_of_each_backup_at_nothing() {
    let world = World::new();
    let backup = with_leftovers(&world).await;
    world.clock.advance(TimeDelta::days(8));
    let looked = world.faults.count("artifacts.open_uploads");
    assert_eq!(retain::run_all(&world.ports).await.swept, 0);
    assert_eq!(world.faults.count("artifacts.open_uploads"), looked);
    world.clock.set(backup.finished_at.unwrap() + TimeDelta::days(1));
    retain::run(&world.ports, &backup.application).await.unwrap();
    assert_eq!(world.faults.count("artifacts.open_uploads"), looked);
}

#[tokio::test]
async fn trouble_with_one_is_left_to_the_next_night_and_keeps_nothing_else() {
    for (call, moment) in [
        ("artifacts.open_uploads", Moment::Before),
        ("executions.start", Moment::Before),
        ("executions.start", Moment::After),
    ] {
        let world = World::new();
        let backup = with_leftovers(&world).await;
        world.clock.advance(TimeDelta::days(1));
        world.faults.on(call, 1, moment, Fault::Unavailable);
        let summary = retain::run_all(&world.ports).await;
        assert_eq!((summary.applications, summary.failed), (1, 1), "{call} {moment:?}: {summary:?}");
        world.clock.advance(TimeDelta::days(1));
        assert_eq!(retain::run_all(&world.ports).await.swept, 1, "{call} {moment:?}");
        sweep(&world).await;
        assert_eq!(world.artifacts.version_count(&backup.prefix()), 0, "{call} {moment:?}");
    }
}

#[tokio::test]
async fn an_application_that_was_removed_is_forgotten_once_nothing_can_be_left() {
    let world = World::new();
    let backup = with_leftovers(&world).await;
    let shop = &backup.application;
    holdfast_backup::applications::remove(
        &world.ports,
        "anna",
        shop,
        None,
        holdfast_backup::applications::Fate::Keep,
    )
    .await
    .unwrap();
    let is_remembered = async || {
        let removed = world.ports.records.removed_applications(None, 10).await.unwrap();
        !removed.items.is_empty()
    };
    retain::run_all(&world.ports).await;
    assert!(is_remembered().await, "somebody may still be at it");
    world.clock.advance(TimeDelta::days(1));
    retain::run_all(&world.ports).await;
    sweep(&world).await;
    assert_eq!(world.artifacts.version_count(&backup.prefix()), 0);
    world.clock.advance(TimeDelta::days(7));
    retain::run_all(&world.ports).await;
    assert!(!is_remembered().await);
}
