use async_trait::async_trait;
use holdfast_backup::ports::{CatalogRecords, RecordsError, Versioned};
use holdfast_domain::{audit::AuditEntry, backup::Backup, id::ApplicationId};

use super::FakeRecords;

#[async_trait]
impl CatalogRecords for FakeRecords {
    async fn rebuild_backup(&self, backup: &Backup, audit: &AuditEntry) -> Result<bool, RecordsError> {
        let mut state = self.state.lock().unwrap();
        let backups = state.backups.entry(backup.application.clone()).or_default();
        if backups.contains_key(&backup.id) {
            return Ok(false);
        }
        backups.insert(backup.id, Versioned { value: backup.clone(), version: 1 });
        if let Some(slot) = backup.slot_at {
            state.slots.entry((backup.application.clone(), slot)).or_insert(backup.id);
        }
        state.note(&backup.application, audit);
        Ok(true)
    }

    async fn rebuild_removed(&self, id: &ApplicationId) -> Result<(), RecordsError> {
        self.state.lock().unwrap().removed.insert(id.clone());
        Ok(())
    }
}
