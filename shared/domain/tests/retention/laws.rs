//! What holds for every history.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{NaiveDate, TimeDelta};
use holdfast_domain::{
    backup::{Backup, Label, State, Trigger},
    id::{ApplicationId, BackupId},
    retention::{Candidate, Keep, OnDemandPolicy, Origin, Plan, Policies, Reason, ScheduledPolicy, plan},
};
use proptest::prelude::*;

use crate::{
    histories::{World, histories, policies},
    reference::{outcomes_of, reference},
};

const TIERS: [Label; 3] = [Label::Daily, Label::Weekly, Label::Monthly];

/// Histories for each law. There are 20 laws in `laws` and `forecasts`: 20,000 histories in all, in a release build.
pub(crate) const CASES: u32 = 1_000;

/// So many cases, and a quarter of them without optimisation, unless `PROPTEST_CASES` asks for another number.
pub(crate) fn cases(default: u32) -> ProptestConfig {
    // PROPTEST_CASES, read by proptest itself, overrides the default for a long run.
    let asked = ProptestConfig::default();
    let cases = match asked.cases {
        256 if cfg!(debug_assertions) => default / 4,
        256 => default,
        cases => cases,
    };
    ProptestConfig { cases, failure_persistence: None, ..asked }
}

/// The backups that stay, with the labels they get.
fn remaining(world: &World, plan: &Plan) -> Vec<Candidate> {
    let mut backups = world.backups.clone();
    plan.apply(&mut backups);
    backups
}

fn last_good(world: &World) -> Option<&Candidate> {
    let alive = world.backups.iter().filter(|backup| {
        backup.held
            || !matches!(backup.origin, holdfast_domain::retention::Origin::OnDemand { expires_at: Some(at) } if at <= world.now)
    });
    alive.max_by_key(|backup| (backup.taken_at, backup.id))
}

/// What the tier of `label` counts: days for dailies, backups for the others; never a held one.
fn counted(backups: &[Candidate], label: Label) -> usize {
    let in_tier = || backups.iter().filter(move |backup| !backup.held && backup.label() == Some(label));
    match label {
        Label::Daily => in_tier().map(Candidate::date).collect::<BTreeSet<NaiveDate>>().len(),
        _ => in_tier().count(),
    }
}

fn tier_left_last(reason: &Reason) -> Option<Label> {
    let (Reason::PeriodTaken { overflow, .. } | Reason::NoTierAbove { overflow, .. }) = reason else {
        return None;
    };
    if overflow.monthly.is_some() {
        Some(Label::Monthly)
    } else if overflow.weekly.is_some() {
        Some(Label::Weekly)
    } else {
        Some(Label::Daily)
    }
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn the_second_implementation_agrees_at_every_step(history in histories(false, 120)) {
        history.live(|world, plan| {
            assert_eq!(outcomes_of(plan), reference(&world.backups, &world.policies, world.now));
        });
    }

    #[test]
    fn the_second_implementation_agrees_on_a_heap_that_was_never_tidied(history in histories(false, 200)) {
        let world = history.hoard();
        let plan = plan(&world.backups, &world.policies, world.now);
        prop_assert_eq!(outcomes_of(&plan), reference(&world.backups, &world.policies, world.now));
    }

    #[test]
    fn every_backup_is_in_exactly_one_list_with_one_reason(history in histories(false, 120)) {
        history.live(|world, plan| {
            let mut planned: Vec<_> = plan.kept.iter().map(|keep| keep.id).collect();
            planned.extend(plan.relabelled.iter().map(|relabel| relabel.id));
            planned.extend(plan.discarded.iter().map(|discard| discard.id));
            planned.sort_unstable();
            let mut all: Vec<_> = world.backups.iter().map(|backup| backup.id).collect();
            all.sort_unstable();
            assert_eq!(planned, all);

            let kept = plan.kept.iter().map(|keep| keep.reason).chain(plan.relabelled.iter().map(|to| to.reason));
            assert!(kept.into_iter().all(|reason| reason.to_string().starts_with("kept ")));
            for discard in &plan.discarded {
                assert!(discard.reason.to_string().starts_with("discarded"));
                match discard.reason {
                    Reason::Expired { .. } => assert_eq!(discard.reason.filled_by(), None),
                    reason => {
                        let by = reason.filled_by().expect("a policy names what fills the place");
                        assert!(by.id != discard.id && world.backups.iter().any(|backup| backup.id == by.id));
                    }
                }
            }
        });
    }

    #[test]
    fn planning_again_changes_nothing(history in histories(false, 120)) {
        history.live(|world, first| {
            assert!(plan(&remaining(world, first), &world.policies, world.now).is_noop());
        });
    }

    #[test]
    fn the_order_of_the_backups_does_not_matter(history in histories(false, 60), seed in any::<u64>()) {
        history.live(|world, first| {
            let mut shuffled = world.backups.clone();
            // Any total order that has nothing to do with time will do.
            shuffled.sort_by_key(|backup| backup.id.to_string().bytes().fold(seed, |hash, b| {
                (hash ^ u64::from(b)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
            }));
            assert_eq!(&plan(&shuffled, &world.policies, world.now), first);
        });
    }

    #[test]
    fn time_alone_changes_nothing_for_scheduled_backups(history in histories(true, 120), days in -4_000..4_000_i64) {
        history.live(|world, first| {
            assert_eq!(&plan(&world.backups, &world.policies, world.now + TimeDelta::days(days)), first);
        });
    }

    #[test]
    fn no_tier_holds_more_than_it_may(history in histories(false, 120)) {
        history.live(|world, plan| {
            let mut backups = remaining(world, plan);
            // The last good one may stay above the count, also right after a relabel.
            let last_good = last_good(world).map(|backup| backup.id);
            let mut above = plan.kept.iter().filter(|keep| keep.reason == Reason::LastGood).map(|keep| keep.id);
            assert!(above.all(|id| Some(id) == last_good));
            let within = |keep: &Keep| Some(keep.id) == last_good && keep.reason != Reason::LastGood;
            if !plan.kept.iter().any(within) {
                backups.retain(|backup| Some(backup.id) != last_good);
            }
            for tier in TIERS {
                assert!(counted(&backups, tier) <= world.policies.scheduled.capacity(tier) as usize, "{tier:?}");
            }
        });
    }

    #[test]
    fn nothing_leaves_for_good_while_its_tier_is_not_full(history in histories(false, 120)) {
        history.live(|world, plan| {
            let backups = remaining(world, plan);
            for discard in &plan.discarded {
                if let Some(tier) = tier_left_last(&discard.reason) {
                    let capacity = world.policies.scheduled.capacity(tier) as usize;
                    assert!(counted(&backups, tier) >= capacity, "{tier:?}: {}", discard.reason);
                }
            }
        });
    }

    #[test]
    fn the_last_good_backup_is_never_discarded(history in histories(false, 120)) {
        history.live(|world, plan| {
            if let Some(last_good) = last_good(world) {
                assert!(plan.discarded.iter().all(|discard| discard.id != last_good.id));
            }
        });
    }

    #[test]
    fn labels_only_rise_and_only_on_scheduled_backups(history in histories(false, 120)) {
        history.live(|world, plan| {
            for relabel in &plan.relabelled {
                let backup = world.backups.iter().find(|backup| backup.id == relabel.id).expect("a known one");
                assert_eq!(backup.trigger(), Trigger::Scheduled);
                assert_eq!(backup.label(), Some(relabel.from));
                assert!(relabel.to > relabel.from);
            }
        });
    }

    #[test]
    fn a_held_backup_is_left_alone_and_a_failure_pushes_nothing_out(history in histories(false, 120)) {
        let mut before: Option<(usize, holdfast_domain::retention::Policies)> = None;
        history.live(|world, plan| {
            let touched = |backup: &Candidate| {
                plan.relabelled.iter().any(|relabel| relabel.id == backup.id)
                    || plan.discarded.iter().any(|discard| discard.id == backup.id)
            };
            assert!(!world.backups.iter().any(|backup| backup.held && touched(backup)));

            // Neither a new backup, nor a release, nor another policy: only time and failures since the last run.
            let unheld = world.backups.iter().filter(|backup| !backup.held).count();
            if before == Some((unheld, world.policies)) {
                let scheduled = |discard: &&holdfast_domain::retention::Discard| discard.label.is_some();
                let only_time = world.backups.iter().all(|backup| backup.trigger() == Trigger::Scheduled);
                assert!(!only_time || plan.discarded.iter().find(scheduled).is_none());
            }
            before = Some((remaining(world, plan).iter().filter(|backup| !backup.held).count(), world.policies));
        });
    }

    #[test]
    fn a_week_and_a_month_are_stood_for_once(history in histories(true, 150)) {
        // Tiers, but no holds and no changes of policy: then no two weeklies share a week, no monthlies a month.
        history.live(|world, plan| {
            let backups = remaining(world, plan);
            for (tier, name) in [(Label::Weekly, "%G-W%V"), (Label::Monthly, "%Y-%m")] {
                let in_tier = || backups.iter().filter(|backup| backup.label() == Some(tier));
                let periods: BTreeSet<String> = in_tier().map(|b| b.date().format(name).to_string()).collect();
                assert_eq!(periods.len(), in_tier().count());
            }
        });
    }

    #[test]
    fn never_more_than_the_sum_of_the_tiers_and_holds_and_the_last_good_one(history in histories(false, 120)) {
        history.live(|world, plan| {
            let backups = remaining(world, plan);
            let ScheduledPolicy::Gfs { daily, weekly, monthly } = world.policies.scheduled;
            let today = world.backups.iter().filter(|b| b.label().is_some()).map(Candidate::date).max();
            // Further slots of the current day come on top until it is over.
            let scheduled = || backups.iter().filter(|b| b.label().is_some() && !b.held);
            let on_top = scheduled().filter(|b| Some(b.date()) == today && b.label() == Some(Label::Daily)).count();
            let most = (daily + weekly + monthly) as usize + on_top.saturating_sub(1) + 1;
            assert!(scheduled().count() <= most, "{} of {most}", scheduled().count());

            let OnDemandPolicy::AgeThenCount { days, keep } = world.policies.on_demand;
            let old = backups.iter().filter(|b| {
                b.label().is_none() && !b.held && world.now - b.taken_at > TimeDelta::days(i64::from(days))
            });
            assert!(old.count() <= keep as usize + 1);
        });
    }

    #[test]
    fn labels_never_fall_in_a_whole_life(history in histories(false, 120)) {
        let mut labels: BTreeMap<BackupId, Label> = BTreeMap::new();
        history.live(|world, plan| {
            for backup in remaining(world, plan) {
                if let Some(label) = backup.label() {
                    let before = labels.insert(backup.id, label).unwrap_or(Label::Daily);
                    assert!(label >= before, "{} fell from {before:?} to {label:?}", backup.date());
                }
            }
        });
    }

    #[test]
    fn what_is_gone_stays_gone_and_takes_nobody_along(history in histories(false, 120)) {
        // A plan names only backups it was given: never one of another application, never one that is gone.
        history.live(|world, plan| {
            let known: BTreeSet<BackupId> = world.backups.iter().map(|backup| backup.id).collect();
            let kept = plan.kept.iter().map(|keep| (keep.id, keep.reason));
            let relabelled = plan.relabelled.iter().map(|relabel| (relabel.id, relabel.reason));
            let discarded = plan.discarded.iter().map(|discard| (discard.id, discard.reason));
            for (id, reason) in kept.chain(relabelled).chain(discarded) {
                assert!(known.contains(&id));
                assert!(reason.filled_by().is_none_or(|by| known.contains(&by.id)), "{reason}");
            }
        });
    }

    #[test]
    fn a_policy_that_grows_discards_nothing(history in histories(false, 120), more in (0..4_u32, 0..4_u32, 0..4_u32, 0..4_u32)) {
        let world = history.end();
        let ScheduledPolicy::Gfs { daily, weekly, monthly } = world.policies.scheduled;
        let OnDemandPolicy::AgeThenCount { days, keep } = world.policies.on_demand;
        let grown = Policies {
            scheduled: ScheduledPolicy::Gfs { daily: daily + more.0, weekly: weekly + more.1, monthly: monthly + more.2 },
            on_demand: OnDemandPolicy::AgeThenCount { days, keep: keep + more.3 },
        };
        prop_assert_eq!(plan(&world.backups, &grown, world.now).discarded, vec![]);
    }

    #[test]
    fn a_policy_that_shrinks_settles_at_once(
        history in histories(false, 120), smaller in policies()
    ) {
        let mut world = history.end();
        let before: BTreeSet<BackupId> = world.backups.iter().map(|backup| backup.id).collect();
        let shrunk = plan(&world.backups, &smaller, world.now);
        shrunk.apply(&mut world.backups);
        // One run is enough, and takes exactly what it said it would.
        prop_assert!(plan(&world.backups, &smaller, world.now).is_noop());
        let left: BTreeSet<BackupId> = world.backups.iter().map(|backup| backup.id).collect();
        let gone: BTreeSet<BackupId> = shrunk.discarded.iter().map(|discard| discard.id).collect();
        prop_assert_eq!(&before - &gone, left);
    }

    #[test]
    fn only_the_local_day_and_the_order_count_whatever_the_clocks_did(
        history in histories(true, 120), hours in -13..14_i64
    ) {
        // The same local days on clocks that were set otherwise: the same plan.
        history.live(|world, first| {
            let mut elsewhere = world.backups.clone();
            for backup in &mut elsewhere {
                if let Origin::Scheduled { slot, .. } = &mut backup.origin {
                    slot.at += TimeDelta::hours(hours);
                }
            }
            assert_eq!(&plan(&elsewhere, &world.policies, world.now), first);
        });
    }

    #[test]
    fn what_has_not_succeeded_and_other_applications_change_nothing(
        mine in histories(false, 60), others in histories(false, 30), states in prop::collection::vec(0..6_usize, 60)
    ) {
        // Records as they are in the table: succeeded ones, ones in every other state at later slots, and those of another
        // application at the same moments.
        let world = mine.hoard();
        let (shop, blog): (ApplicationId, ApplicationId) = ("shop".parse().unwrap(), "blog".parse().unwrap());
        let mut table: Vec<Backup> = world.backups.iter().map(|backup| record(backup, &shop, State::Succeeded)).collect();
        for (number, (backup, state)) in std::iter::zip(&world.backups, &states).enumerate() {
            let mut later = *backup;
            later.id = BackupId::new(backup.taken_at, [u8::try_from(number).unwrap() | 0x80; 10]);
            later.taken_at += TimeDelta::days(400);
            if let Origin::Scheduled { slot, .. } = &mut later.origin {
                slot.at += TimeDelta::days(400);
                slot.local_date += TimeDelta::days(400);
            }
            let not_succeeded =
                [State::Queued, State::Running, State::Failed, State::Cancelled, State::Expiring, State::Expired];
            table.push(record(&later, &shop, not_succeeded[*state]));
        }
        table.extend(others.hoard().backups.iter().map(|backup| record(backup, &blog, State::Succeeded)));

        let candidates: Vec<Candidate> =
            table.iter().filter(|backup| backup.application == shop).filter_map(Candidate::of).collect();
        let alone: Vec<Candidate> = world.backups.iter().map(|backup| backup.with_hold(false)).collect();
        prop_assert_eq!(plan(&candidates, &world.policies, world.now), plan(&alone, &world.policies, world.now));
    }
}

/// The record of a backup without a hold.
fn record(backup: &Candidate, application: &ApplicationId, state: State) -> Backup {
    let mut record =
        Backup::queued(backup.id, application.clone(), Vec::new(), "schedule".to_owned(), backup.taken_at);
    match backup.origin {
        Origin::Scheduled { slot, label } => {
            record = record.scheduled(&slot);
            record.label = Some(label);
        }
        Origin::OnDemand { expires_at } => record.expires_at = expires_at,
    }
    record.state = state;
    record.taken_at = Some(backup.taken_at);
    record
}
