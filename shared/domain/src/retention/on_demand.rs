//! Age, then count: the policy of backups on demand.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Discard, Keep, OnDemandPolicy, Plan,
    candidate::{Candidate, Origin},
    reason::{Filler, Reason},
};

pub(super) fn plan(
    backups: &[Candidate],
    policy: OnDemandPolicy,
    last_good: Option<&Candidate>,
    now: DateTime<Utc>,
    plan: &mut Plan,
) {
    let OnDemandPolicy::AgeThenCount { days, keep } = policy;
    let age = TimeDelta::days(i64::from(days));
    let mut newest_first: Vec<(&Candidate, Option<DateTime<Utc>>)> = backups
        .iter()
        .filter_map(|backup| match backup.origin {
            Origin::OnDemand { expires_at } => Some((backup, expires_at)),
            Origin::Scheduled { .. } => None,
        })
        .collect();
    newest_first.sort_unstable_by_key(|(backup, _)| Reverse((backup.taken_at, backup.id)));

    // The most recent older ones so far, at most `keep` of them, then each that lost its place to one of those.
    let mut older: Vec<&Candidate> = Vec::new();
    let mut fates: Vec<(&Candidate, Fate)> = Vec::with_capacity(newest_first.len());
    let keep_count = usize::try_from(keep).unwrap_or(usize::MAX);
    for (backup, expires_at) in newest_first {
        let fate = if backup.held {
            Fate::Stays(Reason::Held)
        } else if let Some(at) = expires_at.filter(|at| now >= *at) {
            Fate::Goes(Reason::Expired { at })
        } else if now - backup.taken_at <= age {
            Fate::Stays(Reason::Young { days })
        } else {
            older.push(backup);
            let rank = older.len() - 1;
            if rank < keep_count {
                Fate::Stays(Reason::AmongOlder { days, keep })
            } else if last_good.is_some_and(|last| last.id == backup.id) {
                Fate::Stays(Reason::LastGood)
            } else {
                let by = if keep == 0 { last_good } else { Some(older[rank - keep_count]) };
                let by = by.map(|by| Filler::new(by, by.label()));
                Fate::Goes(Reason::Superseded { days, keep, by })
            }
        };
        fates.push((backup, fate));
    }
    for (backup, fate) in fates.into_iter().rev() {
        let id = backup.id;
        match fate {
            Fate::Stays(reason) => plan.kept.push(Keep { id, label: None, reason }),
            Fate::Goes(reason) => plan.discarded.push(Discard { id, label: None, reason }),
        }
    }
}

enum Fate {
    Stays(Reason),
    Goes(Reason),
}
