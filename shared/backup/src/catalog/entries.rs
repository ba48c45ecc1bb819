//! What the records say.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_domain::{
    backup::Backup,
    id::{ApplicationId, BackupId, PlanId},
    plan::PlanSpec,
};

use crate::ports::{ApplicationRecord, Records, RecordsError};

/// Records read at a time.
const PAGE: usize = 200;

/// What the records say.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// What plans say.
    pub plans: BTreeMap<PlanId, PlanSpec>,
    /// What there is of each application.
    pub applications: BTreeMap<ApplicationId, Recorded>,
}

/// What there is of one application.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Its registration.
    pub registered: Option<ApplicationRecord>,
    /// Whether it is among the removed ones.
    pub removed: bool,
    /// Its backups, in whatever state.
    pub backups: BTreeMap<BackupId, Backup>,
}

impl Entries {
    /// Reads the records; of `only` one application, and of all plans. `known` are applications to look for although no record
    /// may name them.
    pub async fn read<'a>(
        records: &dyn Records,
        known: impl Iterator<Item = &'a ApplicationId>,
        only: Option<&'a ApplicationId>,
    ) -> Result<Self, RecordsError> {
        let plans = records.plans().await?;
        let mut entries = Self {
            plans: plans.into_iter().map(|plan| (plan.value.id, plan.value.spec)).collect(),
            applications: BTreeMap::new(),
        };
        let is_meant = |id: &ApplicationId| only.is_none_or(|only| only == id);
        let mut names: BTreeSet<ApplicationId> = known.chain(only).cloned().collect();
        let mut after = None;
        loop {
            let page = records.applications(after.as_ref(), PAGE).await?;
            for application in page.items.into_iter().filter(|found| is_meant(&found.value.id)) {
                names.insert(application.value.id.clone());
                let recorded = entries.applications.entry(application.value.id.clone()).or_default();
                recorded.registered = Some(application.value);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut after = None;
        loop {
            let page = records.removed_applications(after.as_ref(), PAGE).await?;
            for id in page.items.into_iter().filter(|id| is_meant(id)) {
                names.insert(id.clone());
                entries.applications.entry(id).or_default().removed = true;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        for id in names {
            let recorded = entries.applications.entry(id.clone()).or_default();
            let mut before = None;
            loop {
                let page = records.backups(&id, before, PAGE).await?;
                recorded.backups.extend(page.items.into_iter().map(|backup| (backup.value.id, backup.value)));
                match page.next {
                    Some(next) => before = Some(next),
                    None => break,
                }
            }
        }
        Ok(entries)
    }
}
