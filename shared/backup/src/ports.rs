//! What the use cases need from the outside world.

mod catalog;
mod clock;
mod events;
mod executions;
mod instances;
mod media;
mod media_target;
mod records;
mod restores;
mod secrets;
mod storage;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_domain::audit::{Action, AuditEntry};

pub use catalog::{CatalogBucket, CatalogRecords};
pub use clock::{Clock, Entropy};
pub use events::{Events, EventsError};
pub use executions::{ExecutionStatus, Executions, ExecutionsError};
pub use instances::{Endpoint, Instances, InstancesError, Kind, Leftover, NewCopy, Source, Tags, Temporary};
pub use media::{ListedObject, MediaObject, MediaPage, MediaSource};
pub use media_target::{Described, MediaTarget, MediaUpload, ObjectHeaders, PROBE};
pub use records::{
    ApplicationRecord, Claim, Creation, Divided, IdempotencyKey, Isolation, Legs, NewBackup, Page,
    PlanRecord, Records, RecordsError, ServiceRun, Share, Versioned,
};
pub use restores::{NewRestore, RestoreCreation};
pub use secrets::{DatabaseCredentials, SecretError, Secrets};
pub use storage::{
    ArtifactStore, OpenUpload, PartCopy, StorageError, StoredPart, beside, is_within_a_backup, named_after,
};

/// Everything the use cases need, wired once by each function's main.
#[derive(Clone)]
pub struct Ports {
    /// Records of applications, plans, backups, restores, slots and audit entries.
    pub records: Arc<dyn Records>,
    /// The bucket that backups are kept in.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// The buckets that applications keep their files in.
    pub media: Arc<dyn MediaSource>,
    /// The same buckets, to put files back.
    pub media_target: Arc<dyn MediaTarget>,
    /// Credentials of databases.
    pub secrets: Arc<dyn Secrets>,
    /// What databases run on, and temporary copies of that.
    pub instances: Arc<dyn Instances>,
    /// Executions of the state machine.
    pub executions: Arc<dyn Executions>,
    /// Whoever wants to know what has happened.
    pub events: Arc<dyn Events>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub entropy: Arc<dyn Entropy>,
}

impl Ports {
    /// An entry for the audit trail: `actor` did `action` at `now`.
    pub(crate) fn audit(&self, now: DateTime<Utc>, actor: impl Into<String>, action: Action) -> AuditEntry {
        AuditEntry::new(self.entropy.audit_id(now), now, actor, action)
    }
}
