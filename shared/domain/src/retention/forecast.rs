//! What comes next for each backup if things stay as they are: one scheduled success a day, and nothing else.
//!
//! The forecast is no second set of rules: it lets the days come and asks the planner after each of them.

use std::{collections::HashMap, fmt};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Candidate, Keep, OnDemandPolicy, Origin, Plan, Policies, Reason, plan};
use crate::{backup::Label, id::BackupId, schedule::Slot};

/// Days a forecast looks ahead at most: eleven years, so that a tier of 120 monthlies comes to its end.
pub const DAYS_MAX: u64 = 4_018;

/// Backups planned at most, over all days: about half a second, which only policies that keep thousands use up.
const WORK_MAX: usize = 1_000_000;

/// What comes next for each backup of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Forecast {
    /// The last day it looked at. What stays beyond that day is said to, and no more is known.
    pub until: NaiveDate,
    /// One for each backup, in the order they were given.
    pub backups: Vec<Outlook>,
}

/// What comes next for a backup. Its `Display` is the rest of a sentence that starts with the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outlook {
    /// Which one.
    pub id: BackupId,
    /// Its next relabel, if one comes before it goes.
    pub relabel: Option<NextRelabel>,
    /// When it goes.
    pub discard: Departure,
}

/// The next time a label rises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NextRelabel {
    /// The local day of the success after which it does; today for what the next run does.
    pub on: NaiveDate,
    /// The label it gets.
    pub to: Label,
    /// Why, in words.
    pub reason: String,
}

/// When a backup goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Departure {
    /// On that day.
    On {
        /// The local day of the success after which it does; today for what the next run does.
        on: NaiveDate,
        /// Why, in words.
        reason: String,
    },
    /// Never while things stay as they are: no hold is put on or released, nobody asks for a backup, the plan stays.
    Never {
        /// Why it is kept, in words.
        reason: String,
    },
    /// Later than the forecast looks.
    After {
        /// The last day it looked at.
        after: NaiveDate,
    },
}

/// Forecasts what becomes of one application's succeeded `backups`, whose ids are distinct, in time zone `tz`.
///
/// First comes the run that is due `now`, then one success for each local day that `slots` has, from the day after the
/// newest slot there is or today, whichever is later. `slots` are in order ([`Schedule::slots`] gives them); further ones
/// of the same day are passed over. It ends early once everything is known, and at the latest after [`DAYS_MAX`] days or
/// where the slots end.
///
/// [`Schedule::slots`]: crate::schedule::Schedule::slots
pub fn forecast(
    backups: &[Candidate],
    policies: &Policies,
    now: DateTime<Utc>,
    tz: Tz,
    slots: impl IntoIterator<Item = Slot>,
) -> Forecast {
    let today = now.with_timezone(&tz).date_naive();
    let mut run = Run::new(backups, *policies, now, today);
    let newest = backups.iter().filter_map(slot_date).max();
    let mut next = newest.and_then(|newest| newest.succ_opt()).map_or(today, |next| next.max(today));
    for slot in slots {
        if run.knows_all() || run.work > WORK_MAX {
            break;
        }
        if slot.local_date < next {
            continue;
        }
        if slot.local_date.signed_duration_since(today) > TimeDelta::days(DAYS_MAX.cast_signed()) {
            break;
        }
        run.succeed(slot);
        match slot.local_date.succ_opt() {
            Some(date) => next = date,
            None => break,
        }
    }
    run.finish(backups)
}

fn slot_date(backup: &Candidate) -> Option<NaiveDate> {
    match backup.origin {
        Origin::Scheduled { slot, .. } => Some(slot.local_date),
        Origin::OnDemand { .. } => None,
    }
}

/// What was found out so far.
#[derive(Default)]
struct Found {
    relabel: Option<NextRelabel>,
    discard: Option<(NaiveDate, Reason)>,
}

/// The state between two days to come.
struct Run {
    policies: Policies,
    backups: Vec<Candidate>,
    /// Of the backups there are, none of those to come.
    found: HashMap<BackupId, Found>,
    /// Scheduled ones among them that are there and not held: each of them goes one day.
    scheduled: usize,
    /// When the last one on demand has grown old and the last expiry has come; none if that is beyond time itself.
    quiet_after: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
    until: NaiveDate,
    last: Plan,
    made: u64,
    work: usize,
}

impl Run {
    fn new(backups: &[Candidate], policies: Policies, now: DateTime<Utc>, today: NaiveDate) -> Self {
        let mut run = Self {
            policies,
            backups: backups.to_vec(),
            found: backups.iter().map(|backup| (backup.id, Found::default())).collect(),
            scheduled: backups.iter().filter(|backup| !backup.held && slot_date(backup).is_some()).count(),
            quiet_after: quiet_after(backups, policies.on_demand),
            at: now,
            until: today,
            last: Plan::default(),
            made: 0,
            work: 0,
        };
        run.settle();
        run
    }

    /// One more success; a slot that was missed catches up now.
    fn succeed(&mut self, slot: Slot) {
        self.at = self.at.max(slot.at);
        self.until = slot.local_date;
        let id = self.id();
        self.backups.push(Candidate::scheduled(id, slot, self.at, Label::Daily));
        self.settle();
    }

    fn settle(&mut self) {
        self.work += self.backups.len();
        let plan = plan(&self.backups, &self.policies, self.at);
        for relabel in &plan.relabelled {
            if let Some(found) = self.found.get_mut(&relabel.id) {
                found.relabel.get_or_insert_with(|| NextRelabel {
                    on: self.until,
                    to: relabel.to,
                    reason: relabel.reason.to_string(),
                });
            }
        }
        for discard in &plan.discarded {
            if let Some(found) = self.found.get_mut(&discard.id) {
                found.discard = Some((self.until, discard.reason));
                self.scheduled -= usize::from(discard.label.is_some());
            }
        }
        if !plan.is_noop() {
            plan.apply(&mut self.backups);
        }
        self.last = plan;
    }

    /// Whether no day to come could add anything.
    fn knows_all(&self) -> bool {
        self.scheduled == 0 && self.is_quiet()
    }

    /// Whether time alone changes nothing any more.
    fn is_quiet(&self) -> bool {
        self.quiet_after.is_some_and(|quiet| self.at > quiet)
    }

    fn finish(mut self, backups: &[Candidate]) -> Forecast {
        let kept: HashMap<BackupId, &Keep> = self.last.kept.iter().map(|keep| (keep.id, keep)).collect();
        let quiet = self.is_quiet();
        let until = self.until;
        let outlooks = backups.iter().map(|backup| {
            let found = self.found.remove(&backup.id).unwrap_or_default();
            let discard = match (found.discard, kept.get(&backup.id).map(|keep| keep.reason)) {
                (Some((on, reason)), _) => Departure::On { on, reason: reason.to_string() },
                (None, Some(reason @ Reason::Held)) => Departure::Never { reason: reason.to_string() },
                (None, Some(reason @ Reason::AmongOlder { .. })) if quiet => {
                    Departure::Never { reason: reason.to_string() }
                }
                _ => Departure::After { after: until },
            };
            Outlook { id: backup.id, relabel: found.relabel, discard }
        });
        Forecast { until, backups: outlooks.collect() }
    }

    /// An id like no other: those there are have random bits where these count.
    fn id(&mut self) -> BackupId {
        self.made += 1;
        let mut count = [0xff; 10];
        count[2..].copy_from_slice(&self.made.to_be_bytes());
        BackupId::new(self.at, count)
    }
}

/// The moment after which nothing happens to backups on demand any more; none if that is beyond time itself.
fn quiet_after(backups: &[Candidate], policy: OnDemandPolicy) -> Option<DateTime<Utc>> {
    let OnDemandPolicy::AgeThenCount { days, .. } = policy;
    backups.iter().filter(|backup| !backup.held).try_fold(DateTime::<Utc>::MIN_UTC, |latest, backup| {
        match backup.origin {
            Origin::Scheduled { .. } => Some(latest),
            Origin::OnDemand { expires_at } => {
                let old = backup.taken_at.checked_add_signed(TimeDelta::days(i64::from(days)))?;
                Some(latest.max(old).max(expires_at.unwrap_or(old)))
            }
        }
    })
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(NextRelabel { on, to, .. }) = &self.relabel {
            write!(f, "becomes {} on {on}, ", to.as_str())?;
        }
        self.discard.fmt(f)
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On { on, .. } => write!(f, "goes on {on}"),
            Self::Never { reason } => write!(f, "never goes while things stay so: {reason}"),
            Self::After { after } => write!(f, "goes after {after}, which is as far as the forecast looks"),
        }
    }
}

#[cfg(test)]
mod tests;
