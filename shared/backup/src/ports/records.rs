use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::ApplicationSpec,
    audit::AuditEntry,
    backup::{Artifact, Backup, Phase, Progress},
    id::{ApplicationId, BackupId, PlanId, RestoreId, ServiceName},
    plan::PlanSpec,
    restore::Restore,
    seats::Seats,
};
use serde::{Deserialize, Serialize};

use super::{NewRestore, OpenUpload, RestoreCreation};

/// Records of applications, plans, backups, restores, slots and audit entries. Every write is conditional: on a version, or on
/// absence; who loses gets [`RecordsError::Conflict`] and nothing of the write happens.
#[async_trait]
pub trait Records: Send + Sync {
    /// One application.
    async fn application(
        &self,
        id: &ApplicationId,
    ) -> Result<Option<Versioned<ApplicationRecord>>, RecordsError>;

    /// Applications in the order of their slugs, from after `after` on.
    async fn applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<Versioned<ApplicationRecord>, ApplicationId>, RecordsError>;

    /// Writes an application. `expected` is the version it has now, `None` if it must not exist. Returns the new version.
    /// It is in the `due` index exactly while it has a `next_run_at`.
    async fn put_application(
        &self,
        application: &ApplicationRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError>;

    /// Removes an application's registration, unless a backup of it or a restore into it is open; its backups' records stay, and its slug is
    /// among the removed ones.
    async fn delete_application(
        &self,
        id: &ApplicationId,
        expected: u64,
        audit: &AuditEntry,
    ) -> Result<(), RecordsError>;

    /// Slugs of applications that were removed and not forgotten since, in their order, from after `after` on.
    async fn removed_applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<ApplicationId, ApplicationId>, RecordsError>;

    /// Takes a slug from among the removed ones: nothing is left of it that needs looking after. Repeating it is harmless.
    async fn forget_application(&self, id: &ApplicationId) -> Result<(), RecordsError>;

    /// Applications whose `next_run_at` is not after `now`, longest overdue first within a shard, at most `limit` a shard.
    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<ApplicationId>, RecordsError>;

    /// One plan.
    async fn plan(&self, id: &PlanId) -> Result<Option<Versioned<PlanRecord>>, RecordsError>;

    /// All plans in the order of their slugs; there are few.
    async fn plans(&self) -> Result<Vec<Versioned<PlanRecord>>, RecordsError>;

    /// Writes a plan. `expected` as for applications. The audit entry goes to the plan's own trail.
    async fn put_plan(
        &self,
        plan: &PlanRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError>;

    /// Creates a backup in one transaction with what it claims: its slot or its idempotency key, the turn of its
    /// trigger (one open backup for each trigger of an application), and the application's next run.
    async fn create_backup(&self, new: &NewBackup) -> Result<Creation, RecordsError>;

    /// What a backup is made of: the registration as it was when the backup was asked for. Kept for at least 90 days.
    async fn source(&self, backup: BackupId) -> Result<Option<ApplicationSpec>, RecordsError>;

    /// What an idempotency key was used for, if it was: the backup, and the fingerprint of the request.
    async fn idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(BackupId, String)>, RecordsError>;

    /// One backup.
    async fn backup(
        &self,
        application: &ApplicationId,
        id: BackupId,
    ) -> Result<Option<Versioned<Backup>>, RecordsError>;

    /// Backups of an application, newest first, from before `before` on.
    async fn backups(
        &self,
        application: &ApplicationId,
        before: Option<BackupId>,
        limit: usize,
    ) -> Result<Page<Versioned<Backup>, BackupId>, RecordsError>;

    /// Writes a backup that has version `expected`. It is in the `open` index exactly while its state is open; leaving
    /// an open state gives back the turn of its trigger, in the same transaction as the audit entries.
    async fn update_backup(
        &self,
        backup: &Backup,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError>;

    /// Backups that no job has brought to an end yet, oldest first within a shard, at most `limit` a shard.
    async fn open_backups(&self, limit: usize) -> Result<Vec<(ApplicationId, BackupId)>, RecordsError>;

    /// How far a backup's services have come, in the order of their names.
    async fn service_runs(&self, backup: BackupId) -> Result<Vec<Versioned<ServiceRun>>, RecordsError>;

    /// Writes how far one service has come. `expected` as for applications.
    async fn put_service_run(
        &self,
        backup: BackupId,
        run: &ServiceRun,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError>;

    /// Who dumps databases of a server, known as `host:port`, as the last write left it.
    async fn seats(&self, server: &str) -> Result<Option<Versioned<Seats>>, RecordsError>;

    /// Writes who dumps databases of a server. `expected` as for applications.
    async fn put_seats(
        &self,
        server: &str,
        seats: &Seats,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError>;

    /// Creates a restore in one transaction with what it claims: its idempotency key, and the turn (one open restore of an
    /// application). The application must be registered.
    async fn create_restore(&self, new: &NewRestore) -> Result<RestoreCreation, RecordsError>;

    /// What is restored: the registration as it was when the restore was asked for. Kept for at least 90 days.
    async fn restore_target(&self, restore: RestoreId) -> Result<Option<ApplicationSpec>, RecordsError>;

    /// What an idempotency key was used for among restores, if it was: the restore, and the fingerprint of the request.
    async fn restore_idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(RestoreId, String)>, RecordsError>;

    /// One restore into an application.
    async fn restore(
        &self,
        application: &ApplicationId,
        id: RestoreId,
    ) -> Result<Option<Versioned<Restore>>, RecordsError>;

    /// Restores into an application, newest first, from before `before` on.
    async fn restores(
        &self,
        application: &ApplicationId,
        before: Option<RestoreId>,
        limit: usize,
    ) -> Result<Page<Versioned<Restore>, RestoreId>, RecordsError>;

    /// Writes a restore that has version `expected`. It is in the `open` index exactly while its state is open; leaving an
    /// open state gives back the turn, in the same transaction as the audit entries.
    async fn update_restore(
        &self,
        restore: &Restore,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError>;

    /// Restores that no job has brought to an end yet, oldest first, at most `limit`.
    async fn open_restores(&self, limit: usize) -> Result<Vec<(ApplicationId, RestoreId)>, RecordsError>;

    /// A plan's audit trail, newest first, from before `before` on.
    async fn plan_audit(
        &self,
        plan: &PlanId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError>;

    /// An application's audit trail, newest first, from before `before` on.
    async fn audit(
        &self,
        application: &ApplicationId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError>;
}

/// A record and the version it had when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// Its version: 1 when it is made, one more with each write.
    pub version: u64,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, unless this is the last.
    pub next: Option<C>,
}

/// An application as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationRecord {
    /// Its slug.
    pub id: ApplicationId,
    /// What was registered.
    pub spec: ApplicationSpec,
    /// When it was first registered.
    pub created_at: DateTime<Utc>,
    /// When its registration last changed.
    pub updated_at: DateTime<Utc>,
    /// Its next slot; none where its plan has no schedule.
    pub next_run_at: Option<DateTime<Utc>>,
    /// The last slot that a backup was made for, or the moment its schedule began.
    pub scheduled_until: DateTime<Utc>,
    /// From when on its schedule is what it is now; from its registration on where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_since: Option<DateTime<Utc>>,
    /// Since when no scheduled backup has succeeded for too long, as retention has last found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue_since: Option<DateTime<Utc>>,
}

/// A plan as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Its slug.
    pub id: PlanId,
    /// What it says.
    pub spec: PlanSpec,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A backup to create and what it claims.
#[derive(Debug, Clone)]
pub struct NewBackup {
    /// The backup, queued.
    pub backup: Backup,
    /// What it is made of: the registration as it is now.
    pub source: ApplicationSpec,
    /// What entitles it to run.
    pub claim: Claim,
    /// The entry that says who asked.
    pub audit: AuditEntry,
}

/// What entitles a backup to run.
#[derive(Debug, Clone)]
pub enum Claim {
    /// The slot in the backup's `slot_at`, which nobody may have claimed before; the application moves on.
    Slot {
        /// The application, with its `next_run_at` moved on.
        application: Box<ApplicationRecord>,
        /// The version the application must have.
        expected: u64,
    },
    /// A request.
    Request {
        /// What makes a repetition of it harmless.
        idempotency: Option<IdempotencyKey>,
    },
}

/// A caller's `Idempotency-Key` and what it was used for. Kept for at least 24 hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key.
    pub key: String,
    /// A digest of the request, so that a key used twice for different things is noticed.
    pub fingerprint: String,
}

/// What became of a backup to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Creation {
    /// It exists now.
    Created,
    /// The slot had its backup already. Nothing was written.
    SlotTaken,
    /// The idempotency key was used before, for this backup. Nothing was written.
    Repeated {
        /// The backup that was made then.
        id: BackupId,
        /// The digest of the request that was made then.
        fingerprint: String,
    },
    /// Another backup of the same trigger is still open. Nothing was written.
    Busy(BackupId),
}

/// How far a backup has come with one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRun {
    /// The service.
    pub service: ServiceName,
    /// How often a slice has begun it: the fencing token. Who finds another number than its own must stop.
    pub attempt: u32,
    /// How far it has come.
    pub progress: Progress,
    /// What was written, once it is stored and read back.
    pub artifact: Option<Artifact>,
    /// How it is divided between branches, if it is too large for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divided: Option<Divided>,
    /// The temporary copy that it is read from. Written down before anything of it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// How far a dump of several slices is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legs: Option<Legs>,
}

/// A dump that has halted, to be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legs {
    /// The upload that all legs fill.
    pub upload: OpenUpload,
    /// How often it has halted.
    pub halted: u32,
    /// The attempt that has halted last: what is staged is named after that.
    pub staged: u32,
}

/// The temporary copy that a database is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The name of the snapshot and of what is restored from it.
    pub name: String,
    /// Whether they are of a cluster.
    pub is_cluster: bool,
    /// When it was begun.
    pub began_at: DateTime<Utc>,
    /// When RDS was first asked for something: until then there is nothing to delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<DateTime<Utc>>,
    /// What was read from it and stored: the copy is only deleted any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Artifact>,
}

/// A service that several branches work on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divided {
    /// The attempt that planned it. What is staged for it is named after that.
    pub plan: u32,
    /// How often it was planned.
    pub plans: u32,
    /// The upload that all branches fill.
    pub upload: OpenUpload,
    /// What was planned turned out not to hold, for this reason: the service begins again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<String>,
    /// The shares, one for each branch.
    pub shares: Vec<Share>,
}

/// How far one branch has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How often a slice has begun or gone on with it: who finds another number than its own must stop.
    pub attempt: u32,
    /// Its first stretch, from 0.
    pub from: u32,
    /// The stretch after its last.
    pub until: u32,
    /// Whether all of them are stored.
    pub done: bool,
    /// Bytes stored so far.
    pub bytes: u64,
    /// Parts stored so far.
    pub segments: u32,
}

impl ServiceRun {
    /// A service that nothing has been done for.
    pub fn pending(service: ServiceName, now: DateTime<Utc>) -> Self {
        Self {
            progress: Progress {
                service: service.clone(),
                phase: Phase::Pending,
                bytes: 0,
                estimated_bytes: None,
                segments: 0,
                started_at: None,
                updated_at: now,
            },
            service,
            attempt: 0,
            artifact: None,
            divided: None,
            isolation: None,
            legs: None,
        }
    }
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The condition of a write did not hold: somebody else was faster.
    #[error("the record was changed by somebody else at the same moment")]
    Conflict,
    /// The table did not answer, or refused to.
    #[error("the records could not be reached: {0}")]
    Unavailable(String),
    /// A record is there and cannot be understood.
    #[error("a record could not be understood: {0}")]
    Malformed(String),
}
