//! The forecast against days that really come, planned by the second implementation.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{
        Candidate, Origin, Policies,
        forecast::{Departure, Forecast, forecast},
    },
    schedule::{Schedule, Slot, Window},
};
use proptest::prelude::*;

use crate::{
    histories::histories,
    laws::{CASES, cases},
    reference::{Outcome, reference},
};

/// When a backup first rises, to what, and when it goes.
type Found = (Option<(NaiveDate, Label)>, Option<NaiveDate>);

/// Lets `days` come, with a success on each, and writes down what the second implementation does to each backup.
fn live(
    backups: &[Candidate],
    policies: &Policies,
    now: DateTime<Utc>,
    today: NaiveDate,
    slots: &[Slot],
) -> BTreeMap<BackupId, Found> {
    let mut found: BTreeMap<BackupId, Found> =
        backups.iter().map(|backup| (backup.id, (None, None))).collect();
    let mut backups = backups.to_vec();
    let mut run = |backups: &mut Vec<Candidate>, at: DateTime<Utc>, date: NaiveDate| {
        let outcomes = reference(backups, policies, at);
        for backup in backups.iter_mut() {
            let (relabel, discard) = found.entry(backup.id).or_default();
            match (outcomes[&backup.id], &mut backup.origin) {
                (Outcome::Relabelled(to), Origin::Scheduled { label, .. }) => {
                    relabel.get_or_insert((date, to));
                    *label = to;
                }
                (Outcome::Discarded, _) => *discard = Some(date),
                _ => {}
            }
        }
        backups.retain(|backup| outcomes[&backup.id] != Outcome::Discarded);
    };
    run(&mut backups, now, today);
    for (count, slot) in slots.iter().enumerate() {
        let id = BackupId::new(slot.at, [u8::try_from(count % 251).expect("small"); 10]);
        backups.push(Candidate::scheduled(id, *slot, slot.at, Label::Daily));
        run(&mut backups, slot.at, slot.local_date);
    }
    found
}

fn nights(tz: Tz, now: DateTime<Utc>) -> impl Iterator<Item = Slot> {
    let nightly = Schedule::Daily { window: Window { start: "02:30".to_owned(), minutes: 0 } };
    nightly.slots(&"shop".parse().expect("a name"), tz, now)
}

fn forecast_of(forecast: &Forecast) -> BTreeMap<BackupId, Found> {
    let outlooks = forecast.backups.iter().map(|outlook| {
        let discard = match &outlook.discard {
            Departure::On { on, .. } => Some(*on),
            Departure::Never { .. } | Departure::After { .. } => None,
        };
        (outlook.id, (outlook.relabel.as_ref().map(|relabel| (relabel.on, relabel.to)), discard))
    });
    outlooks.collect()
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn what_is_forecast_is_what_comes(history in histories(false, 60), tidy in any::<bool>()) {
        let world = if tidy { history.end() } else { history.hoard() };
        // After the newest data, so that whatever comes is the last good one.
        let newest = world.backups.iter().map(|backup| backup.taken_at).max().unwrap_or(world.now);
        let now = world.now.max(newest) + TimeDelta::hours(1);
        let today = now.with_timezone(&history.zone).date_naive();
        let newest = world.backups.iter().filter(|backup| backup.label().is_some()).map(Candidate::date).max();
        let slots: Vec<Slot> = nights(history.zone, now)
            .filter(|slot| newest.is_none_or(|newest| slot.local_date > newest))
            .take(550)
            .collect();
        let forecast = forecast(&world.backups, &world.policies, now, history.zone, slots.iter().copied());
        let found = live(&world.backups, &world.policies, now, today, &slots);
        for (id, expected) in &forecast_of(&forecast) {
            prop_assert_eq!(&found[id], expected, "{:?}", world.backups.iter().find(|backup| backup.id == *id));
        }
        // It left out no day that still mattered.
        for outlook in &forecast.backups {
            if matches!(outlook.discard, Departure::Never { .. }) {
                prop_assert_eq!(found[&outlook.id].1, None);
            }
        }
    }
}
