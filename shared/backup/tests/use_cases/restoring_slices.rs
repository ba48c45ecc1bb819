//! Restores of databases that take several slices.

use std::time::Duration;

use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    job::{Answer, Caught},
    restores,
};
use holdfast_domain::restore::{Refusal, RestoreOptions, RestoreState};
use holdfast_testing::faults::{Fault, Moment};

use crate::{
    machine::worker,
    shop::{ANNA, Shop, overwriting},
};

fn unsafely() -> RestoreOptions {
    RestoreOptions { safety_backup: false, ..overwriting() }
}

/// One whose databases take two slices each, that was looked at.
async fn looked_at(shop: &Shop) -> holdfast_domain::id::RestoreId {
    shop.world.restorers.pause_databases();
    let id = shop.ask(unsafely()).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue);
    id
}

#[tokio::test]
async fn a_database_goes_on_where_it_was() {
    let shop = Shop::occupied();
    let id = looked_at(&shop).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "half of it");
    let run = shop.restore(id).await.runs[0].clone();
    assert_eq!((run.doing.as_deref(), run.cursor.as_deref()), (Some("paused"), Some("half")));
    assert_eq!(shop.database_from().as_deref(), Some("own"), "it is as it was until the end");
    let looks = shop.world.faults.count("restorer.preflight");
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "the other half");
    assert_eq!(shop.world.faults.count("restorer.preflight"), looks + 1, "it is looked at once more");
    assert_eq!(shop.world.faults.count("restorer.clean_up"), 0, "a pause leaves nothing half done");
    assert_eq!(shop.world.faults.count("restorer.step"), 2);
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    shop.assert_restored(&shop.backup, "in two slices");
}

#[tokio::test(start_paused = true)]
async fn a_killed_slice_does_not_take_what_was_made_before() {
    for call in ["restorer.step", "restorer.swap"] {
        let shop = Shop::occupied();
        let id = looked_at(&shop).await;
        shop.slice(id).await.unwrap();
        shop.world.faults.on(call, 1, Moment::Before, Fault::Hang);
        assert!(tokio::time::timeout(Duration::from_mins(1), shop.slice(id)).await.is_err());
        let steps = shop.world.faults.count("restorer.step");
        assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue);
        assert_eq!(shop.world.faults.count("restorer.step"), steps + 1, "{call}: the second half");
        assert!(shop.world.faults.count("restorer.clean_up") > 0);
        assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
        shop.assert_restored(&shop.backup, call);
    }
}

#[tokio::test]
async fn cancelled_while_it_pauses_it_leaves_nothing() {
    let shop = Shop::occupied();
    let id = looked_at(&shop).await;
    shop.slice(id).await.unwrap();
    assert_eq!(shop.world.restorers.scratch(), 1);
    restores::cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
    let restore = shop.drive(id).await;
    assert_eq!(restore.state, RestoreState::Cancelled);
    let message = restore.failure.unwrap().message;
    assert!(message.contains("DEFAULT is as it was, but for"), "{message}");
    shop.assert_untouched("cancelled");
}

/// What comes into the way between two slices ends it, and what was made is removed.
#[tokio::test]
async fn what_changes_between_two_slices_is_seen() {
    let shop = Shop::occupied();
    let id = looked_at(&shop).await;
    shop.slice(id).await.unwrap();
    shop.world.restorers.refuse(Refusal::new("in_use", "somebody is on it", "end that"));
    assert_eq!(shop.drive(id).await.failure.unwrap().code, "restore_refused");
    shop.assert_untouched("refused");

    // No safety backup has what was written to a database that was empty.
    let shop = Shop::new();
    shop.world.restorers.pause_databases();
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    shop.slice(id).await.unwrap();
    shop.world.restorers.write(shop.database(), "written since");
    assert_eq!(shop.drive(id).await.failure.unwrap().code, "target_changed");
    assert_eq!(shop.database_from().as_deref(), Some("written since"));
    assert_eq!(shop.world.restorers.scratch(), 0);
}

/// Nobody can say any more where its database is: what was made there is named as left.
#[tokio::test]
async fn one_that_has_paused_and_cannot_be_removed_is_named() {
    let shop = Shop::occupied();
    let id = looked_at(&shop).await;
    shop.slice(id).await.unwrap();
    shop.world.faults.always("records.restore_target", Moment::Before, Fault::Unavailable);
    let (worker, job) = (worker(&shop.world), shop.job(id));
    abort(&worker, &job, &Caught::default()).await.unwrap_err();
    shop.world.clock.advance(TimeDelta::minutes(16));
    abort(&worker, &job, &Caught::default()).await.unwrap();
    let message = shop.restore(id).await.failure.unwrap().message;
    assert!(message.contains("what was begun there could not be removed"), "{message}");
}
