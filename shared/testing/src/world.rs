use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_backup::ports::{ApplicationRecord, Ports, Records as _, Versioned};
use holdfast_domain::{
    application::{MysqlService, PostgresService, Service},
    backup::Backup,
    document::{BackupDocument, FILE_NAME},
    id::{ApplicationId, BackupId, RestoreId},
    plan::PlanSpec,
    region::Region,
    restore::Restore,
};

use crate::{
    builders,
    fakes::{
        FakeArtifacts, FakeClock, FakeEvents, FakeExecutions, FakeInstances, FakeMedia, FakeMediaTarget,
        FakeRecords, FakeRestorers, FakeSecrets, SeededEntropy,
    },
    faults::{Faults, Faulty},
};

/// Everything outside the use cases, in memory: ports to hand to them, and a handle on each fake behind.
pub struct World {
    /// The ports; every call goes through `faults`.
    pub ports: Ports,
    /// What goes wrong, and which calls were made.
    pub faults: Faults,
    /// The records.
    pub records: Arc<FakeRecords>,
    /// The bucket that backups are kept in.
    pub artifacts: Arc<FakeArtifacts>,
    /// The applications' buckets.
    pub media: Arc<FakeMedia>,
    /// The way back into them.
    pub media_target: Arc<FakeMediaTarget>,
    /// The databases' credentials.
    pub secrets: Arc<FakeSecrets>,
    /// Who restores, and what is restored.
    pub restorers: Arc<FakeRestorers>,
    /// RDS.
    pub instances: Arc<FakeInstances>,
    /// The state machine.
    pub executions: Arc<FakeExecutions>,
    /// What was told to others.
    pub events: Arc<FakeEvents>,
    /// The time: [`builders::now`] at first.
    pub clock: Arc<FakeClock>,
}

impl World {
    /// An empty world at [`builders::now`], in [`builders::region`].
    pub fn new() -> Self {
        Self::seeded(1)
    }

    /// An empty world whose ids are those of `seed`.
    pub fn seeded(seed: u64) -> Self {
        let faults = Faults::default();
        let records = Arc::new(FakeRecords::default());
        let media = Arc::new(FakeMedia::default());
        let artifacts = Arc::new(FakeArtifacts::beside(media.clone()));
        let media_target = Arc::new(FakeMediaTarget::new(media.clone(), artifacts.clone()));
        let secrets = Arc::new(FakeSecrets::default());
        let restorers = Arc::new(FakeRestorers::new(&faults));
        let executions = Arc::new(FakeExecutions::default());
        let events = Arc::new(FakeEvents::default());
        let clock = Arc::new(FakeClock::at(builders::now()));
        let instances = Arc::new(FakeInstances::at(clock.clone()));
        let ports = Ports {
            records: Arc::new(Faulty::new(records.clone(), &faults)),
            artifacts: Arc::new(Faulty::new(artifacts.clone(), &faults)),
            media: Arc::new(Faulty::new(media.clone(), &faults)),
            media_target: Arc::new(Faulty::new(media_target.clone(), &faults)),
            secrets: Arc::new(Faulty::new(secrets.clone(), &faults)),
            instances: Arc::new(Faulty::new(instances.clone(), &faults)),
            executions: Arc::new(Faulty::new(executions.clone(), &faults)),
            events: Arc::new(Faulty::new(events.clone(), &faults)),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(seed)),
        };
        Self {
            ports,
            faults,
            records,
            artifacts,
            media,
            media_target,
            secrets,
            restorers,
            instances,
            executions,
            events,
            clock,
        }
    }

    /// The same ports, and the same restorers, for somebody else: every call of theirs goes through `faults`.
    pub fn through(&self, faults: &Faults) -> (Ports, FakeRestorers) {
        let ports = Ports {
            records: Arc::new(Faulty::new(self.records.clone(), faults)),
            artifacts: Arc::new(Faulty::new(self.artifacts.clone(), faults)),
            media: Arc::new(Faulty::new(self.media.clone(), faults)),
            media_target: Arc::new(Faulty::new(self.media_target.clone(), faults)),
            secrets: Arc::new(Faulty::new(self.secrets.clone(), faults)),
            instances: Arc::new(Faulty::new(self.instances.clone(), faults)),
            executions: Arc::new(Faulty::new(self.executions.clone(), faults)),
            events: Arc::new(Faulty::new(self.events.clone(), faults)),
            ..self.ports.clone()
        };
        (ports, self.restorers.beside(faults))
    }

    /// Registers [`builders::application`] `id`, and makes the bucket and the secret that it names.
    pub fn register(&self, id: &str) -> Versioned<ApplicationRecord> {
        let application = builders::application(id);
        for service in &application.spec.services {
            match service {
                Service::Postgres(PostgresService { secret_arn, .. })
                | Service::Mysql(MysqlService { secret_arn, .. }) => {
                    self.secrets.put(secret_arn, "shop", "correct horse");
                }
                Service::Storage(storage) => self.media.make_bucket(&storage.bucket, &builders::region()),
            }
        }
        self.records.insert_application(application.clone());
        Versioned { value: application, version: 1 }
    }

    /// A backup of the past that succeeded, with its objects in the bucket..
    pub fn succeeded(&self, application: &ApplicationId, at: DateTime<Utc>, scheduled: bool) -> Backup {
        let id = self.ports.entropy.backup_id(at);
        let mut backup = builders::succeeded(application, id, at, scheduled);
        for artifact in &mut backup.artifacts {
            artifact.object = self.artifacts.insert(&artifact.object.key, artifact.object.key.clone());
        }
        self.describe(&backup);
        self.records.insert_backup(backup.clone());
        backup
    }

    /// Puts the `backup.json` of a backup into the bucket, of the registration and the plan as the records have them, or as they
    /// are in most tests.
    fn describe(&self, backup: &Backup) {
        let id = &backup.application;
        let application =
            self.records.registration(id).unwrap_or_else(|| builders::application_spec(id.as_str()));
        let plan = self.records.plan_spec(&application.plan).unwrap_or_else(PlanSpec::default_plan);
        let document = BackupDocument::new(backup.clone(), application, plan);
        self.artifacts.insert(&format!("{}{FILE_NAME}", backup.prefix()), document.to_json().unwrap());
    }

    /// Lets a backup that is open succeed, with its objects in the bucket.
    pub async fn complete(&self, application: &ApplicationId, id: BackupId) -> Backup {
        let Versioned { value: mut backup, version } =
            self.records.backup(application, id).await.unwrap().expect("the backup has a record");
        let made = builders::succeeded(application, id, backup.created_at, false);
        backup.state = made.state;
        (backup.started_at, backup.taken_at) = (made.started_at, made.taken_at);
        backup.finished_at = made.finished_at;
        backup.artifacts = made.artifacts;
        backup.artifacts.retain(|artifact| backup.services.contains(&artifact.service));
        for artifact in &mut backup.artifacts {
            artifact.object = self.artifacts.insert(&artifact.object.key, artifact.object.key.clone());
        }
        self.records.update_backup(&backup, version, &[]).await.unwrap();
        backup
    }

    /// What the records say about a restore now.
    pub async fn restore(&self, application: &ApplicationId, id: RestoreId) -> Restore {
        self.records.restore(application, id).await.unwrap().expect("the restore has a record").value
    }

    /// What the records say about a backup now.
    pub fn backup(&self, application: &ApplicationId, id: BackupId) -> Backup {
        let all = self.records.all_backups(application);
        all.into_iter().find(|backup| backup.id == id).expect("the backup has a record")
    }

    /// The region of this world.
    pub fn region(&self) -> Region {
        builders::region()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
