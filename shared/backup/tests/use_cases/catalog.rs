//! The catalogue: the records can be lost, and come back from the bucket as they were.

use std::sync::Arc;

use chrono::TimeDelta;
use holdfast_backup::{
    applications::{self, Fate, Stack},
    catalog::{self, Catalog, Difference, Entries, Rebuilt, Sight, What},
    hold::{hold, release},
    plans,
    ports::{Clock, PlanRecord, Records},
    request, retain, tick,
};
use holdfast_domain::{
    application::ApplicationSpec,
    audit::{Action, AuditEntry},
    backup::{Backup, Label, State, Verification, VerificationLevel, VerificationState},
    id::{ApplicationId, PlanId},
    mark,
    plan::PlanSpec,
    retention::{self, Candidate, OnDemandPolicy, Plan, Policies, ScheduledPolicy},
};
use holdfast_testing::{
    World, builders,
    fakes::{FakeRecords, SeededEntropy},
    faults::{Faults, Faulty},
};

const ANNA: &str = "arn:aws:iam::123456789012:user/anna";

/// Seeds of histories whose records are lost on one day after another.
const SEEDS: u64 = 24;

/// Days of each history.
const DAYS: u64 = 60;

/// The catalogue of a world's bucket, with `records`.
fn catalog(world: &World, records: Arc<FakeRecords>) -> Catalog {
    Catalog {
        records,
        bucket: world.artifacts.clone(),
        clock: world.clock.clone(),
        entropy: Arc::new(SeededEntropy::new(99)),
    }
}

/// New records, made of what the bucket says alone.
async fn rebuilt(world: &World) -> Arc<FakeRecords> {
    let records = Arc::new(FakeRecords::default());
    let catalog = catalog(world, records.clone());
    let planned = catalog::look(&catalog, None).await.unwrap().rebuild(world.clock.now());
    catalog::rebuild(&catalog, &planned).await.unwrap();
    records
}

async fn differences(world: &World) -> Vec<String> {
    let sight = catalog::look(&catalog(world, world.records.clone()), None).await.unwrap();
    sight.differences().iter().map(ToString::to_string).collect()
}

/// The only difference there is.
async fn difference(world: &World) -> What {
    let sight = catalog::look(&catalog(world, world.records.clone()), None).await.unwrap();
    let [only]: [Difference; 1] = sight.differences().try_into().unwrap();
    only.what
}

fn good(records: &FakeRecords, application: &ApplicationId) -> Vec<Backup> {
    let all = records.all_backups(application).into_iter();
    all.filter(|backup| backup.state == State::Succeeded).collect()
}

/// What the next run of retention would do.
fn plan(world: &World, records: &FakeRecords, application: &ApplicationId) -> Plan {
    let registration = records.registration(application).unwrap();
    let plan = records.plan_spec(&registration.plan).unwrap_or_else(PlanSpec::default_plan);
    let policies = Policies { scheduled: plan.scheduled, on_demand: plan.on_demand };
    let candidates: Vec<Candidate> = good(records, application).iter().filter_map(Candidate::of).collect();
    retention::plan(&candidates, &policies, world.clock.now())
}

fn stack() -> Stack {
    Stack { region: builders::region(), bucket: "holdfast-backups".to_owned() }
}

/// Registers `id` as a person does.
async fn register(world: &World, id: &str, edit: impl FnOnce(&mut ApplicationSpec)) {
    let known = world.register(id);
    let mut spec = known.value.spec;
    edit(&mut spec);
    let id = builders::slug(id);
    let expected = world.records.application(&id).await.unwrap().map(|found| found.version);
    applications::register(&world.ports, &stack(), ANNA, &id, spec, expected).await.unwrap();
}

async fn put_plan(world: &World, id: &str, spec: PlanSpec) {
    let id: PlanId = id.parse().unwrap();
    let expected = world.records.plan(&id).await.unwrap().map(|found| found.version);
    plans::put(&world.ports, ANNA, &id, spec, expected).await.unwrap();
}

/// Numbers that look random, the same for each seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_of(&mut self, backups: &[Backup]) -> Option<Backup> {
        let at = self.roll(backups.len().max(1) as u64);
        backups.get(usize::try_from(at).unwrap()).cloned()
    }
}

/// One day: a backup by schedule unless that failed, and now and then what people do.
async fn day(world: &World, shop: &ApplicationId, dice: &mut Dice) {
    world.clock.advance(TimeDelta::days(1));
    if dice.roll(8) > 0 {
        world.succeeded(shop, world.clock.now(), true);
    }
    if dice.roll(5) == 0 {
        world.succeeded(shop, world.clock.now() + TimeDelta::hours(3), false);
    }
    let there = good(&world.records, shop);
    if let Some(backup) = dice.one_of(&there).filter(|_| dice.roll(4) == 0) {
        hold(&world.ports, ANNA, shop, backup.id, &format!("case {}", dice.roll(100))).await.unwrap();
    }
    if let Some(backup) = dice.one_of(&there).filter(|_| dice.roll(4) == 0) {
        release(&world.ports, ANNA, shop, backup.id).await.unwrap();
    }
    if let Some(backup) = dice.one_of(&there).filter(|one| dice.roll(9) == 0 && one.hold.is_none()) {
        // It may have been held a moment ago.
        let _ = request::delete(&world.ports, ANNA, shop, backup.id).await;
    }
    if dice.roll(12) == 0 {
        let spec = PlanSpec {
            scheduled: ScheduledPolicy::Gfs {
                daily: u32::try_from(1 + dice.roll(7)).unwrap(),
                weekly: u32::try_from(dice.roll(4)).unwrap(),
                monthly: u32::try_from(dice.roll(3)).unwrap(),
            },
            on_demand: OnDemandPolicy::AgeThenCount { days: 10, keep: 2 },
            ..PlanSpec::default_plan()
        };
        put_plan(world, "default", spec).await;
    }
    assert_eq!(retain::run(&world.ports, shop).await.unwrap().failed, 0);
}

#[tokio::test]
async fn records_that_are_lost_on_any_day_come_back_as_they_were_and_plan_the_same() {
    let (mut held, mut raised) = (0, 0);
    for seed in 0..SEEDS {
        let world = World::seeded(seed);
        register(&world, "shop", |_| {}).await;
        let shop = builders::slug("shop");
        let mut dice = Dice(seed);
        for number in 0..DAYS {
            day(&world, &shop, &mut dice).await;
            assert_eq!(differences(&world).await, [""; 0], "seed {seed}, day {number}");
            let records = rebuilt(&world).await;
            let before = good(&world.records, &shop);
            assert_eq!(records.all_backups(&shop), before, "seed {seed}, day {number}");
            assert_eq!(
                plan(&world, &records, &shop),
                plan(&world, &world.records, &shop),
                "seed {seed}, day {number}"
            );
            held += before.iter().filter(|backup| backup.hold.is_some()).count();
            raised += before.iter().filter(|backup| backup.label > Some(Label::Daily)).count();
        }
    }
    assert!(held > 100 && raised > 100, "{held} held, {raised} raised: the histories show too little");
}

#[tokio::test]
async fn without_any_mark_the_descriptions_of_backups_are_enough() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let strict = PlanSpec { scheduled: "gfs:3/0/0".parse().unwrap(), ..PlanSpec::default_plan() };
    let audit = AuditEntry::new(
        world.ports.entropy.audit_id(builders::now()),
        builders::now(),
        ANNA,
        Action::PlanChange,
    );
    let recorded = PlanRecord { spec: strict.clone(), ..builders::plan("default") };
    world.records.put_plan(&recorded, None, &audit).await.unwrap();
    for day in 0..3 {
        world.succeeded(&shop, builders::now() - TimeDelta::days(day), true);
    }
    assert!(
        world
            .artifacts
            .object_keys()
            .iter()
            .all(|key| !key.ends_with("hold.json") && key.starts_with("applications/"))
    );
    let records = rebuilt(&world).await;
    assert_eq!(records.all_backups(&shop), world.records.all_backups(&shop));
    assert_eq!(records.registration(&shop), world.records.registration(&shop));
    assert_eq!(records.plan_spec(&PlanId::default_plan()), Some(strict));
}

#[tokio::test]
async fn no_slot_runs_twice_and_the_next_one_does() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    world.succeeded(&shop, builders::now() - TimeDelta::days(1), true);
    let mut ports = world.ports.clone();
    ports.records = rebuilt(&world).await;
    assert_eq!(tick::tick(&ports).await.unwrap().started, 0, "nothing is caught up with");
    let next = ports.records.application(&shop).await.unwrap().unwrap().value.next_run_at.unwrap();
    assert!(next > world.clock.now() && next <= world.clock.now() + TimeDelta::days(1));
    world.clock.advance(next - world.clock.now());
    assert_eq!(tick::tick(&ports).await.unwrap().started, 1);
}

#[tokio::test]
async fn a_rebuild_that_dies_anywhere_is_finished_by_the_next() {
    for seed in 0..100 {
        let world = World::seeded(seed);
        register(&world, "shop", |_| {}).await;
        put_plan(
            &world,
            "brief",
            PlanSpec { scheduled: "gfs:2/0/0".parse().unwrap(), ..PlanSpec::default_plan() },
        )
        .await;
        let shop = builders::slug("shop");
        for day in 0..5 {
            world.succeeded(&shop, builders::now() - TimeDelta::days(day), true);
        }
        let (records, faults) = (Arc::new(FakeRecords::default()), Faults::default());
        let mut catalog = catalog(&world, records.clone());
        catalog.records = Arc::new(Faulty::new(records.clone(), &faults));
        catalog.bucket = Arc::new(Faulty::new(world.artifacts.clone(), &faults));
        for attempt in 0.. {
            faults.chaos(seed * 1000 + attempt, if attempt < 20 { 100 } else { 0 });
            let Ok(sight) = catalog::look(&catalog, None).await else { continue };
            if catalog::rebuild(&catalog, &sight.rebuild(world.clock.now())).await.is_ok() {
                break;
            }
            // Without a registration nothing applies a policy to half of the backups.
            let is_registered = records.registration(&shop).is_some();
            assert!(!is_registered || records.all_backups(&shop).len() == 5, "seed {seed}");
        }
        faults.clear();
        assert_eq!(records.all_backups(&shop), good(&world.records, &shop), "seed {seed}");
        let sight = catalog::look(&catalog, None).await.unwrap();
        assert!(sight.differences().is_empty() && sight.rebuild(world.clock.now()).is_noop(), "seed {seed}");
        let entries = records.audit_trail(&shop).len();
        assert_eq!(entries, 5 + 1, "seed {seed}: an entry for each record, and none twice");
    }
}

#[tokio::test]
async fn what_is_there_is_never_written_over() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let backup = world.succeeded(&shop, builders::now(), true);
    let catalog = catalog(&world, world.records.clone());
    // Planned while the table was empty, and carried out after somebody else has done so.
    let seen = catalog::look(&catalog, None).await.unwrap();
    let empty = Sight { entries: Entries::default(), ..seen };
    let planned = empty.rebuild(world.clock.now());
    assert!(!planned.is_noop());
    let mut changed = backup.clone();
    changed.note = Some("written later".to_owned());
    world.records.update_backup(&changed, 1, &[]).await.unwrap();
    let before = world.records.application(&shop).await.unwrap();
    let made = catalog::rebuild(&catalog, &planned).await.unwrap();
    assert_eq!(made, Rebuilt { already_there: 2, ..Rebuilt::default() });
    assert_eq!(world.backup(&shop, backup.id), changed);
    assert_eq!(world.records.application(&shop).await.unwrap(), before);
    assert_eq!(difference(&world).await, What::Differs { fields: vec!["note".to_owned()] });
}

#[tokio::test]
async fn what_was_let_go_does_not_come_back() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let gone = world.succeeded(&shop, builders::now() - TimeDelta::days(1), false);
    let kept = world.succeeded(&shop, builders::now(), false);
    hold(&world.ports, ANNA, &shop, gone.id, "a while").await.unwrap();
    release(&world.ports, ANNA, &shop, gone.id).await.unwrap();
    request::delete(&world.ports, ANNA, &shop, gone.id).await.unwrap();
    assert_eq!(differences(&world).await, [""; 0]);
    let records = rebuilt(&world).await;
    assert_eq!(records.all_backups(&shop), [kept]);
}

#[tokio::test]
async fn an_application_that_was_removed_stays_so_and_nothing_discards_what_it_kept() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    for day in 0..12 {
        world.succeeded(&shop, builders::now() - TimeDelta::days(day), true);
    }
    applications::remove(&world.ports, ANNA, &shop, None, Fate::Keep).await.unwrap();
    assert_eq!(differences(&world).await, [""; 0]);
    let mut ports = world.ports.clone();
    let records = rebuilt(&world).await;
    ports.records = records.clone();
    assert_eq!(records.registration(&shop), None);
    assert_eq!(records.removed_applications(None, 10).await.unwrap().items, std::slice::from_ref(&shop));
    assert_eq!(retain::run_all(&ports).await.discarded, 0);
    assert_eq!(records.all_backups(&shop).len(), 12);

    // Of a registration that cannot be read nobody knows whether it was removed.
    world.artifacts.insert(&mark::registration_key(&shop), "{");
    let records = rebuilt(&world).await;
    assert_eq!((records.registration(&shop), records.all_backups(&shop).len()), (None, 12));

    // Registered again, it is one like any other.
    register(&world, "shop", |_| {}).await;
    assert!(rebuilt(&world).await.registration(&shop).is_some());
}

#[tokio::test]
async fn the_registration_and_the_plan_are_those_of_now_and_not_of_the_last_backup() {
    let world = World::new();
    register(&world, "shop", |spec| spec.restore_into = vec![builders::slug("staging")]).await;
    let shop = builders::slug("shop");
    world.succeeded(&shop, builders::now(), true);
    put_plan(
        &world,
        "default",
        PlanSpec { scheduled: "gfs:14/8/24".parse().unwrap(), ..PlanSpec::default_plan() },
    )
    .await;
    let known = world.records.application(&shop).await.unwrap().unwrap();
    let mut spec = known.value.spec;
    spec.restore_into = vec![];
    applications::register(&world.ports, &stack(), ANNA, &shop, spec, Some(known.version)).await.unwrap();
    let records = rebuilt(&world).await;
    assert_eq!(records.registration(&shop).unwrap().restore_into, []);
    let plan = records.plan_spec(&PlanId::default_plan()).unwrap();
    assert_eq!(plan.scheduled.to_string(), "gfs:14/8/24");
}

#[tokio::test]
async fn a_damaged_backup_is_still_known_to_be_damaged() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let backup = world.succeeded(&shop, builders::now(), true);
    let verification = Verification {
        state: VerificationState::Damaged,
        by: ANNA.to_owned(),
        at: builders::now(),
        finished_at: Some(builders::now()),
        artifacts: vec![],
        cursor: None,
        failure: None,
        damaged_before: None,
        level: VerificationLevel::default(),
        rehearsal: None,
    };
    let marked = mark::Mark::Verification(verification);
    world.artifacts.insert(&format!("{}{}", backup.prefix(), mark::VERIFICATION), marked.to_json().unwrap());
    assert!(rebuilt(&world).await.all_backups(&shop)[0].is_damaged());
    assert_eq!(difference(&world).await, What::Differs { fields: vec!["verification".to_owned()] });
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_has_the_backup_held() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let backup = world.succeeded(&shop, builders::now(), true);
    let key = format!("{}{}", backup.prefix(), mark::HOLD);
    // The mark of something else is as good as none.
    world.artifacts.insert(&key, mark::Mark::Registration(None).to_json().unwrap());
    let found = difference(&world).await;
    assert!(matches!(&found, What::Unreadable { key: named, .. } if *named == key), "{found:?}");
    let back = rebuilt(&world).await.all_backups(&shop).remove(0);
    let hold = back.hold.unwrap();
    assert_eq!(hold.by, "catalog");
    assert!(hold.reason.contains("hold.json could not be read"), "{}", hold.reason);
}

#[tokio::test]
async fn a_backup_without_all_of_its_objects_is_named_and_not_made() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let backup = world.succeeded(&shop, builders::now(), true);
    let key = backup.artifacts[0].object.key.clone();
    world.artifacts.tamper(&key, |object| object.size += 1);
    assert_eq!(difference(&world).await, What::NotAsStored { key });
    let records = rebuilt(&world).await;
    assert_eq!(records.all_backups(&shop), []);
}

#[tokio::test]
async fn each_thing_that_is_wrong_in_the_bucket_is_named() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let [first, second, third] =
        [1, 2, 3].map(|hour| world.succeeded(&shop, builders::now() + TimeDelta::hours(hour), false));
    let document = |backup: &Backup| format!("{}backup.json", backup.prefix());
    let description = world.artifacts.bytes(&document(&second)).unwrap();
    // Its description is gone; that of another is in its place; it is no JSON at all.
    let ports = &world.ports;
    ports.artifacts.delete(&[document(&first)]).await.unwrap();
    world.artifacts.insert(&document(&second), "{");
    world.artifacts.insert(&document(&third), description);
    // A job that was killed has left something, another is at work.
    let [lost, open] = [4, 5].map(|hour| {
        let at = builders::now() + TimeDelta::hours(hour);
        builders::queued(&shop, ports.entropy.backup_id(at), at)
    });
    for backup in [&lost, &open] {
        world.artifacts.insert(&format!("{}MEDIA/media.tar", backup.prefix()), "half");
    }
    world.records.insert_backup(open.clone());
    // What is not Holdfast's.
    for key in ["applications/Shop/x", "applications/shop/notes.txt", "plans/x", "registrations/UPPER.json"] {
        world.artifacts.insert(key, "?");
    }
    let mut found = differences(&world).await;
    found.sort();
    let mut wanted = vec![
        format!("shop {}: succeeded by its record, and not in the bucket: it cannot be restored", first.id),
        format!("shop {}: succeeded by its record, and not in the bucket: it cannot be restored", second.id),
        format!("shop {}: succeeded by its record, and not in the bucket: it cannot be restored", third.id),
        format!("shop {}: {} cannot be read: not a document of Holdfast's", second.id, document(&second)),
        format!(
            "shop {}: {} cannot be read: it describes the backup {} of shop",
            third.id,
            document(&third),
            second.id
        ),
        format!(
            "shop {}: 1 object below {} without a backup.json, which is no backup",
            lost.id,
            lost.prefix()
        ),
        "applications/Shop/ is nothing that Holdfast puts there".to_owned(),
        "plans/x is nothing that Holdfast puts there".to_owned(),
        "registrations/UPPER.json is nothing that Holdfast puts there".to_owned(),
        "shop: applications/shop/notes.txt is nothing that Holdfast puts there".to_owned(),
    ];
    wanted.sort();
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn what_the_records_let_go_and_the_bucket_still_has_is_named() {
    let world = World::new();
    register(&world, "shop", |_| {}).await;
    let shop = builders::slug("shop");
    let backup = world.succeeded(&shop, builders::now(), false);
    let mut record = backup.clone();
    record.state = State::Expiring;
    world.records.update_backup(&record, 1, &[]).await.unwrap();
    assert_eq!(differences(&world).await, [""; 0], "it is being deleted");
    record.state = State::Expired;
    world.records.update_backup(&record, 2, &[]).await.unwrap();
    assert_eq!(difference(&world).await, What::NotLetGo { state: "expired" });
}

#[tokio::test]
async fn one_application_can_be_looked_at_by_itself() {
    let world = World::new();
    for name in ["shop", "other"] {
        register(&world, name, |_| {}).await;
        world.succeeded(&builders::slug(name), builders::now(), true);
    }
    let records = Arc::new(FakeRecords::default());
    let catalog = catalog(&world, records.clone());
    let shop = builders::slug("shop");
    let sight = catalog::look(&catalog, Some(&shop)).await.unwrap();
    assert!(sight.differences().iter().all(|found| found.application.as_ref() == Some(&shop)));
    catalog::rebuild(&catalog, &sight.rebuild(world.clock.now())).await.unwrap();
    assert_eq!(records.all_backups(&shop).len(), 1);
    assert_eq!(records.all_backups(&builders::slug("other")), []);
}
