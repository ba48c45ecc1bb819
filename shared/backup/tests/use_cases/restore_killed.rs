//! Restores whose slices die at any point.

use std::time::Duration;

use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    job::{Answer, Caught},
    tick,
};
use holdfast_domain::restore::{Refusal, RestoreOptions, RestoreState};
use holdfast_testing::faults::{Fault, Moment};
use rstest::rstest;

use crate::{
    machine::{caught, complete_open, worker},
    shop::{Shop, overwriting},
};

#[rstest]
#[case("records.restore")]
#[case("records.restore_target")]
#[case("records.update_restore")]
#[case("records.backup")]
#[case("records.create_backup")]
#[case("records.update_backup")]
#[case("executions.start")]
#[case("restorers.open")]
#[case("restorer.preflight")]
#[case("restorer.step")]
#[case("restorer.swap")]
#[tokio::test]
async fn a_slice_that_dies_at_any_call_is_begun_again_and_everything_is_restored(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    for nth in 1.. {
        let shop = Shop::occupied();
        let id = shop.ask(overwriting()).await;
        shop.world.faults.on(call, nth, moment, Fault::Unavailable);
        let restore = shop.drive(id).await;
        let what = format!("{call}, call {nth}, {moment:?}");
        assert_eq!(restore.state, RestoreState::Succeeded, "{what}: {:?}", restore.failure);
        shop.assert_restored(&shop.backup, &what);
        assert_eq!(shop.on_demand().len(), 1, "{what}: one safety backup");
        if shop.world.faults.left() > 0 {
            assert!(nth > 1, "{call} is never made");
            break;
        }
    }
}

/// Killed: the future is dropped wherever it stands, as a process that ends.
#[rstest]
#[case("restorer.step", 1)]
#[case("restorer.step", 2)]
#[case("restorer.swap", 1)]
#[case("records.update_restore", 3)]
#[case("records.update_restore", 6)]
#[tokio::test(start_paused = true)]
async fn a_worker_killed_in_mid_restore_is_followed_by_one_that_cleans_up(
    #[case] call: &str,
    #[case] nth: usize,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on(call, nth, moment, Fault::Hang);
    let killed = tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await;
    assert!(killed.is_err(), "{call} was called");
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.backup, call);
    // Once it is written down that the service is restored, there is nothing half done.
    let is_over = (call, nth, moment) == ("records.update_restore", 6, Moment::After);
    let looked = shop.world.faults.count("restorer.clean_up");
    assert_eq!(looked > 0, !is_over, "what the killed one left is looked for: {looked}");
}

#[tokio::test(start_paused = true)]
async fn files_go_on_where_a_killed_worker_had_come_to() {
    let shop = Shop::new();
    let id = shop.ask(RestoreOptions::default()).await;
    for _ in 0..3 {
        assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "it looks; the database; two files");
    }
    assert_eq!(shop.world.faults.count("restorer.clean_up"), 0, "a pause leaves nothing half done");
    shop.world.faults.on("restorer.step", 2, Moment::Before, Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err());
    let before = shop.world.faults.count("restorer.step");
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.backup, "after the kill");
    assert_eq!(shop.world.faults.count("restorer.step") - before, 2, "the fourth and the fifth");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_killed_and_is_then_refused_may_have_come_to_its_end() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on("restorer.swap", 1, Moment::After, Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err());
    shop.world.restorers.refuse(Refusal::new("not_empty", "there is something in it", "look"));
    let failure = shop.drive(id).await.failure.unwrap();
    assert_eq!(failure.code, "restore_interrupted");
    assert!(failure.message.contains("DEFAULT is as it was, or all restored"), "{}", failure.message);
}

/// What was written since would be lost if it was restored once more.
#[tokio::test(start_paused = true)]
async fn a_database_that_a_killed_worker_has_swapped_is_not_restored_again() {
    for call in ["", "restorer.has_done", "records.update_restore", "restorer.clean_up"] {
        let shop = Shop::occupied();
        shop.world.restorers.leave_cursors();
        let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
        shop.slice(id).await.unwrap();
        shop.world.faults.on("restorer.swap", 1, Moment::After, Fault::Hang);
        assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err());
        shop.world.restorers.write(shop.database(), "written since");
        if !call.is_empty() {
            // The second write is that of the end.
            let nth = if call == "records.update_restore" { 2 } else { 1 };
            shop.world.faults.on(call, nth, Moment::After, Fault::Hang);
            assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err(), "{call}");
        }
        let restore = shop.drive(id).await;
        assert_eq!(restore.state, RestoreState::Succeeded, "{call}: {:?}", restore.failure);
        assert_eq!(shop.database_from().as_deref(), Some("written since"), "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_whose_swap_a_killed_worker_has_not_made_is_looked_at_and_restored_again() {
    let shop = Shop::occupied();
    shop.world.restorers.leave_cursors();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on("restorer.swap", 1, Moment::Before, Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err());
    let looks = shop.world.faults.count("restorer.preflight");
    shop.slice(id).await.unwrap();
    assert_eq!(shop.world.faults.count("restorer.preflight"), looks + 1);
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.backup, "after the kill");
}

#[rstest]
#[case("records.restore")]
#[case("records.update_restore")]
#[case("records.restore_target")]
#[case("restorers.open")]
#[case("restorer.clean_up")]
#[tokio::test]
async fn an_abort_that_dies_at_any_call_is_repeated_and_leaves_nothing(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    for nth in 1.. {
        let shop = Shop::occupied();
        let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
        shop.slice(id).await.unwrap();
        shop.world.faults.on("restorer.step", 2, Moment::Before, Fault::Denied);
        let error = shop.slice(id).await.unwrap_err();
        assert_eq!(shop.world.restorers.scratch(), 1);
        shop.world.faults.on(call, nth, moment, Fault::Unavailable);
        let mut attempts = 0;
        while abort(&worker(&shop.world), &shop.job(id), &caught(&error)).await.is_err() {
            attempts += 1;
            assert!(attempts < 4);
        }
        let restore = shop.restore(id).await;
        let failure = restore.failure.unwrap();
        assert_eq!((restore.state, failure.code.as_str()), (RestoreState::Failed, "injected"));
        assert!(failure.message.contains("DEFAULT is as it was"), "{}", failure.message);
        shop.assert_untouched(call);
        if shop.world.faults.left() > 0 {
            assert!(nth > 1, "{call} is never made");
            break;
        }
        shop.ask(overwriting()).await;
    }
}

/// What cannot be cleaned up must not keep the application's turn for ever.
#[rstest]
#[case(Fault::Denied, 0)]
#[case(Fault::Unavailable, 16)]
#[tokio::test]
async fn an_abort_that_cannot_clean_up_ends_and_says_what_is_left(
    #[case] fault: Fault,
    #[case] minutes: i64,
) {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.on("restorer.step", 2, Moment::Before, Fault::Denied);
    let error = shop.slice(id).await.unwrap_err();
    shop.world.faults.always("restorer.clean_up", Moment::Before, fault);
    if minutes > 0 {
        abort(&worker(&shop.world), &shop.job(id), &caught(&error)).await.unwrap_err();
        assert_eq!(shop.restore(id).await.state, RestoreState::Running, "it is tried again");
        shop.world.clock.advance(TimeDelta::minutes(minutes));
    }
    abort(&worker(&shop.world), &shop.job(id), &caught(&error)).await.unwrap();
    let failure = shop.restore(id).await.failure.unwrap();
    assert!(failure.message.contains("could not be removed (shop, service DEFAULT: "), "{}", failure.message);
}

#[tokio::test]
async fn chaos_ends_in_everything_restored_or_in_a_reason() {
    let (mut succeeded, mut failed) = (0, 0);
    for seed in 0..300 {
        let shop = Shop::seeded(seed);
        shop.spec.services.iter().for_each(|service| shop.world.restorers.fill(service, "own"));
        if seed % 2 == 0 {
            shop.world.restorers.pause_databases();
        }
        let id = shop.ask(overwriting()).await;
        shop.world.faults.chaos(seed, 40);
        let _ = shop.drive(id).await;
        shop.world.faults.clear();
        // Whoever is left standing after the worst is over: the tick and a last abort.
        complete_open(&shop.world).await;
        if shop.restore(id).await.state.is_open() {
            shop.world.executions.end(&shop.job(id));
            shop.world.clock.advance(TimeDelta::minutes(5));
            assert_eq!(tick::tick(&shop.world.ports).await.unwrap().aborted, 1, "seed {seed}");
            abort(&worker(&shop.world), &shop.job(id), &Caught::default()).await.unwrap();
        }
        let restore = shop.restore(id).await;
        let what = format!("seed {seed}: {:?}", restore.failure);
        assert_eq!(shop.world.restorers.scratch(), 0, "{what}");
        assert!(shop.on_demand().len() <= 1, "{what}");
        if restore.state == RestoreState::Succeeded {
            shop.assert_restored(&shop.backup, &what);
            succeeded += 1;
        } else {
            assert_eq!(restore.state, RestoreState::Failed, "{what}");
            let message = restore.failure.as_ref().unwrap().message.as_str();
            let database = shop.database_from().unwrap();
            if message.contains("Nothing was changed") {
                shop.assert_untouched(&what);
            } else if message.contains("DEFAULT is restored") {
                assert_eq!(database, Shop::key(&shop.backup, 0), "{what}");
            }
            failed += 1;
        }
        shop.ask(overwriting()).await;
    }
    assert!(succeeded > 50 && failed > 5, "{succeeded} succeeded, {failed} failed");
}

/// A write is lost, at one call after the other; where that was the one which says that the database is restored, the next
/// slice fails before it can ask.
#[tokio::test]
async fn what_was_exchanged_and_not_written_down_is_not_called_as_it_was() {
    let mut exchanged = 0;
    for nth in 1.. {
        let shop = Shop::occupied();
        let id = shop.ask(overwriting()).await;
        shop.world.faults.on("records.update_restore", nth, Moment::Before, Fault::Unavailable);
        let failed = loop {
            match shop.slice(id).await {
                Ok(Answer::Done) => break false,
                Ok(Answer::Wait { .. }) => complete_open(&shop.world).await,
                Ok(_) => {}
                Err(_) => break true,
            }
        };
        if !failed {
            break;
        }
        shop.world.faults.always("restorers.open", Moment::Before, Fault::Denied);
        let ended = shop.drive(id).await;
        let Some(failure) = ended.failure else {
            assert_eq!(ended.state, RestoreState::Succeeded, "write {nth} was the last but one or two");
            continue;
        };
        if shop.database_from() == Some(Shop::key(&shop.backup, 0)) {
            exchanged += 1;
            let is_said = ["DEFAULT is restored", "DEFAULT is as it was, or all restored"]
                .iter()
                .any(|words| failure.message.contains(words));
            assert!(is_said, "write {nth}: {}", failure.message);
        }
    }
    assert!(exchanged > 1, "some writes come after the exchange");
}
