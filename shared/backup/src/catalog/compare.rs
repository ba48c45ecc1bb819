//! Comparing what the bucket says with what the records say.

use holdfast_domain::{
    backup::{Backup, State, prefix},
    id::{ApplicationId, BackupId, PlanId},
    plan::PlanSpec,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Sight,
    difference::{Difference, What},
    entries::Recorded,
    shelf::{Described, Registered, Shelved},
};

impl Sight {
    /// Every difference: plans first, then one application after the other, then what is wrong in the bucket itself.
    pub fn differences(&self) -> Vec<Difference> {
        let mut found = self.of_plans();
        let nothing = (Shelved::default(), Recorded::default());
        let names = self.shelf.applications.keys().chain(self.entries.applications.keys());
        let mut names: Vec<&ApplicationId> = names.collect();
        names.sort_unstable();
        names.dedup();
        for id in names {
            let shelved = self.shelf.applications.get(id).unwrap_or(&nothing.0);
            let recorded = self.entries.applications.get(id).unwrap_or(&nothing.1);
            found.extend(self.of_registration(id, shelved, recorded));
            found.extend(of_backups(id, shelved, recorded));
        }
        found.extend(self.shelf.troubles.iter().cloned());
        found
    }

    fn of_plans(&self) -> Vec<Difference> {
        let mut found = Vec::new();
        for plan in self.plans() {
            let (bucket, record) = (self.shelf.plan(&plan), self.entries.plans.get(&plan));
            match (bucket, record) {
                (Some(bucket), None) if !is_built_in(&plan, bucket) => {
                    found.push(Difference::plan(&plan, What::NoRecord));
                }
                // What a backup remembers of its plan may be older than the record; only a mark must agree.
                (Some(bucket), Some(record)) if self.shelf.plans.contains_key(&plan) => {
                    let fields = differing(bucket, record);
                    if !fields.is_empty() {
                        found.push(Difference::plan(&plan, What::Differs { fields }));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Plans that the bucket knows of, in their order.
    pub(super) fn plans(&self) -> Vec<PlanId> {
        let registered = self.shelf.applications.values().filter_map(|shelved| match &shelved.registration {
            Registered::As(registration) => Some(&registration.application.plan),
            _ => None,
        });
        let described = self.shelf.applications.values().flat_map(|shelved| shelved.backups.values());
        let described = described.map(|described| &described.application.plan);
        let mut plans: Vec<PlanId> =
            self.shelf.plans.keys().chain(registered).chain(described).cloned().collect();
        plans.sort_unstable();
        plans.dedup();
        plans
    }

    fn of_registration(
        &self,
        id: &ApplicationId,
        shelved: &Shelved,
        recorded: &Recorded,
    ) -> Option<Difference> {
        let what = match (&shelved.registration, &recorded.registered) {
            (Registered::As(marked), Some(record)) => {
                let fields = differing(&marked.application, &record.spec);
                (!fields.is_empty()).then_some(What::Differs { fields })
            }
            (Registered::Removed, Some(_)) => Some(What::Differs { fields: vec!["removed".to_owned()] }),
            (Registered::As(_), None) if recorded.removed => {
                Some(What::Differs { fields: vec!["removed".to_owned()] })
            }
            (Registered::As(_), None) => Some(What::NoRecord),
            (_, Some(_)) => None,
            // One that was removed needs no record once nothing is left of it.
            (_, None) => (!recorded.removed && !shelved.backups.is_empty()).then_some(What::NoRecord),
        };
        let what = what.or_else(|| {
            let plan = &recorded.registered.as_ref()?.spec.plan;
            let is_known = self.entries.plans.contains_key(plan)
                || self.shelf.plan(plan).is_some()
                || *plan == PlanId::default_plan();
            (!is_known).then_some(What::PlanUnknown)
        });
        what.map(|what| Difference::application(id, what))
    }
}

fn of_backups(id: &ApplicationId, shelved: &Shelved, recorded: &Recorded) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |backup: BackupId, what: What| found.push(Difference::backup(id, backup, what));
    for (backup, described) in &shelved.backups {
        match recorded.backups.get(backup) {
            // Without its objects there is nothing to make a record of; what is missing is named by itself.
            None if described.complete => add(*backup, What::NoRecord),
            None => {}
            Some(record) => {
                if let Some(what) = of_backup(described, record) {
                    add(*backup, what);
                }
            }
        }
    }
    for (backup, objects) in &shelved.leftovers {
        // What a job works on, or a discard has not finished, is looked after.
        let state = recorded.backups.get(backup).map(|record| record.state);
        let is_looked_after = state.is_some_and(|state| state.is_open() || state == State::Expiring);
        if !is_looked_after && state != Some(State::Succeeded) {
            let prefix = prefix(id, *backup);
            add(*backup, What::Leftover { prefix, objects: *objects });
        }
    }
    for (backup, record) in &recorded.backups {
        if record.state == State::Succeeded && !shelved.backups.contains_key(backup) {
            add(*backup, What::NotInBucket);
        }
    }
    found
}

fn of_backup(described: &Described, record: &Backup) -> Option<What> {
    match record.state {
        State::Succeeded => {
            let fields = differing(&compared(&described.backup, record), &compared(record, record));
            (!fields.is_empty()).then_some(What::Differs { fields })
        }
        State::Expired | State::Failed | State::Cancelled if record.undelete.is_none() => {
            Some(What::NotLetGo { state: record.state.as_str() })
        }
        _ => None,
    }
}

/// A backup without what only its record knows; `record` is the record of it.
fn compared(backup: &Backup, record: &Backup) -> Backup {
    let being_verified = record.is_being_verified();
    Backup {
        link_until: None,
        undelete: None,
        verification: backup.verification.clone().filter(|_| !being_verified),
        ..backup.clone()
    }
}

/// The fields in which two things of a kind differ.
fn differing<T: Serialize>(one: &T, other: &T) -> Vec<String> {
    let fields = |thing: &T| match serde_json::to_value(thing) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (one, other) = (fields(one), fields(other));
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

/// Whether a plan applies without a record of it.
pub(super) fn is_built_in(plan: &PlanId, spec: &PlanSpec) -> bool {
    *plan == PlanId::default_plan() && *spec == PlanSpec::default_plan()
}
