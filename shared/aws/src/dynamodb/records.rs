use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_backup::ports::{
    ApplicationRecord, Creation, NewBackup, NewRestore, Page, PlanRecord, Records, RecordsError,
    RestoreCreation, ServiceRun, Versioned,
};
use holdfast_domain::{
    application::ApplicationSpec,
    audit::AuditEntry,
    backup::{Backup, Trigger},
    id::{ApplicationId, BackupId, PlanId, RestoreId},
    restore::Restore,
    seats::Seats,
};

use super::{
    DynamoRecords, application, audit, backup,
    claim::UsedKey,
    index::sortable,
    key::{self, AUDIT, BACKUP, Item, Key, RESTORE, SERVICE, application_partition, plan_partition},
    plan,
    read::{Range, Search},
    restore, service_run,
    source::Source,
    stored::{self, read_versioned},
    transaction::Condition,
};

#[async_trait]
impl Records for DynamoRecords {
    async fn application(
        &self,
        id: &ApplicationId,
    ) -> Result<Option<Versioned<ApplicationRecord>>, RecordsError> {
        self.get(Key::application(id)).await?.map(read_versioned).transpose()
    }

    async fn applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<Versioned<ApplicationRecord>, ApplicationId>, RecordsError> {
        let Page { items: slugs, next } = self.slugs(key::APPLICATIONS, after, limit).await?;
        let found = self.get_all(slugs.iter().map(Key::application).collect()).await?;
        let mut items: Vec<Versioned<ApplicationRecord>> =
            found.into_iter().map(read_versioned).collect::<Result<_, _>>()?;
        items.sort_by(|a, b| a.value.id.cmp(&b.value.id));
        Ok(Page { items, next })
    }

    async fn put_application(
        &self,
        application: &ApplicationRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError> {
        let version = expected.unwrap_or(0) + 1;
        let mut transaction = self.transaction();
        transaction.put(application::item(application, version)?, Condition::expected(expected))?;
        transaction.put(audit::item(application_partition(&application.id), audit)?, Condition::Any)?;
        if expected.is_none() {
            transaction.put(Key::listing(&application.id).into_item(), Condition::Any)?;
        }
        transaction.commit().await?;
        Ok(version)
    }

    async fn delete_application(
        &self,
        id: &ApplicationId,
        expected: u64,
        audit: &AuditEntry,
    ) -> Result<(), RecordsError> {
        let mut transaction = self.transaction();
        transaction.delete(Key::application(id), Condition::Version(expected))?;
        // Nobody has asked for a backup or a restore since it was looked for one that is open.
        for trigger in [Trigger::Scheduled, Trigger::OnDemand] {
            transaction.check(Key::turn(id, trigger), Condition::Absent)?;
        }
        transaction.check(Key::restore_turn(id), Condition::Absent)?;
        transaction.delete(Key::listing(id), Condition::Any)?;
        transaction.put(Key::removed(id).into_item(), Condition::Any)?;
        transaction.put(audit::item(application_partition(id), audit)?, Condition::Any)?;
        Ok(transaction.commit().await?)
    }

    async fn removed_applications(
        &self,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<ApplicationId, ApplicationId>, RecordsError> {
        self.slugs(key::REMOVED, after, limit).await
    }

    async fn forget_application(&self, id: &ApplicationId) -> Result<(), RecordsError> {
        let mut transaction = self.transaction();
        transaction.delete(Key::removed(id), Condition::Any)?;
        Ok(transaction.commit().await?)
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<ApplicationId>, RecordsError> {
        self.search_due(&sortable(now), limit).await?.iter().map(key::application_of).collect()
    }

    async fn plan(&self, id: &PlanId) -> Result<Option<Versioned<PlanRecord>>, RecordsError> {
        self.get(Key::plan(id)).await?.map(read_versioned).transpose()
    }

    async fn plans(&self) -> Result<Vec<Versioned<PlanRecord>>, RecordsError> {
        let partition = key::PLANS.to_owned();
        let search = Search { partition, range: Range::All, backwards: false, limit: usize::MAX };
        self.search(search).await?.into_iter().map(read_versioned).collect()
    }

    async fn put_plan(
        &self,
        plan: &PlanRecord,
        expected: Option<u64>,
        audit: &AuditEntry,
    ) -> Result<u64, RecordsError> {
        let version = expected.unwrap_or(0) + 1;
        let mut transaction = self.transaction();
        transaction.put(plan::item(plan, version)?, Condition::expected(expected))?;
        transaction.put(audit::item(plan_partition(&plan.id), audit)?, Condition::Any)?;
        transaction.commit().await?;
        Ok(version)
    }

    async fn create_backup(&self, new: &NewBackup) -> Result<Creation, RecordsError> {
        self.create(new).await
    }

    async fn source(&self, backup: BackupId) -> Result<Option<ApplicationSpec>, RecordsError> {
        let found = self.get(Key::source(backup)).await?;
        let found = found.map(stored::read_plain::<Source>).transpose()?;
        Ok(found.map(|source| source.registration))
    }

    async fn idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(BackupId, String)>, RecordsError> {
        let used = self.get(Key::idempotency(application, key)).await?;
        let used = used.map(stored::read_plain::<UsedKey>).transpose()?;
        Ok(used.map(|used| (used.backup, used.fingerprint)))
    }

    async fn backup(
        &self,
        application: &ApplicationId,
        id: BackupId,
    ) -> Result<Option<Versioned<Backup>>, RecordsError> {
        self.get(Key::backup(application, id)).await?.map(read_versioned).transpose()
    }

    async fn backups(
        &self,
        application: &ApplicationId,
        before: Option<BackupId>,
        limit: usize,
    ) -> Result<Page<Versioned<Backup>, BackupId>, RecordsError> {
        let before = before.map(|before| before.to_string());
        let found =
            self.search_before(application_partition(application), BACKUP, before.as_deref(), limit).await?;
        let found: Vec<Versioned<Backup>> =
            found.into_iter().map(read_versioned).collect::<Result<_, _>>()?;
        Ok(page(found, limit, |last| last.value.id))
    }

    async fn update_backup(
        &self,
        backup: &Backup,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        let mut transaction = self.transaction();
        transaction.put(backup::item(backup, expected + 1)?, Condition::Version(expected))?;
        for entry in audit {
            transaction
                .put(audit::item(application_partition(&backup.application), entry)?, Condition::Any)?;
        }
        // Only the write that ends a backup gives its turn back, and only the record knows whether this is that write: by
        // now the turn may be another backup's. If the record changes after this look at it, its version does too.
        if !backup.state.is_open() {
            let before = self.backup(&backup.application, backup.id).await?;
            let before = before.filter(|before| before.version == expected).ok_or(RecordsError::Conflict)?;
            if before.value.state.is_open() {
                let turn = Key::turn(&backup.application, backup.trigger);
                transaction.delete(turn, Condition::ClaimedBy(backup.id))?;
            }
        }
        transaction.commit().await?;
        Ok(expected + 1)
    }

    async fn open_backups(&self, limit: usize) -> Result<Vec<(ApplicationId, BackupId)>, RecordsError> {
        let found = self.search_open(limit).await?;
        found.iter().map(|item| Ok((key::application_of(item)?, key::backup_of(item)?))).collect()
    }

    async fn service_runs(&self, backup: BackupId) -> Result<Vec<Versioned<ServiceRun>>, RecordsError> {
        let search = Search {
            partition: key::service_runs_partition(backup),
            range: Range::Prefix(SERVICE),
            backwards: false,
            limit: usize::MAX,
        };
        self.search(search).await?.into_iter().map(read_versioned).collect()
    }

    async fn put_service_run(
        &self,
        backup: BackupId,
        run: &ServiceRun,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError> {
        let version = expected.unwrap_or(0) + 1;
        let mut transaction = self.transaction();
        transaction.put(service_run::item(backup, run, version)?, Condition::expected(expected))?;
        transaction.commit().await?;
        Ok(version)
    }

    async fn seats(&self, server: &str) -> Result<Option<Versioned<Seats>>, RecordsError> {
        self.get(Key::seats(server)).await?.map(read_versioned).transpose()
    }

    async fn put_seats(
        &self,
        server: &str,
        seats: &Seats,
        expected: Option<u64>,
    ) -> Result<u64, RecordsError> {
        let version = expected.unwrap_or(0) + 1;
        let mut transaction = self.transaction();
        let item = stored::versioned_item(Key::seats(server), version, seats)?;
        transaction.put(item, Condition::expected(expected))?;
        transaction.commit().await?;
        Ok(version)
    }

    async fn create_restore(&self, new: &NewRestore) -> Result<RestoreCreation, RecordsError> {
        self.make_restore(new).await
    }

    async fn restore_target(&self, restore: RestoreId) -> Result<Option<ApplicationSpec>, RecordsError> {
        let found = self.get(Key::restore_target(restore)).await?;
        let found = found.map(stored::read_plain::<Source>).transpose()?;
        Ok(found.map(|target| target.registration))
    }

    async fn restore_idempotency(
        &self,
        application: &ApplicationId,
        key: &str,
    ) -> Result<Option<(RestoreId, String)>, RecordsError> {
        let used = self.get(Key::restore_idempotency(application, key)).await?;
        let used = used.map(stored::read_plain::<restore::UsedKey>).transpose()?;
        Ok(used.map(|used| (used.restore, used.fingerprint)))
    }

    async fn restore(
        &self,
        application: &ApplicationId,
        id: RestoreId,
    ) -> Result<Option<Versioned<Restore>>, RecordsError> {
        self.get(Key::restore(application, id)).await?.map(read_versioned).transpose()
    }

    async fn restores(
        &self,
        application: &ApplicationId,
        before: Option<RestoreId>,
        limit: usize,
    ) -> Result<Page<Versioned<Restore>, RestoreId>, RecordsError> {
        let before = before.map(|before| before.to_string());
        let partition = application_partition(application);
        let found = self.search_before(partition, RESTORE, before.as_deref(), limit).await?;
        let found: Vec<Versioned<Restore>> =
            found.into_iter().map(read_versioned).collect::<Result<_, _>>()?;
        Ok(page(found, limit, |last| last.value.id))
    }

    async fn update_restore(
        &self,
        restore: &Restore,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        self.write_restore(restore, expected, audit).await
    }

    async fn open_restores(&self, limit: usize) -> Result<Vec<(ApplicationId, RestoreId)>, RecordsError> {
        let found = self.search_open_restores(limit).await?;
        found.iter().map(|item| Ok((key::application_of(item)?, key::restore_of(item)?))).collect()
    }

    async fn plan_audit(
        &self,
        plan: &PlanId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        self.trail(plan_partition(plan), before, limit).await
    }

    async fn audit(
        &self,
        application: &ApplicationId,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        self.trail(application_partition(application), before, limit).await
    }
}

impl DynamoRecords {
    /// The slugs that are listed in `partition`, in their order.
    async fn slugs(
        &self,
        partition: &str,
        after: Option<&ApplicationId>,
        limit: usize,
    ) -> Result<Page<ApplicationId, ApplicationId>, RecordsError> {
        let search = Search {
            partition: partition.to_owned(),
            range: after.map_or(Range::All, |after| Range::After(after.to_string())),
            backwards: false,
            limit: limit.saturating_add(1),
        };
        let listed = self.search(search).await?;
        let listed = listed.iter().map(listed_slug).collect::<Result<_, _>>()?;
        Ok(page(listed, limit, Clone::clone))
    }

    /// The audit trail in `partition`, newest first.
    async fn trail(
        &self,
        partition: String,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page<AuditEntry, String>, RecordsError> {
        let found = self.search_before(partition, AUDIT, before, limit).await?;
        let found: Vec<AuditEntry> = found.into_iter().map(audit::read).collect::<Result<_, _>>()?;
        Ok(page(found, limit, |last| last.id.to_string()))
    }

    /// What `partition` has under `prefix` that is less than `before`, greatest first; one more than `limit`, to know
    /// whether there is more.
    async fn search_before(
        &self,
        partition: String,
        prefix: &'static str,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Item>, RecordsError> {
        let bound = before.map(|before| format!("{prefix}{before}"));
        let range = match &bound {
            None => Range::Prefix(prefix),
            Some(bound) => Range::Between(prefix.to_owned(), bound.clone()),
        };
        // BETWEEN includes its bound, which is left out below.
        let search = Search { partition, range, backwards: true, limit: limit.saturating_add(2) };
        let mut found = self.search(search).await?;
        found.retain(|item| key::text(item, "sk") != bound.as_deref());
        Ok(found)
    }
}

fn listed_slug(item: &Item) -> Result<ApplicationId, RecordsError> {
    let slug = key::text(item, "sk").and_then(|slug| slug.parse().ok());
    slug.ok_or_else(|| RecordsError::Malformed(format!("an application listed as {:?}", item.get("sk"))))
}

/// The first `limit` of what was found, which goes on if there was more.
fn page<T, C>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Page { items, next }
}
