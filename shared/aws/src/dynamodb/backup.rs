use holdfast_backup::ports::RecordsError;
use holdfast_domain::backup::Backup;

use super::{
    index::{shard, sortable},
    key::{Item, Key},
    stored,
};

/// The item of a backup. It is in the index `open` exactly while it is queued or running.
pub(super) fn item(backup: &Backup, version: u64) -> Result<Item, RecordsError> {
    let mut item = stored::versioned_item(Key::backup(&backup.application, backup.id), version, backup)?;
    if backup.state.is_open() {
        let shard = shard(&backup.id.to_string());
        stored::index(&mut item, ("open_shard", shard), ("open_since", sortable(backup.created_at)));
    }
    Ok(item)
}
