use holdfast_backup::ports::{RecordsError, ServiceRun};
use holdfast_domain::id::BackupId;

use super::{
    key::{Item, Key},
    stored,
};

/// The item of how far a backup has come with one service.
pub(super) fn item(backup: BackupId, run: &ServiceRun, version: u64) -> Result<Item, RecordsError> {
    stored::versioned_item(Key::service_run(backup, &run.service), version, run)
}
