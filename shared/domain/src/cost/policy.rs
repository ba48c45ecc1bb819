//! What a policy costs for a month, once it is full: one success a day, or several.
//!
//! The planner is asked, day by day over four years, and what it keeps and discards is billed. Each backup is billed for
//! as long as it is kept, for the days of grace after its discard, and for what is then missing to the least time.

use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    gibibytes::Gibibytes,
    making::Shape,
    money::NanoDollars,
    prices::Tariff,
    storage::{GRACE_HOURS, MINIMUM_HOURS, MONTH_HOURS, billed},
};
use crate::{
    backup::Label,
    id::BackupId,
    retention::{Candidate, Policies, ScheduledPolicy, plan, simulate::SLOTS_MAX},
    schedule::Slot,
};

/// Days that are billed: four years, with one leap day.
const WINDOW_DAYS: u64 = 1_461;

const DAY_HOURS: u64 = 24;

/// Days an object is billed for at least.
const MINIMUM_DAYS: u64 = MINIMUM_HOURS / DAY_HOURS;

/// Most a tier needs to hold to be told from one that holds more: what leaves it is then older than any minimum, and what
/// goes up and what goes for good no longer depends on how many it holds.
const ENOUGH: (u32, u32, u32) = (40, 10, 4);

/// What a policy costs for a month of 30 days, once its tiers are full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyCost {
    /// The region.
    pub region: String,
    /// The day of the prices.
    pub prices_of: NaiveDate,
    /// The policy, such as `gfs:7/4/12`.
    pub policy: String,
    /// Successes on each day.
    pub slots_per_day: u32,
    /// Bytes of one backup.
    pub bytes_per_backup: u64,
    /// Backups that are kept on average, in thousandths.
    pub kept_thousandths: u64,
    /// Storage of what is kept, in billionths of a US dollar.
    pub kept_nano_dollars: NanoDollars,
    /// Storage of what was discarded in the last 7 days and can still be brought back, in billionths of a US dollar.
    pub grace_nano_dollars: NanoDollars,
    /// Storage that is billed for nothing: the rest of the 30 days of what is gone, in billionths of a US dollar.
    pub minimum_nano_dollars: NanoDollars,
    /// Requests to make the month's backups, in billionths of a US dollar.
    pub requests_nano_dollars: NanoDollars,
    /// Lambda and Step Functions to make the month's backups, in billionths of a US dollar.
    pub compute_nano_dollars: NanoDollars,
    /// All of it, in billionths of a US dollar.
    pub total_nano_dollars: NanoDollars,
    /// What goes before the 30 days that are paid for, shortest first.
    pub early: Vec<EarlyDiscard>,
}

/// Backups that are discarded at the same age, before the 30 days that are paid for. Its `Display` says so outright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EarlyDiscard {
    /// Their age when they are discarded, in hours.
    pub after_hours: u64,
    /// Hours of each that are paid for and not kept. During the first of them it can be brought back.
    pub unused_hours: u64,
    /// How many of them in 30 days, in thousandths.
    pub per_month_thousandths: u64,
}

/// What the planner did in the days that are billed.
#[derive(Default)]
struct Observed {
    /// Hours of all that was kept.
    kept_hours: u64,
    /// Discards by age in hours.
    discards: BTreeMap<u64, u64>,
}

impl Tariff<'_> {
    /// What `policy` costs for backups of that shape, `slots_per_day` of them each day: at least 1 and at
    /// most [`SLOTS_MAX`] are counted.
    pub fn policy(&self, policy: ScheduledPolicy, shape: &Shape, slots_per_day: u32) -> PolicyCost {
        let slots_per_day = slots_per_day.clamp(1, SLOTS_MAX);
        let observed = observe(policy, slots_per_day, ENOUGH);
        let window = WINDOW_DAYS * DAY_HOURS;
        let bytes = billed(shape.objects.iter().copied());
        let storage = |hours: u64| {
            // A month's share of the window, without rounding in between.
            let byte_hours = u128::from(bytes).saturating_mul(u128::from(hours * MONTH_HOURS));
            self.byte_hours(byte_hours, u128::from(window))
        };
        let over = |hours: &dyn Fn(u64) -> u64| {
            observed.discards.iter().map(|(age, count)| hours(*age) * count).sum()
        };
        let kept = storage(observed.kept_hours);
        let grace = storage(over(&|_| GRACE_HOURS));
        let minimum = storage(over(&|age| MINIMUM_HOURS.saturating_sub(age + GRACE_HOURS)));

        let making = self.making(shape);
        let made = u128::from(slots_per_day) * u128::from(MONTH_HOURS / DAY_HOURS);
        let requests = making.requests_nano_dollars.per(1, made);
        let compute = making.compute_nano_dollars.per(1, made);
        PolicyCost {
            region: self.region.to_owned(),
            prices_of: self.date,
            policy: policy.to_string(),
            slots_per_day,
            bytes_per_backup: shape.objects.iter().copied().fold(0, u64::saturating_add),
            kept_thousandths: thousandths(observed.kept_hours, window),
            kept_nano_dollars: kept,
            grace_nano_dollars: grace,
            minimum_nano_dollars: minimum,
            requests_nano_dollars: requests,
            compute_nano_dollars: compute,
            total_nano_dollars: [kept, grace, minimum, requests, compute].into_iter().sum(),
            early: observed
                .discards
                .iter()
                .filter(|(age, _)| **age < MINIMUM_HOURS)
                .map(|(age, count)| EarlyDiscard {
                    after_hours: *age,
                    unused_hours: MINIMUM_HOURS - age,
                    per_month_thousandths: thousandths(count * MONTH_HOURS, window),
                })
                .collect(),
        }
    }
}

fn thousandths(part: u64, whole: u64) -> u64 {
    (part * 1_000 + whole / 2) / whole
}

/// Lets the tiers fill, each with what it may hold or with `enough`, and then watches them.
fn observe(policy: ScheduledPolicy, slots_per_day: u32, enough: (u32, u32, u32)) -> Observed {
    let ScheduledPolicy::Gfs { daily, weekly, monthly } = policy;
    let (days, weeks, months) = (daily.min(enough.0), weekly.min(enough.1), monthly.min(enough.2));
    // A full tier holds what it may: what it holds beyond enough is there all the time.
    let beyond = u64::from(daily - days + (weekly - weeks) + (monthly - months));
    let policies = Policies {
        scheduled: ScheduledPolicy::Gfs { daily: days, weekly: weeks, monthly: months },
        ..Policies::default()
    };
    let fills_in = u64::from(days + 7 * (weeks + 2) + 31 * (months + 2));

    let mut observed = Observed::default();
    // Backups kept from each success to the next.
    let mut kept = 0;
    let mut backups: Vec<Candidate> = Vec::new();
    let first = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap_or_default();
    for day in 0..fills_in + WINDOW_DAYS {
        let Some(local_date) = first.checked_add_days(Days::new(day)) else { break };
        for slot in 0..slots_per_day {
            let at: DateTime<Utc> = local_date.and_time(NaiveTime::MIN).and_utc()
                + TimeDelta::minutes(i64::from(slot) * i64::from(24 * 60 / slots_per_day));
            let id = BackupId::new(at, [0; 10]);
            backups.push(Candidate::scheduled(id, Slot { at, local_date }, at, Label::Daily));
            let plan = plan(&backups, &policies, at);
            if day >= fills_in {
                for discard in &plan.discarded {
                    let age = backups
                        .iter()
                        .find(|backup| backup.id == discard.id)
                        .map(|backup| at - backup.taken_at);
                    let age = age.unwrap_or_default().num_hours().unsigned_abs();
                    *observed.discards.entry(age).or_default() += 1;
                }
            }
            plan.apply(&mut backups);
            if day >= fills_in {
                kept += backups.len() as u64;
            }
        }
    }
    observed.kept_hours = kept * DAY_HOURS / u64::from(slots_per_day) + beyond * WINDOW_DAYS * DAY_HOURS;
    observed
}

impl fmt::Display for PolicyCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} with {} of {} costs {} in 30 days in {} (US dollars, prices of {})",
            self.policy,
            if self.slots_per_day == 1 {
                "a backup a day".to_owned()
            } else {
                format!("{} backups a day", self.slots_per_day)
            },
            Gibibytes(self.bytes_per_backup),
            self.total_nano_dollars,
            self.region,
            self.prices_of,
        )?;
        let kept = format!("kept, {} on average", Thousandths(self.kept_thousandths));
        let lines = [
            (kept.as_str(), self.kept_nano_dollars),
            ("discarded, for 7 days of grace", self.grace_nano_dollars),
            ("gone, for the rest of 30 days", self.minimum_nano_dollars),
            ("requests", self.requests_nano_dollars),
            ("Lambda and Step Functions", self.compute_nano_dollars),
        ];
        for (what, amount) in lines {
            writeln!(f, "  {what:<32} {:>10}", amount.to_string())?;
        }
        // With many slots a day, those that go when their day is over are one line.
        let (same_day, later): (Vec<&EarlyDiscard>, Vec<&EarlyDiscard>) =
            self.early.iter().partition(|early| early.after_hours <= DAY_HOURS);
        match same_day.as_slice() {
            [] => {}
            [early] => writeln!(f, "{early}")?,
            [first, .., last] => {
                let (from, to, unused) =
                    (Span(first.after_hours), Span(last.after_hours), Span(last.unused_hours));
                let thousandths = same_day.iter().map(|early| early.per_month_thousandths).sum();
                write!(f, "discarding after {from} to {to} still pays for {MINIMUM_DAYS}: ")?;
                write!(f, "{unused} or more of each are paid for and not kept")?;
                writeln!(f, " ({} backups in 30 days)", Thousandths(thousandths))?;
            }
        }
        later.into_iter().try_for_each(|early| writeln!(f, "{early}"))
    }
}

impl fmt::Display for EarlyDiscard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (after, unused) = (Span(self.after_hours), Span(self.unused_hours));
        write!(f, "discarding after {after} still pays for {MINIMUM_DAYS}: ")?;
        write!(f, "{unused} of each are paid for and not kept")?;
        write!(f, " ({} backups in 30 days)", Thousandths(self.per_month_thousandths))
    }
}

/// Thousandths with one decimal.
struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 + 50) / 100;
        write!(f, "{}.{}", tenths / 10, tenths % 10)
    }
}

/// Hours as days, where they are whole ones.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |f: &mut fmt::Formatter<'_>, count, unit: &str| {
            write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
        };
        let (days, hours) = (self.0 / DAY_HOURS, self.0 % DAY_HOURS);
        if days > 0 {
            count(f, days, "day")?;
            f.write_str(if hours > 0 { " and " } else { "" })?;
        }
        if hours > 0 || days == 0 { count(f, hours, "hour") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
