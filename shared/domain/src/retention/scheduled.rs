//! Grandfather-father-son by counting: the policy of scheduled backups.
//!
//! A tier that holds too many lets its oldest go: upwards, if the next tier has nothing of that period yet, and
//! otherwise for good. Nothing leaves a tier that is not full, so that an outage of any length discards nothing.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};

use super::{
    Discard, Keep, Plan, Relabel, ScheduledPolicy,
    candidate::{Candidate, Origin},
    period::Period,
    reason::{Filler, Overflow, Reason},
};
use crate::{backup::Label, id::BackupId};

pub(super) fn plan(
    backups: &[Candidate],
    policy: ScheduledPolicy,
    last_good: Option<&Candidate>,
    plan: &mut Plan,
) {
    let mut members: Vec<Member<'_>> = backups.iter().filter_map(Member::new).collect();
    members.sort_unstable_by_key(|member| (member.date, member.order));
    let mut tiers = Tiers { policy, last_good, members };
    tiers.thin_days();
    while tiers.settle() {}
    for member in &tiers.members {
        member.report(policy, plan);
    }
}

/// A scheduled backup on its way through the tiers.
struct Member<'a> {
    backup: &'a Candidate,
    date: NaiveDate,
    /// Its place within its day.
    order: (DateTime<Utc>, DateTime<Utc>, BackupId),
    before: Label,
    label: Label,
    overflow: Overflow,
    /// Whether it had to go and stayed as the last good one.
    spared: bool,
    discarded: Option<Reason>,
}

impl<'a> Member<'a> {
    fn new(backup: &'a Candidate) -> Option<Self> {
        let Origin::Scheduled { slot, label } = backup.origin else { return None };
        Some(Self {
            backup,
            date: slot.local_date,
            order: (slot.at, backup.taken_at, backup.id),
            before: label,
            label,
            overflow: Overflow::default(),
            spared: false,
            discarded: None,
        })
    }

    /// Whether it is counted: neither held nor gone.
    fn counts(&self) -> bool {
        !self.backup.held && self.discarded.is_none()
    }

    fn period(&self, label: Label) -> Period {
        Period { label, date: self.date }
    }

    fn filler(&self) -> Filler {
        Filler::new(self.backup, Some(self.label))
    }

    fn report(&self, policy: ScheduledPolicy, plan: &mut Plan) {
        let (id, period) = (self.backup.id, self.period(self.label));
        if let Some(reason) = self.discarded {
            plan.discarded.push(Discard { id, label: Some(self.before), reason });
        } else if self.label > self.before {
            let reason = Reason::Promoted { period, overflow: self.overflow };
            plan.relabelled.push(Relabel { id, from: self.before, to: self.label, reason });
        } else {
            let reason = if self.backup.held {
                Reason::Held
            } else if self.spared {
                Reason::LastGood
            } else {
                Reason::InTier { period, capacity: policy.capacity(self.label) }
            };
            plan.kept.push(Keep { id, label: Some(self.label), reason });
        }
    }
}

struct Tiers<'a> {
    policy: ScheduledPolicy,
    last_good: Option<&'a Candidate>,
    /// By slot, oldest first.
    members: Vec<Member<'a>>,
}

impl Tiers<'_> {
    /// Leaves the newest daily of every day but the newest slot's, which may not be over.
    fn thin_days(&mut self) {
        let Some(current) = self.members.last().map(|newest| newest.date) else { return };
        let mut newest: Option<usize> = None;
        for index in (0..self.members.len()).rev() {
            let member = &self.members[index];
            if member.date == current || member.label != Label::Daily || !member.counts() {
                continue;
            }
            match newest.map(|newest| &self.members[newest]).filter(|newest| newest.date == member.date) {
                None => newest = Some(index),
                Some(_) if self.is_last_good(index) => {}
                Some(newest) => {
                    let by = newest.filler();
                    self.members[index].discarded = Some(Reason::SameDay { by });
                }
            }
        }
    }

    /// Lets each tier in turn, from the days up, come down to what it holds; tells whether anything changed.
    fn settle(&mut self) -> bool {
        let mut changed = false;
        for tier in [Label::Daily, Label::Weekly, Label::Monthly] {
            changed |= self.settle_tier(tier);
        }
        changed
    }

    fn settle_tier(&mut self, tier: Label) -> bool {
        let capacity = self.policy.capacity(tier);
        let holds = usize::try_from(capacity).unwrap_or(usize::MAX);
        let in_tier: Vec<usize> = (0..self.members.len())
            .filter(|index| self.members[*index].label == tier && self.members[*index].counts())
            .collect();
        // Which of them arrived as the first, second, … to count: each of them, or the first of each day.
        let arrivals: Vec<usize> = in_tier
            .iter()
            .enumerate()
            .filter(|(at, _)| self.starts_a_count(tier, &in_tier, *at))
            .map(|(_, i)| *i)
            .collect();
        let excess = arrivals.len().saturating_sub(holds);
        if excess == 0 {
            return false;
        }

        let above = self.policy.above(tier);
        let mut taken = above.map(|above| self.taken_periods(above)).unwrap_or_default();
        let mut changed = false;
        let mut gone = 0;
        for (at, &index) in in_tier.iter().enumerate() {
            if gone == excess {
                break;
            }
            let spared = self.is_last_good(index);
            let mut overflow = self.members[index].overflow;
            overflow.push(tier, capacity);
            let taken_by = above.map(|above| {
                let period = self.members[index].period(above);
                (period, taken.get(&period.number()).map(|holder| self.members[*holder].filler()))
            });
            match taken_by {
                Some((period, None)) => {
                    taken.insert(period.number(), index);
                    let member = &mut self.members[index];
                    member.label = period.label;
                    member.overflow = overflow;
                    changed = true;
                }
                _ if spared => self.members[index].spared = true,
                Some((period, Some(by))) => {
                    self.members[index].discarded = Some(Reason::PeriodTaken { period, overflow, by });
                    changed = true;
                }
                None => {
                    let by = match holds {
                        0 => self.last_good.map(|last| Filler::new(last, last.label())),
                        _ => arrivals.get(gone + holds).map(|arrived| self.members[*arrived].filler()),
                    };
                    self.members[index].discarded = Some(Reason::NoTierAbove { overflow, by });
                    changed = true;
                }
            }
            // The last of a day takes the day out of the count, and so does the last good one that stays above it.
            if at + 1 == in_tier.len() || self.starts_a_count(tier, &in_tier, at + 1) {
                gone += 1;
            }
        }
        changed
    }

    /// Whether the backup at `at` of `in_tier` adds to the count: a day counts once.
    fn starts_a_count(&self, tier: Label, in_tier: &[usize], at: usize) -> bool {
        let date = |at: usize| self.members[in_tier[at]].date;
        tier != Label::Daily || at == 0 || date(at) != date(at - 1)
    }

    /// The periods of `label` that a backup with that label or a higher one stands for, and the newest such backup.
    fn taken_periods(&self, label: Label) -> HashMap<i32, usize> {
        let holders =
            self.members.iter().enumerate().filter(|(_, member)| member.label >= label && member.counts());
        holders.map(|(index, member)| (member.period(label).number(), index)).collect()
    }

    fn is_last_good(&self, index: usize) -> bool {
        self.last_good.is_some_and(|last| last.id == self.members[index].backup.id)
    }
}
