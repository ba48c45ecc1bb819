//! Verifications: what is good passes, what is not is told, and a storage that does not answer says nothing about a backup.

use std::time::Duration;

use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    backups,
    error::{RequestError, SliceError},
    job::{Answer, Job},
    plans,
    ports::Clock as _,
    request::{self, BackupRequest},
    retain,
    slice::slice,
    verify::{self, VerificationRequest},
};
use holdfast_domain::{
    audit::Action,
    backup::{Backup, State, VerificationLevel, VerificationState},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
    retention::Candidate,
};
use holdfast_testing::{
    World,
    faults::{Fault, Moment},
};

use crate::machine::{INVOCATION, caught, drive, drive_job, register_media_only, worker};

/// A backup of files of all kinds that succeeded.
async fn backed_up(world: &World) -> (ApplicationId, Backup) {
    let shop = register_media_only(world, "shop").id;
    for (key, bytes) in [
        ("a/large", vec![1; 11 << 20]),
        ("folder/", vec![]),
        ("leer", vec![]),
        (&"long/".repeat(60), b"a folder with a long name".to_vec()),
        ("../up", b"a key that is no path".to_vec()),
    ] {
        world.media.put("shop-media", &format!("media/{key}"), bytes);
    }
    let made = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    let backup = drive(world, &shop, made.backup.value.id).await;
    assert_eq!(backup.state, State::Succeeded, "{:?}", backup.failure);
    (shop, backup)
}

/// Asks for a verification, and gives its job.
async fn asked(world: &World, shop: &ApplicationId, backup: &Backup) -> Job {
    let asked = verify::ask(&world.ports, "bert", shop, backup.id, VerificationRequest::default())
        .await
        .unwrap()
        .value;
    let asked_at = asked.verification.unwrap().at;
    Job::Verify { application: shop.clone(), id: backup.id, asked_at }
}

/// Drives a verification to its end.
async fn verified(world: &World, shop: &ApplicationId, backup: &Backup, time: Duration) -> Backup {
    let job = asked(world, shop, backup).await;
    // What it ends with is in the record.
    let _ = drive_job(&worker(world), &job, time).await;
    world.backup(shop, backup.id)
}

fn state(backup: &Backup) -> VerificationState {
    backup.verification.as_ref().unwrap().state
}

#[tokio::test]
async fn a_good_backup_passes() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let after = verified(&world, &shop, &backup, INVOCATION).await;
    let last = after.verification.clone().unwrap();
    assert_eq!((last.state, last.failure), (VerificationState::Passed, None));
    let [media] = last.artifacts.as_slice() else { panic!("{:?}", last.artifacts) };
    assert_eq!((media.bytes, media.files), (backup.artifacts[0].object.size, Some(9)));
    let trail = world.ports.records.audit(&shop, None, 10).await.unwrap().items;
    let entry = trail.iter().find(|entry| entry.action == Action::Verify).unwrap();
    assert_eq!((entry.actor.as_str(), entry.to.as_deref()), ("bert", Some("passed")));
    assert!(Candidate::of(&after).is_some(), "it counts as before");
}

#[tokio::test]
async fn it_goes_on_where_a_slice_has_stopped() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let job = asked(&world, &shop, &backup).await;
    let worker = worker(&world);
    let mut slices = 0;
    // No time is left for a second file.
    while slice(&worker, &job, None, Duration::from_secs(30)).await.unwrap() == Answer::Continue {
        slices += 1;
    }
    assert!(slices > 8, "{slices} slices for nine members");
    let after = world.backup(&shop, backup.id);
    assert_eq!(state(&after), VerificationState::Passed);
    assert_eq!(after.verification.unwrap().artifacts[0].files, Some(9));
}

/// Every region of the tar, and of the manifest beside it.
#[tokio::test]
async fn no_damage_passes() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let tar = backup.artifacts[0].object.key.clone();
    let manifest = tar.replace("media.tar", "media.manifest.jsonl.zst");
    for key in [&tar, &manifest] {
        let whole = world.artifacts.bytes(key).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 24) {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x10;
            world.artifacts.damage(key, damaged);
            for time in [INVOCATION, Duration::from_secs(30)] {
                let after = verified(&world, &shop, &backup, time).await;
                let found = state(&after);
                // The index at the end of the manifest is not needed to read it from the beginning.
                let is_spare = *key == manifest && at > whole.len() * 3 / 4;
                if !is_spare {
                    assert_eq!(found, VerificationState::Damaged, "byte {at} of {key}, {time:?}");
                    assert!(Candidate::of(&after).is_none(), "it counts for no policy");
                    let latest = backups::latest(&world.ports, &shop).await;
                    assert!(latest.is_err(), "it is not the newest good one");
                }
            }
        }
        world.artifacts.damage(key, whole);
    }
    assert_eq!(state(&verified(&world, &shop, &backup, INVOCATION).await), VerificationState::Passed);
}

#[tokio::test]
async fn what_was_found_damaged_stays_so_until_it_passes() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let tar = backup.artifacts[0].object.key.clone();
    let whole = world.artifacts.bytes(&tar).unwrap();
    let mut damaged = whole.to_vec();
    damaged[0] ^= 0x10;
    world.artifacts.damage(&tar, damaged);
    assert_eq!(state(&verified(&world, &shop, &backup, INVOCATION).await), VerificationState::Damaged);
    let counts = || Candidate::of(&world.backup(&shop, backup.id)).is_some();

    let job = asked(&world, &shop, &backup).await;
    assert_eq!(state(&world.backup(&shop, backup.id)), VerificationState::Running);
    assert!(!counts(), "it is only looked at again");
    let error = SliceError::transient("storage_unavailable", "the storage could not be reached");
    abort(&worker(&world), &job, &caught(&error)).await.unwrap();
    assert_eq!(state(&world.backup(&shop, backup.id)), VerificationState::Failed);
    assert!(!counts(), "it was not looked at");

    world.artifacts.damage(&tar, whole);
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(state(&verified(&world, &shop, &backup, INVOCATION).await), VerificationState::Passed);
    assert!(counts(), "it is what it should be");
}

#[tokio::test]
async fn what_is_gone_is_damage() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let tar = backup.artifacts[0].object.key.clone();
    world.ports.artifacts.delete(std::slice::from_ref(&tar)).await.unwrap();
    world.artifacts.end_grace();
    let after = verified(&world, &shop, &backup, INVOCATION).await;
    assert_eq!(state(&after), VerificationState::Damaged);
    let failure = after.verification.unwrap().failure.unwrap();
    assert!(failure.message.contains(&tar), "{}", failure.message);
}

#[tokio::test]
async fn a_storage_that_does_not_answer_says_nothing_about_the_backup() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let job = asked(&world, &shop, &backup).await;
    for call in ["artifacts.read", "artifacts.describe", "records.update_backup"] {
        world.faults.on(call, 1, Moment::Before, Fault::Unavailable);
        let outcome = slice(&worker(&world), &job, None, INVOCATION).await;
        let Err(SliceError::Failed(failure)) = &outcome else { panic!("{call}: {outcome:?}") };
        assert!(failure.transient, "{call}: {failure:?}");
    }
    assert_eq!(state(&world.backup(&shop, backup.id)), VerificationState::Running);
    let error = SliceError::transient("storage_unavailable", "the storage could not be reached");
    abort(&worker(&world), &job, &caught(&error)).await.unwrap();
    let after = world.backup(&shop, backup.id);
    assert_eq!(state(&after), VerificationState::Failed);
    assert!(Candidate::of(&after).is_some(), "it counts as before");
}

#[tokio::test]
async fn one_is_under_way_at_a_time_and_a_lost_one_gives_way() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let first = asked(&world, &shop, &backup).await;
    world.clock.advance(TimeDelta::seconds(20));
    assert_eq!(asked(&world, &shop, &backup).await, first, "the same one");
    world.clock.advance(TimeDelta::minutes(16));
    let second = asked(&world, &shop, &backup).await;
    assert_ne!(second, first);
    // The first one comes back from the dead: it says nothing any more.
    assert_eq!(slice(&worker(&world), &first, None, INVOCATION).await.unwrap(), Answer::Done);
    let error = SliceError::permanent("artifact_damaged", "no");
    abort(&worker(&world), &first, &caught(&error)).await.unwrap();
    assert_eq!(state(&world.backup(&shop, backup.id)), VerificationState::Running);
    drive_job(&worker(&world), &second, INVOCATION).await.unwrap();
    assert_eq!(state(&world.backup(&shop, backup.id)), VerificationState::Passed);
}

#[tokio::test]
async fn a_plan_has_the_newest_verified_from_time_to_time() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let plan = PlanId::default_plan();
    let spec = PlanSpec { verify_days: Some(30), ..PlanSpec::default_plan() };
    plans::put(&world.ports, "anna", &plan, spec, None).await.unwrap();
    let night = async || retain::run_all(&world.ports).await.verifying;
    assert_eq!(night().await, 1);
    let started = world.executions.started();
    let Some(job @ Job::Verify { id, .. }) = started.last() else { panic!("{started:?}") };
    assert_eq!(*id, backup.id);
    drive_job(&worker(&world), job, INVOCATION).await.unwrap();
    assert_eq!(night().await, 0, "it was not long ago");
    world.clock.advance(TimeDelta::days(31));
    assert_eq!(night().await, 1);
    let last = world.backup(&shop, backup.id).verification.unwrap();
    assert_eq!((last.state, last.by.as_str()), (VerificationState::Running, "schedule"));
}

/// Neither what came to no result, nor what was found damaged, nor a part of what is registered is what a plan wants verified.
#[tokio::test]
async fn a_plan_has_another_one_verified_until_a_whole_one_has_passed() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let plan = PlanId::default_plan();
    let spec = PlanSpec { verify_days: Some(30), ..PlanSpec::default_plan() };
    plans::put(&world.ports, "anna", &plan, spec, None).await.unwrap();
    let whole = world.succeeded(&shop, world.clock.now() + TimeDelta::hours(1), false);
    let mut partial = world.succeeded(&shop, world.clock.now() + TimeDelta::hours(2), false);
    partial.services.clear();
    world.records.insert_backup(partial.clone());
    world.clock.advance(TimeDelta::hours(3));

    let night = async || {
        let verifying = retain::run_all(&world.ports).await.verifying;
        let asked = world.executions.started().into_iter().rev().find_map(|job| match job {
            Job::Verify { id, .. } => Some(id),
            _ => None,
        });
        (verifying, asked)
    };
    let found = |backup: &Backup, state| {
        let mut backup = world.backup(&shop, backup.id);
        let last = backup.verification.as_mut().unwrap();
        last.state = state;
        last.finished_at = Some(world.clock.now());
        world.records.insert_backup(backup);
    };
    assert_eq!(night().await, (1, Some(whole.id)), "and not the newest, which lacks services");
    found(&whole, VerificationState::Failed);
    assert_eq!(night().await.0, 0, "not every night");
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(night().await, (1, Some(whole.id)), "nothing was learnt of it");
    found(&whole, VerificationState::Damaged);
    assert_eq!(night().await, (1, Some(backup.id)), "the next good one");
    found(&backup, VerificationState::Passed);
    world.clock.advance(TimeDelta::days(28));
    assert_eq!(night().await.0, 0);
}

/// One that was only read says nothing about how it is restored.
#[tokio::test]
async fn a_plan_says_how_far_it_goes() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    verified(&world, &shop, &backup, INVOCATION).await;
    let plan = PlanId::default_plan();
    for (level, asked) in [(VerificationLevel::Read, 0), (VerificationLevel::Restore, 1)] {
        let spec = PlanSpec { verify_days: Some(30), verify_level: Some(level), ..PlanSpec::default_plan() };
        let expected = world.ports.records.plan(&plan).await.unwrap().map(|found| found.version);
        plans::put(&world.ports, "anna", &plan, spec, expected).await.unwrap();
        assert_eq!(retain::run_all(&world.ports).await.verifying, asked, "{level:?}");
    }
    assert_eq!(world.backup(&shop, backup.id).verification.unwrap().level, VerificationLevel::Restore);
}

#[tokio::test]
async fn only_what_has_succeeded_can_be_verified() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    let job = asked(&world, &shop, &backup).await;
    request::delete(&world.ports, "anna", &shop, backup.id).await.unwrap();
    let refused = verify::ask(&world.ports, "bert", &shop, backup.id, VerificationRequest::default())
        .await
        .unwrap_err();
    assert!(matches!(refused, RequestError::Conflict(_)), "{refused}");
    let outcome = slice(&worker(&world), &job, None, INVOCATION).await;
    let Err(SliceError::Failed(failure)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.code.as_str(), failure.transient), ("backup_gone", false));
}

#[tokio::test]
async fn one_whose_job_was_lost_is_given_up_after_a_day_and_says_nothing_about_the_backup() {
    let world = World::new();
    let (shop, backup) = backed_up(&world).await;
    world.faults.on("executions.start", 1, Moment::Before, Fault::Unavailable);
    verify::ask(&world.ports, "bert", &shop, backup.id, VerificationRequest::default()).await.unwrap_err();
    for (hours, state) in [(23, VerificationState::Running), (2, VerificationState::Failed)] {
        world.clock.advance(TimeDelta::hours(hours));
        assert_eq!(retain::run_all(&world.ports).await.failed, 0);
        assert_eq!(world.backup(&shop, backup.id).verification.unwrap().state, state);
    }
    let last = world.backup(&shop, backup.id).verification.unwrap();
    assert_eq!(last.failure.unwrap().code, "verification_lost");
    assert!(last.finished_at.is_some());
}
