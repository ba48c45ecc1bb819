//! What restores are tested on.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use holdfast_backup::{
    error::SliceError,
    job::{Answer, Job},
    restores::{self, RequestedOrigin, RestoreRequest},
    slice::slice,
};
use holdfast_domain::{
    application::{ApplicationSpec, Service},
    backup::Backup,
    id::{ApplicationId, RestoreId},
    restore::{Restore, RestoreOptions},
};
use holdfast_testing::{World, builders};

use crate::machine::{INVOCATION, drive_restore, worker};

pub(crate) const ANNA: &str = "arn:aws:iam::123456789012:user/anna";

/// An application with a database and a storage, and a backup of both.
pub(crate) struct Shop {
    pub(crate) world: World,
    pub(crate) id: ApplicationId,
    pub(crate) spec: ApplicationSpec,
    pub(crate) backup: Backup,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::seeded(1)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        let world = World::seeded(seed);
        let record = world.register("shop").value;
        let backup = world.succeeded(&record.id, builders::now() - TimeDelta::days(1), true);
        Self { world, id: record.id, spec: record.spec, backup }
    }

    /// The same, with something else in both services.
    pub(crate) fn occupied() -> Self {
        let shop = Self::new();
        shop.spec.services.iter().for_each(|service| shop.world.restorers.fill(service, "own"));
        shop
    }

    pub(crate) fn request(&self, options: RestoreOptions) -> RestoreRequest {
        let from = RequestedOrigin { application: None, backup: self.backup.id };
        RestoreRequest { from, services: None, options }
    }

    pub(crate) async fn ask(&self, options: RestoreOptions) -> RestoreId {
        let request = self.request(options);
        let asked = restores::create(&self.world.ports, ANNA, &self.id, request, None).await.unwrap();
        asked.restore.value.id
    }

    pub(crate) async fn drive(&self, id: RestoreId) -> Restore {
        drive_restore(&self.world, &self.id, id).await
    }

    pub(crate) fn job(&self, id: RestoreId) -> Job {
        Job::Restore { application: self.id.clone(), id }
    }

    pub(crate) async fn slice(&self, id: RestoreId) -> Result<Answer, SliceError> {
        slice(&worker(&self.world), &self.job(id), None, INVOCATION).await
    }

    pub(crate) async fn restore(&self, id: RestoreId) -> Restore {
        self.world.restore(&self.id, id).await
    }

    pub(crate) fn database(&self) -> &Service {
        &self.spec.services[0]
    }

    pub(crate) fn storage(&self) -> &Service {
        &self.spec.services[1]
    }

    /// Where the database's contents come from.
    pub(crate) fn database_from(&self) -> Option<String> {
        self.world.restorers.holds(self.database()).remove("")
    }

    /// Where each file comes from.
    pub(crate) fn files_from(&self) -> BTreeMap<String, String> {
        self.world.restorers.holds(self.storage())
    }

    pub(crate) fn key(backup: &Backup, service: usize) -> String {
        backup.artifacts[service].object.key.clone()
    }

    /// Both services hold what `backup` has, and nobody's scratch is left.
    pub(crate) fn assert_restored(&self, backup: &Backup, what: &str) {
        assert_eq!(self.database_from(), Some(Self::key(backup, 0)), "{what}");
        let files = self.files_from();
        for number in 0..5 {
            assert_eq!(files.get(&number.to_string()), Some(&Self::key(backup, 1)), "{what}: {files:?}");
        }
        assert_eq!(self.world.restorers.scratch(), 0, "{what}");
    }

    /// Both services hold what they held before.
    pub(crate) fn assert_untouched(&self, what: &str) {
        assert_eq!(self.database_from().as_deref(), Some("own"), "{what}");
        assert!(self.files_from().values().all(|from| from == "own"), "{what}");
        assert_eq!(self.world.restorers.scratch(), 0, "{what}");
    }

    /// Safety backups, and others on demand.
    pub(crate) fn on_demand(&self) -> Vec<Backup> {
        let all = self.world.records.all_backups(&self.id);
        all.into_iter().filter(|backup| backup.id != self.backup.id).collect()
    }
}

pub(crate) fn overwriting() -> RestoreOptions {
    RestoreOptions { overwrite: true, ..RestoreOptions::default() }
}
