use holdfast_backup::ports::{Claim, Creation, NewBackup, RecordsError};

use super::{
    DynamoRecords, application, audit, backup,
    claim::{self, Claimed, UsedKey},
    key::{Item, Key, application_partition},
    source, stored,
    transaction::{Condition, Refusal},
};

impl DynamoRecords {
    /// Creates a backup with all that it claims, in one transaction.
    pub(super) async fn create(&self, new: &NewBackup) -> Result<Creation, RecordsError> {
        let made = &new.backup;
        let mut transaction = self.transaction();
        transaction.put(backup::item(made, 1)?, Condition::Absent)?;
        transaction.put(source::item(new)?, Condition::Absent)?;
        transaction
            .put(audit::item(application_partition(&made.application), &new.audit)?, Condition::Any)?;
        let turn = Key::turn(&made.application, made.trigger);
        let turn = transaction.put(claim::claimed_item(turn, made)?, Condition::Absent)?;
        let (registered, claimed) = match &new.claim {
            Claim::Slot { application, expected } => {
                let at = made
                    .slot_at
                    .ok_or_else(|| RecordsError::Malformed("a slot is claimed without one".to_owned()))?;
                let moved_on = application::item(application, expected + 1)?;
                let slot = claim::claimed_item(Key::slot(&made.application, at), made)?;
                (
                    transaction.put(moved_on, Condition::Version(*expected))?,
                    Some(transaction.put(slot, Condition::Absent)?),
                )
            }
            Claim::Request { idempotency } => {
                let registered =
                    transaction.check(Key::application(&made.application), Condition::Present)?;
                let used = idempotency.as_ref().map(|key| claim::used_key_item(key, made)).transpose()?;
                let claimed = used.map(|used| transaction.put(used, Condition::Absent)).transpose()?;
                (registered, claimed)
            }
        };

        let mut against = match transaction.commit().await {
            Ok(()) => return Ok(Creation::Created),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Conditions(against)) => against,
        };
        let mut take = |place: usize| against.get_mut(place).and_then(Option::take);
        // A repetition is told of what it repeats, even if that is still open or the application has changed since.
        match (&new.claim, claimed.and_then(&mut take)) {
            (Claim::Slot { .. }, Some(_)) => return Ok(Creation::SlotTaken),
            (Claim::Request { .. }, Some(used)) => return repeated(used),
            (_, None) => {}
        }
        if take(registered).is_some() {
            return Err(RecordsError::Conflict);
        }
        match take(turn) {
            Some(held) => stored::read_plain::<Claimed>(held).map(|held| Creation::Busy(held.backup)),
            None => Err(RecordsError::Conflict),
        }
    }
}

fn repeated(used: Item) -> Result<Creation, RecordsError> {
    let UsedKey { backup, fingerprint, .. } = stored::read_plain(used)?;
    Ok(Creation::Repeated { id: backup, fingerprint })
}
