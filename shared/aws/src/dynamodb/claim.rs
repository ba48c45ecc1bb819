use chrono::TimeDelta;
use holdfast_backup::ports::{IdempotencyKey, RecordsError};
use holdfast_domain::{backup::Backup, id::BackupId};
use serde::{Deserialize, Serialize};

use super::{
    key::{Item, Key},
    stored,
};

/// How long a key is remembered: twice the day that callers may count on.
pub(super) const IDEMPOTENCY_KEPT: TimeDelta = TimeDelta::hours(48);

/// What a slot and a turn say: whose they are.
#[derive(Serialize, Deserialize)]
pub(super) struct Claimed {
    pub(super) backup: BackupId,
}

/// What a key was used for.
#[derive(Serialize, Deserialize)]
pub(super) struct UsedKey {
    pub(super) backup: BackupId,
    pub(super) fingerprint: String,
    /// When `DynamoDB` may remove the item, in seconds since 1970.
    ttl: i64,
}

/// The item of the slot or turn at `key`, claimed by `backup`.
pub(super) fn claimed_item(key: Key, backup: &Backup) -> Result<Item, RecordsError> {
    stored::plain_item(key, &Claimed { backup: backup.id })
}

/// The item of a key that `backup` was asked for with.
pub(super) fn used_key_item(key: &IdempotencyKey, backup: &Backup) -> Result<Item, RecordsError> {
    let used = UsedKey {
        backup: backup.id,
        fingerprint: key.fingerprint.clone(),
        ttl: (backup.created_at + IDEMPOTENCY_KEPT).timestamp(),
    };
    stored::plain_item(Key::idempotency(&backup.application, &key.key), &used)
}
