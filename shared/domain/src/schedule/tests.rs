use super::*;
use chrono::NaiveDate;
use chrono_tz::Tz;
use proptest::prelude::*;
use rstest::rstest;

fn application(name: &str) -> ApplicationId {
    name.parse().unwrap()
}

fn daily(start: &str, minutes: u32) -> Schedule {
    Schedule::Daily { window: Window { start: start.to_owned(), minutes } }
}

fn cron(expression: &str) -> Schedule {
    Schedule::Cron { expression: expression.to_owned(), spread_minutes: 0 }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The next `count` slots as `nominal day: local moment`.
fn slots(schedule: &Schedule, tz: Tz, after: &str, count: usize) -> Vec<String> {
    let shop = application("shop");
    let mut after = at(after);
    let mut slots = Vec::new();
    for _ in 0..count {
        let slot = schedule.next_slot(&shop, tz, after).unwrap();
        slots.push(format!("{}: {}", slot.local_date, slot.at.with_timezone(&tz).format("%F %H:%M %z")));
        after = slot.at;
    }
    slots
}

/// These must never change: a release that moved them would run every application twice or late on its first day.
#[rstest]
#[case("shop", 41)]
#[case("blog", 161)]
#[case("client-42", 95)]
#[case("a", 76)]
fn the_minute_of_an_application_is_the_same_in_every_release(#[case] name: &str, #[case] minutes: i64) {
    let slot =
        daily("01:00", 240).next_slot(&application(name), Tz::UTC, at("2026-04-06T00:00:00Z")).unwrap();
    assert_eq!((slot.at - at("2026-04-06T01:00:00Z")).num_minutes(), minutes);
}

#[rstest]
#[case::zurich_spring(daily("02:30", 0), Tz::Europe__Zurich, "2026-03-28T00:00:00Z", &[
    "2026-03-28: 2026-03-28 02:30 +0100", "2026-03-29: 2026-03-29 03:00 +0200", "2026-03-30: 2026-03-30 02:30 +0200",
])]
#[case::zurich_autumn(daily("02:30", 0), Tz::Europe__Zurich, "2026-10-24T12:00:00Z", &[
    "2026-10-25: 2026-10-25 02:30 +0200", "2026-10-26: 2026-10-26 02:30 +0100",
])]
#[case::new_york_spring(daily("02:00", 0), Tz::America__New_York, "2026-03-07T12:00:00Z", &[
    "2026-03-08: 2026-03-08 03:00 -0400", "2026-03-09: 2026-03-09 02:00 -0400",
])]
#[case::new_york_autumn(daily("01:59", 0), Tz::America__New_York, "2026-10-31T12:00:00Z", &[
    "2026-11-01: 2026-11-01 01:59 -0400", "2026-11-02: 2026-11-02 01:59 -0500",
])]
#[case::lord_howe_spring(daily("02:10", 0), Tz::Australia__Lord_Howe, "2026-10-03T12:00:00Z", &[
    "2026-10-04: 2026-10-04 02:30 +1100", "2026-10-05: 2026-10-05 02:10 +1100",
])]
#[case::lord_howe_autumn(daily("01:45", 0), Tz::Australia__Lord_Howe, "2026-04-04T00:00:00Z", &[
    "2026-04-05: 2026-04-05 01:45 +1100", "2026-04-06: 2026-04-06 01:45 +1030",
])]
#[case::apia_without_30_december(daily("01:00", 0), Tz::Pacific__Apia, "2011-12-29T00:00:00Z", &[
    "2011-12-29: 2011-12-29 01:00 -1000", "2011-12-31: 2011-12-31 01:00 +1400", "2012-01-01: 2012-01-01 01:00 +1400",
])]
#[case::havana_without_midnight(daily("00:15", 0), Tz::America__Havana, "2026-03-07T12:00:00Z", &[
    "2026-03-08: 2026-03-08 01:00 -0400", "2026-03-09: 2026-03-09 00:15 -0400",
])]
#[case::havana_with_two_midnights(daily("00:15", 0), Tz::America__Havana, "2026-10-31T12:00:00Z", &[
    "2026-11-01: 2026-11-01 00:15 -0400", "2026-11-02: 2026-11-02 00:15 -0500",
])]
#[case::beirut_without_midnight(daily("00:00", 0), Tz::Asia__Beirut, "2026-03-28T12:00:00Z", &[
    "2026-03-29: 2026-03-29 01:00 +0300", "2026-03-30: 2026-03-30 00:00 +0300",
])]
#[case::cron_zurich_spring(cron("30 2 * * *"), Tz::Europe__Zurich, "2026-03-28T12:00:00Z", &[
    "2026-03-29: 2026-03-29 03:00 +0200", "2026-03-30: 2026-03-30 02:30 +0200",
])]
#[case::cron_of_every_half_hour_in_spring(cron("*/30 * * * *"), Tz::Europe__Zurich, "2026-03-29T00:00:00Z", &[
    "2026-03-29: 2026-03-29 01:30 +0100", "2026-03-29: 2026-03-29 03:00 +0200", "2026-03-29: 2026-03-29 03:30 +0200",
])]
#[case::cron_of_every_half_hour_in_autumn(cron("*/30 * * * *"), Tz::Europe__Zurich, "2026-10-24T23:45:00Z", &[
    "2026-10-25: 2026-10-25 02:00 +0200", "2026-10-25: 2026-10-25 02:30 +0200", "2026-10-25: 2026-10-25 03:00 +0100",
])]
#[case::cron_every_6_hours(cron("0 */6 * * *"), Tz::America__New_York, "2026-03-08T00:00:00Z", &[
    "2026-03-08: 2026-03-08 00:00 -0500", "2026-03-08: 2026-03-08 06:00 -0400", "2026-03-08: 2026-03-08 12:00 -0400",
])]
#[case::cron_apia(cron("0 12 * * *"), Tz::Pacific__Apia, "2011-12-29T00:00:00Z", &[
    "2011-12-29: 2011-12-29 12:00 -1000", "2011-12-31: 2011-12-31 12:00 +1400",
])]
#[case::cron_on_weekdays(cron("0 3 * * MON-FRI"), Tz::UTC, "2026-04-03T12:00:00Z", &[
    "2026-04-06: 2026-04-06 03:00 +0000",
])]
#[case::cron_on_leap_days(cron("0 3 29 2 *"), Tz::UTC, "2026-04-03T12:00:00Z", &[
    "2028-02-29: 2028-02-29 03:00 +0000", "2032-02-29: 2032-02-29 03:00 +0000",
])]
fn slots_go_through_clock_changes(
    #[case] schedule: Schedule,
    #[case] tz: Tz,
    #[case] after: &str,
    #[case] expected: &[&str],
) {
    assert_eq!(slots(&schedule, tz, after, expected.len()), expected);
}

#[test]
fn the_day_of_a_slot_past_midnight_is_that_of_its_window() {
    let schedule = daily("23:59", 1440);
    let late = (0..100)
        .map(|number| application(&format!("client-{number}")))
        .filter_map(|application| schedule.next_slot(&application, Tz::UTC, at("2026-04-06T23:00:00Z")))
        .filter(|slot| slot.at >= at("2026-04-07T00:00:00Z") && slot.at < at("2026-04-07T22:59:00Z"));
    let dates: Vec<NaiveDate> = late.map(|slot| slot.local_date).collect();
    assert!(dates.len() > 50);
    let today = NaiveDate::from_ymd_opt(2026, 4, 6).unwrap();
    // Those of the day before may come first: their windows are still open.
    assert!(dates.iter().all(|date| *date == today || Some(*date) == today.pred_opt()));
    assert!(dates.contains(&today));
}

#[rstest]
#[case::missed_one("2026-04-05T02:00:00Z", "2026-04-06T02:00:00Z", Some("2026-04-06T01:00:00Z"))]
#[case::missed_many("2026-01-01T00:00:00Z", "2026-04-06T00:59:59Z", Some("2026-04-05T01:00:00Z"))]
#[case::due_right_now("2026-04-05T01:00:00Z", "2026-04-06T01:00:00Z", Some("2026-04-06T01:00:00Z"))]
#[case::nothing_since("2026-04-06T01:00:00Z", "2026-04-06T23:00:00Z", None)]
#[case::clock_set_back("2026-04-06T01:00:00Z", "2026-04-01T01:00:00Z", None)]
fn an_outage_is_caught_up_with_once(#[case] since: &str, #[case] now: &str, #[case] expected: Option<&str>) {
    let slot = daily("01:00", 0).latest_slot(&application("shop"), Tz::UTC, at(since), at(now));
    assert_eq!(slot.map(|slot| slot.at), expected.map(at));
}

#[rstest]
#[case(daily("01:00", 240), None)]
#[case(daily("00:00", 0), None)]
#[case(daily("23:59", 1440), None)]
#[case(daily("24:00", 0), Some("`window.start`"))]
#[case(daily("1:00", 0), Some("`window.start`"))]
#[case(daily("01:00:00", 0), Some("`window.start`"))]
#[case(daily("", 0), Some("`window.start`"))]
#[case(daily("01:00", 1441), Some("`window.minutes` is 1441"))]
#[case(cron("0 */6 * * *"), None)]
#[case(cron("*/15 * * * *"), None)]
#[case(cron("0 0 29 2 *"), None)]
#[case(cron("0 4 L * *"), None)]
#[case(cron("0 0 30 2 *"), Some("never fires"))]
#[case(cron("0 0 31 4,6,9,11 *"), Some("never fires"))]
#[case(cron("* * * * *"), Some("fires again after 1 minutes"))]
#[case(cron("*/10 * * * *"), Some("fires again after 10 minutes"))]
#[case(cron("0,50 * * * *"), Some("fires again after 10 minutes"))]
#[case(cron("0,55 0,23 1,31 * *"), Some("fires again after 5 minutes"))]
#[case(cron("0,55 0,23 15 * *"), None)]
#[case(cron("0 0 0 * * *"), Some("five fields"))]
#[case(cron("0 0 * *"), Some("five fields"))]
#[case(cron("@daily"), Some("five fields"))]
#[case(cron(""), Some("five fields"))]
#[case(cron("0 25 * * *"), Some("is not a cron expression"))]
#[case(cron("zero 1 * * *"), Some("is not a cron expression"))]
#[case(Schedule::Cron { expression: "0 1 * * *".to_owned(), spread_minutes: 1441 }, Some("`spread_minutes` is 1441"))]
fn only_sensible_schedules_are_accepted(#[case] schedule: Schedule, #[case] refusal: Option<&str>) {
    match (schedule.validate(), refusal) {
        (Ok(()), None) => {
            assert!(schedule.next_slot(&application("a"), Tz::UTC, at("2026-04-06T00:00:00Z")).is_some());
        }
        (Err(invalid), Some(part)) => assert!(invalid.to_string().contains(part), "{invalid}"),
        (result, _) => panic!("{schedule}: {result:?}"),
    }
}

#[rstest]
#[case(
    r#"{"kind":"daily","window":{"start":"01:00","minutes":240}}"#,
    Some("daily at 01:00, spread over 240 minutes")
)]
#[case(r#"{"kind":"daily","window":{"start":"01:00","minutes":0}}"#, Some("daily at 01:00"))]
#[case(
    r#"{"kind":"cron","expression":"0 */6 * * *","spread_minutes":20}"#,
    Some("cron 0 */6 * * *, spread over 20 minutes")
)]
#[case(r#"{"kind":"cron","expression":"0 */6 * * *"}"#, Some("cron 0 */6 * * *"))]
#[case(r#"{"kind":"daily","window":{"start":"01:00"}}"#, None)]
#[case(r#"{"kind":"daily","window":{"start":"01:00","minutes":-1}}"#, None)]
#[case(r#"{"kind":"daily","window":{"start":"01:00","minutes":0,"zone":"UTC"}}"#, None)]
#[case(r#"{"kind":"weekly","window":{"start":"01:00","minutes":0}}"#, None)]
fn documents_are_read_strictly(#[case] json: &str, #[case] text: Option<&str>) {
    let schedule = serde_json::from_str::<Schedule>(json).ok();
    assert_eq!(schedule.as_ref().map(ToString::to_string).as_deref(), text);
    if let Some(schedule) = schedule {
        let again = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&again).unwrap(), schedule);
    }
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![
        Tz::UTC,
        Tz::Europe__Zurich,
        Tz::America__New_York,
        Tz::America__Havana,
        Tz::Australia__Lord_Howe,
        Tz::Pacific__Apia,
        Tz::Pacific__Kwajalein,
        Tz::Asia__Beirut,
        Tz::Africa__Casablanca,
        Tz::Asia__Kathmandu,
    ])
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let expressions =
        vec!["0 */6 * * *", "*/15 * * * *", "30 2 * * *", "15 0 * * SUN", "0 0 L * *", "45 23 1,15 * *"];
    prop_oneof![
        ((0..24_u32, 0..60_u32), 0..=1440_u32)
            .prop_map(|((h, m), minutes)| daily(&format!("{h:02}:{m:02}"), minutes)),
        (prop::sample::select(expressions), 0..=1440_u32).prop_map(|(expression, spread_minutes)| {
            Schedule::Cron { expression: expression.to_owned(), spread_minutes }
        }),
    ]
}

/// From 1990, before the clock changes of all these zones, to 2030.
fn moments() -> impl Strategy<Value = DateTime<Utc>> {
    (631_152_000_i64..1_893_456_000).prop_map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap())
}

/// Any moment, or one within two days of a change of the zone's clocks.
fn moment_in(tz: Tz, moment: DateTime<Utc>, near_change: bool) -> DateTime<Utc> {
    use chrono::Offset;
    let offset = |at: DateTime<Utc>| at.with_timezone(&tz).offset().fix();
    let changed = |days: &i64| offset(moment) != offset(moment + TimeDelta::days(*days));
    let change = near_change.then(|| (1..400).find(changed)).flatten().unwrap_or(0);
    moment + TimeDelta::days((change - 2).max(0))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_only_go_forward_and_the_latest_is_the_last_of_the_next(
        schedule in schedules(), tz in zones(), moment in moments(), near in any::<bool>(), name in "[a-z]{1,12}"
    ) {
        let (application, start) = (application(&name), moment_in(tz, moment, near));
        let mut after = start;
        for _ in 0..12 {
            let slot = schedule.next_slot(&application, tz, after).unwrap();
            prop_assert!(slot.at > after);
            prop_assert_eq!(schedule.latest_slot(&application, tz, after, slot.at), Some(slot));
            prop_assert_eq!(schedule.latest_slot(&application, tz, start, slot.at), Some(slot));
            prop_assert_eq!(schedule.latest_slot(&application, tz, after, slot.at - TimeDelta::seconds(1)), None);
            after = slot.at;
        }
    }

    #[test]
    fn a_daily_schedule_has_one_slot_within_the_window_of_every_day_there_is(
        (hour, minute) in (0..24_u32, 0..60_u32), minutes in 0..=1440_u32,
        tz in zones(), moment in moments(), near in any::<bool>(), name in "[a-z]{1,12}"
    ) {
        let (application, mut after) = (application(&name), moment_in(tz, moment, near));
        let schedule = daily(&format!("{hour:02}:{minute:02}"), minutes);
        let mut expected: Option<NaiveDate> = None;
        for _ in 0..8 {
            let slot = schedule.next_slot(&application, tz, after).unwrap();
            if let Some(expected) = expected {
                // The next day, or the one after a day the zone skipped.
                let existing = expected.iter_days().find(|day| wall_clock::has_day(tz, *day));
                prop_assert_eq!(Some(slot.local_date), existing);
            }
            let opens = slot.local_date.and_hms_opt(hour, minute, 0).unwrap();
            let local = slot.at.with_timezone(&tz).naive_local();
            let spread = local - opens;
            let moved = wall_clock::instant(tz, opens + spread - TimeDelta::minutes(1)).is_none_or(|before| before == slot.at);
            prop_assert!(spread >= TimeDelta::zero());
            prop_assert!(moved || minutes == 0 && spread.is_zero() || spread < TimeDelta::minutes(i64::from(minutes)));
            expected = slot.local_date.succ_opt();
            after = slot.at;
        }
    }
}

#[test]
fn slots_come_one_after_the_other_through_clock_changes() {
    let (shop, zurich) = (application("shop"), Tz::Europe__Zurich);
    let mut after = at("2026-03-27T12:00:00Z");
    for slot in cron("30 */2 * * *").slots(&shop, zurich, after).take(40) {
        assert_eq!(Some(slot), cron("30 */2 * * *").next_slot(&shop, zurich, after));
        after = slot.at;
    }
    assert_eq!(cron("never").slots(&shop, zurich, after).next(), None);
}
