use std::collections::BTreeMap;

use holdfast_backup::ports::{IdempotencyKey, NewRestore, Page, RecordsError, RestoreCreation, Versioned};
use holdfast_domain::{
    application::ApplicationSpec,
    id::{ApplicationId, RestoreId},
    restore::Restore,
};

use super::{State, page, write};

/// Restores in memory, and what they claim.
#[derive(Default)]
pub(super) struct Restores {
    all: BTreeMap<ApplicationId, BTreeMap<RestoreId, Versioned<Restore>>>,
    targets: BTreeMap<RestoreId, ApplicationSpec>,
    turns: BTreeMap<ApplicationId, RestoreId>,
    keys: BTreeMap<(ApplicationId, String), (RestoreId, String)>,
}

impl Restores {
    pub(super) fn is_open(&self, application: &ApplicationId) -> bool {
        self.turns.contains_key(application)
    }

    pub(super) fn target(&self, restore: RestoreId) -> Option<ApplicationSpec> {
        self.targets.get(&restore).cloned()
    }

    pub(super) fn used_for(&self, application: &ApplicationId, key: &str) -> Option<(RestoreId, String)> {
        self.keys.get(&(application.clone(), key.to_owned())).cloned()
    }

    pub(super) fn one(&self, application: &ApplicationId, id: RestoreId) -> Option<Versioned<Restore>> {
        self.all.get(application).and_then(|restores| restores.get(&id)).cloned()
    }

    pub(super) fn of(&self, application: &ApplicationId) -> Vec<Restore> {
        self.all.get(application).into_iter().flatten().map(|(_, restore)| restore.value.clone()).collect()
    }

    pub(super) fn turns_taken(&self) -> usize {
        self.turns.len()
    }

    pub(super) fn page(
        &self,
        application: &ApplicationId,
        before: Option<RestoreId>,
        limit: usize,
    ) -> Page<Versioned<Restore>, RestoreId> {
        let found = self.all.get(application).into_iter().flatten().rev();
        let found = found.filter(|(id, _)| before.is_none_or(|before| **id < before));
        page(found.map(|(_, restore)| restore.clone()), limit, |last| last.value.id)
    }

    pub(super) fn update(&mut self, restore: &Restore, expected: u64) -> Result<u64, RecordsError> {
        let restores = self.all.entry(restore.application.clone()).or_default();
        let was_open = restores.get(&restore.id).is_some_and(|was| was.value.state.is_open());
        let version = write(restores, &restore.id, restore, Some(expected))?;
        let is_its_turn = self.turns.get(&restore.application) == Some(&restore.id);
        if was_open && !restore.state.is_open() && is_its_turn {
            self.turns.remove(&restore.application);
        }
        Ok(version)
    }

    pub(super) fn open(&self, limit: usize) -> Vec<(ApplicationId, RestoreId)> {
        let all = self.all.values().flat_map(BTreeMap::values).map(|restore| &restore.value);
        let mut open: Vec<_> = all.filter(|restore| restore.state.is_open()).collect();
        open.sort_by_key(|restore| (restore.created_at, restore.id));
        open.into_iter().take(limit).map(|restore| (restore.application.clone(), restore.id)).collect()
    }
}

impl State {
    pub(super) fn create_restore(&mut self, new: &NewRestore) -> Result<RestoreCreation, RecordsError> {
        let restore = &new.restore;
        let into = &restore.application;
        if let Some(IdempotencyKey { key, .. }) = &new.idempotency
            && let Some((id, fingerprint)) = self.restores.used_for(into, key)
        {
            return Ok(RestoreCreation::Repeated { id, fingerprint });
        }
        if !self.applications.contains_key(into) {
            return Err(RecordsError::Conflict);
        }
        if let Some(open) = self.restores.turns.get(into) {
            return Ok(RestoreCreation::Busy(*open));
        }
        write(self.restores.all.entry(into.clone()).or_default(), &restore.id, restore, None)?;
        self.restores.turns.insert(into.clone(), restore.id);
        self.restores.targets.insert(restore.id, new.target.clone());
        self.restores.keys.extend(
            new.idempotency
                .as_ref()
                .map(|used| ((into.clone(), used.key.clone()), (restore.id, used.fingerprint.clone()))),
        );
        self.note(into, &new.audit);
        if let Some(entry) = &new.audit_of_origin {
            self.note(&restore.from.application, entry);
        }
        Ok(RestoreCreation::Created)
    }
}
