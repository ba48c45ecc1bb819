//! The rules once more, word by word and slowly: one backup at a time, weeks and months by name.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{Candidate, OnDemandPolicy, Origin, Plan, Policies, ScheduledPolicy},
};

/// What becomes of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Kept,
    Relabelled(Label),
    Discarded,
}

pub(crate) fn outcomes_of(plan: &Plan) -> BTreeMap<BackupId, Outcome> {
    let kept = plan.kept.iter().map(|keep| (keep.id, Outcome::Kept));
    let relabelled = plan.relabelled.iter().map(|relabel| (relabel.id, Outcome::Relabelled(relabel.to)));
    kept.chain(relabelled)
        .chain(plan.discarded.iter().map(|discard| (discard.id, Outcome::Discarded)))
        .collect()
}

#[derive(Debug, Clone)]
struct Tape {
    id: BackupId,
    date: NaiveDate,
    at: DateTime<Utc>,
    label: Label,
}

impl Tape {
    fn week(&self) -> String {
        self.date.format("%G-W%V").to_string()
    }

    fn month(&self) -> String {
        self.date.format("%Y-%m").to_string()
    }
}

pub(crate) fn reference(
    backups: &[Candidate],
    policies: &Policies,
    now: DateTime<Utc>,
) -> BTreeMap<BackupId, Outcome> {
    let expired = |backup: &Candidate| match backup.origin {
        Origin::OnDemand { expires_at: Some(expires_at) } => expires_at <= now && !backup.held,
        _ => false,
    };
    let mut alive: Vec<&Candidate> = backups.iter().filter(|backup| !expired(backup)).collect();
    alive.sort_by_key(|backup| (backup.taken_at, backup.id));
    let last_good = alive.last().map(|backup| backup.id);

    let mut outcomes: BTreeMap<BackupId, Outcome> =
        backups.iter().map(|backup| (backup.id, Outcome::Discarded)).collect();
    for backup in backups.iter().filter(|backup| backup.held) {
        outcomes.insert(backup.id, Outcome::Kept);
    }

    let OnDemandPolicy::AgeThenCount { days, keep } = policies.on_demand;
    let mut room = keep;
    for backup in alive.iter().rev().filter(|backup| !backup.held) {
        if let Origin::OnDemand { .. } = backup.origin {
            if backup.taken_at + TimeDelta::hours(24 * i64::from(days)) >= now || Some(backup.id) == last_good
            {
                outcomes.insert(backup.id, Outcome::Kept);
            }
            if backup.taken_at + TimeDelta::hours(24 * i64::from(days)) < now && room > 0 {
                room -= 1;
                outcomes.insert(backup.id, Outcome::Kept);
            }
        }
    }

    let mut shelf = Vec::new();
    let mut today = NaiveDate::MIN;
    for backup in backups {
        if let Origin::Scheduled { slot, label } = backup.origin {
            today = today.max(slot.local_date);
            if !backup.held {
                shelf.push(Tape { id: backup.id, date: slot.local_date, at: slot.at, label });
            }
        }
    }
    shelf.sort_by_key(|tape| (tape.date, tape.at, tape.id));
    for tape in scheduled(shelf, policies.scheduled, today, last_good) {
        let label = backups.iter().find(|backup| backup.id == tape.id).and_then(Candidate::label);
        let outcome = if label == Some(tape.label) { Outcome::Kept } else { Outcome::Relabelled(tape.label) };
        outcomes.insert(tape.id, outcome);
    }
    outcomes
}

fn scheduled(
    mut shelf: Vec<Tape>,
    policy: ScheduledPolicy,
    today: NaiveDate,
    last_good: Option<BackupId>,
) -> Vec<Tape> {
    let ScheduledPolicy::Gfs { daily, weekly, monthly } = policy;

    // Within a day older than the current one, the newest of that day stays and the others are discarded first.
    while let Some(doubled) = shelf.iter().position(|tape| {
        tape.date < today
            && tape.label == Label::Daily
            && Some(tape.id) != last_good
            && shelf.iter().any(|other| {
                other.label == Label::Daily
                    && other.date == tape.date
                    && (other.at, other.id) > (tape.at, tape.id)
            })
    }) {
        shelf.remove(doubled);
    }

    // Applied until nothing changes.
    loop {
        let before = shelf.iter().map(|tape| (tape.id, tape.label)).collect::<Vec<_>>();
        let mut stays_above = None;

        // While there are more than 7 dailies: take the oldest daily.
        loop {
            let dailies: Vec<usize> = (0..shelf.len())
                .filter(|i| shelf[*i].label == Label::Daily && Some(shelf[*i].id) != stays_above)
                .collect();
            let days: BTreeSet<NaiveDate> = dailies.iter().map(|i| shelf[*i].date).collect();
            if days.len() <= daily as usize {
                break;
            }
            let oldest = dailies[0];
            let week_taken =
                shelf.iter().any(|t| t.label != Label::Daily && t.week() == shelf[oldest].week());
            let month_taken =
                shelf.iter().any(|t| t.label == Label::Monthly && t.month() == shelf[oldest].month());
            if weekly > 0 && !week_taken {
                shelf[oldest].label = Label::Weekly;
            } else if weekly == 0 && monthly > 0 && !month_taken {
                shelf[oldest].label = Label::Monthly;
            } else if Some(shelf[oldest].id) == last_good {
                stays_above = last_good;
            } else {
                shelf.remove(oldest);
            }
        }

        // While there are more than 4 weeklies: take the oldest weekly.
        loop {
            let weeklies: Vec<usize> = (0..shelf.len())
                .filter(|i| shelf[*i].label == Label::Weekly && Some(shelf[*i].id) != stays_above)
                .collect();
            if weeklies.len() <= weekly as usize {
                break;
            }
            let oldest = weeklies[0];
            let month_taken =
                shelf.iter().any(|t| t.label == Label::Monthly && t.month() == shelf[oldest].month());
            if monthly > 0 && !month_taken {
                shelf[oldest].label = Label::Monthly;
            } else if Some(shelf[oldest].id) == last_good {
                stays_above = last_good;
            } else {
                shelf.remove(oldest);
            }
        }

        // While there are more than 12 monthlies: discard the oldest monthly.
        loop {
            let monthlies: Vec<usize> = (0..shelf.len())
                .filter(|i| shelf[*i].label == Label::Monthly && Some(shelf[*i].id) != stays_above)
                .collect();
            if monthlies.len() <= monthly as usize {
                break;
            }
            if Some(shelf[monthlies[0]].id) == last_good {
                stays_above = last_good;
            } else {
                shelf.remove(monthlies[0]);
            }
        }

        if before == shelf.iter().map(|tape| (tape.id, tape.label)).collect::<Vec<_>>() {
            return shelf;
        }
    }
}
