//! Carrying out retention while everything goes wrong: it converges, and takes nothing that the plan does not.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use holdfast_backup::{ports::Clock, retain};
use holdfast_domain::{
    backup::{Backup, Label, State},
    id::ApplicationId,
    mark::{self, Mark, Relabelled},
    retention::{self, Candidate, Policies},
};
use holdfast_testing::{World, builders};

/// Seeds of the histories and of what goes wrong in them.
const SEEDS: u64 = 200;

/// Days of each history.
const DAYS: i64 = 40;

fn backups(world: &World, application: &ApplicationId) -> Vec<Backup> {
    world.records.all_backups(application)
}

/// Every object belongs to a backup that is kept, and each of those has all of its objects.
fn assert_consistent(world: &World, application: &ApplicationId, seed: u64) {
    let own = format!("applications/{application}/");
    let keys = world.artifacts.object_keys().into_iter().filter(|key| key.starts_with(&own));
    // A label that was marked, and not recorded, will be by the next run.
    let keys: BTreeSet<String> =
        keys.filter(|key| !is_label_of_a_kept_one(world, application, key)).collect();
    let mut wanted = BTreeSet::new();
    for backup in backups(world, application) {
        if backup.state == State::Succeeded {
            wanted.extend(backup.artifacts.iter().map(|artifact| artifact.object.key.clone()));
            wanted.insert(format!("{}backup.json", backup.prefix()));
            if backup.label > Some(Label::Daily) {
                // The bucket knows of the label, too.
                let key = format!("{}{}", backup.prefix(), mark::LABEL);
                let reason = backup.retention_reason.clone();
                let marked = Mark::from_json(&world.artifacts.bytes(&key).unwrap()).unwrap();
                assert_eq!(marked, Mark::Label(Relabelled { label: backup.label, reason }), "seed {seed}");
            }
        }
        assert!(
            matches!(backup.state, State::Succeeded | State::Expired),
            "seed {seed}: {}",
            backup.state.as_str()
        );
    }
    assert_eq!(keys, wanted, "seed {seed}");
}

fn is_label_of_a_kept_one(world: &World, application: &ApplicationId, key: &str) -> bool {
    let mut kept = backups(world, application).into_iter().filter(|backup| backup.state == State::Succeeded);
    kept.any(|backup| key == format!("{}{}", backup.prefix(), mark::LABEL))
}

/// What the policy keeps when nothing ever goes wrong.
fn undisturbed(world: &World, application: &ApplicationId) -> Vec<(chrono::NaiveDate, Label)> {
    let mut kept: Vec<Candidate> = Vec::new();
    for backup in backups(world, application) {
        let mut fresh = backup;
        (fresh.state, fresh.label) = (State::Succeeded, Some(Label::Daily));
        kept.extend(Candidate::of(&fresh));
        retention::plan(&kept, &Policies::default(), world.clock.now()).apply(&mut kept);
    }
    let mut slots: Vec<_> = kept.iter().map(|backup| (backup.date(), backup.label().unwrap())).collect();
    slots.sort();
    slots
}

#[tokio::test]
async fn retention_killed_and_throttled_at_random_converges_to_what_the_policy_says() {
    for seed in 0..SEEDS {
        let world = World::seeded(seed);
        let shop = world.register("shop").value.id;
        let neighbour = world.register("neighbour").value.id;
        let untouched: Vec<Backup> = (0..9)
            .map(|day| world.succeeded(&neighbour, builders::now() - TimeDelta::days(100 + day), false))
            .collect();
        for day in 0..DAYS {
            world.clock.advance(TimeDelta::days(1));
            world.succeeded(&shop, world.clock.now(), true);
            world.faults.chaos(seed * 1000 + day.unsigned_abs(), 150);
            if (seed + day.unsigned_abs()) % 5 == 0 {
                world.artifacts.fail_after_deleting(usize::try_from(seed % 3).unwrap());
            }
            let _ = retain::run(&world.ports, &shop).await;
            world.faults.clear();
            // The next run, that of the night, finds better weather, mostly.
            if seed % 2 == 0 {
                let _ = retain::run(&world.ports, &shop).await;
            }
        }
        // A throttled deletion may still be to come.
        let _ = retain::run(&world.ports, &shop).await;
        let last = retain::run(&world.ports, &shop).await.unwrap();
        assert_eq!(last.failed, 0, "seed {seed}");
        let quiet = retain::run(&world.ports, &shop).await.unwrap();
        assert_eq!(
            (quiet.relabelled, quiet.discarded, quiet.failed),
            (0, 0, 0),
            "seed {seed}: it has converged"
        );

        for backup in &untouched {
            assert_eq!(world.backup(&neighbour, backup.id), *backup, "seed {seed}: another application");
        }
        if seed % 2 == 0 {
            let mut kept: Vec<_> = backups(&world, &shop)
                .into_iter()
                .filter(|backup| backup.state == State::Succeeded)
                .map(|backup| (backup.slot_date.unwrap(), backup.label.unwrap()))
                .collect();
            kept.sort();
            assert_eq!(kept, undisturbed(&world, &shop), "seed {seed}");
        }
        for backup in &untouched {
            let removed =
                world.artifacts.object_keys().iter().filter(|key| key.starts_with(&backup.prefix())).count();
            assert_eq!(removed, 3, "seed {seed}: no object outside the backup's own prefix goes");
        }
        assert_consistent(&world, &shop, seed);
    }
}
