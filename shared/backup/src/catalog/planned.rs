//! Planning a rebuild: which records are made anew, and of what.

use chrono::{DateTime, Utc};
use holdfast_domain::{
    backup::{Backup, Hold},
    id::{ApplicationId, PlanId},
    plan::PlanSpec,
};

use super::{
    Sight,
    compare::is_built_in,
    shelf::{Described, Registered, Shelved},
};
use crate::{
    applications::next_run,
    ports::{ApplicationRecord, PlanRecord},
};

/// Who holds a backup of which it is not known whether it is held.
const CATALOG: &str = "catalog";

/// The records that a rebuild makes. Planning it changes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rebuild {
    /// Plans.
    pub plans: Vec<PlanRecord>,
    /// Applications with their backups.
    pub applications: Vec<RebuiltApplication>,
}

/// What is made of one application.
#[derive(Debug, Clone, PartialEq)]
pub struct RebuiltApplication {
    /// Its slug.
    pub id: ApplicationId,
    /// Its backups, oldest first.
    pub backups: Vec<Backup>,
    /// Its registration, where it has none. It comes last: without it no policy is applied to half of the backups.
    pub registration: Option<ApplicationRecord>,
    /// Whether it is put among the removed ones.
    pub removed: bool,
}

impl Rebuild {
    /// A line for each record that is made.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let plans = self.plans.iter().map(|plan| format!("plan {}", plan.id));
        let applications = self.applications.iter().flat_map(|application| {
            let RebuiltApplication { id, backups, registration, removed } = application;
            let backups = backups.iter().map(move |backup| match &backup.hold {
                Some(hold) => format!("backup {id} {}, held by {}", backup.id, hold.by),
                None => format!("backup {id} {}", backup.id),
            });
            let registration = registration.as_ref().map(|_| format!("application {id}"));
            let removed = removed.then(|| format!("removed application {id}"));
            backups.chain(registration).chain(removed)
        });
        plans.chain(applications)
    }

    /// Whether carrying it out changes nothing.
    pub fn is_noop(&self) -> bool {
        self.plans.is_empty() && self.applications.is_empty()
    }
}

impl Sight {
    /// Plans what is made at `now`: every record that the bucket describes and the table lacks.
    pub fn rebuild(&self, now: DateTime<Utc>) -> Rebuild {
        let missing = self.plans().into_iter().filter(|plan| !self.entries.plans.contains_key(plan));
        let plans = missing.filter_map(|id| {
            let spec = self.shelf.plan(&id).filter(|spec| !is_built_in(&id, spec))?.clone();
            Some(PlanRecord { id, spec, updated_at: now })
        });
        let applications =
            self.shelf.applications.iter().map(|(id, shelved)| self.rebuild_application(id, shelved, now));
        Rebuild {
            plans: plans.collect(),
            applications: applications
                .filter(|one| one.removed || one.registration.is_some() || !one.backups.is_empty())
                .collect(),
        }
    }

    fn rebuild_application(
        &self,
        id: &ApplicationId,
        shelved: &Shelved,
        now: DateTime<Utc>,
    ) -> RebuiltApplication {
        let recorded = self.entries.applications.get(id);
        let is_known = |described: &Described| {
            recorded.is_some_and(|recorded| recorded.backups.contains_key(&described.backup.id))
        };
        let missing = shelved.backups.values().filter(|one| one.complete && !is_known(one));
        let backups = missing.map(|described| doubted(described, now)).collect();
        let is_there = recorded.is_some_and(|recorded| recorded.registered.is_some() || recorded.removed);
        let spec = match &shelved.registration {
            Registered::As(registration) => Some(registration.application.clone()),
            Registered::Unmarked => shelved.backups.values().last().map(|newest| newest.application.clone()),
            // Nothing is scheduled, and nothing discarded, for an application that may have been removed.
            Registered::Removed | Registered::Unreadable => None,
        };
        let removed = !is_there && spec.is_none() && !shelved.backups.is_empty();
        let registration = spec.filter(|_| !is_there).map(|spec| {
            let plan = self.entries.plans.get(&spec.plan).or_else(|| self.shelf.plan(&spec.plan));
            let built_in = PlanSpec::default_plan();
            let is_default = spec.plan == PlanId::default_plan();
            let plan = plan.or(is_default.then_some(&built_in));
            let oldest = shelved.backups.values().next().map(|oldest| oldest.backup.created_at);
            let created_at = match &shelved.registration {
                Registered::As(registration) => registration.created_at,
                _ => oldest.unwrap_or(now),
            };
            ApplicationRecord {
                id: id.clone(),
                // What was due before is not caught up with: whether it had its backup is not known of every slot.
                next_run_at: plan.and_then(|plan| next_run(plan, id, &spec, now)),
                scheduled_until: now,
                scheduled_since: Some(now),
                overdue_since: None,
                spec,
                created_at,
                updated_at: now,
            }
        });
        RebuiltApplication { id: id.clone(), backups, registration, removed }
    }
}

/// The backup, held if it cannot be known whether it is: what a mark says that cannot be read may be that it must stay.
fn doubted(described: &Described, now: DateTime<Utc>) -> Backup {
    let mut backup = described.backup.clone();
    if !described.doubts.is_empty() && backup.hold.is_none() {
        let names = described.doubts.join(" and ");
        let reason =
            format!("{names} could not be read when its record was rebuilt; look at it, then release it");
        backup.hold = Some(Hold { by: CATALOG.to_owned(), at: now, reason });
    }
    backup
}
