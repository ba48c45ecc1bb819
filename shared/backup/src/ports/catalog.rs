use async_trait::async_trait;
use holdfast_domain::{audit::AuditEntry, backup::Backup, id::ApplicationId};

use super::{ArtifactStore, Records, RecordsError, StorageError};

/// The bucket of backups to whoever reads all of it. No function does.
#[async_trait]
pub trait CatalogBucket: ArtifactStore {
    /// What is directly below `prefix`, in no order: keys, and the prefixes, with their last `/`, that further keys have in
    /// common. What was deleted is not there.
    async fn children(&self, prefix: &str) -> Result<Vec<String>, StorageError>;
}

/// Records to whoever makes them anew. No function does. Nothing that is there is ever written over.
#[async_trait]
pub trait CatalogRecords: Records {
    /// Writes a backup that has ended, with its slot and the entry, unless it has a record: `false` then, and nothing of it is
    /// written. A slot that is claimed stays as it is.
    async fn rebuild_backup(&self, backup: &Backup, audit: &AuditEntry) -> Result<bool, RecordsError>;

    /// Puts a slug among those of removed applications. Repeating it is harmless.
    async fn rebuild_removed(&self, id: &ApplicationId) -> Result<(), RecordsError>;
}
