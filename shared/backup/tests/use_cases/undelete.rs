use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    error::{RequestError, SliceError},
    hold,
    job::{Answer, Caught, Job},
    request, retain,
    slice::slice,
    undelete::ask,
};
use holdfast_domain::{
    audit::Action,
    backup::{Backup, Label, State, prefix},
    id::{ApplicationId, BackupId},
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::machine::{INVOCATION, caught, worker};

const ANNA: &str = "arn:aws:iam::123456789012:user/anna";

/// A scheduled backup with the label `weekly` that has been deleted.
async fn deleted(world: &World) -> (ApplicationId, Backup) {
    let shop = world.register("shop").value.id;
    let mut backup = world.succeeded(&shop, builders::now() - TimeDelta::days(9), true);
    backup.label = Some(Label::Weekly);
    world.records.insert_backup(backup.clone());
    request::delete(&world.ports, "eve", &shop, backup.id).await.unwrap();
    assert!(world.artifacts.object_keys().is_empty());
    (shop, backup)
}

fn job(world: &World, shop: &ApplicationId, id: BackupId) -> Job {
    let asked_at = world.backup(shop, id).undelete.unwrap().at;
    Job::Undelete { application: shop.clone(), id, asked_at }
}

async fn run(world: &World, job: &Job) -> Result<Answer, SliceError> {
    slice(&worker(world), job, None, INVOCATION).await
}

#[tokio::test]
async fn a_deleted_backup_comes_back_whole_and_is_held() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    world.clock.advance(TimeDelta::days(6));
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    let job = job(&world, &shop, before.id);
    assert_eq!(world.executions.started(), std::slice::from_ref(&job));
    assert_eq!(run(&world, &job).await.unwrap(), Answer::Wait { seconds: 900 });

    let after = world.backup(&shop, before.id);
    assert_eq!((after.state, after.label), (State::Succeeded, Some(Label::Weekly)));
    assert_eq!((&after.artifacts, after.expired_at, &after.undelete), (&before.artifacts, None, &None));
    assert_eq!(after.hold.as_ref().unwrap().by, ANNA);
    for artifact in &after.artifacts {
        assert_eq!(world.artifacts.bytes(&artifact.object.key).unwrap(), artifact.object.key.as_bytes());
    }
    let trail = world.records.audit_trail(&shop);
    let entry = trail.into_iter().find(|entry| entry.action == Action::Undelete).unwrap();
    assert_eq!((entry.action, entry.actor.as_str(), entry.backup), (Action::Undelete, ANNA, Some(before.id)));
    assert!(entry.reason.unwrap().contains("deleted by eve"));

    world.clock.advance(TimeDelta::seconds(899));
    assert_eq!(run(&world, &job).await.unwrap(), Answer::Wait { seconds: 1 });
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(run(&world, &job).await.unwrap(), Answer::Done);
    assert_eq!(run(&world, &job).await.unwrap(), Answer::Done, "repeating it changes nothing");
    assert_eq!(world.backup(&shop, before.id), after);
}

#[tokio::test]
async fn what_a_policy_took_by_mistake_stays_once_it_is_back() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let old = world.succeeded(&shop, builders::now() - TimeDelta::days(90), false);
    for day in 1..=4 {
        world.succeeded(&shop, builders::now() - TimeDelta::days(31 + day), false);
    }
    retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!(world.backup(&shop, old.id).state, State::Expired);
    ask(&world.ports, ANNA, &shop, old.id).await.unwrap();
    run(&world, &job(&world, &shop, old.id)).await.unwrap();
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().discarded, 0);
    hold::release(&world.ports, ANNA, &shop, old.id).await.unwrap();
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().discarded, 1, "and goes when it is let go");
}

#[rstest]
#[case("records.backup")]
#[case("artifacts.bring_back")]
#[case("artifacts.describe")]
#[case("records.update_backup")]
#[tokio::test]
async fn killed_at_any_call_it_is_repeated_and_the_backup_is_whole(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    for nth in 1.. {
        let world = World::new();
        let (shop, before) = deleted(&world).await;
        ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
        let job = job(&world, &shop, before.id);
        world.faults.on(call, nth, moment, Fault::Unavailable);
        let mut ends = 0;
        while ends < 2 {
            world.clock.advance(TimeDelta::minutes(15));
            ends += usize::from(run(&world, &job).await.is_ok_and(|answer| answer == Answer::Done));
        }
        let after = world.backup(&shop, before.id);
        assert_eq!((after.state, after.undelete), (State::Succeeded, None));
        assert_eq!(world.artifacts.object_keys().len(), 3 + 2, "and the marks of its hold and its label");
        let undeletes = world.records.audit_trail(&shop).into_iter().filter(|e| e.action == Action::Undelete);
        assert_eq!(undeletes.count(), 1);
        if world.faults.left() > 0 {
            assert!(nth > 1, "{call} is never made");
            break;
        }
    }
}

/// Two runs of retention find a deletion to finish; one of them stands still while the other finishes it and the backup is
/// brought back, and then goes on.
#[rstest]
#[case("records.backup")]
#[case("artifacts.keys")]
#[case("artifacts.delete")]
#[tokio::test(start_paused = true)]
async fn a_deletion_that_comes_late_takes_nothing_from_a_backup_that_is_back(#[case] late: &str) {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.succeeded(&shop, builders::now(), true);
    let backup = world.succeeded(&shop, builders::now() - TimeDelta::days(1), false);
    world.faults.on("artifacts.keys", 1, Moment::Before, Fault::Unavailable);
    request::delete(&world.ports, "eve", &shop, backup.id).await.unwrap_err();
    assert_eq!(world.backup(&shop, backup.id).state, State::Expiring);

    world.faults.on(late, 1, Moment::Before, Fault::Delay(std::time::Duration::from_mins(5)));
    let slow = retain::run(&world.ports, &shop);
    let quick = async {
        tokio::time::sleep(std::time::Duration::from_mins(1)).await;
        ask(&world.ports, ANNA, &shop, backup.id).await.unwrap();
        run(&world, &job(&world, &shop, backup.id)).await.unwrap()
    };
    let (_, answer) = tokio::join!(slow, quick);
    assert_eq!(world.faults.left(), 0);
    assert_eq!(answer, Answer::Wait { seconds: 900 });
    assert_eq!(world.backup(&shop, backup.id).state, State::Succeeded);
    world.clock.advance(TimeDelta::minutes(15));
    let asked_at = match world.executions.started().pop().unwrap() {
        Job::Undelete { asked_at, .. } => asked_at,
        other => panic!("{other:?}"),
    };
    let job = Job::Undelete { application: shop.clone(), id: backup.id, asked_at };
    assert_eq!(run(&world, &job).await.unwrap(), Answer::Done);
    for artifact in &backup.artifacts {
        assert!(world.artifacts.bytes(&artifact.object.key).is_some(), "{late}");
    }
}

/// A slice stands still before its last write; the job is given up meanwhile.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_given_up_leaves_nothing_when_it_goes_on() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    let job = job(&world, &shop, before.id);
    world.faults.on(
        "artifacts.bring_back",
        1,
        Moment::Before,
        Fault::Delay(std::time::Duration::from_mins(5)),
    );
    let given_up = async {
        tokio::time::sleep(std::time::Duration::from_mins(1)).await;
        abort(&worker(&world), &job, &Caught::default()).await.unwrap();
        assert_eq!(world.backup(&shop, before.id).state, State::Expired);
    };
    let (slice, ()) = tokio::join!(run(&world, &job), given_up);
    slice.unwrap_err();
    let after = world.backup(&shop, before.id);
    assert_eq!((after.state, after.undelete), (State::Expired, None));
    assert!(world.artifacts.object_keys().is_empty());
}

#[tokio::test]
async fn giving_up_one_attempt_leaves_another_alone() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    let first = job(&world, &shop, before.id);
    ask(&world.ports, "bob", &shop, before.id).await.unwrap();
    assert_eq!(job(&world, &shop, before.id), first, "it is the same attempt while that may be under way");
    assert_eq!(world.executions.started().len(), 1);
    world.clock.advance(TimeDelta::minutes(16));
    ask(&world.ports, "bob", &shop, before.id).await.unwrap();
    let second = job(&world, &shop, before.id);
    assert_eq!(world.executions.started(), [first.clone(), second.clone()]);
    assert_eq!(run(&world, &first).await.unwrap(), Answer::Done, "nobody wants the first any more");
    abort(&worker(&world), &first, &Caught::default()).await.unwrap();
    assert!(world.backup(&shop, before.id).undelete.is_some());
    run(&world, &second).await.unwrap();
    assert_eq!(world.backup(&shop, before.id).hold.unwrap().by, "bob");
}

#[tokio::test]
async fn what_is_coming_back_is_not_called_deleted() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    let fate = holdfast_backup::applications::Fate::Delete;
    for refusal in [
        request::delete(&world.ports, "eve", &shop, before.id).await.map(drop),
        holdfast_backup::applications::remove(&world.ports, "eve", &shop, None, fate).await,
    ] {
        let text = refusal.unwrap_err().to_string();
        assert!(text.contains("is being brought back; wait for that"), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_whole_any_more_goes_again_with_the_reason() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    let job = job(&world, &shop, before.id);
    world.faults.on("artifacts.bring_back", 1, Moment::After, Fault::Unavailable);
    run(&world, &job).await.unwrap_err();
    let key = &before.artifacts[1].object.key;
    world.artifacts.tamper(key, |object| object.version_id = Some("another".to_owned()));
    let error = run(&world, &job).await.unwrap_err();
    assert_eq!(error.lambda_type(), holdfast_backup::job::PERMANENT);
    for fault in [Some("artifacts.delete"), Some("records.update_backup"), None] {
        if let Some(call) = fault {
            world.faults.on(call, world.faults.count(call) + 1, Moment::After, Fault::Unavailable);
        }
        let _ = abort(&worker(&world), &job, &caught(&error)).await;
    }
    let after = world.backup(&shop, before.id);
    assert_eq!((after.state, after.undelete), (State::Expired, None));
    assert!(world.artifacts.object_keys().is_empty(), "nothing is left of the attempt");
    let trail = world.records.audit_trail(&shop);
    let entry = trail.into_iter().find(|entry| entry.action == Action::Undelete).unwrap();
    let reason = entry.reason.unwrap();
    assert!(reason.contains("could not be brought back") && reason.contains(key.as_str()), "{reason}");
}

#[tokio::test]
async fn after_the_grace_period_it_is_refused_and_says_so() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    world.clock.advance(TimeDelta::days(7));
    let refusal = ask(&world.ports, ANNA, &shop, before.id).await.unwrap_err();
    assert!(matches!(&refusal, RequestError::Conflict(text) if text.contains("gone for good")), "{refusal}");
    let good = world.succeeded(&shop, builders::now(), true);
    let refusal = ask(&world.ports, ANNA, &shop, good.id).await.unwrap_err();
    assert!(refusal.to_string().contains("no deletion to take back"), "{refusal}");
}

#[tokio::test]
async fn objects_that_are_gone_for_good_are_told_and_nothing_is_called_good() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    world.artifacts.end_grace();
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    let job = job(&world, &shop, before.id);
    let error = run(&world, &job).await.unwrap_err();
    assert!(error.to_string().contains("choose another"), "{error}");
    abort(&worker(&world), &job, &caught(&error)).await.unwrap();
    assert_eq!(world.backup(&shop, before.id).state, State::Expired);
}

#[tokio::test]
async fn a_job_that_was_lost_is_started_again_by_asking_and_else_taken_back_by_the_nightly_run() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    world.faults.on("executions.start", 1, Moment::Before, Fault::Unavailable);
    let lost = ask(&world.ports, ANNA, &shop, before.id).await.unwrap_err();
    assert!(lost.to_string().contains("ask again"), "{lost}");
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    assert_eq!(world.executions.started().len(), 1);

    // It brings the objects back and is never heard of again.
    world.faults.always("artifacts.describe", Moment::Before, Fault::Unavailable);
    run(&world, &job(&world, &shop, before.id)).await.unwrap_err();
    world.faults.clear();
    assert!(!world.artifacts.object_keys().is_empty());
    world.clock.advance(TimeDelta::hours(23));
    retain::run_all(&world.ports).await;
    assert!(world.backup(&shop, before.id).undelete.is_some(), "it may still be at it");
    world.clock.advance(TimeDelta::hours(2));
    assert_eq!(retain::run_all(&world.ports).await.failed, 0);
    assert_eq!(world.backup(&shop, before.id).undelete, None);
    assert!(world.artifacts.object_keys().is_empty());
}

#[tokio::test]
async fn an_interrupted_deletion_can_be_taken_back_too() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let backup = world.succeeded(&shop, builders::now(), false);
    world.faults.on("artifacts.delete", 1, Moment::After, Fault::Unavailable);
    request::delete(&world.ports, "eve", &shop, backup.id).await.unwrap_err();
    assert_eq!(world.backup(&shop, backup.id).state, State::Expiring);
    ask(&world.ports, ANNA, &shop, backup.id).await.unwrap();
    run(&world, &job(&world, &shop, backup.id)).await.unwrap();
    assert_eq!(world.backup(&shop, backup.id).state, State::Succeeded);
    // Its objects, and the mark of its hold.
    assert_eq!(world.artifacts.version_count(&prefix(&shop, backup.id)), 3 + 1);
}

#[tokio::test]
async fn a_removed_applications_backup_can_be_brought_back_and_is_looked_after() {
    let world = World::new();
    let (shop, before) = deleted(&world).await;
    let fate = holdfast_backup::applications::Fate::Delete;
    holdfast_backup::applications::remove(&world.ports, ANNA, &shop, None, fate).await.unwrap();
    retain::run_all(&world.ports).await;
    ask(&world.ports, ANNA, &shop, before.id).await.unwrap();
    run(&world, &job(&world, &shop, before.id)).await.unwrap();
    world.clock.advance(TimeDelta::days(30));
    let summary = retain::run_all(&world.ports).await;
    assert_eq!((summary.kept, summary.discarded), (1, 0));
}
