//! With one success a day, 7/4/12 is what is there: not on average, but on every day.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{Candidate, Plan, Policies, plan},
    schedule::Slot,
};
use proptest::prelude::*;

/// The success on which the claim starts to hold, whatever the first day.
///
/// The twelfth monthly is the first Monday of the eleventh month after the first one. At the latest that is 6 days
/// into the month, which starts at most 337 days after the first day (from 1 March to 1 February); the Monday is
/// a daily for 7 days, and then a weekly for the 28 days until the fifth arrives: 337 + 6 + 7 + 28, and the first.
const STEADY_FROM: usize = 379;

fn succeed(backups: &mut Vec<Candidate>, date: NaiveDate) -> Plan {
    let at: DateTime<Utc> = date.and_time(NaiveTime::MIN).and_utc();
    backups.push(Candidate::scheduled(
        BackupId::new(at, [0; 10]),
        Slot { at, local_date: date },
        at + TimeDelta::minutes(10),
        Label::Daily,
    ));
    let plan = plan(backups, &Policies::default(), at);
    plan.apply(backups);
    plan
}

fn days(backups: &[Candidate], label: Label) -> Vec<NaiveDate> {
    backups.iter().filter(|backup| backup.label() == Some(label)).map(Candidate::date).collect()
}

/// Whether there are `count` numbers, each one more than the one before.
fn consecutive(numbers: impl Iterator<Item = i32>, count: usize) -> bool {
    let numbers: BTreeSet<i32> = numbers.collect();
    let span = numbers.first().zip(numbers.last()).map(|(first, last)| last - first + 1);
    numbers.len() == count && span == i32::try_from(count).ok()
}

fn assert_steady(backups: &[Candidate], today: NaiveDate) {
    let (dailies, weeklies, monthlies) =
        (days(backups, Label::Daily), days(backups, Label::Weekly), days(backups, Label::Monthly));
    assert_eq!((dailies.len(), weeklies.len(), monthlies.len()), (7, 4, 12), "on {today}");
    assert_eq!(dailies.last(), Some(&today));
    assert!(consecutive(dailies.iter().map(Datelike::num_days_from_ce), 7), "days on {today}: {dailies:?}");
    let monday = |date: &NaiveDate| {
        (date.num_days_from_ce() - date.weekday().num_days_from_monday().cast_signed()) / 7
    };
    assert!(consecutive(weeklies.iter().map(monday), 4), "weeks on {today}: {weeklies:?}");
    let month = |date: &NaiveDate| date.year() * 12 + date.month0().cast_signed();
    assert!(consecutive(monthlies.iter().map(month), 12), "months on {today}: {monthlies:?}");
}

fn assert_steady_from(start: NaiveDate, successes: usize) {
    let mut backups = Vec::new();
    for (index, date) in start.iter_days().take(successes).enumerate() {
        succeed(&mut backups, date);
        if index + 1 >= STEADY_FROM {
            assert_steady(&backups, date);
        }
    }
}

#[test]
fn from_the_379th_success_on_whatever_the_first_day() {
    let first = NaiveDate::from_ymd_opt(2023, 1, 1).expect("a day");
    // Each day of the month and of the week, leap days and a year of 53 weeks on the way.
    for start in first.iter_days().step_by(5).take(300) {
        assert_steady_from(start, STEADY_FROM + 10);
    }
}

#[test]
fn some_first_day_needs_all_379() {
    let start = NaiveDate::from_ymd_opt(2004, 3, 1).expect("a day");
    let mut backups = Vec::new();
    for date in start.iter_days().take(STEADY_FROM - 1) {
        succeed(&mut backups, date);
    }
    assert_eq!(days(&backups, Label::Monthly).len(), 11);
    assert_steady_from(start, STEADY_FROM);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn for_years_on_end(days in 0..40_000_u64) {
        let start = NaiveDate::from_ymd_opt(1990, 1, 1).expect("a day") + Days::new(days);
        assert_steady_from(start, 5 * 366);
    }
}

#[test]
fn an_outage_of_months_discards_nothing_and_costs_one_place_for_each_success_after_it() {
    let start = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a day");
    let mut backups = Vec::new();
    for date in start.iter_days().take(400) {
        succeed(&mut backups, date);
    }
    let before = backups.clone();
    let after = start + Days::new(400 + 100);
    assert!(plan(&backups, &Policies::default(), after.and_time(NaiveTime::MIN).and_utc()).is_noop());
    let plan = succeed(&mut backups, after);
    assert!(plan.discarded.len() <= 1);
    assert_eq!(days(&backups, Label::Daily)[..6], days(&before, Label::Daily)[1..]);
}
