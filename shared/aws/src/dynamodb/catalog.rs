use async_trait::async_trait;
use holdfast_backup::ports::{CatalogRecords, RecordsError};
use holdfast_domain::{audit::AuditEntry, backup::Backup, id::ApplicationId};

use super::{
    DynamoRecords, audit, backup, claim,
    key::{Key, application_partition},
    transaction::{Condition, Refusal},
};

#[async_trait]
impl CatalogRecords for DynamoRecords {
    async fn rebuild_backup(&self, backup: &Backup, entry: &AuditEntry) -> Result<bool, RecordsError> {
        let mut slot = backup.slot_at;
        loop {
            let mut transaction = self.transaction();
            let record = transaction.put(backup::item(backup, 1)?, Condition::Absent)?;
            transaction
                .put(audit::item(application_partition(&backup.application), entry)?, Condition::Any)?;
            if let Some(at) = slot {
                let claimed = claim::claimed_item(Key::slot(&backup.application, at), backup)?;
                transaction.put(claimed, Condition::Absent)?;
            }
            match transaction.commit().await {
                Ok(()) => return Ok(true),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Conditions(against)) if against.get(record).is_some_and(Option::is_some) => {
                    return Ok(false);
                }
                // The slot is claimed, and stays so.
                Err(Refusal::Conditions(_)) if slot.take().is_some() => {}
                Err(refusal @ Refusal::Conditions(_)) => return Err(refusal.into()),
            }
        }
    }

    async fn rebuild_removed(&self, id: &ApplicationId) -> Result<(), RecordsError> {
        let mut transaction = self.transaction();
        transaction.put(Key::removed(id).into_item(), Condition::Any)?;
        Ok(transaction.commit().await?)
    }
}
