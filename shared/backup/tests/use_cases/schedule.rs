use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use holdfast_backup::{
    abort::abort,
    job::{Caught, Job},
    plans,
    ports::{ApplicationRecord, Clock},
    request::{self, BackupRequest},
    retain,
    tick::{TickSummary, tick, tick_within},
};
use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::{State, Trigger},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
    schedule::Schedule,
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};

use crate::machine::{drive, register_media_only, worker};

#[tokio::test]
async fn a_tick_delivered_twice_starts_a_slot_once() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.clock.advance(TimeDelta::days(1));
    let (first, second) = tokio::join!(tick(&world.ports), tick(&world.ports));
    assert_eq!(first.unwrap().started + second.unwrap().started, 1);
    assert_eq!(tick(&world.ports).await.unwrap(), TickSummary::default());
    assert_eq!(world.records.all_backups(&shop).len(), 1);
    assert_eq!(world.executions.started().len(), 1);
}

#[tokio::test]
async fn an_outage_of_ten_days_is_caught_up_with_one_backup() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.clock.advance(TimeDelta::days(10));
    assert_eq!(tick(&world.ports).await.unwrap().started, 1);
    let backups = world.records.all_backups(&shop);
    let slot = backups[0].slot_at.unwrap();
    assert!(world.clock.now() - slot < TimeDelta::days(1), "it stands for the newest slot");
    let next = world.ports.records.application(&shop).await.unwrap().unwrap().value.next_run_at.unwrap();
    assert!(next > world.clock.now() && next <= slot + TimeDelta::days(1));
}

#[tokio::test]
async fn every_day_of_a_year_has_its_slot_in_the_applications_zone() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let mut days = Vec::new();
    for _ in 0..365 {
        world.clock.advance(TimeDelta::days(1));
        assert_eq!(tick(&world.ports).await.unwrap().started, 1);
        let newest = world.records.all_backups(&shop).into_iter().max_by_key(|backup| backup.id).unwrap();
        let ended = drive(&world, &shop, newest.id).await;
        assert_eq!((ended.state, ended.trigger), (State::Succeeded, Trigger::Scheduled));
        days.push(ended.slot_date.unwrap());
    }
    for pair in days.windows(2) {
        assert_eq!(pair[1] - pair[0], TimeDelta::days(1), "{} follows {}", pair[1], pair[0]);
    }
}

#[tokio::test]
async fn a_slot_waits_while_the_last_scheduled_backup_runs_and_a_request_does_not() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(tick(&world.ports).await.unwrap().started, 1);
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(tick(&world.ports).await.unwrap().held_back, 1);
    request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();

    let running = world.records.all_backups(&shop).into_iter().min_by_key(|backup| backup.id).unwrap();
    drive(&world, &shop, running.id).await;
    assert_eq!(tick(&world.ports).await.unwrap().started, 1, "held back, not lost");
}

#[tokio::test]
async fn trouble_with_one_application_does_not_keep_the_others() {
    let world = World::new();
    for id in ["bakery", "gallery", "shop"] {
        world.register(id);
    }
    world.clock.advance(TimeDelta::days(1));
    world.faults.on("records.create_backup", 1, Moment::Before, Fault::Unavailable);
    let summary = tick(&world.ports).await.unwrap();
    assert_eq!((summary.started, summary.failed), (2, 1));
    assert_eq!(tick(&world.ports).await.unwrap().started, 1);
}

/// Each start takes a second, and sixteen go side by side.
#[tokio::test(start_paused = true)]
async fn a_tick_ends_in_time_and_the_next_ones_go_on() {
    let world = World::new();
    for number in 0..100 {
        world.register(&format!("shop-{number}"));
    }
    world.clock.advance(TimeDelta::days(1));
    world.faults.always("executions.start", Moment::Before, Fault::Delay(std::time::Duration::from_secs(1)));
    let minute = std::time::Duration::from_secs(6);
    let began = tokio::time::Instant::now();
    let first = tick_within(&world.ports, minute).await.unwrap();
    assert!(began.elapsed() < minute, "{:?}", began.elapsed());
    assert_eq!((first.started, first.left, first.failed), (48, 52, 0));
    let second = tick_within(&world.ports, minute).await.unwrap();
    assert_eq!((second.started, second.left), (48, 4));
    assert_eq!(tick_within(&world.ports, minute).await.unwrap().started, 4);
    assert_eq!(world.executions.started().len(), 100);
}

/// Half of the time is kept for what was begun before, however much is due.
#[tokio::test(start_paused = true)]
async fn what_is_due_does_not_keep_a_tick_from_looking_after_what_runs() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    world.clock.advance(TimeDelta::days(1));
    tick(&world.ports).await.unwrap();
    let id = world.records.all_backups(&shop)[0].id;
    world.executions.end(&Job::Backup { application: shop, id });
    for number in 0..100 {
        world.register(&format!("shop-{number}"));
    }
    world.clock.advance(TimeDelta::days(1));
    world.faults.always("executions.start", Moment::Before, Fault::Delay(std::time::Duration::from_secs(1)));
    let summary = tick_within(&world.ports, std::time::Duration::from_secs(6)).await.unwrap();
    assert!(summary.left > 0, "{summary:?}");
    assert_eq!(summary.aborted, 1, "{summary:?}");
}

#[tokio::test]
async fn a_slot_is_not_lost_when_the_answer_of_its_transaction_is() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.clock.advance(TimeDelta::days(1));
    world.faults.on("records.create_backup", 1, Moment::After, Fault::Unavailable);
    assert_eq!(tick(&world.ports).await.unwrap().failed, 1);
    world.clock.advance(TimeDelta::minutes(2));
    let summary = tick(&world.ports).await.unwrap();
    assert_eq!((summary.started, summary.restarted), (0, 1));
    assert_eq!(world.records.all_backups(&shop).len(), 1);
}

#[tokio::test]
async fn a_backup_whose_execution_ended_without_a_word_is_aborted() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    world.clock.advance(TimeDelta::days(1));
    tick(&world.ports).await.unwrap();
    let id = world.records.all_backups(&shop)[0].id;
    world.executions.end(&Job::Backup { application: shop.clone(), id });
    world.clock.advance(TimeDelta::minutes(2));
    assert_eq!(tick(&world.ports).await.unwrap().aborted, 1);
    let aborts: Vec<Job> = world.executions.aborts().into_iter().map(|(job, _)| job).collect();
    assert_eq!(aborts, [Job::Backup { application: shop, id }]);
}

#[tokio::test]
async fn an_abort_that_fails_for_good_is_tried_again_within_the_hour_and_keeps_its_reason() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    world.clock.advance(TimeDelta::days(1));
    tick(&world.ports).await.unwrap();
    let id = world.records.all_backups(&shop)[0].id;
    let job = Job::Backup { application: shop.clone(), id };
    let error = Caught { error: "States.Timeout".to_owned(), cause: "no answer".to_owned() };
    world.executions.end_with(&job, Some(error.clone()));
    for _ in 0..3 {
        world.clock.advance(TimeDelta::minutes(2));
        assert_eq!(tick(&world.ports).await.unwrap().aborted, 1);
    }
    assert_eq!(world.executions.aborts(), [(job.clone(), error.clone())], "one at a time");

    // It ended, and the record is as open as before: the bucket was out of reach all the time.
    world.clock.advance(TimeDelta::hours(1));
    tick(&world.ports).await.unwrap();
    assert_eq!(world.executions.aborts().len(), 2);
    abort(&worker(&world), &job, &error).await.unwrap();
    assert_eq!(world.backup(&shop, id).failure.unwrap().code, "timed_out");
    world.clock.advance(TimeDelta::days(1));
    assert_eq!(tick(&world.ports).await.unwrap().started, 1, "its turn was given back");
}

#[tokio::test]
async fn a_changed_schedule_moves_its_applications_and_no_schedule_rests_them() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let hourly = Schedule::Cron { expression: "0 * * * *".to_owned(), spread_minutes: 0 };
    let spec = PlanSpec { schedule: Some(hourly), ..PlanSpec::default() };
    let plan = PlanId::default_plan();
    plans::put(&world.ports, "anna", &plan, spec, None).await.unwrap();
    let record = world.ports.records.application(&shop).await.unwrap().unwrap().value;
    assert_eq!(record.next_run_at, Some(Utc.with_ymd_and_hms(2026, 4, 1, 13, 0, 0).unwrap()));

    plans::put(&world.ports, "anna", &plan, PlanSpec::default(), Some(1)).await.unwrap();
    world.clock.set(builders::now() + TimeDelta::days(40));
    assert_eq!(tick(&world.ports).await.unwrap(), TickSummary::default());
    assert_eq!(world.records.plan_audit_trail(&plan).len(), 2);
}

fn hourly() -> PlanSpec {
    let schedule = Schedule::Cron { expression: "0 * * * *".to_owned(), spread_minutes: 0 };
    PlanSpec { schedule: Some(schedule), ..PlanSpec::default() }
}

async fn next_run(world: &World, id: &ApplicationId) -> Option<DateTime<Utc>> {
    world.ports.records.application(id).await.unwrap().unwrap().value.next_run_at
}

/// Three applications on a plan without a schedule, which is then given one in a change that is cut short.
async fn interrupted_change() -> (World, Vec<ApplicationId>, PlanId) {
    let world = World::new();
    let ids: Vec<_> = ["bakery", "gallery", "shop"].map(|id| world.register(id).value.id).into();
    let plan = PlanId::default_plan();
    plans::put(&world.ports, "anna", &plan, PlanSpec::default(), None).await.unwrap();
    for id in &ids {
        assert_eq!(next_run(&world, id).await, None);
    }
    world.faults.on("records.put_application", 2, Moment::Before, Fault::Unavailable);
    plans::put(&world.ports, "anna", &plan, hourly(), Some(1)).await.unwrap_err();
    assert_eq!(next_run(&world, &ids[2]).await, None);
    world.faults.clear();
    (world, ids, plan)
}

#[tokio::test]
async fn repeating_a_change_of_a_plan_that_was_interrupted_finishes_it() {
    let (world, ids, plan) = interrupted_change().await;
    plans::put(&world.ports, "anna", &plan, hourly(), Some(2)).await.unwrap();
    for id in &ids {
        assert_eq!(next_run(&world, id).await, Some(builders::now() + TimeDelta::hours(1)), "{id}");
    }
}

#[tokio::test]
async fn the_nightly_run_finishes_a_change_of_a_plan_that_nobody_repeated() {
    let (world, ids, _) = interrupted_change().await;
    retain::run_all(&world.ports).await;
    for id in &ids {
        assert_eq!(next_run(&world, id).await, Some(builders::now() + TimeDelta::hours(1)), "{id}");
    }
    let trail = world.records.audit_trail(&ids[2]).len();
    retain::run_all(&world.ports).await;
    assert_eq!(world.records.audit_trail(&ids[2]).len(), trail, "what is right is not written again");
}

#[tokio::test]
async fn an_application_that_somebody_writes_during_a_change_of_its_plan_moves_too() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let plan = PlanId::default_plan();
    plans::put(&world.ports, "anna", &plan, PlanSpec::default(), None).await.unwrap();
    let pause = Fault::Delay(std::time::Duration::from_millis(100));
    world.faults.on("records.put_application", 1, Moment::Before, pause);
    let change = plans::put(&world.ports, "anna", &plan, hourly(), Some(1));
    let other = async {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        let found = world.ports.records.application(&shop).await.unwrap().unwrap();
        let record = ApplicationRecord { updated_at: world.clock.now(), ..found.value };
        let now = world.clock.now();
        let entry = AuditEntry::new(world.ports.entropy.audit_id(now), now, "anna", Action::Update);
        world.ports.records.put_application(&record, Some(found.version), &entry).await.unwrap();
    };
    let (changed, ()) = tokio::join!(change, other);
    changed.unwrap();
    assert_eq!(next_run(&world, &shop).await, Some(builders::now() + TimeDelta::hours(1)));
}

#[tokio::test]
async fn a_change_of_its_plan_takes_no_slot_from_an_application_that_is_due() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.clock.advance(TimeDelta::days(1));
    let due = next_run(&world, &shop).await;
    assert!(due.is_some_and(|at| at <= world.clock.now()));
    plans::put(&world.ports, "anna", &PlanId::default_plan(), hourly(), None).await.unwrap();
    assert_eq!(next_run(&world, &shop).await, due);
    assert_eq!(tick(&world.ports).await.unwrap().started, 1);
}
