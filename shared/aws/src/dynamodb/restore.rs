use holdfast_backup::ports::{IdempotencyKey, NewRestore, RecordsError, RestoreCreation, Versioned};
use holdfast_domain::{audit::AuditEntry, id::RestoreId, restore::Restore};
use serde::{Deserialize, Serialize};

use super::{
    DynamoRecords, audit,
    claim::IDEMPOTENCY_KEPT,
    index::{OPEN_RESTORES, sortable},
    key::{Item, Key, application_partition},
    source, stored,
    transaction::{Condition, Refusal},
};

/// What the turn says: whose it is.
#[derive(Serialize, Deserialize)]
struct Claimed {
    restore: RestoreId,
}

/// What a key was used for.
#[derive(Serialize, Deserialize)]
pub(super) struct UsedKey {
    pub(super) restore: RestoreId,
    pub(super) fingerprint: String,
    /// When `DynamoDB` may remove the item, in seconds since 1970.
    ttl: i64,
}

/// The item of a restore. It is in the index `open` exactly while it is queued or running.
fn item(restore: &Restore, version: u64) -> Result<Item, RecordsError> {
    let mut item = stored::versioned_item(Key::restore(&restore.application, restore.id), version, restore)?;
    if restore.state.is_open() {
        let shard = ("open_shard", OPEN_RESTORES.to_owned());
        stored::index(&mut item, shard, ("open_since", sortable(restore.created_at)));
    }
    Ok(item)
}

fn used_key_item(key: &IdempotencyKey, restore: &Restore) -> Result<Item, RecordsError> {
    let used = UsedKey {
        restore: restore.id,
        fingerprint: key.fingerprint.clone(),
        ttl: (restore.created_at + IDEMPOTENCY_KEPT).timestamp(),
    };
    stored::plain_item(Key::restore_idempotency(&restore.application, &key.key), &used)
}

impl DynamoRecords {
    /// Creates a restore with all that it claims, in one transaction.
    pub(super) async fn make_restore(&self, new: &NewRestore) -> Result<RestoreCreation, RecordsError> {
        let made = &new.restore;
        let into = &made.application;
        let mut transaction = self.transaction();
        transaction.put(item(made, 1)?, Condition::Absent)?;
        transaction.put(source::target_item(new)?, Condition::Absent)?;
        transaction.put(audit::item(application_partition(into), &new.audit)?, Condition::Any)?;
        if let Some(entry) = &new.audit_of_origin {
            let partition = application_partition(&made.from.application);
            transaction.put(audit::item(partition, entry)?, Condition::Any)?;
        }
        let claimed = stored::plain_item(Key::restore_turn(into), &Claimed { restore: made.id })?;
        let turn = transaction.put(claimed, Condition::Absent)?;
        let registered = transaction.check(Key::application(into), Condition::Present)?;
        let used = new.idempotency.as_ref().map(|key| used_key_item(key, made)).transpose()?;
        let used = used.map(|used| transaction.put(used, Condition::Absent)).transpose()?;

        let mut against = match transaction.commit().await {
            Ok(()) => return Ok(RestoreCreation::Created),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Conditions(against)) => against,
        };
        let mut take = |place: usize| against.get_mut(place).and_then(Option::take);
        // A repetition is told of what it repeats, even if that is still open or the application is gone.
        if let Some(used) = used.and_then(&mut take) {
            let UsedKey { restore, fingerprint, .. } = stored::read_plain(used)?;
            return Ok(RestoreCreation::Repeated { id: restore, fingerprint });
        }
        if take(registered).is_some() {
            return Err(RecordsError::Conflict);
        }
        match take(turn) {
            Some(held) => stored::read_plain::<Claimed>(held).map(|held| RestoreCreation::Busy(held.restore)),
            None => Err(RecordsError::Conflict),
        }
    }

    /// Writes a restore that has version `expected`, and gives its turn back if this ends it.
    pub(super) async fn write_restore(
        &self,
        restore: &Restore,
        expected: u64,
        audit: &[AuditEntry],
    ) -> Result<u64, RecordsError> {
        let mut transaction = self.transaction();
        transaction.put(item(restore, expected + 1)?, Condition::Version(expected))?;
        for entry in audit {
            let partition = application_partition(&restore.application);
            transaction.put(audit::item(partition, entry)?, Condition::Any)?;
        }
        // As for backups: only the record knows whether this is the write that ends it.
        if !restore.state.is_open() {
            let before = self.get(Key::restore(&restore.application, restore.id)).await?;
            let before: Option<Versioned<Restore>> = before.map(stored::read_versioned).transpose()?;
            let before = before.filter(|before| before.version == expected).ok_or(RecordsError::Conflict)?;
            if before.value.state.is_open() {
                let turn = Key::restore_turn(&restore.application);
                transaction.delete(turn, Condition::ClaimedByRestore(restore.id))?;
            }
        }
        transaction.commit().await?;
        Ok(expected + 1)
    }
}
