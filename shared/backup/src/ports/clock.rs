use chrono::{DateTime, Utc};
use holdfast_domain::id::{AuditId, BackupId, RestoreId};

/// The time.
pub trait Clock: Send + Sync {
    /// Now, UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// Randomness for ids.
pub trait Entropy: Send + Sync {
    /// Ten random bytes, enough for the random part of a `UUIDv7`.
    fn bytes(&self) -> [u8; 10];

    /// A new id for a backup made at `at`.
    fn backup_id(&self, at: DateTime<Utc>) -> BackupId {
        BackupId::new(at, self.bytes())
    }

    /// A new id for a restore asked for at `at`.
    fn restore_id(&self, at: DateTime<Utc>) -> RestoreId {
        RestoreId::new(at, self.bytes())
    }

    /// A new id for an audit entry made at `at`.
    fn audit_id(&self, at: DateTime<Utc>) -> AuditId {
        AuditId::new(at, self.bytes())
    }
}
