//! Carrying out a rebuild.

use chrono::{DateTime, Utc};
use holdfast_domain::audit::{Action, AuditEntry};
use serde::Serialize;

use super::{
    Catalog, CatalogError,
    planned::{Rebuild, RebuiltApplication},
};
use crate::ports::RecordsError;

/// Who makes the records, in the audit trail.
const ACTOR: &str = "catalog";

/// Why, in the audit trail.
const REASON: &str = "made anew from what the bucket says";

/// What a rebuild has made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Records of plans.
    pub plans: usize,
    /// Registrations.
    pub applications: usize,
    /// Applications put among the removed ones.
    pub removed: usize,
    /// Records of backups.
    pub backups: usize,
    /// Records that somebody else made meanwhile, and that were left alone.
    pub already_there: usize,
}

/// Makes the records that `plan` says, and nothing else. What has come there meanwhile stays as it is.
pub async fn rebuild(catalog: &Catalog, plan: &Rebuild) -> Result<Rebuilt, CatalogError> {
    let mut made = Rebuilt::default();
    for plan in &plan.plans {
        let audit = audit(catalog, plan.updated_at);
        let put = catalog.records.put_plan(plan, None, &audit).await;
        count(put, &mut made.plans, &mut made.already_there)?;
    }
    for application in &plan.applications {
        make(catalog, application, &mut made).await?;
    }
    Ok(made)
}

async fn make(
    catalog: &Catalog,
    application: &RebuiltApplication,
    rebuilt: &mut Rebuilt,
) -> Result<(), CatalogError> {
    let now = catalog.clock.now();
    for backup in &application.backups {
        let entry = audit(catalog, now).to_backup(backup.id);
        if catalog.records.rebuild_backup(backup, &entry).await? {
            rebuilt.backups += 1;
        } else {
            rebuilt.already_there += 1;
        }
    }
    if let Some(registration) = &application.registration {
        let put = catalog.records.put_application(registration, None, &audit(catalog, now)).await;
        count(put, &mut rebuilt.applications, &mut rebuilt.already_there)?;
    }
    if application.removed {
        catalog.records.rebuild_removed(&application.id).await?;
        rebuilt.removed += 1;
    }
    Ok(())
}

fn audit(catalog: &Catalog, at: DateTime<Utc>) -> AuditEntry {
    AuditEntry::new(catalog.entropy.audit_id(at), at, ACTOR, Action::Rebuild).because(REASON)
}

fn count(
    put: Result<u64, RecordsError>,
    made: &mut usize,
    already_there: &mut usize,
) -> Result<(), RecordsError> {
    match put {
        Ok(_) => *made += 1,
        Err(RecordsError::Conflict) => *already_there += 1,
        Err(error) => return Err(error),
    }
    Ok(())
}
