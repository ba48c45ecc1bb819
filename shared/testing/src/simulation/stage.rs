//! What a history is played on: two applications, what they hold, and backups of the days before.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::{
    engines::{Clients, media::Stretches},
    isolated::Placement,
    ports::{ApplicationRecord, PlanRecord, Ports, Records as _},
    request::{self, BackupRequest},
    slice::Worker,
};
use holdfast_domain::{
    application::{ApplicationSpec, MysqlService, Service, StorageService, Tls},
    backup::{Backup, Label, State},
    document::{self, BackupDocument},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
    retention::{OnDemandPolicy, ScheduledPolicy},
    schedule::Schedule,
};

use super::{book::Book, databases::Databases, dice::Dice};
use crate::{World, builders, faults::Faults, machine::drive_worker};

/// What the policies of all histories are: little is kept, so that much is let go of.
pub(super) const SCHEDULED: ScheduledPolicy = ScheduledPolicy::Gfs { daily: 2, weekly: 1, monthly: 1 };
pub(super) const ON_DEMAND: OnDemandPolicy = OnDemandPolicy::AgeThenCount { days: 2, keep: 1 };

/// Files of each storage.
const FILES: usize = 3;

/// Its plan.
fn plan(verify_days: Option<u32>) -> PlanRecord {
    let spec = PlanSpec {
        schedule: Some(Schedule::default()),
        scheduled: SCHEDULED,
        on_demand: ON_DEMAND,
        verify_days,
        ..PlanSpec::default()
    };
    PlanRecord { id: plan_id(), spec, updated_at: builders::now() }
}

fn plan_id() -> PlanId {
    "small".parse().unwrap()
}

/// A backup that is whole, to make others of the same application like it.
pub(super) struct Model {
    backup: Backup,
    /// What is below its prefix, but for its document.
    objects: Vec<(String, bytes::Bytes)>,
}

/// What a history is played on.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) applications: Vec<ApplicationRecord>,
    pub(super) plan: PlanSpec,
    pub(super) book: Arc<Book>,
    stretches: Stretches,
    /// Databases of the server that both applications have, dumped at a time.
    dumps_per_server: usize,
}

impl Stage {
    /// Both applications as they are registered, with something in every service of theirs.
    fn furnished(seed: u64, verify_days: Option<u32>, stretches: Stretches) -> Self {
        let world = World::seeded(seed);
        let applications = vec![application("shop", true), application("depot", false)];
        for record in &applications {
            let bucket = bucket(&record.id);
            world.media.make_bucket(&bucket, &builders::region());
            for service in &record.spec.services {
                if let Service::Storage(storage) = service {
                    for number in 0..FILES {
                        let key = format!("{}{number}.txt", storage.prefix);
                        world.media.put(&bucket, &key, file(service, number));
                    }
                }
                world.restorers.fill(service, "own");
            }
            world.records.insert_application(record.clone());
        }
        let book = Arc::new(Book::new(&world, &applications));
        Self { world, applications, plan: plan(verify_days).spec, book, stretches, dumps_per_server: 4 }
    }

    /// A whole backup of each application, made by the use cases themselves.
    pub(super) async fn models() -> Vec<Model> {
        let stage = Self::furnished(0, None, Stretches::default());
        stage.put_plan().await;
        let mut models = Vec::new();
        for record in &stage.applications {
            let (world, worker) = (&stage.world, stage.worker(&Faults::default()));
            let asked =
                request::create(&world.ports, "anna", &record.id, BackupRequest::default(), None).await;
            let backup = drive_worker(world, &worker, &record.id, asked.unwrap().backup.value.id).await;
            assert_eq!(backup.state, State::Succeeded, "{:?}", backup.failure);
            let objects = world.artifacts.object_keys().into_iter().filter_map(|key| {
                let name = key.strip_prefix(&backup.prefix())?.to_owned();
                Some((name, world.artifacts.bytes(&key)?))
            });
            let objects = objects.filter(|(name, _)| name != document::FILE_NAME).collect();
            models.push(Model { backup, objects });
        }
        models
    }

    /// The stage of a history, with backups of the days before.
    pub(super) async fn new(seed: u64, dice: &Dice, models: &[Model]) -> Self {
        let verify_days = dice.happens(500).then_some(3);
        let stretches = if dice.happens(60) { Stretches::of_seconds(0) } else { Stretches::default() };
        let dumps_per_server = if dice.happens(500) { 1 } else { 4 };
        let stage = Self { dumps_per_server, ..Self::furnished(seed, verify_days, stretches) };
        stage.put_plan().await;
        // As those of databases do.
        stage.world.restorers.leave_cursors();
        if dice.happens(500) {
            stage.world.restorers.pause_databases();
        }
        for model in models {
            for day in (1..=i64::try_from(dice.below(6)).unwrap()).rev() {
                let at = builders::now() - TimeDelta::days(day) - TimeDelta::hours(9);
                stage.past(model, at, true);
                if dice.happens(300) {
                    stage.past(model, at + TimeDelta::hours(3), false);
                }
            }
        }
        stage.book.watch(&stage.world);
        stage
    }

    async fn put_plan(&self) {
        let record = PlanRecord { spec: self.plan.clone(), ..plan(None) };
        let audit = holdfast_domain::audit::AuditEntry::new(
            self.world.ports.entropy.audit_id(builders::now()),
            builders::now(),
            "anna",
            holdfast_domain::audit::Action::PlanChange,
        );
        self.world.records.put_plan(&record, None, &audit).await.unwrap();
    }

    /// A backup of the past.
    fn past(&self, model: &Model, at: DateTime<Utc>, scheduled: bool) {
        let (world, model_of) = (&self.world, &model.backup);
        let id = world.ports.entropy.backup_id(at);
        let application = &model_of.application;
        let mut backup = if scheduled {
            builders::queued_for_slot(application, id, at)
        } else {
            builders::queued(application, id, at)
        };
        backup.state = State::Succeeded;
        backup.label = scheduled.then_some(Label::Daily);
        backup.services.clone_from(&model_of.services);
        (backup.started_at, backup.taken_at) = (Some(at), Some(at));
        backup.finished_at = Some(at + TimeDelta::seconds(60));
        backup.artifacts.clone_from(&model_of.artifacts);
        for (name, bytes) in &model.objects {
            let object = world.artifacts.insert(&format!("{}{name}", backup.prefix()), bytes.clone());
            let was = format!("{}{name}", model_of.prefix());
            for artifact in backup.artifacts.iter_mut().filter(|artifact| artifact.object.key == was) {
                artifact.object = object.clone();
            }
        }
        let spec = self.spec(application).clone();
        let document = BackupDocument::new(backup.clone(), spec, self.plan.clone()).to_json().unwrap();
        world.artifacts.insert(&format!("{}{}", backup.prefix(), document::FILE_NAME), document);
        self.book.enter(&backup);
        world.records.insert_backup(backup);
    }

    pub(super) fn spec(&self, application: &ApplicationId) -> &ApplicationSpec {
        let found = self.applications.iter().find(|record| record.id == *application);
        &found.expect("it is one of both").spec
    }

    /// A worker whose calls go wrong as `faults` say.
    pub(super) fn worker(&self, faults: &Faults) -> Worker {
        let (ports, restorers) = self.world.through(faults);
        let engines =
            Databases { held: restorers.beside(faults), faults: faults.clone(), clock: ports.clock.clone() };
        Worker {
            engines: Arc::new(engines),
            restorers: Arc::new(restorers),
            clients: Clients {
                postgres: "/nonexistent/{major}".parse().unwrap(),
                mysql: "/nonexistent".parse().unwrap(),
            },
            dumps_per_server: self.dumps_per_server,
            stretches: self.stretches,
            placement: Placement::default(),
            ports,
        }
    }

    /// Ports whose calls go wrong as `faults` say.
    pub(super) fn ports(&self, faults: &Faults) -> Ports {
        self.world.through(faults).0
    }

    /// Whether an artifact of a service holds what that service held.
    pub(super) fn is_of(service: &Service, artifact: &[u8]) -> bool {
        let holds = |wanted: &[u8]| artifact.windows(wanted.len()).any(|found| found == wanted);
        if service.is_database() {
            return holds(b"-- holds ") && artifact.ends_with(b"-- Dump completed on 2026-04-01\n");
        }
        (0..FILES).all(|number| holds(file(service, number).as_bytes()))
    }
}

fn file(service: &Service, number: usize) -> String {
    format!("the file {number} of {}", service.name())
}

fn bucket(id: &ApplicationId) -> String {
    format!("{id}-media")
}

fn application(id: &str, has_two_storages: bool) -> ApplicationRecord {
    let mut record = builders::application(id);
    record.spec.plan = plan_id();
    record.next_run_at = Some(builders::now() + TimeDelta::hours(12));
    let storage = |name: &str, prefix: &str| {
        Service::Storage(StorageService {
            name: builders::service_name(name),
            bucket: bucket(&record.id),
            prefix: prefix.to_owned(),
        })
    };
    let mut services = vec![
        Service::Mysql(MysqlService {
            name: builders::service_name("DEFAULT"),
            host: "db.internal".to_owned(),
            port: 3306,
            database: id.to_owned(),
            secret_arn: format!(
                "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{id}/database-AbCdEf"
            ),
            restore_secret_arn: None,
            isolated: None,
            tls: Tls::default(),
        }),
        storage("MEDIA", "media/"),
    ];
    if has_two_storages {
        services.push(storage("FILES", "files/"));
    }
    record.spec.services = services;
    // Each may have the other's backups.
    record.spec.restore_into = vec![builders::slug(if id == "shop" { "depot" } else { "shop" })];
    record
}

/// The checksum of bytes, as an object's record has it.
pub(super) fn checksum(bytes: &[u8]) -> String {
    Crc64Nvme::of(bytes).to_string()
}
