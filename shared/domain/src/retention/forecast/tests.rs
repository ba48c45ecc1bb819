use chrono::NaiveTime;
use rstest::rstest;

use super::*;
use crate::schedule::{Schedule, Window};

const ZURICH: Tz = Tz::Europe__Zurich;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Nightly slots at 02:00 in Zurich.
fn nights(after: &str) -> impl Iterator<Item = Slot> {
    let nightly = Schedule::Daily { window: Window { start: "02:00".to_owned(), minutes: 0 } };
    nightly.slots(&"shop".parse().unwrap(), ZURICH, at(after))
}

/// A scheduled backup of 02:00 in Zurich from `2026-04-06 weekly held`: label and hold are optional.
fn scheduled(text: &str) -> Candidate {
    let date: NaiveDate = text[..10].parse().unwrap();
    let at = date.and_time(NaiveTime::MIN).and_utc();
    let label = match text {
        text if text.contains("monthly") => Label::Monthly,
        text if text.contains("weekly") => Label::Weekly,
        _ => Label::Daily,
    };
    Candidate::scheduled(BackupId::new(at, [0; 10]), Slot { at, local_date: date }, at, label)
        .with_hold(text.contains("held"))
}

fn on_demand(taken_at: &str, expires_at: Option<&str>) -> Candidate {
    Candidate::on_demand(BackupId::new(at(taken_at), [1; 10]), at(taken_at), expires_at.map(at))
}

fn policies(scheduled: &str) -> Policies {
    Policies { scheduled: scheduled.parse().unwrap(), ..Policies::default() }
}

fn sentences(forecast: &Forecast) -> Vec<String> {
    forecast.backups.iter().map(ToString::to_string).collect()
}

#[rstest]
#[case::goes_up_and_goes("gfs:2/1/1", &["2026-03-30", "2026-03-31"], &[
    "becomes weekly on 2026-04-01, goes on 2026-04-15", "goes on 2026-04-02",
])]
#[case::pending_today("gfs:1/1/0", &["2026-03-30", "2026-03-31"], &[
    "becomes weekly on 2026-03-31, goes on 2026-04-07", "goes on 2026-04-01",
])]
#[case::held("gfs:1/1/0", &["2026-03-30 held", "2026-03-31 weekly"], &[
    "never goes while things stay so: kept because a hold is on it", "goes on 2026-04-07",
])]
#[case::one_today_counts_as_todays_success("gfs:1/0/0", &["2026-03-31"], &["goes on 2026-04-01"])]
#[case::an_outage_is_over_today("gfs:1/0/0", &["2026-02-01"], &["goes on 2026-04-01"])]
fn the_next_relabel_and_the_discard(
    #[case] policy: &str,
    #[case] backups: &[&str],
    #[case] expected: &[&str],
) {
    let backups: Vec<Candidate> = backups.iter().map(|text| scheduled(text)).collect();
    let now = "2026-03-31T12:00:00Z";
    let forecast = forecast(&backups, &policies(policy), at(now), ZURICH, nights(now));
    assert_eq!(sentences(&forecast), expected);
}

#[test]
fn of_nothing_there_is_nothing_to_say() {
    let now = "2026-03-31T23:00:00Z";
    let forecast = forecast(&[], &Policies::default(), at(now), ZURICH, nights(now));
    // Today is the application's day.
    assert_eq!(forecast, Forecast { until: "2026-04-01".parse().unwrap(), backups: Vec::new() });
}

#[test]
fn a_slot_that_was_missed_catches_up_now() {
    let (now, midnight) = ("2026-03-31T12:00:00Z", "2026-03-30T22:00:00Z");
    let backups = [scheduled("2026-03-29")];
    let forecast = forecast(&backups, &policies("gfs:1/0/0"), at(now), ZURICH, nights(midnight));
    assert_eq!(sentences(&forecast), ["goes on 2026-03-31"]);
}

#[test]
fn further_slots_of_a_day_are_passed_over() {
    let now = at("2026-03-31T12:00:00Z");
    let six_hourly = Schedule::Cron { expression: "0 */6 * * *".to_owned(), spread_minutes: 0 };
    let slots = six_hourly.slots(&"shop".parse().unwrap(), ZURICH, now);
    let backups = [scheduled("2026-03-30"), scheduled("2026-03-31")];
    let forecast = forecast(&backups, &policies("gfs:3/0/0"), now, ZURICH, slots);
    assert_eq!(sentences(&forecast), ["goes on 2026-04-02", "goes on 2026-04-03"]);
}

#[test]
fn backups_on_demand_grow_old_and_expire() {
    let now = "2026-04-01T12:00:00Z";
    let backups = [
        on_demand("2026-03-01T12:00:00Z", None),
        on_demand("2026-03-10T12:00:00Z", None),
        on_demand("2026-03-20T12:00:00Z", None),
        on_demand("2026-03-21T12:00:00Z", Some("2026-04-05T12:00:00Z")),
        on_demand("2026-04-01T06:00:00Z", None),
    ];
    let forecast = forecast(&backups, &Policies::default(), at(now), ZURICH, nights(now));
    // The first is the fourth of the old ones on the night after the last one's thirtieth day.
    let never = "never goes while things stay so: kept as one of the 3 newest older than 30 days";
    assert_eq!(sentences(&forecast), ["goes on 2026-05-02", never, never, "goes on 2026-04-06", never]);
}

#[test]
fn where_the_slots_end_the_forecast_says_so() {
    let now = at("2026-03-31T12:00:00Z");
    let backups = [scheduled("2026-03-31"), on_demand("2026-03-31T06:00:00Z", None)];
    let nothing = forecast(&backups, &Policies::default(), now, ZURICH, []);
    let after = "goes after 2026-03-31, which is as far as the forecast looks";
    assert_eq!(sentences(&nothing), [after, after]);
    let week = forecast(&backups, &Policies::default(), now, ZURICH, nights("2026-03-31T12:00:00Z").take(7));
    assert_eq!(week.until.to_string(), "2026-04-07");
    assert!(sentences(&week)[0].starts_with("becomes weekly on 2026-04-07, goes after 2026-04-07"));
}

#[rstest]
#[case::twelve_months("gfs:7/4/12", 365..=420)]
#[case::ten_years("gfs:7/4/120", 3_500..=3_760)]
fn it_reaches_the_end_of_the_longest_tier(#[case] policy: &str, #[case] days: std::ops::RangeInclusive<i64>) {
    let now = at("2026-04-06T12:00:00Z");
    let forecast =
        forecast(&[scheduled("2026-04-06")], &policies(policy), now, ZURICH, nights("2026-04-06T12:00:00Z"));
    assert!(matches!(forecast.backups[0].discard, Departure::On { .. }), "{}", forecast.backups[0]);
    assert!(days.contains(&(forecast.until - now.date_naive()).num_days()), "{}", forecast.until);
}

#[rstest]
#[case::days("gfs:0/0/5000")]
#[case::work("gfs:5000/0/0")]
fn beyond_its_bounds_it_says_how_far_it_looked(#[case] policy: &str) {
    let now = at("2026-04-06T12:00:00Z");
    let backups = [scheduled("2026-04-06")];
    let forecast = forecast(&backups, &policies(policy), now, ZURICH, nights("2026-04-06T12:00:00Z"));
    assert_eq!(forecast.backups[0].discard, Departure::After { after: forecast.until });
    assert!((forecast.until - now.date_naive()).num_days() <= DAYS_MAX.cast_signed());
}

#[test]
fn the_document_has_exactly_these_fields() {
    let now = "2026-03-31T12:00:00Z";
    let backups = [scheduled("2026-03-31"), scheduled("2026-03-30 held")];
    let forecast = forecast(&backups, &policies("gfs:1/1/0"), at(now), ZURICH, nights(now));
    insta::assert_json_snapshot!(forecast);
    let json = serde_json::to_string(&forecast).unwrap();
    assert_eq!(serde_json::from_str::<Forecast>(&json).unwrap(), forecast);
}
