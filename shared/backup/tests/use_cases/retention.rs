use std::{collections::BTreeMap, time::Duration};

use chrono::TimeDelta;
use holdfast_backup::{
    applications, backups, explain, plans, request,
    retain::{self, RetentionSummary},
};
use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::{Backup, Label, State},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
    retention::preview::VerdictAction,
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};

/// Scheduled successes on each of `days` days up to now, with retention after each, as backups end with it.
async fn live_through(world: &World, application: &ApplicationId, days: i64) {
    for _ in 0..days {
        world.clock.advance(TimeDelta::days(1));
        world.succeeded(application, holdfast_backup::ports::Clock::now(world.clock.as_ref()), true);
        let summary = retain::run(&world.ports, application).await.unwrap();
        assert_eq!(summary.failed, 0);
    }
}

fn kept(world: &World, application: &ApplicationId) -> Vec<Backup> {
    let all = world.records.all_backups(application);
    all.into_iter().filter(|backup| backup.state == State::Succeeded).collect()
}

fn labels(backups: &[Backup]) -> BTreeMap<Label, usize> {
    let mut counts = BTreeMap::new();
    for label in backups.iter().filter_map(|backup| backup.label) {
        *counts.entry(label).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn after_a_year_and_on_every_day_after_seven_four_and_twelve_are_kept() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    live_through(&world, &shop, 373).await;
    let exact = BTreeMap::from([(Label::Daily, 7), (Label::Weekly, 4), (Label::Monthly, 12)]);
    for _ in 0..40 {
        assert_eq!(labels(&kept(&world, &shop)), exact);
        live_through(&world, &shop, 1).await;
    }
    let stored: usize = world.artifacts.object_keys().len();
    assert_eq!(
        stored,
        23 * 3 + 16,
        "the objects of exactly those that are kept, and the marks of those that rose"
    );
    let trail = world.records.audit_trail(&shop);
    let discards = trail.iter().filter(|entry| entry.action == Action::Discard).count();
    assert_eq!(discards, 373 + 40 - 23, "each discard has its entry");
    assert!(trail.iter().all(|entry| entry.reason.is_some()), "and its reason");
}

#[tokio::test]
async fn planning_again_right_away_changes_nothing() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    live_through(&world, &shop, 30).await;
    let before = world.records.all_backups(&shop);
    let summary = retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!((summary.relabelled, summary.discarded, summary.failed), (0, 0, 0));
    assert_eq!(world.records.all_backups(&shop), before);
}

#[tokio::test]
async fn a_dry_run_says_what_the_run_then_does() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    live_through(&world, &shop, 20).await;
    world.clock.advance(TimeDelta::days(1));
    world.succeeded(&shop, holdfast_backup::ports::Clock::now(world.clock.as_ref()), true);
    let report = explain::report(&world.ports, &shop, &builders::pricing()).await.unwrap();
    assert_eq!(report.policies.scheduled, "gfs:7/4/12");
    let foreseen = |action| report.backups.iter().filter(|line| line.explanation.action == action).count();
    let summary = retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!(summary.discarded, foreseen(VerdictAction::Discard));
    assert_eq!(summary.relabelled, foreseen(VerdictAction::Relabel));
    assert_eq!(summary.discarded + summary.relabelled, 1);
}

#[tokio::test]
async fn an_interrupted_discard_is_finished_by_the_next_run() {
    for (call, moment) in [
        ("records.update_backup", Moment::After),
        ("artifacts.keys", Moment::Before),
        ("artifacts.delete", Moment::Before),
        ("artifacts.delete", Moment::After),
    ] {
        let world = World::new();
        let shop = world.register("shop").value.id;
        let old = world.succeeded(&shop, builders::now() - TimeDelta::days(90), false);
        for day in 1..=4 {
            world.succeeded(&shop, builders::now() - TimeDelta::days(31 + day), false);
        }
        world.faults.on(call, 1, moment, Fault::Unavailable);
        let interrupted = retain::run(&world.ports, &shop).await.unwrap();
        assert!(interrupted.failed > 0, "{call} {moment:?}: {interrupted:?}");
        retain::run(&world.ports, &shop).await.unwrap();
        assert_eq!(world.backup(&shop, old.id).state, State::Expired, "{call} {moment:?}");
        assert!(!world.artifacts.object_keys().iter().any(|key| key.starts_with(&old.prefix())));
        assert_eq!(kept(&world, &shop).len(), 3);
    }
}

#[tokio::test]
async fn a_backup_is_not_discarded_under_a_download() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let old = world.succeeded(&shop, builders::now() - TimeDelta::days(90), false);
    for day in 1..=3 {
        world.succeeded(&shop, builders::now() - TimeDelta::days(31 + day), false);
    }
    let service = builders::service_name("DEFAULT");
    let valid = std::time::Duration::from_mins(15);
    backups::download(&world.ports, &shop, old.id, &service, valid).await.unwrap();
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().in_use, 1);
    world.clock.advance(TimeDelta::minutes(31));
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().discarded, 1);
}

#[tokio::test]
async fn a_nightly_run_goes_on_past_an_application_that_fails() {
    let world = World::new();
    for id in ["bakery", "gallery", "shop"] {
        let id = world.register(id).value.id;
        for day in 0..4 {
            world.succeeded(&id, builders::now() - TimeDelta::days(40 + day), false);
        }
    }
    world.faults.on("records.backups", 1, Moment::Before, Fault::Unavailable);
    let summary = retain::run_all(&world.ports).await;
    let expected =
        RetentionSummary { applications: 3, kept: 6, discarded: 2, failed: 1, ..Default::default() };
    assert_eq!(summary, expected);
}

#[tokio::test]
async fn no_scheduled_backup_goes_while_a_label_that_its_discard_rests_on_is_not_written() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    // Eight days at once: one is relabelled, and by the same plan the days that count once go.
    for day in 0..8 {
        world.clock.advance(TimeDelta::days(i64::from(day > 0)));
        for _ in 0..2 {
            world.succeeded(&shop, holdfast_backup::ports::Clock::now(world.clock.as_ref()), true);
            world.clock.advance(TimeDelta::minutes(1));
        }
    }
    let foreseen = explain::report(&world.ports, &shop, &builders::pricing()).await.unwrap();
    assert!(foreseen.backups.iter().any(|line| line.explanation.action == VerdictAction::Relabel));
    assert!(foreseen.backups.iter().any(|line| line.explanation.action == VerdictAction::Discard));
    world.faults.on("records.update_backup", 1, Moment::Before, Fault::Unavailable);
    let summary = retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!(summary.discarded, 0, "{summary:?}");
    assert_eq!(kept(&world, &shop).len(), 16);
    world.faults.clear();
    let summary = retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!((summary.relabelled, summary.failed), (1, 0));
    assert!(summary.discarded > 0);
}

#[tokio::test]
async fn what_a_removed_application_kept_is_finished_and_expires_and_is_then_forgotten() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let now = builders::now();
    let lasting = world.succeeded(&shop, now - TimeDelta::days(400), true);
    let begun = world.succeeded(&shop, now - TimeDelta::days(2), false);
    let mut expiring = world.succeeded(&shop, now - TimeDelta::days(1), false);
    expiring.expires_at = Some(now + TimeDelta::days(3));
    world.records.insert_backup(expiring.clone());
    applications::remove(&world.ports, "anna", &shop, None, applications::Fate::Keep).await.unwrap();
    world.faults.on("artifacts.delete", 1, Moment::Before, Fault::Unavailable);
    request::delete(&world.ports, "anna", &shop, begun.id).await.unwrap_err();
    assert_eq!(world.backup(&shop, begun.id).state, State::Expiring);

    let summary = retain::run_all(&world.ports).await;
    assert_eq!((summary.kept, summary.discarded, summary.failed), (2, 1, 0));
    assert_eq!(world.backup(&shop, begun.id).state, State::Expired);
    world.clock.advance(TimeDelta::days(4));
    assert_eq!(retain::run_all(&world.ports).await.discarded, 1);
    assert_eq!(world.backup(&shop, expiring.id).state, State::Expired);
    assert_eq!(world.backup(&shop, lasting.id).state, State::Succeeded, "no policy applies to it");

    request::delete(&world.ports, "anna", &shop, lasting.id).await.unwrap();
    world.clock.advance(TimeDelta::days(7));
    retain::run_all(&world.ports).await;
    let removed = world.ports.records.removed_applications(None, 10).await.unwrap();
    assert!(removed.items.is_empty(), "nothing is left to look after");
    assert_eq!(retain::run_all(&world.ports).await, RetentionSummary::default());
}

#[tokio::test]
async fn links_at_once_are_all_given() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let backup = world.succeeded(&shop, builders::now() - TimeDelta::days(1), false);
    let valid = std::time::Duration::from_mins(15);
    let services = ["DEFAULT", "MEDIA", "DEFAULT", "MEDIA"].map(builders::service_name);
    // Each finds the record before any has written it.
    world.faults.always("records.backup", Moment::After, Fault::Delay(std::time::Duration::from_millis(20)));
    let links =
        services.iter().map(|service| backups::download(&world.ports, &shop, backup.id, service, valid));
    for link in futures::future::join_all(links).await {
        link.unwrap();
    }
    let written = world.faults.count("records.update_backup");
    backups::download(&world.ports, &shop, backup.id, &services[0], valid).await.unwrap();
    assert_eq!(world.faults.count("records.update_backup"), written, "what was promised already is enough");
    let until = world.backup(&shop, backup.id).link_until.unwrap();
    assert!(until >= builders::now() + TimeDelta::minutes(15));
}

#[tokio::test]
async fn another_plan_shows_what_it_would_take_before_the_next_run_takes_it() {
    let world = World::new();
    let mut record = world.register("shop").value;
    let shop = record.id.clone();
    live_through(&world, &shop, 30).await;
    let mut brief = builders::plan("brief");
    brief.spec.scheduled = "gfs:2/0/0".parse().unwrap();
    let now = holdfast_backup::ports::Clock::now(world.clock.as_ref());
    let entry = AuditEntry::new(world.ports.entropy.audit_id(now), now, "anna", Action::PlanChange);
    world.ports.records.put_plan(&brief, None, &entry).await.unwrap();
    record.spec.plan = brief.id.clone();
    world.records.insert_application(record.clone());

    let report = explain::report(&world.ports, &shop, &builders::pricing()).await.unwrap();
    let goes: Vec<_> = report
        .backups
        .iter()
        .filter(|line| line.explanation.action == VerdictAction::Discard)
        .map(|line| line.id)
        .collect();
    let before = kept(&world, &shop);
    assert_eq!(goes.len(), before.len() - 2);
    retain::run(&world.ports, &shop).await.unwrap();
    let after: Vec<_> = kept(&world, &shop).iter().map(|backup| backup.id).collect();
    assert!(before.iter().all(|backup| goes.contains(&backup.id) != after.contains(&backup.id)));

    // Back on the larger plan nothing more goes, and what went can be brought back.
    record.spec.plan = builders::application("shop").spec.plan;
    world.records.insert_application(record);
    live_through(&world, &shop, 5).await;
    assert_eq!(kept(&world, &shop).len(), 7);
    assert!(world.backup(&shop, goes[0]).undelete_until().is_some());
}

#[tokio::test]
async fn the_last_whole_backup_stays_though_newer_ones_of_some_services_came() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let plan = holdfast_domain::id::PlanId::default_plan();
    let spec = holdfast_domain::plan::PlanSpec {
        on_demand: "age_then_count:30/0".parse().unwrap(),
        ..holdfast_domain::plan::PlanSpec::default()
    };
    plans::put(&world.ports, "anna", &plan, spec, None).await.unwrap();
    let whole = world.succeeded(&shop, builders::now() - TimeDelta::days(60), false);
    let mut media = world.succeeded(&shop, builders::now() - TimeDelta::days(50), false);
    media.services.retain(|service| service.as_str() == "MEDIA");
    world.records.insert_backup(media.clone());
    assert_eq!(retain::run(&world.ports, &shop).await.unwrap().discarded, 1);
    assert_eq!(world.backup(&shop, media.id).state, State::Expired);
    assert_eq!(world.backup(&shop, whole.id).state, State::Succeeded, "the only one with the database");

    let trail = world.records.plan_audit_trail(&plan);
    assert!(trail[0].from.as_ref().unwrap().contains("age_then_count:30/3; 24 on demand a day"), "{trail:?}");
}

#[tokio::test]
async fn a_policy_is_priced_for_the_rhythm_of_the_plan() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    world.succeeded(&shop, builders::now() - TimeDelta::hours(1), true);
    let plan = holdfast_domain::id::PlanId::default_plan();
    let estimate = async |expression: &str, version| {
        let schedule = holdfast_domain::schedule::Schedule::Cron {
            expression: expression.to_owned(),
            spread_minutes: 0,
        };
        let spec = holdfast_domain::plan::PlanSpec {
            schedule: Some(schedule),
            ..holdfast_domain::plan::PlanSpec::default()
        };
        plans::put(&world.ports, "anna", &plan, spec, version).await.unwrap();
        explain::report(&world.ports, &shop, &builders::pricing()).await.unwrap()
    };
    let daily = estimate("0 3 * * *", None).await;
    assert_eq!(daily.cost.estimate.policy.as_ref().unwrap().slots_per_day, 1);
    let six_hourly = estimate("0 */6 * * *", Some(1)).await;
    assert_eq!(six_hourly.cost.estimate.policy.as_ref().unwrap().slots_per_day, 4);
    let weekly = estimate("0 3 * * 1", Some(2)).await;
    assert_eq!(weekly.cost.estimate.policy, None);
    assert!(weekly.cost.estimate.notes[0].contains("4 in 28 days"), "{:?}", weekly.cost.estimate.notes);
    assert_eq!(
        weekly.forecast_until, daily.forecast_until,
        "the forecast is one of daily successes all the same"
    );
}

#[tokio::test]
async fn days_of_the_calendar_are_the_applications() {
    let world = World::new();
    let mut record = world.register("shop").value;
    record.spec.time_zone = chrono_tz::America::Los_Angeles;
    let shop = record.id.clone();
    world.records.insert_application(record);
    // Five o'clock in the afternoon there is tomorrow in UTC.
    let evening = chrono::DateTime::parse_from_rfc3339("2026-04-02T00:30:00Z").unwrap().to_utc();
    world.clock.set(evening + TimeDelta::minutes(5));
    world.succeeded(&shop, evening, false);
    let report = explain::report(&world.ports, &shop, &builders::pricing()).await.unwrap();
    assert_eq!(report.calendar.len(), 1);
    assert_eq!(report.calendar[0].date.to_string(), "2026-04-01");
}

/// Each run begins with another letter, and comes to all of them.
#[tokio::test]
async fn all_are_looked_after_once_wherever_a_run_begins() {
    for days in [0, 10, 20, 36] {
        let world = World::new();
        world.clock.advance(TimeDelta::days(days));
        for id in ["0", "7up", "a", "shop", "z9"] {
            world.register(id);
        }
        assert_eq!(retain::run_all(&world.ports).await.applications, 5, "{days}");
    }
}

#[tokio::test]
async fn a_night_without_time_says_so_and_leaves_the_registered_to_the_next() {
    let world = World::new();
    world.register("shop");
    let summary = retain::run_all_within(&world.ports, Duration::ZERO).await;
    assert_eq!((summary.applications, summary.failed), (0, 1));
}

/// Records are kept for good, and there are many: those that nothing happens to any more are passed over, and missed by nobody.
#[tokio::test]
async fn what_was_let_go_long_ago_still_counts_as_the_last_success() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let mut last = None;
    for hours in (1..500).rev() {
        let mut backup = world.succeeded(&shop, builders::now() - TimeDelta::hours(hours), true);
        (backup.state, backup.expired_at) = (State::Expired, backup.finished_at);
        last = backup.slot_at;
        world.records.insert_backup(backup);
    }
    world.clock.advance(TimeDelta::days(10));
    let summary = retain::run_all(&world.ports).await;
    assert_eq!((summary.overdue, summary.failed), (1, 0));
    let told: serde_json::Value =
        serde_json::from_str(&world.events.told().last().unwrap().detail()).unwrap();
    assert_eq!(told["last_success_slot"], serde_json::json!(last));
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_because_of_a_backup_that_has_gone_meanwhile() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let plan = PlanId::default_plan();
    let spec = PlanSpec { scheduled: "gfs:1/0/0".parse().unwrap(), ..PlanSpec::default_plan() };
    plans::put(&world.ports, "anna", &plan, spec, None).await.unwrap();
    let older = world.succeeded(&shop, builders::now() - TimeDelta::days(2), true);
    let mut newer = world.succeeded(&shop, builders::now() - TimeDelta::days(1), true);
    world.faults.on("records.backups", 1, Moment::After, Fault::Delay(Duration::from_secs(10)));
    let somebody = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        newer.state = State::Expiring;
        world.records.insert_backup(newer.clone());
    };
    let (summary, ()) = tokio::join!(retain::run(&world.ports, &shop), somebody);
    let summary = summary.unwrap();
    assert_eq!(
        (summary.discarded, summary.failed),
        (0, 1),
        "the older one was to go, because of the newer one"
    );
    retain::run(&world.ports, &shop).await.unwrap();
    assert_eq!(world.backup(&shop, older.id).state, State::Succeeded);
}
