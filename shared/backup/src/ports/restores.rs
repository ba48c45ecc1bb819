use holdfast_domain::{application::ApplicationSpec, audit::AuditEntry, id::RestoreId, restore::Restore};

use super::IdempotencyKey;

/// A restore to create and what it claims.
#[derive(Debug, Clone)]
pub struct NewRestore {
    /// The restore, queued.
    pub restore: Restore,
    /// What is restored: the application's registration as it is now. A change that comes later does not turn a restore to
    /// another database.
    pub target: ApplicationSpec,
    /// What makes a repetition of the request harmless.
    pub idempotency: Option<IdempotencyKey>,
    /// The entry that says who asked.
    pub audit: AuditEntry,
    /// The same for the trail of the application whose backup it is, where that is another one.
    pub audit_of_origin: Option<AuditEntry>,
}

/// What became of a restore to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreCreation {
    /// It exists now.
    Created,
    /// The idempotency key was used before, for this restore. Nothing was written.
    Repeated {
        /// The restore that was made then.
        id: RestoreId,
        /// The digest of the request that was made then.
        fingerprint: String,
    },
    /// Another restore into the application is still open. Nothing was written.
    Busy(RestoreId),
}
