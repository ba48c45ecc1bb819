//! What becomes of a restore, slice by slice.

use std::time::Duration;

use holdfast_backup::{
    abort::abort,
    error::SliceError,
    job::{Answer, CANCELLED, Caught},
    request, restores,
};
use holdfast_domain::{
    application::Service,
    audit::Action,
    backup::State,
    restore::{Refusal, RestoreOptions, RestoreState},
};
use holdfast_testing::{
    builders,
    faults::{Fault, Moment},
};

use crate::{
    machine::{INVOCATION, caught, complete_open, drive_restore, worker},
    shop::{ANNA, Shop, overwriting},
};

#[tokio::test]
async fn a_restore_looks_backs_up_and_restores_databases_before_files() {
    let shop = Shop::occupied();
    let mut request = shop.request(overwriting());
    request.services =
        Some(vec![builders::mapping("MEDIA", "MEDIA"), builders::mapping("DEFAULT", "DEFAULT")]);
    let asked = restores::create(&shop.world.ports, ANNA, &shop.id, request, None).await.unwrap();
    let id = asked.restore.value.id;

    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "it looks");
    assert_eq!(shop.restore(id).await.preflight.len(), 2);
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Wait { seconds: 5 }, "it asks for the safety backup");
    shop.assert_untouched("before the safety backup is there");
    complete_open(&shop.world).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "the database");
    assert_eq!(shop.database_from(), Some(Shop::key(&shop.backup, 0)));
    assert!(shop.files_from().values().all(|from| from == "own"), "the files come later");

    let restore = shop.drive(id).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
    shop.assert_restored(&shop.backup, "at the end");
    assert_eq!(shop.files_from().get("own").map(String::as_str), Some("own"), "merged: it stays");
    assert!(
        restore.runs.iter().all(|run| run.restored.is_some() && run.doing.is_none() && run.cursor.is_none())
    );
    assert_eq!(restore.runs[0].service.as_str(), "MEDIA", "in the order of the request");
    assert!(restore.started_at.is_some() && restore.finished_at.is_some());

    let [safety] = shop.on_demand().try_into().unwrap();
    assert_eq!(restore.safety_backup, Some(safety.id));
    assert_eq!(safety.requested_by, ANNA);
    assert_eq!(safety.note, Some(format!("before the restore {id}")));
    assert_eq!(safety.services.len(), 2);
    let source = shop.world.backup(&shop.id, shop.backup.id);
    assert!(source.link_until.unwrap() > shop.world.ports.clock.now() && safety.link_until.is_some());

    let trail = shop.world.records.audit_trail(&shop.id);
    let count = |action| trail.iter().filter(|e| e.restore == Some(id) && e.action == action).count();
    assert_eq!((count(Action::Request), count(Action::Succeed)), (2, 1), "the restore and its safety backup");
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Done, "repeating it changes nothing");
    assert_eq!(shop.restore(id).await, restore);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_is_in_the_way() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { dry_run: true, ..RestoreOptions::default() }).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Done);
    let restore = shop.restore(id).await;
    assert_eq!((restore.state, restore.failure.as_ref()), (RestoreState::Succeeded, None));
    let refused: Vec<&str> = restore.refusals().map(|(_, refusal)| refusal.code.as_str()).collect();
    assert_eq!(refused, ["not_empty", "not_empty"]);
    assert_eq!(restore.preflight[1].changes.unwrap().replaced, 1);
    assert!(restore.runs.is_empty() && shop.on_demand().is_empty());
    shop.assert_untouched("after a dry run");
    shop.ask(overwriting()).await;
}

#[tokio::test]
async fn what_stands_in_the_way_ends_it_before_anything_is_changed() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions::default()).await;
    let restore = shop.drive(id).await;
    assert_eq!(restore.state, RestoreState::Failed);
    let failure = restore.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.transient, failure.service), ("restore_refused", false, None));
    for part in
        ["shop, service DEFAULT: ", "shop, service MEDIA: ", "ask for `overwrite`", "Nothing was changed"]
    {
        assert!(failure.message.contains(part), "{}", failure.message);
    }
    shop.assert_untouched("after a refusal");
    assert!(shop.on_demand().is_empty(), "no safety backup of what is not touched");
}

#[tokio::test]
async fn what_was_free_is_looked_at_again_before_it_is_changed() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    shop.slice(id).await.unwrap();
    complete_open(&shop.world).await;
    shop.world.restorers.refuse(Refusal::new("no_space", "the disk is full", "make room"));
    let restore = shop.drive(id).await;
    let failure = restore.failure.unwrap();
    assert_eq!((restore.state, failure.code.as_str()), (RestoreState::Failed, "restore_refused"));
    assert_eq!(failure.service.unwrap().as_str(), "DEFAULT");
    assert!(failure.message.ends_with("Nothing was changed"), "{}", failure.message);
    shop.assert_untouched("after the second look");
}

#[tokio::test]
async fn a_backup_that_is_deleted_meanwhile_ends_it_clearly() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    for step in ["it looks", "it asks"] {
        shop.slice(id).await.expect(step);
    }
    complete_open(&shop.world).await;
    shop.slice(id).await.expect("the database");
    request::delete(&shop.world.ports, "eve", &shop.id, shop.backup.id).await.unwrap();
    let restore = shop.drive(id).await;
    let failure = restore.failure.unwrap();
    assert_eq!((restore.state, failure.code.as_str()), (RestoreState::Failed, "backup_gone"));
    let safety = restore.safety_backup.unwrap();
    for part in ["can be brought back until", "DEFAULT is restored; MEDIA is as it was", &safety.to_string()]
    {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
}

#[tokio::test]
async fn a_registration_that_changes_meanwhile_does_not_turn_it_to_another_database() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    let mut record = builders::application("shop");
    let Service::Postgres(other) = &mut record.spec.services[0] else { panic!("a database") };
    other.database = "other".to_owned();
    let other = record.spec.services[0].clone();
    shop.world.restorers.fill(&other, "own");
    shop.world.records.insert_application(record);
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.backup, "the database it was looked at");
    assert_eq!(shop.world.restorers.holds(&other).remove("").as_deref(), Some("own"));
}

#[tokio::test]
async fn undo_brings_back_what_was_there_and_can_be_undone_itself() {
    let shop = Shop::occupied();
    let first = shop.ask(overwriting()).await;
    let first = shop.drive(first).await;
    shop.assert_restored(&shop.backup, "restored");

    let undo = restores::undo(&shop.world.ports, ANNA, &shop.id, first.id, None).await.unwrap();
    assert_eq!(undo.restore.value.undoes, Some(first.id));
    let undo = shop.drive(undo.restore.value.id).await;
    assert_eq!(undo.state, RestoreState::Succeeded, "{:?}", undo.failure);
    let safety = shop.world.backup(&shop.id, first.safety_backup.unwrap());
    shop.assert_restored(&safety, "undone");
    assert_eq!(shop.files_from().len(), 5, "mirrored: what came since is gone");

    let redo = restores::undo(&shop.world.ports, ANNA, &shop.id, undo.id, None).await.unwrap();
    assert_eq!(shop.drive(redo.restore.value.id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.world.backup(&shop.id, undo.safety_backup.unwrap()), "undone again");
}

#[tokio::test]
async fn into_another_application_that_the_backups_own_has_named() {
    let shop = Shop::new();
    let staging = shop.world.register("staging").value;
    let mut record = builders::application("shop");
    record.spec.restore_into.push(staging.id.clone());
    shop.world.records.insert_application(record);
    let mut request = shop.request(RestoreOptions::default());
    request.from.application = Some(shop.id.clone());
    let asked = restores::create(&shop.world.ports, ANNA, &staging.id, request.clone(), None).await.unwrap();
    let id = asked.restore.value.id;
    let restore = drive_restore(&shop.world, &staging.id, id).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
    let held = shop.world.restorers.holds(&staging.spec.services[0]);
    assert_eq!(held.get(""), Some(&Shop::key(&shop.backup, 0)));
    assert!(shop.database_from().is_none(), "the application itself is not touched");
    let of_origin = shop.world.records.audit_trail(&shop.id);
    assert!(of_origin.iter().any(|entry| entry.restore == Some(id) && entry.actor == ANNA));

    // Its owner thinks better of it before the second one begins.
    request.options.overwrite = true;
    let asked = restores::create(&shop.world.ports, ANNA, &staging.id, request, None).await.unwrap();
    shop.world.records.insert_application(builders::application("shop"));
    let restore = drive_restore(&shop.world, &staging.id, asked.restore.value.id).await;
    assert_eq!((restore.state, restore.failure.unwrap().code.as_str()), (RestoreState::Failed, "not_agreed"));
}

#[tokio::test]
async fn cancelled_after_any_slice_it_ends_and_says_what_is_restored() {
    let mut ends = Vec::new();
    for slices in 0.. {
        let shop = Shop::occupied();
        let id = shop.ask(overwriting()).await;
        let mut answer = Answer::Continue;
        for _ in 0..slices {
            answer = shop.slice(id).await.unwrap();
            complete_open(&shop.world).await;
        }
        if answer == Answer::Done {
            break;
        }
        restores::cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
        let restore = shop.drive(id).await;
        assert_eq!(restore.state, RestoreState::Cancelled, "after {slices}");
        assert_eq!(shop.world.restorers.scratch(), 0);
        let database = shop.database_from().unwrap();
        match &restore.failure {
            None => shop.assert_untouched(&format!("after {slices}")),
            Some(failure) => {
                assert_eq!(database, Shop::key(&shop.backup, 0));
                let safety = restore.safety_backup.unwrap().to_string();
                assert!(failure.message.contains(&safety) && failure.message.contains("DEFAULT is restored"));
                let media = ["is as it was", "has some of", "has some of", "is restored"][slices - 3];
                assert!(failure.message.contains(&format!("MEDIA {media}")), "{}", failure.message);
                restores::undo(&shop.world.ports, ANNA, &shop.id, id, None).await.unwrap();
            }
        }
        ends.push(restore.failure.is_some());
    }
    assert_eq!(ends, [false, false, false, true, true, true, true], "before and after the database");
}

/// The cancellation comes while the slice is at work: its next word stops it.
#[tokio::test(start_paused = true)]
async fn cancelled_in_mid_slice_it_stops_at_its_next_word_and_the_database_is_as_it_was() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on("restorer.step", 1, Moment::After, Fault::Delay(Duration::from_secs(5)));
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        restores::cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(shop.slice(id), cancel);
    let error = outcome.unwrap_err();
    assert_eq!(error.lambda_type(), CANCELLED);
    assert_eq!(shop.world.restorers.scratch(), 1, "left behind by the slice that stopped");
    abort(&worker(&shop.world), &shop.job(id), &caught(&error)).await.unwrap();
    shop.assert_untouched("cancelled");
    let restore = shop.restore(id).await;
    assert_eq!(restore.state, RestoreState::Cancelled);
    let failure = restore.failure.unwrap();
    assert!(failure.message.contains("DEFAULT is as it was") && failure.message.contains("no safety backup"));
}

/// The database is exchanged when the cancellation is heard of: the record must not say that it is as it was.
#[tokio::test(start_paused = true)]
async fn cancelled_while_it_is_exchanged_the_database_is_restored_and_the_record_says_so() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on("restorer.swap", 1, Moment::After, Fault::Delay(Duration::from_secs(5)));
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        restores::cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(shop.slice(id), cancel);
    let error = outcome.unwrap_err();
    assert_eq!(error.lambda_type(), CANCELLED);
    assert_eq!(shop.database_from(), Some(Shop::key(&shop.backup, 0)));
    abort(&worker(&shop.world), &shop.job(id), &caught(&error)).await.unwrap();
    let restore = shop.restore(id).await;
    assert_eq!(restore.state, RestoreState::Cancelled);
    let failure = restore.failure.unwrap();
    assert!(failure.message.contains("DEFAULT is restored; MEDIA is as it was"), "{}", failure.message);
}

/// Killed there and then cancelled, nobody knows whether it came to its end.
#[tokio::test(start_paused = true)]
async fn cancelled_after_a_kill_in_the_exchange_the_database_may_be_restored() {
    for call in ["restorer.step", "restorer.swap"] {
        let shop = Shop::occupied();
        let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
        shop.slice(id).await.unwrap();
        shop.world.faults.on(call, 1, Moment::After, Fault::Hang);
        assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err());
        restores::cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
        let failure = shop.drive(id).await.failure.unwrap();
        let is_open = failure.message.contains("DEFAULT is as it was, or all restored");
        assert_eq!(is_open, call == "restorer.swap", "{}", failure.message);
    }
}

#[tokio::test]
async fn very_many_refusals_are_not_all_said_at_once() {
    let shop = Shop::occupied();
    for number in 0..30 {
        let what = format!("{number}: {}", "x".repeat(2_000));
        shop.world.restorers.refuse(Refusal::new("no_space", what, "make room"));
    }
    let failure = shop.drive(shop.ask(overwriting()).await).await.failure.unwrap();
    assert!(failure.message.len() <= 8_000, "{}", failure.message.len());
    assert!(failure.message.ends_with("Nothing was changed"), "{}", failure.message);
    let shop = Shop::occupied();
    for number in 0..30 {
        shop.world.restorers.refuse(Refusal::new("no_space", format!("disk {number} is full"), "make room"));
    }
    let failure = shop.drive(shop.ask(overwriting()).await).await.failure.unwrap();
    assert!(failure.message.contains("And 50 more: see the preflight"), "{}", failure.message);
}

/// A slice that was taken for dead goes on while another has taken over.
#[tokio::test(start_paused = true)]
async fn a_slice_that_was_replaced_is_fenced() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on("restorer.step", 1, Moment::After, Fault::Delay(Duration::from_secs(5)));
    let quick = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        shop.slice(id).await
    };
    let (slow, quick) = tokio::join!(shop.slice(id), quick);
    assert_eq!(quick.unwrap(), Answer::Continue);
    assert!(matches!(slow.unwrap_err(), SliceError::Fenced));
    assert_eq!(shop.database_from(), Some(Shop::key(&shop.backup, 0)));
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.backup, "by the quick one");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_one_slice_fails_and_the_database_is_as_it_was_or_restored() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.world.faults.on("restorer.step", 2, Moment::Before, Fault::Delay(INVOCATION * 2));
    let restore = shop.drive(id).await;
    let failure = restore.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.transient), ("slice_overran", false));
    assert!(failure.message.contains("shop, service DEFAULT: ") && failure.message.contains("900 seconds"));
    // It was stopped from outside, and could not say where it stood.
    for part in ["DEFAULT is as it was, or all restored", "MEDIA is as it was"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    shop.assert_untouched("after a slice that was too short");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_takes_too_long_ends_with_that_reason_and_is_not_repeated() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.world.faults.always("restorer.preflight", Moment::After, Fault::Hang);
    let failure = shop.drive(id).await.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.transient), ("slice_too_short", false));
    assert!(failure.message.contains("could not be looked at within the 900 seconds"), "{}", failure.message);
    assert_eq!(shop.world.faults.count("restorer.preflight"), 1);
}

#[tokio::test]
async fn an_abort_of_a_restore_that_has_ended_touches_nothing() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    let restore = shop.drive(id).await;
    let late = abort(&worker(&shop.world), &shop.job(id), &Caught::default()).await;
    assert_eq!(late.unwrap(), Answer::Done);
    assert_eq!(shop.restore(id).await, restore);
    assert_eq!(shop.world.backup(&shop.id, shop.backup.id).state, State::Succeeded);
}
