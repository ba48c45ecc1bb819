use super::*;
use rstest::rstest;

fn run(policy: &str, from: &str, days: u32, skipped: &[&str]) -> Result<Simulation, Invalid> {
    let skipped: Vec<DayRange> = skipped.iter().map(|range| range.parse().unwrap()).collect();
    simulate(policy.parse().unwrap(), from.parse().unwrap(), days, &skipped)
}

#[test]
fn the_document_has_exactly_these_fields() {
    let json = serde_json::to_string(&run("gfs:1/1/0", "2026-04-05", 4, &[]).unwrap()).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"kept":[{"slot":"2026-04-06","label":"weekly"},{"slot":"2026-04-08","label":"daily"}],"actions":["#,
            r#"{"on":"2026-04-06","slot":"2026-04-05","action":"relabel","to":"weekly","#,
            r#""reason":"kept as weekly of 2026-W14: oldest daily when the second arrived"},"#,
            r#"{"on":"2026-04-07","slot":"2026-04-05","action":"discard","#,
            r#""reason":"discarded: oldest weekly when the second arrived, and no tier is above; the weekly of 2026-04-06 has its place"},"#,
            r#"{"on":"2026-04-07","slot":"2026-04-06","action":"relabel","to":"weekly","#,
            r#""reason":"kept as weekly of 2026-W15: oldest daily when the second arrived"},"#,
            r#"{"on":"2026-04-08","slot":"2026-04-07","action":"discard","#,
            r#""reason":"discarded: oldest daily when the second arrived, and 2026-W15 already has the weekly of 2026-04-06"}]}"#,
        )
    );
}

#[test]
fn both_ends_of_a_skipped_range_are_skipped() {
    let kept = run("gfs:7/4/12", "2026-04-01", 4, &["2026-04-02..2026-04-03"]).unwrap().kept;
    let slots: Vec<String> = kept.iter().map(|kept| kept.slot.to_string()).collect();
    assert_eq!(slots, ["2026-04-01", "2026-04-04"]);
}

#[test]
fn days_before_1970_are_days_like_others() {
    let (before, after) =
        (run("gfs:3/1/0", "1931-01-05", 40, &[]).unwrap(), run("gfs:3/1/0", "2026-01-05", 40, &[]));
    assert_eq!(before.actions.len(), after.unwrap().actions.len());
    assert_eq!(before.kept.len(), 4);
}

#[rstest]
#[case("2026-04-01", 0, "`days` is 0")]
#[case("2026-04-01", 36_526, "`days` is 36526")]
#[case("9990-04-01", 36_525, "`from` is out of range")]
#[case("0000-12-31", 1, "`from` is out of range")]
fn absurd_stretches_are_refused(#[case] from: &str, #[case] days: u32, #[case] problem: &str) {
    let refusal = run("gfs:7/4/12", from, days, &[]).unwrap_err().to_string();
    assert!(refusal.contains(problem), "{refusal}");
}

#[rstest]
#[case("2026-04-02")]
#[case("2026-04-02..")]
#[case("2026-04-02..2026-04-31")]
#[case("2026-04-02..2026-04-01")]
fn bad_ranges_are_refused(#[case] text: &str) {
    assert!(text.parse::<DayRange>().is_err());
}

#[test]
fn several_slots_a_day_have_times_and_count_once() {
    let policy = "gfs:2/0/0".parse().unwrap();
    let done = simulate_several(policy, "2026-04-05".parse().unwrap(), 2, 3, &[]).unwrap();
    let kept: Vec<String> =
        done.kept.iter().map(|kept| format!("{} {:?}", kept.slot, kept.time.unwrap())).collect();
    assert_eq!(
        kept,
        ["2026-04-05 16:00:00", "2026-04-06 00:00:00", "2026-04-06 08:00:00", "2026-04-06 16:00:00"]
    );
    let json = serde_json::to_string(&done.actions[0]).unwrap();
    assert!(
        json.starts_with(r#"{"on":"2026-04-06","slot":"2026-04-05","time":"00:00:00","action":"discard","#),
        "{json}"
    );
}

#[rstest]
#[case(0)]
#[case(25)]
fn an_absurd_number_of_slots_is_refused(#[case] slots_per_day: u32) {
    let policy = "gfs:2/0/0".parse().unwrap();
    let refusal = simulate_several(policy, "2026-04-05".parse().unwrap(), 2, slots_per_day, &[]).unwrap_err();
    assert_eq!(refusal.field, "slots-per-day");
}
