use chrono::{DateTime, TimeDelta, Utc};
use holdfast_backup::ports::{NewBackup, NewRestore, RecordsError};
use holdfast_domain::application::ApplicationSpec;
use serde::{Deserialize, Serialize};

use super::{
    key::{Item, Key},
    stored,
};

/// How long it is remembered: as long as an execution of Step Functions is; no job lasts longer.
const KEPT: TimeDelta = TimeDelta::days(90);

/// What a backup is made of, or a restore goes into.
#[derive(Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) registration: ApplicationSpec,
    /// When `DynamoDB` may remove the item, in seconds since 1970.
    ttl: i64,
}

/// The item of what a new backup is made of.
pub(super) fn item(new: &NewBackup) -> Result<Item, RecordsError> {
    kept(Key::source(new.backup.id), &new.source, new.backup.created_at)
}

/// The item of what a new restore goes into.
pub(super) fn target_item(new: &NewRestore) -> Result<Item, RecordsError> {
    kept(Key::restore_target(new.restore.id), &new.target, new.restore.created_at)
}

fn kept(key: Key, registration: &ApplicationSpec, since: DateTime<Utc>) -> Result<Item, RecordsError> {
    let source = Source { registration: registration.clone(), ttl: (since + KEPT).timestamp() };
    stored::plain_item(key, &source)
}
