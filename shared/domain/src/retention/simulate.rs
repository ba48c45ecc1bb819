//! A policy tried out on days that never were: one scheduled success a day, planning after each.

use std::{collections::HashMap, fmt, str::FromStr};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use super::{Candidate, Origin, Policies, ScheduledPolicy, plan};
use crate::{backup::Label, id::BackupId, invalid::Invalid, schedule::Slot};

/// Most days a simulation may cover: a century.
const DAYS_MAX: u32 = 36_525;

/// Most slots a simulated day may have: one an hour.
pub const SLOTS_MAX: u32 = 24;

const DAY_MINUTES: u32 = 24 * 60;

/// What a policy did over the simulated days, and what it keeps at their end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// What is kept at the end, by slot.
    pub kept: Vec<KeptSlot>,
    /// What was done, by the day it was done on, then by slot.
    pub actions: Vec<Action>,
}

/// A backup that is kept at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KeptSlot {
    /// The day of its slot.
    pub slot: NaiveDate,
    /// The time of its slot; where there are several a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<NaiveTime>,
    /// The tier it is in.
    pub label: Label,
}

/// One change, made right after a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The day of the success after which it was done.
    pub on: NaiveDate,
    /// The day of the slot of the backup it was done to.
    pub slot: NaiveDate,
    /// The time of that slot; where there are several a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<NaiveTime>,
    /// What was done.
    pub action: ActionKind,
    /// The label it got; for relabels only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Label>,
    /// Why, as a sentence.
    pub reason: String,
}

/// What was done to a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// It got a higher label.
    Relabel,
    /// It was discarded.
    Discard,
}

/// Days from the first to the last, both included. Written `2026-03-01..2026-03-10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRange {
    first: NaiveDate,
    last: NaiveDate,
}

/// Simulates `days` calendar days from `from` on, with a success on each that is in none of the `skipped` ranges.
///
/// Refuses an invalid policy, no days at all and more than a century.
pub fn simulate(
    policy: ScheduledPolicy,
    from: NaiveDate,
    days: u32,
    skipped: &[DayRange],
) -> Result<Simulation, Invalid> {
    simulate_several(policy, from, days, 1, skipped)
}

/// The same with `slots_per_day` successes on each day, evenly spread from midnight on.
///
/// Refuses also no slots and more than [`SLOTS_MAX`] a day.
pub fn simulate_several(
    policy: ScheduledPolicy,
    from: NaiveDate,
    days: u32,
    slots_per_day: u32,
    skipped: &[DayRange],
) -> Result<Simulation, Invalid> {
    if !(1..=SLOTS_MAX).contains(&slots_per_day) {
        let fix = format!("simulate 1 to {SLOTS_MAX} slots a day");
        return Err(Invalid::new("slots-per-day", format!("is {slots_per_day}"), fix));
    }
    policy.validate().map_err(|invalid| invalid.within("policy"))?;
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(Invalid::new("days", format!("is {days}"), format!("simulate 1 to {DAYS_MAX} days")));
    }
    let last = from.checked_add_days(Days::new(u64::from(days - 1))).filter(|last| last.year() < 10_000);
    if last.is_none() || from.year() < 1 {
        return Err(Invalid::new(
            "from",
            format!("is out of range: {from}"),
            "start between the years 1 and 9899",
        ));
    }
    let mut run = Run::new(policy, slots_per_day);
    for date in from.iter_days().take(usize::try_from(days).unwrap_or(usize::MAX)) {
        if !skipped.iter().any(|range| range.contains(date)) {
            for minute in
                (0..DAY_MINUTES).step_by((DAY_MINUTES / slots_per_day) as usize).take(slots_per_day as usize)
            {
                run.succeed(date, minute);
            }
        }
    }
    Ok(run.finish())
}

/// The state between two simulated days.
struct Run {
    policies: Policies,
    backups: Vec<Candidate>,
    actions: Vec<Action>,
    /// Whether the day alone does not say which slot is meant.
    several: bool,
}

impl Run {
    fn new(policy: ScheduledPolicy, slots_per_day: u32) -> Self {
        let policies = Policies { scheduled: policy, ..Policies::default() };
        Self { policies, backups: Vec::new(), actions: Vec::new(), several: slots_per_day > 1 }
    }

    fn succeed(&mut self, date: NaiveDate, minute: u32) {
        let at = date.and_time(NaiveTime::MIN).and_utc() + TimeDelta::minutes(i64::from(minute));
        self.backups.push(Candidate::scheduled(id(at), Slot { at, local_date: date }, at, Label::Daily));
        let plan = plan(&self.backups, &self.policies, at);

        // The slots are in UTC, and so is when the data are of.
        let slots: HashMap<BackupId, DateTime<Utc>> =
            self.backups.iter().map(|backup| (backup.id, backup.taken_at)).collect();
        let relabels = plan
            .relabelled
            .iter()
            .map(|relabel| (relabel.id, ActionKind::Relabel, Some(relabel.to), relabel.reason.to_string()));
        let discards = plan
            .discarded
            .iter()
            .map(|discard| (discard.id, ActionKind::Discard, None, discard.reason.to_string()));
        let mut actions: Vec<Action> = relabels
            .chain(discards)
            .map(|(id, action, to, reason)| {
                let slot = slots[&id];
                Action { on: date, slot: slot.date_naive(), time: self.time(slot), action, to, reason }
            })
            .collect();
        actions.sort_by_key(|action| (action.slot, action.time));
        self.actions.append(&mut actions);

        plan.apply(&mut self.backups);
    }

    fn finish(self) -> Simulation {
        let mut kept: Vec<KeptSlot> = self
            .backups
            .iter()
            .filter_map(|backup| match backup.origin {
                Origin::Scheduled { slot, label } => {
                    Some(KeptSlot { slot: slot.local_date, time: self.time(slot.at), label })
                }
                Origin::OnDemand { .. } => None,
            })
            .collect();
        kept.sort_by_key(|kept| (kept.slot, kept.time));
        Simulation { kept, actions: self.actions }
    }

    fn time(&self, slot: DateTime<Utc>) -> Option<NaiveTime> {
        self.several.then(|| slot.time())
    }
}

/// An id for the success at `at`, distinct also before 1970, where such ids have no time of their own.
fn id(at: DateTime<Utc>) -> BackupId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&at.timestamp().to_be_bytes());
    // The version takes the place of bits in the first byte, the variant of two in the third: only sign bits there.
    random.rotate_right(2);
    BackupId::new(at, random)
}

impl DayRange {
    /// The days from `first` to `last`, both included; refused when `last` comes before `first`.
    pub fn new(first: NaiveDate, last: NaiveDate) -> Result<Self, Invalid> {
        if last < first {
            let problem = format!("ends before it starts: {first}..{last}");
            return Err(Invalid::new("days", problem, "put the earlier day first"));
        }
        Ok(Self { first, last })
    }

    /// Whether `date` is one of them.
    pub fn contains(self, date: NaiveDate) -> bool {
        (self.first..=self.last).contains(&date)
    }
}

impl fmt::Display for DayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}

impl FromStr for DayRange {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (first, last) = text
            .split_once("..")
            .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))
            .ok_or_else(|| {
                let problem = format!("is not a range of days: {text:?}");
                Invalid::new("days", problem, "write it as FIRST..LAST, such as 2026-03-01..2026-03-10")
            })?;
        Self::new(first, last)
    }
}

#[cfg(test)]
mod tests;
