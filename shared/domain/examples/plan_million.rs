//! How long the retention of 1,000,000 backups takes to plan: those of one application, and those of 40,000; and how long
//! it takes to forecast what becomes of one application's.
//!
//! `cargo run --release -p holdfast-domain --example plan_million`

use std::{
    io::{self, Write},
    time::Instant,
};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{Candidate, Policies, forecast::forecast, plan},
    schedule::Slot,
};

const RECORDS: usize = 1_000_000;
const EACH: usize = 25;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    // One application: a backup every 6 hours for centuries, each tenth on demand, in no order.
    let one = history(RECORDS);
    // The steady state of many applications, a little past full.
    let many: Vec<Vec<Candidate>> = (0..RECORDS / EACH).map(|_| history(EACH)).collect();
    let now = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(300_000);
    let policies = Policies::default();

    let start = Instant::now();
    let planned = plan(&one, &policies, now);
    let seconds = start.elapsed().as_secs_f64();
    let kept = planned.kept.len() + planned.relabelled.len();
    writeln!(out, "1 application with {RECORDS} backups: {seconds:.3} s ({kept} stay)")?;

    let start = Instant::now();
    let kept: usize = many
        .iter()
        .map(|backups| plan(backups, &policies, now))
        .map(|planned| planned.kept.len() + planned.relabelled.len())
        .sum();
    let seconds = start.elapsed().as_secs_f64();
    writeln!(out, "{} applications with {EACH} backups each: {seconds:.3} s ({kept} stay)", many.len())?;

    let backups = steady(now - TimeDelta::days(500), 500);
    let start = Instant::now();
    let slots = (1..).map(|day| slot(now + TimeDelta::days(day)));
    let forecast = forecast(&backups, &policies, now, Tz::UTC, slots);
    let milliseconds = start.elapsed().as_secs_f64() * 1_000.0;
    let days = (forecast.until - now.date_naive()).num_days();
    writeln!(out, "forecast of {} backups over {days} days: {milliseconds:.1} ms", backups.len())
}

/// What is there after so many nights, each planned and executed.
fn steady(first: DateTime<Utc>, nights: i64) -> Vec<Candidate> {
    let mut backups = Vec::new();
    for at in (0..nights).map(|day| first + TimeDelta::days(day)) {
        backups.push(Candidate::scheduled(BackupId::new(at, [0; 10]), slot(at), at, Label::Daily));
        plan(&backups, &Policies::default(), at).apply(&mut backups);
    }
    backups
}

fn slot(at: DateTime<Utc>) -> Slot {
    Slot { at, local_date: at.date_naive() }
}

fn history(count: usize) -> Vec<Candidate> {
    // A stride without a common factor visits every backup once, out of order.
    let stride = if count.is_multiple_of(7_919) { 1 } else { 7_919 };
    (0..count).map(|index| backup(index * stride % count)).collect()
}

fn backup(number: usize) -> Candidate {
    let hours = i64::try_from(number).unwrap_or(0) * 6;
    let at = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::hours(hours);
    let id = BackupId::new(at, [0; 10]);
    if number.is_multiple_of(10) {
        Candidate::on_demand(id, at, None)
    } else {
        Candidate::scheduled(id, slot(at), at, Label::Daily)
    }
}
