//! Which backups are kept: the two policies, the planner that applies them, and a simulator to try them out.
//!
//! [`plan`] decides and changes nothing; whoever executes a [`Plan`] makes no choice of its own.

pub mod calendar;
mod candidate;
pub mod forecast;
mod on_demand;
mod period;
mod policy;
pub mod preview;
mod reason;
mod removed;
mod scheduled;
pub mod simulate;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use crate::{backup::Label, id::BackupId};

pub use candidate::{Candidate, Origin};
pub use period::Period;
pub use policy::{OnDemandPolicy, Policies, ScheduledPolicy};
pub use reason::{Filler, Overflow, Reason};
pub use removed::plan_removed;

/// What becomes of each backup: every candidate is in exactly one of the three lists.
///
/// Within a list, scheduled backups come first, by slot, then those on demand, by the moment they were taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Those that stay as they are.
    pub kept: Vec<Keep>,
    /// Those that stay, with a higher label.
    pub relabelled: Vec<Relabel>,
    /// Those that go.
    pub discarded: Vec<Discard>,
}

/// A backup that stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Which one.
    pub id: BackupId,
    /// Its label; none for a backup on demand.
    pub label: Option<Label>,
    /// Why.
    pub reason: Reason,
}

/// A scheduled backup that stays with a higher label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relabel {
    /// Which one.
    pub id: BackupId,
    /// The label it has.
    pub from: Label,
    /// The label it gets, at once even when it rises by two.
    pub to: Label,
    /// Why.
    pub reason: Reason,
}

/// A backup that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discard {
    /// Which one.
    pub id: BackupId,
    /// The label it has; none for a backup on demand.
    pub label: Option<Label>,
    /// Why.
    pub reason: Reason,
}

impl Keep {
    /// The whole sentence of why it is kept. For a backup that was relabelled it says how it came by its label, which
    /// `recorded`, the reason of that relabel, remembers: once relabelled, nothing else in the backups tells.
    pub fn explain(&self, recorded: Option<&str>) -> String {
        let Reason::InTier { period, .. } = self.reason else { return self.reason.to_string() };
        // A reason of another label or period is an older one, or not of a relabel at all.
        let kept_as = format!("kept as {} of {period}: ", period.label.as_str());
        match recorded.and_then(|recorded| recorded.strip_prefix(&kept_as)).filter(|how| !how.is_empty()) {
            Some(how) => format!("{kept_as}{how}"),
            None => self.reason.to_string(),
        }
    }
}

impl Plan {
    /// Whether executing it would change anything.
    pub fn is_noop(&self) -> bool {
        self.relabelled.is_empty() && self.discarded.is_empty()
    }

    /// What `backups` are once the plan is executed: the relabelled with their new label, without the discarded.
    pub fn apply(&self, backups: &mut Vec<Candidate>) {
        let discarded: HashSet<BackupId> = self.discarded.iter().map(|discard| discard.id).collect();
        let relabelled: HashMap<BackupId, Label> =
            self.relabelled.iter().map(|relabel| (relabel.id, relabel.to)).collect();
        backups.retain(|backup| !discarded.contains(&backup.id));
        for backup in backups {
            if let (Origin::Scheduled { label, .. }, Some(to)) =
                (&mut backup.origin, relabelled.get(&backup.id))
            {
                *label = *to;
            }
        }
    }
}

/// Plans the retention of one application's succeeded `backups`, whose ids are distinct.
///
/// The order of `backups` does not matter. `now` matters to backups on demand alone, for their age and expiry, and
/// to a scheduled one only where the last good backup is one on demand that has expired since.
pub fn plan(backups: &[Candidate], policies: &Policies, now: DateTime<Utc>) -> Plan {
    let last_good = last_good(backups, now);
    let mut plan = Plan::default();
    scheduled::plan(backups, policies.scheduled, last_good, &mut plan);
    on_demand::plan(backups, policies.on_demand, last_good, now, &mut plan);
    plan
}

/// The newest succeeded backup over both triggers, which no policy discards; its own expiry does. A whole one comes before
/// one of some services: what the latter lacks would be gone with the last whole one.
fn last_good(backups: &[Candidate], now: DateTime<Utc>) -> Option<&Candidate> {
    let there = backups.iter().filter(|backup| !backup.is_expired(now));
    there.max_by_key(|backup| (!backup.partial, backup.taken_at, backup.id))
}
