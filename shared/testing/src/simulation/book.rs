//! What is known of a history from outside, and what of it must never be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use holdfast_backup::ports::{ApplicationRecord, Clock as _};
use holdfast_domain::{
    application::Service,
    audit::{Action, AuditEntry},
    backup::{Backup, State, Trigger},
    document::{self, BackupDocument},
    id::{ApplicationId, BackupId, RestoreId},
    restore::{Restore, RestoreState},
    retention::OnDemandPolicy,
};

use super::stage::{self, Stage};
use crate::{
    World,
    fakes::{FakeArtifacts, FakeClock, FakeRestorers, Written},
    faults::Faults,
};

/// What a database or a storage holds: where each of its files comes from.
type Holds = BTreeMap<String, String>;

/// What is known from outside.
pub(super) struct Book {
    state: Mutex<Pages>,
    artifacts: Arc<FakeArtifacts>,
    restorers: FakeRestorers,
    clock: Arc<FakeClock>,
    services: BTreeMap<ApplicationId, Vec<Service>>,
}

#[derive(Default)]
struct Pages {
    wrong: Vec<String>,
    /// What every backup that ever was good is, or was.
    good: BTreeMap<BackupId, Good>,
    /// Artifacts whose bytes have rotted.
    rotten: BTreeSet<String>,
    /// Backups that somebody was told are held, and that nobody has asked to release.
    held: BTreeSet<BackupId>,
    released: BTreeSet<BackupId>,
    /// What requests with a key were answered.
    answers: BTreeMap<(ApplicationId, String), BTreeSet<String>>,
    /// What each service holds, when nothing is at it.
    holds: BTreeMap<(ApplicationId, String), Holds>,
    /// The backups that have not ended.
    open: BTreeMap<BackupId, (ApplicationId, Trigger)>,
    /// What was in the way of each restore when it began.
    before: BTreeMap<RestoreId, Vec<Holds>>,
}

struct Good {
    application: ApplicationId,
    trigger: Trigger,
    date: Option<NaiveDate>,
    taken_at: DateTime<Utc>,
    is_held: bool,
    /// Since when it is good no more.
    until: Option<DateTime<Utc>>,
    artifacts: BTreeMap<String, String>,
}

impl Book {
    pub(super) fn new(world: &World, applications: &[ApplicationRecord]) -> Self {
        let services: BTreeMap<_, _> =
            applications.iter().map(|record| (record.id.clone(), record.spec.services.clone())).collect();
        let restorers = world.restorers.beside(&Faults::default());
        let mut holds = BTreeMap::new();
        for (id, services) in &services {
            for service in services {
                holds.insert((id.clone(), service.name().to_string()), restorers.holds(service));
            }
        }
        let state = Pages { holds, ..Pages::default() };
        Self {
            state: Mutex::new(state),
            artifacts: world.artifacts.clone(),
            restorers,
            clock: world.clock.clone(),
            services,
        }
    }

    /// Hears of every write from now on.
    pub(super) fn watch(self: &Arc<Self>, world: &World) {
        let book = self.clone();
        world.records.watch(move |written, audit| match written {
            Written::Made(backup) => book.backup_made(backup),
            Written::Backup(was, is) => book.backup_written(was, is, audit),
            Written::Restore(was, is) => book.restore_written(was, is),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.state.lock().unwrap()
    }

    /// What was found wrong first.
    pub(super) fn wrong(&self) -> Option<String> {
        self.lock().wrong.first().cloned()
    }

    pub(super) fn complain(&self, words: String) {
        self.lock().wrong.push(words);
    }

    pub(super) fn rots(&self, key: &str) {
        self.lock().rotten.insert(key.to_owned());
    }

    pub(super) fn is_rotten(&self, key: &str) -> bool {
        self.lock().rotten.contains(key)
    }

    pub(super) fn answered(&self, application: &ApplicationId, key: &str, id: String) {
        self.lock().answers.entry((application.clone(), key.to_owned())).or_default().insert(id);
    }

    pub(super) fn answers(&self) -> BTreeMap<(ApplicationId, String), BTreeSet<String>> {
        self.lock().answers.clone()
    }

    pub(super) fn told_held(&self, backup: &Backup) {
        let mut state = self.lock();
        if backup.state == State::Succeeded && !state.released.contains(&backup.id) {
            state.held.insert(backup.id);
        }
    }

    pub(super) fn may_be_released(&self, id: BackupId) {
        let mut state = self.lock();
        state.released.insert(id);
        state.held.remove(&id);
    }

    pub(super) fn held(&self) -> BTreeSet<BackupId> {
        self.lock().held.clone()
    }

    /// A database's owner writes to it, while no restore is open.
    pub(super) fn write(&self, application: &ApplicationId, service: &Service, what: &str) {
        self.restorers.write(service, what);
        let holds = self.restorers.holds(service);
        self.lock().holds.insert((application.clone(), service.name().to_string()), holds);
    }

    /// What each service should hold, and holds.
    pub(super) fn check_holdings(&self) {
        let mut state = self.lock();
        let mut wrong = Vec::new();
        for (application, services) in &self.services {
            for service in services {
                let should = &state.holds[&(application.clone(), service.name().to_string())];
                let is = self.restorers.holds(service);
                if *should != is {
                    wrong.push(format!(
                        "{application}, {}: it held {should:?} when its last restore ended, and holds {is:?}",
                        service.name()
                    ));
                }
            }
        }
        state.wrong.extend(wrong);
    }

    /// A backup that is good.
    pub(super) fn enter(&self, backup: &Backup) {
        let artifact = |service: &str, key: &str| (service.to_owned(), key.to_owned());
        let good = Good {
            application: backup.application.clone(),
            trigger: backup.trigger,
            date: backup.slot_date,
            taken_at: backup.taken_at.unwrap_or(backup.created_at),
            is_held: backup.hold.is_some(),
            until: None,
            artifacts: backup
                .artifacts
                .iter()
                .map(|made| artifact(made.service.as_str(), &made.object.key))
                .collect(),
        };
        self.lock().good.insert(backup.id, good);
    }

    fn backup_made(&self, backup: &Backup) {
        let turn = (backup.application.clone(), backup.trigger);
        let mut state = self.lock();
        if let Some((other, _)) = state.open.iter().find(|(_, taken)| **taken == turn) {
            let words = format!("the backup {} was begun while {other} was open", backup.id);
            state.wrong.push(words);
        }
        state.open.insert(backup.id, turn);
    }

    fn backup_written(&self, was: &Backup, is: &Backup, audit: &[AuditEntry]) {
        let id = is.id;
        if was.state != is.state && was.state.to(is.state).is_err() {
            self.complain(format!("the backup {id} went from {:?} to {:?}", was.state, is.state));
        }
        if is.label < was.label {
            self.complain(format!(
                "the label of the backup {id} fell from {:?} to {:?}",
                was.label, is.label
            ));
        }
        if was.state == State::Succeeded && was.artifacts != is.artifacts {
            self.complain(format!("the backup {id} has other artifacts than when it succeeded"));
        }
        if is.state == State::Succeeded {
            if was.state != State::Succeeded {
                // Of one that is brought back, a delete that was on its way may strike last: what is there in the end is looked at, once
                // the job has looked again.
                let problems = if was.state == State::Expired { Vec::new() } else { self.problems(is) };
                for problem in problems {
                    self.complain(problem);
                }
                self.enter(is);
            }
            let now = self.clock.now();
            if let Some(good) = self.lock().good.get_mut(&id) {
                good.is_held = is.hold.is_some();
                if is.is_damaged() {
                    good.until.get_or_insert(now);
                }
            }
        }
        if !is.state.is_open() {
            self.lock().open.remove(&id);
        }
        if is.state == State::Failed && is.failure.as_ref().is_none_or(|why| why.message.is_empty()) {
            self.complain(format!("the backup {id} failed without a reason"));
        }
        if is.state == State::Cancelled && is.cancel_requested_at.is_none() {
            self.complain(format!("the backup {id} was cancelled, and nobody has asked for that"));
        }
        if was.state == State::Succeeded && is.state == State::Expiring {
            if was.hold.is_some() || self.lock().held.contains(&id) {
                self.complain(format!("the backup {id} is held, and was let go of"));
            }
            if audit.iter().any(|entry| entry.action == Action::Discard) {
                self.check_discard(was);
            }
            let now = self.clock.now();
            if let Some(good) = self.lock().good.get_mut(&id) {
                good.until.get_or_insert(now);
            }
        }
    }

    /// A policy lets go of a backup only because of others that are good.
    fn check_discard(&self, backup: &Backup) {
        let now = self.clock.now();
        if backup.expires_at.is_some_and(|at| at <= now) {
            return;
        }
        let state = self.lock();
        // As good as when whoever discards has looked at them.
        let since = now - TimeDelta::seconds(900);
        let others: Vec<&Good> = state
            .good
            .iter()
            .filter(|(id, good)| {
                **id != backup.id
                    && good.application == backup.application
                    && good.until.is_none_or(|until| until >= since)
            })
            .map(|(_, good)| good)
            .collect();
        let same = |good: &&&Good| good.trigger == backup.trigger;
        let taken_at = backup.taken_at.unwrap_or(backup.created_at);
        let (is_allowed, rule) = match backup.trigger {
            Trigger::Scheduled => {
                let same_day = others
                    .iter()
                    .filter(same)
                    .any(|good| good.date == backup.slot_date && good.taken_at >= taken_at);
                let counted = others.iter().filter(same).filter(|good| !good.is_held).count();
                (same_day || counted >= 2, "a newer one of its day, or two others")
            }
            Trigger::OnDemand => {
                let OnDemandPolicy::AgeThenCount { days, keep } = stage::ON_DEMAND;
                let is_old = now - taken_at > TimeDelta::days(days.into());
                let newer = others.iter().filter(same).filter(|good| good.taken_at >= taken_at).count();
                (is_old && newer >= keep as usize, "being old, and a newer one")
            }
        };
        drop(state);
        if !is_allowed {
            self.complain(format!("the backup {} was discarded without {rule} that is good", backup.id));
        }
    }

    /// What is wrong with a backup that is called succeeded.
    pub(super) fn problems(&self, backup: &Backup) -> Vec<String> {
        let mut problems = Vec::new();
        let id = backup.id;
        if backup.artifacts.len() != backup.services.len() || backup.artifacts.is_empty() {
            problems.push(format!("the backup {id} succeeded with {} artifacts", backup.artifacts.len()));
        }
        for artifact in &backup.artifacts {
            let key = &artifact.object.key;
            if self.is_rotten(key) {
                continue;
            }
            let Some(bytes) = self.artifacts.bytes(key) else {
                problems.push(format!("the backup {id} succeeded, and {key} is not there"));
                continue;
            };
            let services = &self.services[&backup.application];
            let service = services.iter().find(|service| *service.name() == artifact.service);
            if stage::checksum(&bytes) != artifact.object.crc64nvme
                || bytes.len() as u64 != artifact.object.size
                || !service.is_some_and(|service| Stage::is_of(service, &bytes))
            {
                problems.push(format!("the backup {id} succeeded, and {key} is not what was stored"));
            }
        }
        let key = format!("{}{}", backup.prefix(), document::FILE_NAME);
        match self.artifacts.bytes(&key).map(|bytes| BackupDocument::from_json(&bytes)) {
            None => problems.push(format!("the backup {id} succeeded, and {key} is not there")),
            Some(Err(error)) => problems.push(format!("{key} cannot be read: {error}")),
            Some(Ok(found)) => {
                if found.backup.artifacts != backup.artifacts || found.backup.id != id {
                    problems.push(format!("{key} does not describe the backup {id}"));
                }
            }
        }
        problems
    }

    fn holdings(&self, restore: &Restore) -> Vec<Holds> {
        let service = |mapping: &holdfast_domain::restore::Mapping| {
            let services = &self.services[&restore.application];
            services.iter().find(|service| *service.name() == mapping.to).cloned()
        };
        let mappings = restore.services.iter().filter_map(service);
        mappings.map(|service| self.restorers.holds(&service)).collect()
    }

    fn restore_written(&self, was: &Restore, is: &Restore) {
        if was.state != is.state && was.state.to(is.state).is_err() {
            self.complain(format!("the restore {} went from {:?} to {:?}", is.id, was.state, is.state));
        }
        if was.state == RestoreState::Queued {
            self.lock().before.entry(is.id).or_insert_with(|| self.holdings(is));
        }
        if was.state.is_open() && !is.state.is_open() {
            let found = self.holdings(is);
            for problem in self.problems_of(is, &found) {
                self.complain(problem);
            }
            let mut state = self.lock();
            for (mapping, holds) in is.services.iter().zip(found) {
                state.holds.insert((is.application.clone(), mapping.to.to_string()), holds);
            }
        }
    }

    /// What is wrong with how a restore ended, given what is in its services now.
    fn problems_of(&self, restore: &Restore, found: &[Holds]) -> Vec<String> {
        let state = self.lock();
        let mut problems = Vec::new();
        let id = restore.id;
        let before = state.before.get(&id).cloned().unwrap_or_default();
        let words = restore.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
        if restore.state == RestoreState::Failed && words.is_empty() {
            problems.push(format!("the restore {id} failed without a reason"));
        }
        let mut changed = false;
        for (index, mapping) in restore.services.iter().enumerate() {
            let to = mapping.to.as_str();
            let Some(is) = found.get(index) else { continue };
            let Some(was) = before.get(index) else { continue };
            changed |= is != was;
            let artifacts = state.good.get(&restore.from.backup).map(|good| &good.artifacts);
            let Some(from) = artifacts.and_then(|artifacts| artifacts.get(mapping.from.as_str())) else {
                problems.push(format!("the restore {id} is of a backup that never was good"));
                continue;
            };
            let is_database = is.contains_key("") || was.contains_key("");
            let restored = if is_database {
                is.get("") == Some(from)
            } else {
                (0..5).all(|number| is.get(&number.to_string()) == Some(from))
            };
            let mixed = is.iter().all(|(name, of)| of == from || was.get(name) == Some(of));
            let complaint = |what: &str| {
                format!("the restore {id} ended {:?} ({words:?}), and {to} {what}: {is:?}", restore.state)
            };
            if restore.state == RestoreState::Succeeded {
                if !restore.options.dry_run && !restored {
                    problems.push(complaint("is not restored"));
                }
                if restore.options.dry_run && is != was {
                    problems.push(complaint("was changed by a look"));
                }
                continue;
            }
            let says = |what: &str| words.contains(&format!("{to} {what}"));
            let is_true = if says("is restored") {
                restored
            } else if says("is as it was, or all restored") {
                is == was || restored
            } else if says("has some of the backup's files already") {
                mixed
            } else {
                is == was
            };
            if !is_true {
                problems.push(complaint("is not what that says"));
            }
        }
        if changed && restore.state != RestoreState::Succeeded && restore.options.safety_backup {
            let safety = restore.safety_backup.filter(|safety| words.contains(&safety.to_string()));
            let is_good = safety.and_then(|safety| state.good.get(&safety)).is_some();
            let was_empty = restore.occupied().next().is_none();
            if !is_good && !was_empty {
                problems.push(format!("the restore {id} has changed something and names no safety backup"));
            }
        }
        problems
    }
}
