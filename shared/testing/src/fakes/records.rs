mod catalog;
mod restores;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Mutex,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_backup::ports::{
    ApplicationRecord, Claim, Creation, NewBackup, NewRestore, Page, PlanRecord, Records, RecordsError,
    RestoreCreation, ServiceRun, Versioned,
};
use holdfast_domain::{
    application::ApplicationSpec,
    audit::AuditEntry,
    backup::{Backup, Trigger},
    id::{ApplicationId, AuditId, BackupId, PlanId, RestoreId, ServiceName},
    plan::PlanSpec,
    restore::Restore,
    seats::Seats,
};

/// Records in memory, with every condition of the port. All of them are in one shard.
#[derive(Default)]
pub struct FakeRecords {
    state: Mutex<State>,
}

/// A condition of the port that is not kept, to see whether a test would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neglect {
    /// Backups are written whatever their version.
    BackupVersions,
    /// How far a service has come is written whatever its version.
    RunVersions,
    /// Restores are written whatever their version.
    RestoreVersions,
    /// A backup is made though another one of its trigger is open.
    Turns,
    /// A key that was used before makes another backup.
    Keys,
    /// A slot that has its backup gets another one.
    Slots,
}

/// What a write has made, or made of a record: as it was and as it is.
pub enum Written<'a> {
    /// A new backup.
    Made(&'a Backup),
    /// Of a backup.
    Backup(&'a Backup, &'a Backup),
    /// Of a restore.
    Restore(&'a Restore, &'a Restore),
}

/// Who hears of every write.
type Watcher = Box<dyn Fn(Written<'_>, &[AuditEntry]) + Send + Sync>;

#[derive(Default)]
struct State {
    applications: BTreeMap<ApplicationId, Versioned<ApplicationRecord>>,
    plans: BTreeMap<PlanId, Versioned<PlanRecord>>,
    backups: BTreeMap<ApplicationId, BTreeMap<BackupId, Versioned<Backup>>>,
    removed: BTreeSet<ApplicationId>,
    sources: BTreeMap<BackupId, ApplicationSpec>,
    slots: BTreeMap<(ApplicationId, DateTime<Utc>), BackupId>,
    turns: BTreeMap<(ApplicationId, Trigger), BackupId>,
    idempotency: BTreeMap<(ApplicationId, String), UsedKey>,
    runs: BTreeMap<BackupId, BTreeMap<ServiceName, Versioned<ServiceRun>>>,
    seats: BTreeMap<String, Versioned<Seats>>,
    restores: restores::Restores,
    audit: BTreeMap<ApplicationId, BTreeMap<AuditId, AuditEntry>>,
    plan_audit: BTreeMap<PlanId, BTreeMap<AuditId, AuditEntry>>,
    neglected: Option<Neglect>,
    watcher: Option<Watcher>,
}

struct UsedKey {
    backup: BackupId,
    fingerprint: String,
}

impl FakeRecords {
    /// Puts a backup there as it is, claims or no claims, of the registration as it is now: for histories.
    pub fn insert_backup(&self, backup: Backup) {
        let mut state = self.state.lock().unwrap();
        if let Some(application) = state.applications.get(&backup.application) {
            let source = application.value.spec.clone();
            state.sources.insert(backup.id, source);
        }
        if backup.state.is_open() {
            state.turns.insert((backup.application.clone(), backup.trigger), backup.id);
        }
        if let Some(slot) = backup.slot_at {
            state.slots.insert((backup.application.clone(), slot), backup.id);
        }
        let backups = state.backups.entry(backup.application.clone()).or_default();
        backups.insert(backup.id, Versioned { value: backup, version: 1 });
    }

    /// Keeps one of the conditions no more.
    pub fn neglect(&self, condition: Neglect) {
        self.state.lock().unwrap().neglected = Some(condition);
    }

    /// Tells `watcher` of every new backup and of every write to a backup or restore, at that moment. It must not ask these records.
    pub fn watch(&self, watcher: impl Fn(Written<'_>, &[AuditEntry]) + Send + Sync + 'static) {
        self.state.lock().unwrap().watcher = Some(Box::new(watcher));
    }

    /// Every restore into an application, oldest first.
    pub fn all_restores(&self, application: &ApplicationId) -> Vec<Restore> {
        self.state.lock().unwrap().restores.of(application)
    }

    /// How many turns are taken, of backups and of restores.
    pub fn turns_taken(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.turns.len() + state.restores.turns_taken()
    }

    /// How many seats at database servers are taken at `now`.
    pub fn seats_taken(&self, now: DateTime<Utc>) -> usize {
        let state = self.state.lock().unwrap();
        let taken = state.seats.values().flat_map(|seats| &seats.value.taken);
        taken.filter(|seat| seat.until > now).count()
    }

    /// Puts an application there as it is.
    pub fn insert_application(&self, application: ApplicationRecord) {
        let mut state = self.state.lock().unwrap();
        state.applications.insert(application.id.clone(), Versioned { value: application, version: 1 });
    }

    /// How an application is registered, if it is.
    pub fn registration(&self, id: &ApplicationId) -> Option<ApplicationSpec> {
        let state = self.state.lock().unwrap();
        state.applications.get(id).map(|application| application.value.spec.clone())
    }

    /// What a plan says, if somebody has written it down.
    pub fn plan_spec(&self, id: &PlanId) -> Option<PlanSpec> {
        self.state.lock().unwrap().plans.get(id).map(|plan| plan.value.spec.clone())
    }

    /// Every backup of an application, oldest first.
    pub fn all_backups(&self, application: &ApplicationId) -> Vec<Backup> {
        let state = self.state.lock().unwrap();
        state.backups.get(application).into_iter().flatten().map(|(_, backup)| backup.value.clone()).collect()
    }

    /// The whole audit trail of an application, oldest first.
    pub fn audit_trail(&self, application: &ApplicationId) -> Vec<AuditEntry> {
        self.state
            .lock()
            .unwrap()
            .audit
            .get(application)
            .into_iter()
            .flatten()
            .map(|(_, e)| e.clone())
            .collect()
    }

    /// The whole audit trail of a plan, oldest first.
    pub fn plan_audit_trail(&self, plan: &PlanId) -> Vec<AuditEntry> {
        self.state
            .lock()
            .unwrap()
            .plan_audit
            .get(plan)
            .into_iter()
            .flatten()
            .map(|(_, e)| e.clone())
            .collect()
    }
}

#[async_trait]
impl Records for FakeRecords {
    async fn application(
        &self,
        id: &ApplicationId,
    ) -> Result<Option<Versioned<ApplicationRecord>>, RecordsError> {
        Ok(self.state.lock().unwrap().applications.get(id).cloned())
    }

    async fn applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<Versioned<ApplicationRecord>, ApplicationId>, RecordsError> {
        let state = self.state.lock().unwrap();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = state.applications.range::<ApplicationId, _>((from, Bound::Unbounded));
        Ok(page(found.map(|(_, application)| application.clone()), limit, |last| last.value.id.clone()))
    }

    async fn put_application(
        &self,
        application: &ApplicationRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError> {
        let mut state = self.state.lock().unwrap();
        let version = write(&mut state.applications, &application.id, application, expected)?;
        state.note(&application.id, audit);
        Ok(version)
    }

    async fn delete_application(
        &self,
        id: &ApplicationId,
        expected: u64,
        audit: &AuditEntry,
    ) -> Result<(), RecordsError> {
        let mut state = self.state.lock().unwrap();
        check(&state.applications, id, Some(expected))?;
        if state.turns.keys().any(|(application, _)| application == id) || state.restores.is_open(id) {
            return Err(RecordsError::Conflict);
        }
        state.applications.remove(id);
        state.removed.insert(id.clone());
        state.note(id, audit);
        Ok(())
    }

    async fn removed_applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<ApplicationId, ApplicationId>, RecordsError> {
        let state = self.state.lock().unwrap();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = state.removed.range::<ApplicationId, _>((from, Bound::Unbounded));
        Ok(page(found.cloned(), limit, Clone::clone))
    }

    async fn forget_application(&self, id: &ApplicationId) -> Result<(), RecordsError> {
        self.state.lock().unwrap().removed.remove(id);
        Ok(())
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<ApplicationId>, RecordsError> {
        let state = self.state.lock().unwrap();
        let mut due: Vec<_> = state
            .applications
            .values()
            .filter_map(|application| Some((application.value.next_run_at?, &application.value.id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, id)| id.clone()).collect())
    }

    async fn plan(&self, id: &PlanId) -> Result<Option<Versioned<PlanRecord>>, RecordsError> {
        Ok(self.state.lock().unwrap().plans.get(id).cloned())
    }

    async fn plans(&self) -> Result<Vec<Versioned<PlanRecord>>, RecordsError> {
        Ok(self.state.lock().unwrap().plans.values().cloned().collect())
    }

    async fn put_plan(
        &self,
        plan: &PlanRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError> {
        let mut state = self.state.lock().unwrap();
        let version = write(&mut state.plans, &plan.id, plan, expected)?;
        state.plan_audit.entry(plan.id.clone()).or_default().insert(audit.id, audit.clone());
        Ok(version)
    }

    async fn create_backup(&self, new: &NewBackup) -> Result<Creation, RecordsError> {
        self.state.lock().unwrap().create_backup(new)
    }

    async fn source(&self, backup: BackupId) -> Result<Option<ApplicationSpec>, RecordsError> {
        Ok(self.state.lock().unwrap().sources.get(&backup).cloned())
    }

    async fn idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(BackupId, String)>, RecordsError> {
        let state = self.state.lock().unwrap();
        let used = state.idempotency.get(&(application.clone(), key.to_owned()));
        Ok(used.map(|used| (used.backup, used.fingerprint.clone())))
    }

    async fn backup(
        &self,
        application: &ApplicationId,
        id: BackupId,
    ) -> Result<Option<Versioned<Backup>>, RecordsError> {
        let state = self.state.lock().unwrap();
        Ok(state.backups.get(application).and_then(|backups| backups.get(&id)).cloned())
    }

    async fn backups(
        &self,
        application: &ApplicationId,
        before: Option<BackupId>,
        limit: usize,
    ) -> Result<Page<Versioned<Backup>, BackupId>, RecordsError> {
        let state = self.state.lock().unwrap();
        let found = state.backups.get(application).into_iter().flatten().rev();
        let found = found.filter(|(id, _)| before.is_none_or(|before| **id < before));
        Ok(page(found.map(|(_, backup)| backup.clone()), limit, |last| last.value.id))
    }

    async fn update_backup(
        &self,
        backup: &Backup,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        let mut state = self.state.lock().unwrap();
        let neglected = state.neglects(Neglect::BackupVersions);
        let backups = state.backups.entry(backup.application.clone()).or_default();
        let was = backups.get(&backup.id).cloned().ok_or(RecordsError::Conflict)?;
        let expected = if neglected { was.version } else { expected };
        let version = write(backups, &backup.id, backup, Some(expected))?;
        let was_open = was.value.state.is_open();
        if let Some(watcher) = &state.watcher {
            watcher(Written::Backup(&was.value, backup), audit);
        }
        if was_open && !backup.state.is_open() {
            let turn = (backup.application.clone(), backup.trigger);
            if state.turns.get(&turn) == Some(&backup.id) {
                state.turns.remove(&turn);
            }
        }
        for entry in audit {
            state.note(&backup.application, entry);
        }
        Ok(version)
    }

    async fn open_backups(&self, limit: usize) -> Result<Vec<(ApplicationId, BackupId)>, RecordsError> {
        let state = self.state.lock().unwrap();
        let mut open: Vec<_> = state
            .backups
            .values()
            .flat_map(BTreeMap::values)
            .map(|backup| &backup.value)
            .filter(|backup| backup.state.is_open())
            .collect();
        open.sort_by_key(|backup| (backup.created_at, backup.id));
        Ok(open.into_iter().take(limit).map(|backup| (backup.application.clone(), backup.id)).collect())
    }

    async fn service_runs(&self, backup: BackupId) -> Result<Vec<Versioned<ServiceRun>>, RecordsError> {
        let state = self.state.lock().unwrap();
        Ok(state.runs.get(&backup).into_iter().flatten().map(|(_, run)| run.clone()).collect())
    }

    async fn put_service_run(
        &self,
        backup: BackupId,
        run: &ServiceRun,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError> {
        let mut state = self.state.lock().unwrap();
        let neglected = state.neglects(Neglect::RunVersions);
        let runs = state.runs.entry(backup).or_default();
        let expected = if neglected { runs.get(&run.service).map(|found| found.version) } else { expected };
        write(runs, &run.service, run, expected)
    }

    async fn seats(&self, server: &str) -> Result<Option<Versioned<Seats>>, RecordsError> {
        Ok(self.state.lock().unwrap().seats.get(server).cloned())
    }

    async fn put_seats(
        &self,
        server: &str,
        seats: &Seats,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError> {
        write(&mut self.state.lock().unwrap().seats, &server.to_owned(), seats, expected)
    }

    async fn create_restore(&self, new: &NewRestore) -> Result<RestoreCreation, RecordsError> {
        self.state.lock().unwrap().create_restore(new)
    }

    async fn restore_target(&self, restore: RestoreId) -> Result<Option<ApplicationSpec>, RecordsError> {
        Ok(self.state.lock().unwrap().restores.target(restore))
    }

    async fn restore_idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(RestoreId, String)>, RecordsError> {
        Ok(self.state.lock().unwrap().restores.used_for(application, key))
    }

    async fn restore(
        &self,
        application: &ApplicationId,
        id: RestoreId,
    ) -> Result<Option<Versioned<Restore>>, RecordsError> {
        Ok(self.state.lock().unwrap().restores.one(application, id))
    }

    async fn restores(
        &self,
        application: &ApplicationId,
        before: Option<RestoreId>,
        limit: usize,
    ) -> Result<Page<Versioned<Restore>, RestoreId>, RecordsError> {
        Ok(self.state.lock().unwrap().restores.page(application, before, limit))
    }

    async fn update_restore(
        &self,
        restore: &Restore,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        let mut state = self.state.lock().unwrap();
        let was = state.restores.one(&restore.application, restore.id).ok_or(RecordsError::Conflict)?;
        let expected = if state.neglects(Neglect::RestoreVersions) { was.version } else { expected };
        let version = state.restores.update(restore, expected)?;
        if let Some(watcher) = &state.watcher {
            watcher(Written::Restore(&was.value, restore), audit);
        }
        for entry in audit {
            state.note(&restore.application, entry);
        }
        Ok(version)
    }

    async fn open_restores(&self, limit: usize) -> Result<Vec<(ApplicationId, RestoreId)>, RecordsError> {
        Ok(self.state.lock().unwrap().restores.open(limit))
    }

    async fn plan_audit(
        &self,
        plan: &PlanId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        Ok(trail(self.state.lock().unwrap().plan_audit.get(plan), before, limit))
    }

    async fn audit(
        &self,
        application: &ApplicationId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        Ok(trail(self.state.lock().unwrap().audit.get(application), before, limit))
    }
}

impl State {
    fn neglects(&self, condition: Neglect) -> bool {
        self.neglected == Some(condition)
    }

    fn create_backup(&mut self, new: &NewBackup) -> Result<Creation, RecordsError> {
        let backup = &new.backup;
        let application = &backup.application;
        match &new.claim {
            Claim::Slot { application: moved_on, expected } => {
                let slot = backup
                    .slot_at
                    .ok_or_else(|| RecordsError::Malformed("a slot is claimed without one".to_owned()))?;
                if self.slots.contains_key(&(application.clone(), slot)) && !self.neglects(Neglect::Slots) {
                    return Ok(Creation::SlotTaken);
                }
                if !self.neglects(Neglect::Slots) {
                    check(&self.applications, &moved_on.id, Some(*expected))?;
                }
            }
            Claim::Request { idempotency } => {
                if let Some(key) = idempotency
                    && !self.neglects(Neglect::Keys)
                    && let Some(used) = self.idempotency.get(&(application.clone(), key.key.clone()))
                {
                    return Ok(Creation::Repeated { id: used.backup, fingerprint: used.fingerprint.clone() });
                }
                if !self.applications.contains_key(application) {
                    return Err(RecordsError::Conflict);
                }
            }
        }
        if let Some(open) = self.turns.get(&(application.clone(), backup.trigger))
            && !self.neglects(Neglect::Turns)
        {
            return Ok(Creation::Busy(*open));
        }
        write(self.backups.entry(application.clone()).or_default(), &backup.id, backup, None)?;
        self.turns.insert((application.clone(), backup.trigger), backup.id);
        self.sources.insert(backup.id, new.source.clone());
        self.note(application, &new.audit);
        if let Some(watcher) = &self.watcher {
            watcher(Written::Made(backup), std::slice::from_ref(&new.audit));
        }
        match &new.claim {
            Claim::Slot { application: moved_on, expected } => {
                self.slots.extend(backup.slot_at.map(|slot| ((application.clone(), slot), backup.id)));
                let neglected = self.neglects(Neglect::Slots);
                let found = self.applications.get(&moved_on.id).map(|found| found.version);
                let expected = if neglected { found } else { Some(*expected) };
                write(&mut self.applications, &moved_on.id, moved_on, expected)?;
            }
            Claim::Request { idempotency } => {
                self.idempotency.extend(idempotency.as_ref().map(|key| {
                    let used = UsedKey { backup: backup.id, fingerprint: key.fingerprint.clone() };
                    ((application.clone(), key.key.clone()), used)
                }));
            }
        }
        Ok(Creation::Created)
    }

    fn note(&mut self, application: &ApplicationId, entry: &AuditEntry) {
        self.audit.entry(application.clone()).or_default().insert(entry.id, entry.clone());
    }
}

fn check<K: Ord, T>(
    records: &BTreeMap<K, Versioned<T>>,
    key: &K,
    expected: Option<u64>,
) -> Result<(), RecordsError> {
    let found = records.get(key).map(|record| record.version);
    if found == expected { Ok(()) } else { Err(RecordsError::Conflict) }
}

fn write<K: Ord + Clone, T: Clone>(
    records: &mut BTreeMap<K, Versioned<T>>,
    key: &K,
    value: &T,
    expected: Option<u64>,
) -> Result<u64, RecordsError> {
    check(records, key, expected)?;
    let version = expected.unwrap_or(0) + 1;
    records.insert(key.clone(), Versioned { value: value.clone(), version });
    Ok(version)
}

fn trail(
    entries: Option<&BTreeMap<AuditId, AuditEntry>>,
    before: Option<&str>,
    limit: usize,
) -> Page<AuditEntry, String> {
    let found = entries.into_iter().flatten().rev();
    let found = found.filter(|(id, _)| before.is_none_or(|before| id.to_string().as_str() < before));
    page(found.map(|(_, entry)| entry.clone()), limit, |last| last.id.to_string())
}

fn page<T, C>(found: impl Iterator<Item = T>, limit: usize, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let mut items: Vec<T> = found.take(limit.saturating_add(1)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Page { items, next }
}
