use chrono::TimeDelta;
use holdfast_backup::{
    applications::{self, Fate},
    error::RequestError,
    hold::{hold, release},
    ports::Clock,
    request::{self, BackupRequest},
    retain,
};
use holdfast_domain::{
    audit::Action,
    backup::{Label, State},
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};

use crate::machine::{drive, register_media_only};

const ANNA: &str = "arn:aws:iam::123456789012:user/anna";
const WHY: &str = "evidence in case 42";

#[tokio::test]
async fn a_held_backup_survives_five_years_and_goes_when_it_is_released() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let held = world.succeeded(&shop, world.clock.now(), true);
    let plain = world.succeeded(&shop, world.clock.now() + TimeDelta::minutes(1), false);
    hold(&world.ports, ANNA, &shop, held.id, WHY).await.unwrap();
    for _ in 0..5 * 365 {
        world.clock.advance(TimeDelta::days(1));
        world.succeeded(&shop, world.clock.now(), true);
        assert_eq!(retain::run(&world.ports, &shop).await.unwrap().failed, 0);
    }
    let found = world.backup(&shop, held.id);
    assert_eq!((found.state, found.label), (State::Succeeded, Some(Label::Daily)), "not even relabelled");
    for artifact in &found.artifacts {
        assert!(world.artifacts.bytes(&artifact.object.key).is_some());
    }
    let succeeded = world.records.all_backups(&shop).into_iter().filter(|b| b.state == State::Succeeded);
    assert_eq!(succeeded.count(), 7 + 4 + 12 + 2, "the held one does not count, nor the one on demand");
    assert_eq!(world.backup(&shop, plain.id).state, State::Succeeded);

    release(&world.ports, ANNA, &shop, held.id).await.unwrap();
    retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!(world.backup(&shop, held.id).state, State::Expired);
    let trail = world.records.audit_trail(&shop);
    let of =
        |action| trail.iter().find(|entry| entry.action == action && entry.backup == Some(held.id)).unwrap();
    assert_eq!((of(Action::Hold).actor.as_str(), of(Action::Hold).reason.as_deref()), (ANNA, Some(WHY)));
    assert!(of(Action::Release).reason.as_ref().unwrap().contains(WHY), "what it was held for");
}

#[tokio::test]
async fn a_held_backup_is_not_deleted_by_anybody() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let held = world.succeeded(&shop, builders::now() - TimeDelta::days(1), true);
    let other = world.succeeded(&shop, builders::now(), true);
    hold(&world.ports, ANNA, &shop, held.id, WHY).await.unwrap();
    for refusal in [
        request::delete(&world.ports, "eve", &shop, held.id).await.map(drop),
        applications::remove(&world.ports, "eve", &shop, None, Fate::Delete).await,
    ] {
        let text = refusal.unwrap_err().to_string();
        assert!(text.contains(ANNA) && text.contains(WHY) && text.contains("release it first"), "{text}");
    }
    assert_eq!(world.backup(&shop, other.id).state, State::Succeeded, "nothing went before it was refused");
    assert!(world.ports.records.application(&shop).await.unwrap().is_some());
}

#[tokio::test]
async fn a_hold_puts_off_a_backups_own_expiry() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.succeeded(&shop, builders::now(), true);
    let mut backup = world.succeeded(&shop, builders::now() - TimeDelta::days(1), false);
    backup.expires_at = Some(builders::now());
    world.records.insert_backup(backup.clone());
    hold(&world.ports, ANNA, &shop, backup.id, WHY).await.unwrap();
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().discarded, 0);
    release(&world.ports, ANNA, &shop, backup.id).await.unwrap();
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().discarded, 1);
}

#[tokio::test]
async fn repeating_a_hold_or_a_release_changes_nothing() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let id = world.succeeded(&shop, builders::now(), true).id;
    let first = hold(&world.ports, ANNA, &shop, id, WHY).await.unwrap();
    let again = hold(&world.ports, "bob", &shop, id, &format!(" {WHY} ")).await.unwrap();
    assert_eq!(first, again, "whoever held it first still does");
    let other = hold(&world.ports, "bob", &shop, id, "another case").await.unwrap();
    assert_eq!(other.value.hold.unwrap().by, "bob");
    let released = release(&world.ports, ANNA, &shop, id).await.unwrap();
    assert_eq!(release(&world.ports, ANNA, &shop, id).await.unwrap(), released);
    assert_eq!(world.records.audit_trail(&shop).len(), 3);
}

#[tokio::test]
async fn a_hold_on_a_running_backup_keeps_what_becomes_of_it() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let id = request::create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
    let id = id.backup.value.id;
    hold(&world.ports, ANNA, &shop, id, WHY).await.unwrap();
    let backup = drive(&world, &shop, id).await;
    assert_eq!(backup.state, State::Succeeded, "{:?}", backup.failure);
    assert_eq!(backup.hold.unwrap().reason, WHY);
}

#[tokio::test]
async fn a_hold_ends_with_a_backup_that_failed() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let id = request::create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
    let id = id.backup.value.id;
    hold(&world.ports, ANNA, &shop, id, WHY).await.unwrap();
    request::cancel(&world.ports, ANNA, &shop, id).await.unwrap();
    let backup = drive(&world, &shop, id).await;
    assert_eq!((backup.state, backup.hold), (State::Cancelled, None));
    applications::remove(&world.ports, ANNA, &shop, None, Fate::Delete).await.unwrap();
}

#[tokio::test]
async fn a_hold_needs_a_reason_and_something_to_hold() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let id = world.succeeded(&shop, builders::now(), true).id;
    for reason in ["", "  ", &"x".repeat(1001)] {
        let refusal = hold(&world.ports, ANNA, &shop, id, reason).await.unwrap_err();
        assert!(matches!(&refusal, RequestError::Invalid(invalid) if invalid.field == "reason"), "{refusal}");
    }
    request::delete(&world.ports, ANNA, &shop, id).await.unwrap();
    let refusal = hold(&world.ports, ANNA, &shop, id, WHY).await.unwrap_err().to_string();
    assert!(refusal.contains("expired") && refusal.contains("bring it back first"), "{refusal}");
}

#[tokio::test]
async fn a_hold_that_meets_another_write_is_put_on_all_the_same() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let id = world.succeeded(&shop, builders::now(), true).id;
    world.faults.always("records.backup", Moment::After, Fault::Delay(std::time::Duration::from_millis(20)));
    let (one, other) = tokio::join!(
        hold(&world.ports, ANNA, &shop, id, WHY),
        hold(&world.ports, "bob", &shop, id, "another case"),
    );
    one.unwrap();
    other.unwrap();
    assert_eq!(world.records.audit_trail(&shop).len(), 2);
}
