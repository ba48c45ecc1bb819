//! What others are told: each end of a job, after its record, whatever dies in between, and never in its way.

use std::time::Duration;

use holdfast_backup::{
    abort::abort,
    job::{Answer, Caught, Job},
    request::{self, BackupRequest},
    slice::slice,
};
use holdfast_domain::{backup::State, event::What, restore::RestoreState};
use holdfast_testing::{
    World,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::{
    machine::{INVOCATION, drive, drive_restore, register_media_only, worker},
    shop::{Shop, overwriting},
};

/// A backup that was asked for.
async fn requested(world: &World) -> Job {
    let shop = register_media_only(world, "shop").id;
    let made = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    Job::Backup { application: shop, id: made.backup.value.id }
}

async fn drive_backup(world: &World, job: &Job) -> State {
    let Job::Backup { application, id } = job else { panic!("{job:?}") };
    drive(world, application, *id).await.state
}

#[tokio::test]
async fn a_success_is_told_with_what_it_is() {
    let world = World::new();
    let job = requested(&world).await;
    assert_eq!(drive_backup(&world, &job).await, State::Succeeded);
    let told = world.events.told();
    let [event] = told.as_slice() else { panic!("{told:?}") };
    let Job::Backup { application, id } = &job else { panic!("{job:?}") };
    let backup = world.backup(application, *id);
    assert_eq!((event.detail_type(), Some(event.at)), ("Backup Succeeded", backup.finished_at));
    let detail: serde_json::Value = serde_json::from_str(&event.detail()).unwrap();
    let expected = serde_json::json!({
        "application": "shop", "at": backup.finished_at, "backup": id, "state": "succeeded", "trigger": "on_demand",
        "bytes": backup.bytes()
    });
    assert_eq!(detail, expected);
}

#[tokio::test]
async fn a_failure_is_told_with_its_reason_and_a_cancellation_as_such() {
    let world = World::new();
    let job = requested(&world).await;
    let error = Caught { error: "States.Timeout".to_owned(), cause: String::new() };
    abort(&worker(&world), &job, &error).await.unwrap();
    let What::Backup { failure: Some(failure), .. } = &world.events.told()[0].what else {
        panic!("{:?}", world.events.told())
    };
    assert_eq!(failure.code, "timed_out");

    let world = World::new();
    let job = requested(&world).await;
    let Job::Backup { application, id } = &job else { panic!("{job:?}") };
    request::cancel(&world.ports, "anna", application, *id).await.unwrap();
    assert_eq!(drive_backup(&world, &job).await, State::Cancelled);
    assert_eq!(world.events.types(), ["Backup Cancelled"]);
}

/// The process is killed after the record says how it ended, and before anybody was told, or heard that they were.
#[rstest]
#[case(Moment::Before, 1)]
#[case(Moment::After, 2)]
#[tokio::test(start_paused = true)]
async fn whoever_dies_before_telling_is_followed_by_one_who_does(
    #[case] moment: Moment,
    #[case] times: usize,
) {
    for fails in [false, true] {
        let world = World::new();
        let job = requested(&world).await;
        let worker = worker(&world);
        world.faults.on("events.publish", 1, moment, Fault::Hang);
        let step = async || {
            if fails {
                abort(&worker, &job, &Caught::default()).await
            } else {
                slice(&worker, &job, None, INVOCATION).await
            }
        };
        // Less patience than telling has: the process is gone before.
        while let Ok(answer) = tokio::time::timeout(Duration::from_secs(1), step()).await {
            assert_ne!(answer.unwrap(), Answer::Done, "it was killed");
        }
        assert_eq!(step().await.unwrap(), Answer::Done);
        let expected = if fails { "Backup Failed" } else { "Backup Succeeded" };
        assert_eq!(world.events.types(), vec![expected; times]);
    }
}

#[rstest]
#[case(Fault::Unavailable)]
#[case(Fault::Hang)]
#[tokio::test(start_paused = true)]
async fn nobody_fails_because_others_cannot_be_told(#[case] fault: Fault) {
    let world = World::new();
    let job = requested(&world).await;
    world.faults.always("events.publish", Moment::Before, fault);
    let began = tokio::time::Instant::now();
    assert_eq!(drive_backup(&world, &job).await, State::Succeeded);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(world.events.told().is_empty());
}

#[tokio::test]
async fn restores_are_told_and_the_backup_that_keeps_what_was_there() {
    let shop = Shop::new();
    let before = shop.world.events.types().len();
    let id = shop.ask(overwriting()).await;
    let restore = drive_restore(&shop.world, &shop.id, id).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
    assert_eq!(shop.world.events.types()[before..], ["Restore Succeeded"]);
}
