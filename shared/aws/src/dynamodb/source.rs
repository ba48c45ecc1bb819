use chrono::TimeDelta;
use holdfast_backup::ports::{NewBackup, RecordsError};
use holdfast_domain::application::ApplicationSpec;
use serde::{Deserialize, Serialize};

use super::{
    key::{Item, Key},
    stored,
};

/// How long it is remembered: as long as an execution of Step Functions is; no job lasts longer.
const KEPT: TimeDelta = TimeDelta::days(90);

/// What a backup is made of.
#[derive(Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) registration: ApplicationSpec,
    /// When `DynamoDB` may remove the item, in seconds since 1970.
    ttl: i64,
}

/// The item of what a new backup is made of.
pub(super) fn item(new: &NewBackup) -> Result<Item, RecordsError> {
    let ttl = (new.backup.created_at + KEPT).timestamp();
    let source = Source { registration: new.source.clone(), ttl };
    stored::plain_item(Key::source(new.backup.id), &source)
}
