//! A hold outlives everything but its release.

use chrono::{Days, NaiveDate, NaiveTime, TimeDelta};
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{Candidate, Policies, Reason, plan},
    schedule::Slot,
};
use rstest::rstest;

fn scheduled(date: NaiveDate) -> Candidate {
    let at = date.and_time(NaiveTime::MIN).and_utc();
    Candidate::scheduled(BackupId::new(at, [0; 10]), Slot { at, local_date: date }, at, Label::Daily)
}

/// Five years of successes every night, the policy changed every hundred days, each of them planned and executed.
#[rstest]
#[case::scheduled(|start: NaiveDate| scheduled(start))]
#[case::on_demand(|start: NaiveDate| {
    let at = start.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(12);
    Candidate::on_demand(BackupId::new(at, [1; 10]), at, Some(at + TimeDelta::days(3)))
})]
fn a_held_backup_survives_five_years(#[case] held: impl Fn(NaiveDate) -> Candidate) {
    let start = NaiveDate::from_ymd_opt(2024, 2, 28).expect("a day");
    let held = held(start).with_hold(true);
    let policies: Vec<Policies> = ["gfs:7/4/12", "gfs:1/0/0", "gfs:0/0/3", "gfs:2/1/1", "gfs:30/0/0"]
        .into_iter()
        .map(|scheduled| Policies { scheduled: scheduled.parse().expect("a policy"), ..Policies::default() })
        .collect();
    let mut backups = vec![held];
    for day in 1..=5 * 366_u64 {
        let date = start + Days::new(day);
        backups.push(scheduled(date));
        let policies = &policies[usize::try_from(day / 100).expect("small") % policies.len()];
        let plan = plan(&backups, policies, date.and_time(NaiveTime::MIN).and_utc());
        let kept = plan.kept.iter().find(|keep| keep.id == held.id).expect("it is kept as it is");
        assert_eq!((kept.label, kept.reason), (held.label(), Reason::Held), "on {date}");
        plan.apply(&mut backups);
        // It takes nobody's place.
        assert!(backups.len() > 1, "on {date}");
    }
    assert!(backups.contains(&held));

    // Released, it is one like any other: the oldest, and past its time.
    for backup in &mut backups {
        backup.held = false;
    }
    let end = (start + Days::new(6 * 366)).and_time(NaiveTime::MIN).and_utc();
    let policies = Policies { scheduled: "gfs:2/0/0".parse().expect("a policy"), ..Policies::default() };
    assert!(plan(&backups, &policies, end).discarded.iter().any(|discard| discard.id == held.id));
}
