mod instances;
mod media;

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_backup::{
    job::{Caught, Job},
    ports::{
        ApplicationRecord, ArtifactStore, CatalogBucket, CatalogRecords, Creation, DatabaseCredentials,
        Events, EventsError, ExecutionStatus, Executions, ExecutionsError, NewBackup, NewRestore, OpenUpload,
        Page, PartCopy, PlanRecord, Records, RecordsError, RestoreCreation, SecretError, Secrets, ServiceRun,
        StorageError, StoredPart, Versioned,
    },
};
use holdfast_domain::{
    application::ApplicationSpec,
    audit::AuditEntry,
    backup::{Backup, StoredObject},
    event::Event,
    id::{ApplicationId, BackupId, PlanId, RestoreId},
    restore::Restore,
    seats::Seats,
};
use secrecy::SecretString;

use super::Faults;

/// A port whose calls go wrong as its [`Faults`] say.
pub struct Faulty<P: ?Sized> {
    inner: Arc<P>,
    faults: Faults,
}

impl<P: ?Sized> Faulty<P> {
    /// Lets `faults` strike at `inner`.
    pub fn new(inner: Arc<P>, faults: &Faults) -> Self {
        Self { inner, faults: faults.clone() }
    }
}

#[async_trait]
impl<P: Records + ?Sized> Records for Faulty<P> {
    async fn application(
        &self,
        id: &ApplicationId,
    ) -> Result<Option<Versioned<ApplicationRecord>>, RecordsError> {
        self.faults.around("records.application", self.inner.application(id)).await
    }

    async fn applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<Versioned<ApplicationRecord>, ApplicationId>, RecordsError> {
        self.faults.around("records.applications", self.inner.applications(after, limit)).await
    }

    async fn put_application(
        &self,
        application: &ApplicationRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError> {
        let effect = self.inner.put_application(application, expected, audit);
        self.faults.around("records.put_application", effect).await
    }

    async fn delete_application(
        &self,
        id: &ApplicationId,
        expected: u64,
        audit: &AuditEntry,
    ) -> Result<(), RecordsError> {
        let effect = self.inner.delete_application(id, expected, audit);
        self.faults.around("records.delete_application", effect).await
    }

    async fn removed_applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<ApplicationId, ApplicationId>, RecordsError> {
        self.faults
            .around("records.removed_applications", self.inner.removed_applications(after, limit))
            .await
    }

    async fn forget_application(&self, id: &ApplicationId) -> Result<(), RecordsError> {
        self.faults.around("records.forget_application", self.inner.forget_application(id)).await
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<ApplicationId>, RecordsError> {
        self.faults.around("records.due", self.inner.due(now, limit)).await
    }

    async fn plan(&self, id: &PlanId) -> Result<Option<Versioned<PlanRecord>>, RecordsError> {
        self.faults.around("records.plan", self.inner.plan(id)).await
    }

    async fn plans(&self) -> Result<Vec<Versioned<PlanRecord>>, RecordsError> {
        self.faults.around("records.plans", self.inner.plans()).await
    }

    async fn put_plan(
        &self,
        plan: &PlanRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError> {
        self.faults.around("records.put_plan", self.inner.put_plan(plan, expected, audit)).await
    }

    async fn create_backup(&self, new: &NewBackup) -> Result<Creation, RecordsError> {
        self.faults.around("records.create_backup", self.inner.create_backup(new)).await
    }

    async fn source(&self, backup: BackupId) -> Result<Option<ApplicationSpec>, RecordsError> {
        self.faults.around("records.source", self.inner.source(backup)).await
    }

    async fn idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(BackupId, String)>, RecordsError> {
        self.faults.around("records.idempotency", self.inner.idempotency(application, key)).await
    }

    async fn backup(
        &self,
        application: &ApplicationId,
        id: BackupId,
    ) -> Result<Option<Versioned<Backup>>, RecordsError> {
        self.faults.around("records.backup", self.inner.backup(application, id)).await
    }

    async fn backups(
        &self,
        application: &ApplicationId,
        before: Option<BackupId>,
        limit: usize,
    ) -> Result<Page<Versioned<Backup>, BackupId>, RecordsError> {
        self.faults.around("records.backups", self.inner.backups(application, before, limit)).await
    }

    async fn update_backup(
        &self,
        backup: &Backup,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        let effect = self.inner.update_backup(backup, expected, audit);
        self.faults.around("records.update_backup", effect).await
    }

    async fn open_backups(&self, limit: usize) -> Result<Vec<(ApplicationId, BackupId)>, RecordsError> {
        self.faults.around("records.open_backups", self.inner.open_backups(limit)).await
    }

    async fn service_runs(&self, backup: BackupId) -> Result<Vec<Versioned<ServiceRun>>, RecordsError> {
        self.faults.around("records.service_runs", self.inner.service_runs(backup)).await
    }

    async fn put_service_run(
        &self,
        backup: BackupId,
        run: &ServiceRun,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError> {
        let effect = self.inner.put_service_run(backup, run, expected);
        self.faults.around("records.put_service_run", effect).await
    }

    async fn seats(&self, server: &str) -> Result<Option<Versioned<Seats>>, RecordsError> {
        self.faults.around("records.seats", self.inner.seats(server)).await
    }

    async fn put_seats(
        &self,
        server: &str,
        seats: &Seats,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError> {
        self.faults.around("records.put_seats", self.inner.put_seats(server, seats, expected)).await
    }

    async fn create_restore(&self, new: &NewRestore) -> Result<RestoreCreation, RecordsError> {
        self.faults.around("records.create_restore", self.inner.create_restore(new)).await
    }

    async fn restore_target(&self, restore: RestoreId) -> Result<Option<ApplicationSpec>, RecordsError> {
        self.faults.around("records.restore_target", self.inner.restore_target(restore)).await
    }

    async fn restore_idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(RestoreId, String)>, RecordsError> {
        let effect = self.inner.restore_idempotency(application, key);
        self.faults.around("records.restore_idempotency", effect).await
    }

    async fn restore(
        &self,
        application: &ApplicationId,
        id: RestoreId,
    ) -> Result<Option<Versioned<Restore>>, RecordsError> {
        self.faults.around("records.restore", self.inner.restore(application, id)).await
    }

    async fn restores(
        &self,
        application: &ApplicationId,
        before: Option<RestoreId>,
        limit: usize,
    ) -> Result<Page<Versioned<Restore>, RestoreId>, RecordsError> {
        self.faults.around("records.restores", self.inner.restores(application, before, limit)).await
    }

    async fn update_restore(
        &self,
        restore: &Restore,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        let effect = self.inner.update_restore(restore, expected, audit);
        self.faults.around("records.update_restore", effect).await
    }

    async fn open_restores(&self, limit: usize) -> Result<Vec<(ApplicationId, RestoreId)>, RecordsError> {
        self.faults.around("records.open_restores", self.inner.open_restores(limit)).await
    }

    async fn plan_audit(
        &self,
        plan: &PlanId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        self.faults.around("records.plan_audit", self.inner.plan_audit(plan, before, limit)).await
    }

    async fn audit(
        &self,
        application: &ApplicationId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        self.faults.around("records.audit", self.inner.audit(application, before, limit)).await
    }
}

#[async_trait]
impl<P: ArtifactStore + ?Sized> ArtifactStore for Faulty<P> {
    async fn begin(&self, key: &str, content_type: &str) -> Result<OpenUpload, StorageError> {
        self.faults.around("artifacts.begin", self.inner.begin(key, content_type)).await
    }

    async fn put_part(&self, upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError> {
        self.faults.around("artifacts.put_part", self.inner.put_part(upload, segment)).await
    }

    async fn copy_part(&self, upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError> {
        self.faults.around("artifacts.copy_part", self.inner.copy_part(upload, copy)).await
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        self.faults.around("artifacts.complete", self.inner.complete(upload, parts, whole)).await
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<(), StorageError> {
        self.faults.around("artifacts.abort", self.inner.abort(upload)).await
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        self.faults.around("artifacts.open_uploads", self.inner.open_uploads(prefix)).await
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.faults.around("artifacts.put", self.inner.put(key, content_type, bytes)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        self.faults.around("artifacts.get", self.inner.get(key)).await
    }

    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.faults.around("artifacts.read", self.inner.read(object, range)).await
    }

    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError> {
        self.faults.around("artifacts.describe", self.inner.describe(key)).await
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.faults.around("artifacts.keys", self.inner.keys(prefix)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StorageError> {
        self.faults.around("artifacts.delete", self.inner.delete(keys)).await
    }

    async fn bring_back(&self, prefix: &str) -> Result<(), StorageError> {
        self.faults.around("artifacts.bring_back", self.inner.bring_back(prefix)).await
    }

    async fn purge(&self, prefix: &str) -> Result<(), StorageError> {
        self.faults.around("artifacts.purge", self.inner.purge(prefix)).await
    }

    async fn download_url(
        &self,
        object: &StoredObject,
        file_name: &str,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        self.faults.around("artifacts.download_url", self.inner.download_url(object, file_name, valid)).await
    }

    async fn range_url(
        &self,
        object: &StoredObject,
        range: Range<u64>,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        self.faults.around("artifacts.range_url", self.inner.range_url(object, range, valid)).await
    }

    fn check_protection(&self, object: &StoredObject) -> Result<(), StorageError> {
        self.inner.check_protection(object)
    }
}

#[async_trait]
impl<P: CatalogRecords + ?Sized> CatalogRecords for Faulty<P> {
    async fn rebuild_backup(&self, backup: &Backup, audit: &AuditEntry) -> Result<bool, RecordsError> {
        self.faults.around("records.rebuild_backup", self.inner.rebuild_backup(backup, audit)).await
    }

    async fn rebuild_removed(&self, id: &ApplicationId) -> Result<(), RecordsError> {
        self.faults.around("records.rebuild_removed", self.inner.rebuild_removed(id)).await
    }
}

#[async_trait]
impl<P: CatalogBucket + ?Sized> CatalogBucket for Faulty<P> {
    async fn children(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.faults.around("artifacts.children", self.inner.children(prefix)).await
    }
}

#[async_trait]
impl<P: Secrets + ?Sized> Secrets for Faulty<P> {
    async fn exists(&self, arn: &str) -> Result<bool, SecretError> {
        self.faults.around("secrets.exists", self.inner.exists(arn)).await
    }

    async fn credentials(&self, arn: &str) -> Result<DatabaseCredentials, SecretError> {
        self.faults.around("secrets.credentials", self.inner.credentials(arn)).await
    }
}

#[async_trait]
impl<P: Events + ?Sized> Events for Faulty<P> {
    async fn publish(&self, event: &Event) -> Result<(), EventsError> {
        self.faults.around("events.publish", self.inner.publish(event)).await
    }
}

#[async_trait]
impl<P: Executions + ?Sized> Executions for Faulty<P> {
    async fn start(&self, job: &Job) -> Result<(), ExecutionsError> {
        self.faults.around("executions.start", self.inner.start(job)).await
    }

    async fn start_abort(
        &self,
        job: &Job,
        reason: &Caught,
        now: DateTime<Utc>,
    ) -> Result<(), ExecutionsError> {
        self.faults.around("executions.start_abort", self.inner.start_abort(job, reason, now)).await
    }

    async fn status(&self, job: &Job) -> Result<ExecutionStatus, ExecutionsError> {
        self.faults.around("executions.status", self.inner.status(job)).await
    }
}
