//! Verifications that restore: beside the services, which are left alone, and with nothing left behind.

use std::time::Duration;

use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    error::RequestError,
    job::{Answer, Job},
    ports::{Records as _, Versioned},
    restores,
    slice::slice,
    verify::{self, VerificationRequest},
};
use holdfast_domain::{
    application::Service,
    backup::{Rehearsal, Rehearsed, Verification, VerificationLevel, VerificationState, VerifiedArtifact},
    restore::{Refusal, RestoreOptions, RestoreState},
    retention::Candidate,
};
use holdfast_testing::{
    builders,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::{
    machine::{INVOCATION, caught, worker},
    shop::{ANNA, Shop},
};

const RESTORED: VerificationRequest = VerificationRequest { level: VerificationLevel::Restore };

const COMPARED: VerificationRequest = VerificationRequest { level: VerificationLevel::Checksums };

/// A verification that restores, and has read everything.
async fn asked(shop: &Shop) -> Job {
    asked_for(shop, RESTORED).await
}

/// One that goes as far as `request` says, and has read everything.
async fn asked_for(shop: &Shop, request: VerificationRequest) -> Job {
    verify::ask(&shop.world.ports, ANNA, &shop.id, shop.backup.id, request).await.unwrap();
    let found = shop.world.records.backup(&shop.id, shop.backup.id).await.unwrap().unwrap();
    let Versioned { value: mut backup, version } = found;
    let last = backup.verification.as_mut().unwrap();
    let read = backup.artifacts.iter().map(|artifact| VerifiedArtifact {
        service: artifact.service.clone(),
        bytes: artifact.object.size,
        tables: None,
        rows: None,
        files: None,
        rehearsed: None,
    });
    last.artifacts = read.collect();
    let asked_at = last.at;
    shop.world.records.update_backup(&backup, version, &[]).await.unwrap();
    Job::Verify { application: shop.id.clone(), id: shop.backup.id, asked_at }
}

fn verification(shop: &Shop) -> Verification {
    shop.world.backup(&shop.id, shop.backup.id).verification.unwrap()
}

/// The restore that it is tried with, once a slice has asked for that.
async fn begun(shop: &Shop, job: &Job) -> Rehearsal {
    let answer = slice(&worker(&shop.world), job, None, INVOCATION).await.unwrap();
    assert_eq!(answer, Answer::Wait { seconds: 5 });
    verification(shop).rehearsal.unwrap()
}

/// Drives a verification to its end, and the restore that it waits for.
async fn ended(shop: &Shop, job: &Job) -> Verification {
    let worker = worker(&shop.world);
    loop {
        match slice(&worker, job, None, INVOCATION).await {
            Ok(Answer::Done) => break,
            Ok(Answer::Wait { seconds }) => {
                shop.world.clock.advance(TimeDelta::seconds(i64::from(seconds)));
                if let Some(Rehearsal { restore, .. }) = verification(shop).rehearsal {
                    shop.drive(restore).await;
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                abort(&worker, job, &caught(&error)).await.unwrap();
                break;
            }
        }
    }
    verification(shop)
}

#[tokio::test]
async fn what_can_be_restored_passes_and_nothing_is_changed() {
    let shop = Shop::occupied();
    let job = asked(&shop).await;
    let last = ended(&shop, &job).await;
    assert_eq!((last.state, last.level), (VerificationState::Passed, VerificationLevel::Restore));
    let rehearsed: Vec<Rehearsed> = last.artifacts.iter().filter_map(|artifact| artifact.rehearsed).collect();
    let database = Rehearsed { tables: Some(2), rows: Some(30), ..Rehearsed::default() };
    let storage = Rehearsed { files: Some(5), ..Rehearsed::default() };
    assert_eq!(rehearsed, [database, storage]);
    shop.assert_untouched("restored beside them");

    let Rehearsal { restore: id, seconds } = last.rehearsal.unwrap();
    let restore = shop.restore(id).await;
    assert!(restore.rehearsal && restore.state == RestoreState::Succeeded && seconds.is_some());
    assert_eq!((restore.safety_backup, restore.requested_by.as_str()), (None, ANNA));
    assert!(shop.on_demand().is_empty(), "what is not changed needs no backup");
    let undo = restores::undo(&shop.world.ports, ANNA, &shop.id, id, None).await.unwrap_err();
    assert!(undo.to_string().contains("has changed nothing"), "{undo}");
    // The turn is given back.
    shop.drive(shop.ask(crate::shop::overwriting()).await).await;
    shop.assert_restored(&shop.backup, "afterwards");
}

#[rstest]
#[case("DEFAULT")]
#[case("MEDIA")]
#[tokio::test]
async fn what_is_something_else_when_it_is_restored_is_damage(#[case] service: &str) {
    let shop = Shop::occupied();
    shop.world.restorers.differ(&builders::service_name(service));
    let job = asked(&shop).await;
    let last = ended(&shop, &job).await;
    assert_eq!(last.state, VerificationState::Damaged);
    let failure = last.failure.unwrap();
    for said in ["has a row less", "rely on another backup", &last.rehearsal.unwrap().restore.to_string()] {
        assert!(failure.message.contains(said), "{said}: {}", failure.message);
    }
    assert_eq!(failure.service, Some(builders::service_name(service)));
    assert!(Candidate::of(&shop.world.backup(&shop.id, shop.backup.id)).is_none(), "it counts for no policy");
    shop.assert_untouched("it differs");
}

#[tokio::test]
async fn values_are_compared_where_that_is_asked_for() {
    let shop = Shop::occupied();
    let job = asked_for(&shop, COMPARED).await;
    let last = ended(&shop, &job).await;
    assert_eq!((last.state, last.level), (VerificationState::Passed, VerificationLevel::Checksums));
    let rehearsed: Vec<Rehearsed> = last.artifacts.iter().filter_map(|artifact| artifact.rehearsed).collect();
    let database =
        Rehearsed { tables: Some(2), rows: Some(30), values_compared: Some(2), ..Rehearsed::default() };
    let storage = Rehearsed { files: Some(5), ..Rehearsed::default() };
    assert_eq!(rehearsed, [database, storage]);
    let restore = shop.restore(last.rehearsal.unwrap().restore).await;
    assert!(restore.rehearsal && restore.checksums);
    shop.assert_untouched("compared");

    // As many rows, and another value in one of them: only who asks for it learns of that.
    shop.world.restorers.differ_in_values(&builders::service_name("DEFAULT"));
    let job = asked_for(&shop, RESTORED).await;
    let last = ended(&shop, &job).await;
    assert_eq!(last.state, VerificationState::Passed);
    assert_eq!(last.artifacts[0].rehearsed.unwrap().values_compared, None);
    assert!(!shop.restore(last.rehearsal.unwrap().restore).await.checksums);
    let job = asked_for(&shop, COMPARED).await;
    let last = ended(&shop, &job).await;
    assert_eq!(last.state, VerificationState::Damaged);
    let failure = last.failure.unwrap();
    assert!(failure.message.contains("another value"), "{}", failure.message);
    assert_eq!(failure.service, Some(builders::service_name("DEFAULT")));
    shop.assert_untouched("another value");
}

/// One that goes less far does not do for one that goes further, and the other way round it does.
#[tokio::test]
async fn one_that_compares_no_values_is_not_taken_for_one_that_does() {
    let shop = Shop::new();
    asked(&shop).await;
    let ask = |request| verify::ask(&shop.world.ports, "bert", &shop.id, shop.backup.id, request);
    let refused = ask(COMPARED).await.unwrap_err();
    assert!(refused.to_string().contains("compares no values"), "{refused}");
    ask(VerificationRequest::default()).await.unwrap();

    let shop = Shop::new();
    asked_for(&shop, COMPARED).await;
    verify::ask(&shop.world.ports, "bert", &shop.id, shop.backup.id, RESTORED).await.unwrap();
    assert_eq!(verification(&shop).level, VerificationLevel::Checksums);
}

#[rstest]
#[case("archive_damaged", VerificationState::Damaged)]
#[case("permission_denied", VerificationState::Failed)]
#[tokio::test]
async fn only_what_is_said_of_the_archive_is_said_of_the_backup(
    #[case] code: &str,
    #[case] state: VerificationState,
) {
    let shop = Shop::occupied();
    shop.world.restorers.refuse(Refusal::new(code, "there is something", "do something about it"));
    let job = asked(&shop).await;
    let last = ended(&shop, &job).await;
    assert_eq!(last.state, state);
    let failure = last.failure.unwrap();
    assert!(failure.message.contains("there is something"), "{}", failure.message);
    if state == VerificationState::Failed {
        assert!(failure.message.contains("do something about it"), "{}", failure.message);
        assert!(failure.message.contains("Nothing of the application was changed"), "{}", failure.message);
        assert!(Candidate::of(&shop.world.backup(&shop.id, shop.backup.id)).is_some(), "it counts as before");
    }
    shop.assert_untouched(code);
}

/// Killed: the future is dropped wherever it stands, as a process that ends.
#[rstest]
#[case("restorer.step", 2)]
#[case("restorer.compare", 1)]
#[case("restorer.remove", 1)]
#[case("records.update_restore", 3)]
#[tokio::test(start_paused = true)]
async fn one_that_is_killed_is_followed_by_one_that_ends_it(
    #[case] call: &str,
    #[case] nth: usize,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    let shop = Shop::occupied();
    let job = asked(&shop).await;
    let Rehearsal { restore, .. } = begun(&shop, &job).await;
    assert_eq!(shop.slice(restore).await.unwrap(), Answer::Continue, "it looks");
    shop.world.faults.on(call, nth, moment, Fault::Hang);
    let killed = tokio::time::timeout(Duration::from_mins(1), shop.slice(restore)).await;
    assert!(killed.is_err(), "{call} was called");
    assert_eq!(ended(&shop, &job).await.state, VerificationState::Passed, "{call}");
    shop.assert_untouched(call);
}

#[rstest]
#[case("restorer.step")]
#[case("restorer.compare")]
#[tokio::test]
async fn one_that_fails_leaves_nothing_and_says_nothing_about_the_backup(
    #[case] call: &str,
    #[values(Fault::Denied, Fault::Unavailable)] fault: Fault,
) {
    let shop = Shop::occupied();
    let job = asked(&shop).await;
    shop.world.faults.always(call, Moment::After, fault);
    let last = ended(&shop, &job).await;
    assert_eq!(last.state, VerificationState::Failed);
    let message = last.failure.unwrap().message;
    assert!(message.contains("Nothing of the application was changed"), "{message}");
    shop.assert_untouched(call);
}

#[tokio::test]
async fn what_could_not_be_removed_is_named() {
    let shop = Shop::occupied();
    let job = asked(&shop).await;
    shop.world.faults.always("restorer.remove", Moment::Before, Fault::Denied);
    let message = ended(&shop, &job).await.failure.unwrap().message;
    assert!(message.contains("what was restored beside DEFAULT could not be removed"), "{message}");
}

#[tokio::test]
async fn somebody_can_cancel_it() {
    let shop = Shop::occupied();
    let job = asked(&shop).await;
    let Rehearsal { restore, .. } = begun(&shop, &job).await;
    for _ in 0..3 {
        assert_eq!(shop.slice(restore).await.unwrap(), Answer::Continue, "it looks; the database; two files");
    }
    assert!(shop.world.restorers.scratch() > 0, "two files are there");
    restores::cancel(&shop.world.ports, ANNA, &shop.id, restore).await.unwrap();
    let last = ended(&shop, &job).await;
    let failure = last.failure.unwrap();
    assert_eq!((last.state, failure.code.as_str()), (VerificationState::Failed, "rehearsal_cancelled"));
    assert_eq!(shop.restore(restore).await.state, RestoreState::Cancelled);
    shop.assert_untouched("cancelled");
}

#[tokio::test]
async fn a_verification_that_is_given_up_takes_its_restore_along() {
    let shop = Shop::occupied();
    let job = asked(&shop).await;
    let Rehearsal { restore, .. } = begun(&shop, &job).await;
    shop.slice(restore).await.unwrap();
    let error = holdfast_backup::error::SliceError::transient("storage_unavailable", "it does not answer");
    abort(&worker(&shop.world), &job, &caught(&error)).await.unwrap();
    assert_eq!(verification(&shop).state, VerificationState::Failed);
    assert_eq!(shop.drive(restore).await.state, RestoreState::Cancelled);
    shop.assert_untouched("given up");
}

#[tokio::test]
async fn it_waits_for_another_restore_to_end() {
    let shop = Shop::new();
    let other = shop.ask(RestoreOptions::default()).await;
    let job = asked(&shop).await;
    for _ in 0..2 {
        let answer = slice(&worker(&shop.world), &job, None, INVOCATION).await.unwrap();
        assert_eq!((answer, verification(&shop).rehearsal), (Answer::Wait { seconds: 15 }, None));
    }
    assert_eq!(shop.drive(other).await.state, RestoreState::Succeeded);
    assert_eq!(ended(&shop, &job).await.state, VerificationState::Passed);
    shop.assert_restored(&shop.backup, "by the other one");
}

#[tokio::test]
async fn it_is_asked_for_once_however_often_a_slice_dies() {
    for call in ["records.create_restore", "records.update_backup", "executions.start"] {
        for moment in [Moment::Before, Moment::After] {
            let shop = Shop::new();
            let job = asked(&shop).await;
            shop.world.faults.on(call, 1, moment, Fault::Unavailable);
            let first = slice(&worker(&shop.world), &job, None, INVOCATION).await;
            assert_eq!(first.is_err(), call != "executions.start", "{call}: {first:?}");
            assert_eq!(ended(&shop, &job).await.state, VerificationState::Passed, "{call}, {moment:?}");
            let made = shop.world.records.restores(&shop.id, None, 10).await.unwrap().items;
            assert_eq!(made.len(), 1, "{call}, {moment:?}");
        }
    }
}

#[tokio::test]
async fn one_is_under_way_as_long_as_its_restore_is() {
    let shop = Shop::new();
    let job = asked(&shop).await;
    begun(&shop, &job).await;
    shop.world.clock.advance(TimeDelta::hours(3));
    for request in [RESTORED, VerificationRequest::default()] {
        verify::ask(&shop.world.ports, "bert", &shop.id, shop.backup.id, request).await.unwrap();
    }
    assert_eq!(verification(&shop).by, ANNA, "the same one");
    assert_eq!(ended(&shop, &job).await.state, VerificationState::Passed);

    verify::ask(&shop.world.ports, ANNA, &shop.id, shop.backup.id, VerificationRequest::default())
        .await
        .unwrap();
    let refused =
        verify::ask(&shop.world.ports, "bert", &shop.id, shop.backup.id, RESTORED).await.unwrap_err();
    assert!(refused.to_string().contains("restores nothing"), "{refused}");
}

/// Where nothing is registered, there is no place beside it.
#[tokio::test]
async fn every_service_must_be_registered() {
    let shop = Shop::new();
    let job = asked(&shop).await;
    let mut record = shop.world.records.application(&shop.id).await.unwrap().unwrap().value;
    record.spec.services.retain(Service::is_database);
    shop.world.records.insert_application(record);
    let last = ended(&shop, &job).await;
    let failure = last.failure.unwrap();
    assert_eq!((last.state, failure.code.as_str()), (VerificationState::Failed, "service_not_registered"));
    assert!(failure.message.contains("MEDIA"), "{}", failure.message);
    let refused = verify::ask(&shop.world.ports, ANNA, &shop.id, shop.backup.id, RESTORED).await.unwrap_err();
    assert!(
        matches!(refused, RequestError::Conflict(_)) && refused.to_string().contains("MEDIA"),
        "{refused}"
    );
}
