use holdfast_backup::ports::RecordsError;
use holdfast_domain::audit::AuditEntry;
use serde::{Deserialize, Serialize};

use super::{
    key::{AUDIT, Item, Key},
    stored,
};

#[derive(Serialize, Deserialize)]
struct Line<T> {
    record: T,
}

/// The item of a line in the trail of `partition`: an application's or a plan's.
pub(super) fn item(partition: String, entry: &AuditEntry) -> Result<Item, RecordsError> {
    let key = Key { pk: partition, sk: format!("{AUDIT}{}", entry.id) };
    stored::plain_item(key, &Line { record: entry })
}

/// The line of an item.
pub(super) fn read(item: Item) -> Result<AuditEntry, RecordsError> {
    stored::read_plain::<Line<AuditEntry>>(item).map(|line| line.record)
}
