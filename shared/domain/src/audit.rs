//! Who changed what, and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{AuditId, BackupId, RestoreId};

/// One line of an application's (or a plan's) audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Time-ordered id.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who: an identity's ARN, `schedule`, or `policy` with its text.
    pub actor: String,
    /// What was done.
    pub action: Action,
    /// The backup it was done to, where it was one.
    pub backup: Option<BackupId>,
    /// The restore it was done to, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreId>,
    /// From which state, label or version.
    pub from: Option<String>,
    /// To which state, label or version.
    pub to: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
}

impl AuditEntry {
    /// The entry that `actor` did `action` at `at`.
    pub fn new(id: AuditId, at: DateTime<Utc>, actor: impl Into<String>, action: Action) -> Self {
        Self {
            id,
            at,
            actor: actor.into(),
            action,
            backup: None,
            restore: None,
            from: None,
            to: None,
            reason: None,
        }
    }

    /// The same, done to a backup.
    #[must_use]
    pub fn to_backup(self, id: BackupId) -> Self {
        Self { backup: Some(id), ..self }
    }

    /// The same, done to a restore.
    #[must_use]
    pub fn to_restore(self, id: RestoreId) -> Self {
        Self { restore: Some(id), ..self }
    }

    /// The same, changing a state, label, version or time.
    #[must_use]
    pub fn changing(self, from: Option<String>, to: Option<String>) -> Self {
        Self { from, to, ..self }
    }

    /// The same, because of `reason`.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An application was registered.
    Register,
    /// An application's registration was changed.
    Update,
    /// An application was removed.
    Remove,
    /// A plan was made or changed.
    PlanChange,
    /// A backup or a restore was asked for.
    Request,
    /// A backup or a restore succeeded.
    Succeed,
    /// A backup or a restore failed.
    Fail,
    /// Somebody asked to cancel a backup or a restore.
    Cancel,
    /// A policy raised a label.
    Relabel,
    /// A policy discarded a backup.
    Discard,
    /// Somebody deleted a backup.
    Delete,
    /// Somebody put a hold on a backup.
    Hold,
    /// Somebody released the hold of a backup.
    Release,
    /// Somebody had a deleted backup brought back.
    Undelete,
    /// A backup was read again, from its first byte to its last.
    Verify,
    /// A record was made anew from what the bucket says.
    Rebuild,
}
