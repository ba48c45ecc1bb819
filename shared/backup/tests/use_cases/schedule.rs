use chrono::{TimeDelta, TimeZone, Utc};
use holdfast_backup::{
    job::Job,
    plans,
    ports::Clock,
    request::{self, BackupRequest},
    tick::{TickSummary, tick},
};
use holdfast_domain::{
    backup::{State, Trigger},
    id::PlanId,
    plan::PlanSpec,
    schedule::Schedule,
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};

use crate::machine::{drive, register_media_only};

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
