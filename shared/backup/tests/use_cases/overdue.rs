//! Applications whose scheduled backups do not succeed are found, and told of each night until one does.

use chrono::TimeDelta;
use holdfast_backup::{
    applications,
    job::{Caught, Job},
    plans,
    ports::Clock as _,
    request::{self, BackupRequest},
    retain,
    tick::tick,
};
use holdfast_domain::{
    backup::{Backup, State, Verification, VerificationLevel, VerificationState},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
    schedule::{LONGEST_BACKUP, Schedule},
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};

use crate::machine::{drive, register_media_only, worker};

async fn overdue_since(world: &World, shop: &ApplicationId) -> Option<chrono::DateTime<chrono::Utc>> {
    world.ports.records.application(shop).await.unwrap().unwrap().value.overdue_since
}

/// A day passes, and its slot has a backup that fails.
async fn bad_day(world: &World, shop: &ApplicationId) {
    world.clock.advance(TimeDelta::days(1));
    tick(&world.ports).await.unwrap();
    let newest = world.records.all_backups(shop).into_iter().max_by_key(|backup| backup.id).unwrap();
    let job = Job::Backup { application: shop.clone(), id: newest.id };
    holdfast_backup::abort::abort(&worker(world), &job, &Caught::default()).await.unwrap();
}

async fn good_day(world: &World, shop: &ApplicationId) -> Backup {
    world.clock.advance(TimeDelta::days(1));
    tick(&world.ports).await.unwrap();
    let newest = world.records.all_backups(shop).into_iter().max_by_key(|backup| backup.id).unwrap();
    drive(world, shop, newest.id).await
}

async fn night(world: &World) -> usize {
    let summary = retain::run_all(&world.ports).await;
    assert_eq!(summary.failed, 0, "{summary:?}");
    summary.overdue
}

fn times_told(world: &World) -> usize {
    world.events.types().into_iter().filter(|what| *what == "Application Overdue").count()
}

#[tokio::test]
async fn one_is_told_of_each_night_until_a_backup_succeeds() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let last = good_day(&world, &shop).await;
    assert_eq!(night(&world).await, 0);
    bad_day(&world, &shop).await;
    assert_eq!(night(&world).await, 0, "one bad night");
    bad_day(&world, &shop).await;
    world.clock.advance(LONGEST_BACKUP);
    assert_eq!((night(&world).await, times_told(&world)), (1, 1));
    let since = overdue_since(&world, &shop).await.unwrap();
    let detail: serde_json::Value =
        serde_json::from_str(&world.events.told().last().unwrap().detail()).unwrap();
    let expected = serde_json::json!({
        "application": "shop", "at": world.clock.now(), "overdue_since": since, "last_success_slot": last.slot_at,
        "plan": "default"
    });
    assert_eq!(detail, expected);
    bad_day(&world, &shop).await;
    assert_eq!((night(&world).await, times_told(&world)), (1, 2));
    assert_eq!(overdue_since(&world, &shop).await, Some(since), "since when does not change");

    // One on demand is none of its schedule.
    let asked = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    assert_eq!(drive(&world, &shop, asked.backup.value.id).await.state, State::Succeeded);
    assert_eq!(overdue_since(&world, &shop).await, Some(since));

    good_day(&world, &shop).await;
    assert_eq!(overdue_since(&world, &shop).await, None, "the end of the backup shows it");
    assert_eq!((night(&world).await, times_told(&world)), (0, 2));
    let trail = world.records.audit_trail(&shop);
    let noted = trail.iter().filter(|entry| {
        [&entry.from, &entry.to]
            .iter()
            .any(|words| words.as_deref().is_some_and(|words| words.starts_with("overdue")))
    });
    assert_eq!(noted.count(), 2, "when it began, and when it ended");
}

/// Also where nothing is even tried.
#[tokio::test]
async fn a_new_one_has_its_chance_and_no_more() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.clock.advance(TimeDelta::days(1) + TimeDelta::hours(6));
    assert_eq!(night(&world).await, 0);
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(night(&world).await, 1);
    assert!(overdue_since(&world, &shop).await.is_some());
}

#[tokio::test]
async fn another_schedule_is_another_chance_and_none_promises_nothing() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let plan = PlanId::default_plan();
    plans::put(&world.ports, "anna", &plan, PlanSpec::default(), None).await.unwrap();
    world.clock.advance(TimeDelta::days(40));
    assert_eq!(night(&world).await, 0, "nothing is scheduled");
    let hourly = Schedule::Cron { expression: "0 * * * *".to_owned(), spread_minutes: 0 };
    let spec = PlanSpec { schedule: Some(hourly), ..PlanSpec::default() };
    plans::put(&world.ports, "anna", &plan, spec, Some(1)).await.unwrap();
    assert_eq!(night(&world).await, 0, "it has only just begun");
    world.clock.advance(TimeDelta::hours(9));
    assert_eq!(night(&world).await, 1);
    let other: PlanId = "other".parse().unwrap();
    plans::put(&world.ports, "anna", &other, PlanSpec::default_plan(), None).await.unwrap();
    let found = world.ports.records.application(&shop).await.unwrap().unwrap();
    let stack = applications::Stack { region: world.region(), bucket: "backups".to_owned() };
    let spec = holdfast_domain::application::ApplicationSpec { plan: other, ..found.value.spec };
    applications::register(&world.ports, &stack, "anna", &shop, spec, Some(found.version)).await.unwrap();
    assert_eq!((overdue_since(&world, &shop).await, night(&world).await), (None, 0));
}

#[tokio::test]
async fn what_was_found_damaged_is_no_success() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let mut backup = world.succeeded(&shop, builders::now() + TimeDelta::days(5), true);
    world.clock.set(builders::now() + TimeDelta::days(6));
    assert_eq!(night(&world).await, 0);
    backup.verification = Some(Verification {
        state: VerificationState::Damaged,
        level: VerificationLevel::Read,
        by: "anna".to_owned(),
        at: world.clock.now(),
        finished_at: Some(world.clock.now()),
        artifacts: Vec::new(),
        cursor: None,
        rehearsal: None,
        failure: None,
        damaged_before: None,
    });
    world.records.insert_backup(backup);
    assert_eq!(night(&world).await, 1);
}

#[tokio::test]
async fn that_it_cannot_be_written_down_or_told_keeps_nothing_else_from_being_done() {
    for (call, failed) in [("records.put_application", 1), ("events.publish", 0)] {
        let world = World::new();
        let shop = world.register("shop").value.id;
        let old = world.succeeded(&shop, builders::now() - TimeDelta::days(90), false);
        for day in 1..=3 {
            world.succeeded(&shop, builders::now() - TimeDelta::days(31 + day), false);
        }
        world.clock.advance(TimeDelta::days(3));
        world.faults.on(call, 1, Moment::Before, Fault::Unavailable);
        let summary = retain::run_all(&world.ports).await;
        assert_eq!((summary.discarded, summary.failed), (1, failed), "{call}: {summary:?}");
        assert_eq!(world.backup(&shop, old.id).state, State::Expired);
        assert_eq!(night(&world).await, 1, "{call}");
    }
}
