//! Known dates, worked out by hand.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{
        Candidate, OnDemandPolicy, Policies, plan,
        simulate::{DayRange, simulate},
    },
    schedule::Slot,
};
use rstest::rstest;

/// A scheduled backup from `2026-04-06T06 weekly held`: hour, label and hold are optional.
fn scheduled(text: &str) -> Candidate {
    let mut words = text.split(' ');
    let when = words.next().expect("a moment");
    let (date, hour) = when.split_once('T').unwrap_or((when, "00"));
    let at: DateTime<Utc> = format!("{date}T{hour}:00:00Z").parse().expect("a moment");
    let (mut label, mut held) = (Label::Daily, false);
    for word in words {
        match word {
            "weekly" => label = Label::Weekly,
            "monthly" => label = Label::Monthly,
            "held" => held = true,
            other => panic!("{other}?"),
        }
    }
    let slot = Slot { at, local_date: date.parse().expect("a day") };
    Candidate::scheduled(BackupId::new(at, [0; 10]), slot, at, label).with_hold(held)
}

/// What a plan does, one line for each change: `2026-04-06T06 → weekly`, `2026-04-06T06 ✗`, and its reason.
fn changes(backups: &[Candidate], policies: &Policies, now: DateTime<Utc>) -> Vec<(String, String)> {
    let plan = plan(backups, policies, now);
    let name = |id: BackupId| {
        let backup = backups.iter().find(|backup| backup.id == id).expect("a known one");
        backup.taken_at.format("%FT%H").to_string()
    };
    let relabels = plan.relabelled.iter().map(|relabel| {
        (format!("{} → {}", name(relabel.id), relabel.to.as_str()), relabel.reason.to_string())
    });
    let discards =
        plan.discarded.iter().map(|discard| (format!("{} ✗", name(discard.id)), discard.reason.to_string()));
    let mut changes: Vec<_> = relabels.chain(discards).collect();
    changes.sort();
    changes
}

fn gfs(policy: &str) -> Policies {
    Policies { scheduled: policy.parse().expect("a policy"), ..Policies::default() }
}

#[rstest]
#[case::not_yet_full("gfs:3/2/2", &["2026-04-06", "2026-04-07", "2026-04-08"], &[])]
#[case::first_of_its_week_to_overflow("gfs:3/2/2", &["2026-04-06", "2026-04-07", "2026-04-08", "2026-04-09"], &[
    ("2026-04-06T00 → weekly", "kept as weekly of 2026-W15: oldest daily when the fourth arrived"),
])]
#[case::its_week_is_taken_by_a_weekly("gfs:3/2/2",
    &["2026-04-06 weekly", "2026-04-07", "2026-04-08", "2026-04-09", "2026-04-10"], &[
    ("2026-04-07T00 ✗",
     "discarded: oldest daily when the fourth arrived, and 2026-W15 already has the weekly of 2026-04-06"),
])]
#[case::its_week_is_taken_by_a_monthly("gfs:1/2/2", &["2026-04-06 monthly", "2026-04-07", "2026-04-08"], &[
    ("2026-04-07T00 ✗",
     "discarded: oldest daily when the second arrived, and 2026-W15 already has the monthly of 2026-04-06"),
])]
#[case::the_week_of_29_december_is_that_of_january("gfs:1/4/12", &["2025-12-29 weekly", "2026-01-04", "2026-01-05"], &[
    ("2026-01-04T00 ✗",
     "discarded: oldest daily when the second arrived, and 2026-W01 already has the weekly of 2025-12-29"),
])]
#[case::sunday_28_december_is_a_week_of_its_own("gfs:1/4/12", &["2025-12-29 weekly", "2025-12-28", "2026-01-04"], &[
    ("2025-12-28T00 → weekly", "kept as weekly of 2025-W52: oldest daily when the second arrived"),
])]
#[case::week_53("gfs:1/4/12", &["2026-12-28 weekly", "2027-01-03", "2027-01-04"], &[
    ("2027-01-03T00 ✗",
     "discarded: oldest daily when the second arrived, and 2026-W53 already has the weekly of 2026-12-28"),
])]
#[case::leap_day("gfs:1/4/12", &["2024-02-29", "2024-03-01"], &[
    ("2024-02-29T00 → weekly", "kept as weekly of 2024-W09: oldest daily when the second arrived"),
])]
#[case::weekly_to_monthly("gfs:1/1/12", &["2026-04-06 weekly", "2026-04-13", "2026-04-14"], &[
    ("2026-04-06T00 → monthly", "kept as monthly of 2026-04: oldest weekly when the second arrived"),
    ("2026-04-13T00 → weekly", "kept as weekly of 2026-W16: oldest daily when the second arrived"),
])]
#[case::weekly_of_a_taken_month("gfs:1/1/12", &["2026-04-01 monthly", "2026-04-06 weekly", "2026-04-13", "2026-04-14"], &[
    ("2026-04-06T00 ✗",
     "discarded: oldest weekly when the second arrived, and 2026-04 already has the monthly of 2026-04-01"),
    ("2026-04-13T00 → weekly", "kept as weekly of 2026-W16: oldest daily when the second arrived"),
])]
#[case::oldest_monthly("gfs:1/0/1", &["2026-03-31 monthly", "2026-04-13", "2026-04-14"], &[
    ("2026-03-31T00 ✗",
     "discarded: oldest monthly when the second arrived, and no tier is above; the monthly of 2026-04-13 has its place"),
    ("2026-04-13T00 → monthly", "kept as monthly of 2026-04: oldest daily when the second arrived"),
])]
#[case::daily_to_monthly_in_one_go("gfs:1/1/12", &["2026-03-30", "2026-04-06 weekly", "2026-04-14"], &[
    ("2026-03-30T00 → monthly",
     "kept as monthly of 2026-03: oldest daily when the second arrived, then oldest weekly when the second arrived"),
])]
#[case::daily_through_weekly_to_nothing("gfs:1/1/12", &["2026-03-02 monthly", "2026-03-30", "2026-04-06 weekly", "2026-04-14"], &[
    ("2026-03-30T00 ✗",
     "discarded: oldest daily when the second arrived, then oldest weekly when the second arrived, \
      and 2026-03 already has the monthly of 2026-03-02"),
])]
#[case::no_weeklies("gfs:1/0/12", &["2026-04-01", "2026-04-02", "2026-04-03"], &[
    ("2026-04-01T00 → monthly", "kept as monthly of 2026-04: oldest daily when the second arrived"),
    ("2026-04-02T00 ✗",
     "discarded: oldest daily when the second arrived, and 2026-04 already has the monthly of 2026-04-01"),
])]
#[case::no_dailies("gfs:0/4/12", &["2026-04-06"], &[
    ("2026-04-06T00 → weekly", "kept as weekly of 2026-W15: the policy keeps no dailies"),
])]
#[case::the_newest_stays_above_the_count("gfs:0/4/12", &["2026-04-06 weekly", "2026-04-07"], &[])]
#[case::until_a_newer_one_comes("gfs:0/4/12", &["2026-04-06 weekly", "2026-04-07", "2026-04-08"], &[
    ("2026-04-07T00 ✗",
     "discarded: the policy keeps no dailies, and 2026-W15 already has the weekly of 2026-04-06"),
])]
#[case::only_monthlies("gfs:0/0/2", &["2026-04-06 monthly", "2026-04-07", "2026-05-01"], &[
    ("2026-04-07T00 ✗",
     "discarded: the policy keeps no dailies, and 2026-04 already has the monthly of 2026-04-06"),
    ("2026-05-01T00 → monthly", "kept as monthly of 2026-05: the policy keeps no dailies"),
])]
#[case::only_dailies("gfs:2/0/0", &["2026-04-06", "2026-04-07", "2026-04-09"], &[
    ("2026-04-06T00 ✗",
     "discarded: oldest daily when the third arrived, and no tier is above; the daily of 2026-04-09 has its place"),
])]
#[case::weeklies_of_an_earlier_policy("gfs:2/0/1", &["2026-04-06 weekly", "2026-04-13 weekly", "2026-04-14"], &[
    ("2026-04-06T00 → monthly", "kept as monthly of 2026-04: the policy keeps no weeklies"),
    ("2026-04-13T00 ✗",
     "discarded: the policy keeps no weeklies, and 2026-04 already has the monthly of 2026-04-06"),
])]
#[case::monthlies_of_an_earlier_policy("gfs:1/1/0", &["2026-03-06 monthly", "2026-04-14"], &[
    ("2026-03-06T00 ✗",
     "discarded: the policy keeps no monthlies, and no tier is above; the daily of 2026-04-14 has its place"),
])]
#[case::a_day_that_is_over_counts_once("gfs:7/4/12",
    &["2026-04-06T00", "2026-04-06T06", "2026-04-06T18", "2026-04-07T00", "2026-04-07T06"], &[
    ("2026-04-06T00 ✗", "discarded because its day counts once: the daily of 2026-04-06 is newer"),
    ("2026-04-06T06 ✗", "discarded because its day counts once: the daily of 2026-04-06 is newer"),
])]
#[case::a_day_that_is_not_over_keeps_all("gfs:1/4/12", &["2026-04-06T00", "2026-04-06T06", "2026-04-06T18"], &[])]
#[case::a_held_one_is_not_counted("gfs:2/4/12", &["2026-04-06 held", "2026-04-07", "2026-04-08"], &[])]
#[case::a_held_weekly_does_not_stand_for_its_week("gfs:1/4/12",
    &["2026-04-06 weekly held", "2026-04-07", "2026-04-08"], &[
    ("2026-04-07T00 → weekly", "kept as weekly of 2026-W15: oldest daily when the second arrived"),
])]
fn scheduled_backups(#[case] policy: &str, #[case] backups: &[&str], #[case] expected: &[(&str, &str)]) {
    let backups: Vec<Candidate> = backups.iter().map(|text| scheduled(text)).collect();
    let changes = changes(&backups, &gfs(policy), DateTime::UNIX_EPOCH);
    let changes: Vec<(&str, &str)> =
        changes.iter().map(|(what, why)| (what.as_str(), why.as_str())).collect();
    assert_eq!(changes, expected);
}

#[test]
fn every_kept_backup_says_why() {
    let backups =
        ["2026-03-02 monthly", "2026-03-09 weekly", "2026-03-16 held", "2026-04-07"].map(scheduled).to_vec();
    let plan = plan(&backups, &gfs("gfs:0/1/12"), DateTime::UNIX_EPOCH);
    let mut reasons: Vec<String> = plan.kept.iter().map(|keep| keep.reason.to_string()).collect();
    reasons.extend(plan.relabelled.iter().map(|relabel| relabel.reason.to_string()));
    reasons.extend(plan.discarded.iter().map(|discard| discard.reason.to_string()));
    assert_eq!(
        reasons,
        [
            "kept as monthly of 2026-03: within the 12 monthlies the policy keeps",
            "kept because a hold is on it",
            "kept as weekly of 2026-W15: the policy keeps no dailies",
            "discarded: oldest weekly when the second arrived, and 2026-03 already has the monthly of 2026-03-02",
        ]
    );
}

/// Hours of age of backups on demand, an `x` after one whose expiry has come, an `h` after a held one.
#[rstest]
#[case::all_young("age_then_count:30/3", &["1", "2", "3", "719"], &[])]
#[case::exactly_30_days_is_young("age_then_count:30/0", &["1", "720"], &[])]
#[case::an_hour_later_it_is_old("age_then_count:30/0", &["1", "721"], &["721"])]
#[case::three_older_ones_stay("age_then_count:30/3", &["1", "800", "900", "1000", "1100", "1200"], &["1100", "1200"])]
#[case::three_stay_for_years("age_then_count:30/3", &["40000", "50000", "60000"], &[])]
#[case::the_last_good_one_stays("age_then_count:30/0", &["800", "900"], &["900"])]
#[case::expiry_comes_before_everything("age_then_count:30/3", &["1x", "800", "900x", "1000", "1100"], &["1x", "900x"])]
#[case::even_for_the_only_one("age_then_count:30/3", &["5x"], &["5x"])]
#[case::a_hold_outlives_expiry_and_is_not_counted("age_then_count:30/1", &["1", "5xh", "800h", "900", "950"], &["950"])]
fn backups_on_demand(#[case] policy: &str, #[case] ages: &[&str], #[case] discarded: &[&str]) {
    let now: DateTime<Utc> = "2026-04-06T12:00:00Z".parse().unwrap();
    let backups: Vec<Candidate> = ages
        .iter()
        .map(|age| {
            let hours: i64 = age.trim_end_matches(['x', 'h']).parse().unwrap();
            let taken_at = now - TimeDelta::hours(hours);
            let expires_at = age.contains('x').then_some(now);
            Candidate::on_demand(BackupId::new(taken_at, [0; 10]), taken_at, expires_at)
                .with_hold(age.contains('h'))
        })
        .collect();
    let on_demand: OnDemandPolicy = policy.parse().unwrap();
    let plan = plan(&backups, &Policies { on_demand, ..Policies::default() }, now);
    let gone: Vec<&str> = std::iter::zip(ages, &backups)
        .filter(|(_, backup)| plan.discarded.iter().any(|discard| discard.id == backup.id))
        .map(|(age, _)| *age)
        .collect();
    assert_eq!(gone, discarded);
}

#[test]
fn a_scheduled_backup_can_be_the_last_good_one_of_those_on_demand() {
    let now: DateTime<Utc> = "2026-04-06T12:00:00Z".parse().unwrap();
    let old = now - TimeDelta::days(40);
    let on_demand = Candidate::on_demand(BackupId::new(old, [0; 10]), old, None);
    let policies =
        Policies { on_demand: OnDemandPolicy::AgeThenCount { days: 30, keep: 0 }, ..Policies::default() };
    assert!(plan(&[on_demand], &policies, now).is_noop());
    assert_eq!(
        changes(&[on_demand, scheduled("2026-04-06")], &policies, now),
        [(
            "2026-02-25T12 ✗".to_owned(),
            "discarded: older than 30 days; the daily of 2026-04-06 has its place".to_owned()
        )]
    );
}

#[rstest]
#[case("gfs:2/1/1", "2026-03-30", 9, &[], &[
    "2026-04-01 2026-03-30 relabel weekly",
    "2026-04-02 2026-03-31 discard",
    "2026-04-03 2026-04-01 discard",
    "2026-04-04 2026-04-02 discard",
    "2026-04-05 2026-04-03 discard",
    "2026-04-06 2026-04-04 discard",
    "2026-04-07 2026-04-05 discard",
], &["2026-03-30 weekly", "2026-04-06 daily", "2026-04-07 daily"])]
#[case("gfs:2/1/1", "2026-03-30", 30, &["2026-04-02..2026-04-27"], &[
    "2026-04-01 2026-03-30 relabel weekly",
    "2026-04-28 2026-03-31 discard",
], &["2026-03-30 weekly", "2026-04-01 daily", "2026-04-28 daily"])]
fn simulated_days(
    #[case] policy: &str,
    #[case] from: &str,
    #[case] days: u32,
    #[case] skipped: &[&str],
    #[case] actions: &[&str],
    #[case] kept: &[&str],
) {
    let skipped: Vec<DayRange> = skipped.iter().map(|range| range.parse().unwrap()).collect();
    let done = simulate(policy.parse().unwrap(), from.parse().unwrap(), days, &skipped).unwrap();
    let json = serde_json::to_value(&done).unwrap();
    let line = |row: &serde_json::Value, fields: &[&str]| {
        fields.iter().filter_map(|field| row.get(field)?.as_str()).collect::<Vec<_>>().join(" ")
    };
    let lines = |list: &str, fields: &[&str]| {
        json[list].as_array().unwrap().iter().map(|row| line(row, fields)).collect::<Vec<_>>()
    };
    assert_eq!(lines("actions", &["on", "slot", "action", "to"]), actions);
    assert_eq!(lines("kept", &["slot", "label"]), kept);
}

#[rstest]
#[case::relabelled(
    "2026-04-06 weekly",
    Some("kept as weekly of 2026-W15: oldest daily when the eighth arrived"),
    "kept as weekly of 2026-W15: oldest daily when the eighth arrived"
)]
#[case::never_relabelled(
    "2026-04-06",
    None,
    "kept as daily of 2026-04-06: within the 7 dailies the policy keeps"
)]
#[case::nothing_recorded(
    "2026-04-06 weekly",
    None,
    "kept as weekly of 2026-W15: within the 4 weeklies the policy keeps"
)]
#[case::of_an_older_label(
    "2026-04-06 monthly",
    Some("kept as weekly of 2026-W15: oldest daily when the eighth arrived"),
    "kept as monthly of 2026-04: within the 12 monthlies the policy keeps"
)]
#[case::of_another_time(
    "2026-04-06 weekly",
    Some("restored by somebody"),
    "kept as weekly of 2026-W15: within the 4 weeklies the policy keeps"
)]
#[case::a_hold_comes_first(
    "2026-04-06 weekly held",
    Some("kept as weekly of 2026-W15: oldest daily when the eighth arrived"),
    "kept because a hold is on it"
)]
fn a_kept_backup_says_how_it_came_by_its_label(
    #[case] backup: &str,
    #[case] recorded: Option<&str>,
    #[case] sentence: &str,
) {
    let backup = scheduled(backup);
    let plan = plan(&[backup, scheduled("2026-04-20")], &Policies::default(), backup.taken_at);
    assert_eq!(plan.kept[0].explain(recorded), sentence);
}

#[test]
fn what_a_relabel_records_explains_the_backup_from_then_on() {
    let mut backups: Vec<Candidate> =
        ["2026-04-06", "2026-04-07", "2026-04-08"].into_iter().map(scheduled).collect();
    let policies = gfs("gfs:2/2/2");
    let first = plan(&backups, &policies, backups[2].taken_at);
    let recorded = first.relabelled[0].reason.to_string();
    first.apply(&mut backups);
    let next = plan(&backups, &policies, backups[2].taken_at);
    assert_eq!(
        next.kept[0].explain(Some(&recorded)),
        "kept as weekly of 2026-W15: oldest daily when the third arrived"
    );
}
