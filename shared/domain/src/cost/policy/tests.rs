use rstest::rstest;

use super::*;
use crate::{cost::Prices, region::Region};

const GIB: u64 = 1 << 30;

fn cost(policy: &str, slots_per_day: u32) -> PolicyCost {
    let shape = Shape {
        objects: vec![GIB],
        files: 0,
        milliseconds: 0,
        architecture: super::super::Architecture::X86,
    };
    let prices = Prices::bundled();
    let tariff = prices.tariff(&Region::new("eu-central-1")).unwrap();
    tariff.policy(policy.parse().unwrap(), &shape, slots_per_day)
}

/// Nano-dollars for one GiB for so many days.
fn days(count: u64) -> u64 {
    450_000 * count
}

#[test]
fn the_default_policy_pays_for_30_days_of_what_it_keeps_for_7() {
    let cost = cost("gfs:7/4/12", 1);
    assert_eq!(cost.kept_thousandths, 23_000);
    assert_eq!(cost.kept_nano_dollars.0, 23 * days(30));
    // One goes each day, whichever it is, and stays for a week.
    assert_eq!(cost.grace_nano_dollars.0, 30 * days(7));
    // Six of seven go as dailies: 16 of their 30 days are neither kept nor grace. 1,252 in the four years.
    let exact = days(16) * 1_252 * 30 / WINDOW_DAYS;
    assert!(
        cost.minimum_nano_dollars.0.abs_diff(exact) <= days(16) / 10,
        "{} {exact}",
        cost.minimum_nano_dollars
    );
    assert_eq!(
        cost.early.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "discarding after 7 days still pays for 30: 23 days of each are paid for and not kept (25.7 backups in 30 days)"
        ]
    );
}

#[rstest]
#[case::thirty_dailies("gfs:30/0/0", 30_000, &[])]
#[case::only_the_last("gfs:1/0/0", 1_000, &["discarding after 1 day still pays for 30: 29 days"])]
#[case::weeklies_that_go_early("gfs:1/1/0", 2_000, &["discarding after 1 day ", "discarding after 8 days "])]
#[case::the_last_good_one_above_the_count("gfs:0/0/3", 3_967, &["discarding after 1 day "])]
#[case::huge("gfs:5000/5000/5000", 15_000_000, &[])]
fn what_is_kept_and_what_goes_early(#[case] policy: &str, #[case] kept: u64, #[case] early: &[&str]) {
    let cost = cost(policy, 1);
    assert_eq!(cost.kept_thousandths, kept);
    let said: Vec<String> = cost.early.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), early.len(), "{said:?}");
    for (said, expected) in said.iter().zip(early) {
        assert!(said.starts_with(expected), "{said}");
    }
}

#[rstest]
#[case("gfs:7/4/12")]
#[case("gfs:7/12/13")]
#[case("gfs:45/2/6")]
#[case("gfs:0/12/6")]
#[case("gfs:45/0/0")]
fn what_a_tier_holds_beyond_enough_is_only_added_up(#[case] policy: &str) {
    let policy: ScheduledPolicy = policy.parse().unwrap();
    let (short, whole) = (observe(policy, 1, ENOUGH), observe(policy, 1, (u32::MAX, u32::MAX, u32::MAX)));
    // The days that are watched start elsewhere in the week and the month: one promotion more or less.
    assert!(short.kept_hours.abs_diff(whole.kept_hours) <= 31 * DAY_HOURS);
    let gone = |observed: &Observed| observed.discards.values().sum::<u64>();
    assert!(gone(&short).abs_diff(gone(&whole)) <= 1);
    let early = |observed: &Observed| -> Vec<(u64, u64)> {
        observed.discards.range(..MINIMUM_HOURS).map(|(age, count)| (*age, *count)).collect()
    };
    let (short, whole) = (early(&short), early(&whole));
    assert_eq!(short.len(), whole.len());
    for ((age, count), (same_age, same_count)) in short.into_iter().zip(whole) {
        assert!(age == same_age && count.abs_diff(same_count) <= 2, "{age}: {count} {same_count}");
    }
}

#[test]
fn several_a_day_are_made_each_and_kept_once() {
    let (once, often) = (cost("gfs:7/4/12", 1), cost("gfs:7/4/12", 4));
    assert_eq!(often.requests_nano_dollars.0, 4 * once.requests_nano_dollars.0);
    // Those of the current day come on top: none, one, two, three.
    assert_eq!(often.kept_thousandths, 24_500);
    // A day is thinned when the next begins: of 00, 06, 12 and 18 the last stays, and 12 is 12 hours old by then.
    assert_eq!((often.early[0].after_hours, often.early[0].unused_hours), (12, 708));
    let said = often.to_string();
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("discarding")).collect();
    assert_eq!(
        lines,
        [
            "discarding after 12 hours to 1 day still pays for 30: 29 days or more of each are paid for and not kept \
             (90.0 backups in 30 days)",
            "discarding after 6 days and 6 hours still pays for 30: 23 days and 18 hours of each are paid for and not kept \
             (25.7 backups in 30 days)",
        ]
    );
}

#[test]
fn the_whole_reads_like_this() {
    let prices = Prices::bundled();
    let tariff = prices.tariff(&Region::new("eu-central-1")).unwrap();
    let cost = tariff.policy(ScheduledPolicy::default(), &Shape::of_bytes(2 * GIB), 1);
    insta::assert_snapshot!(cost.to_string());
    insta::assert_json_snapshot!(cost);
}
