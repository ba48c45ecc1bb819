//! Who changed what, and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{AuditId, BackupId};

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
    /// From which state, label or version.
    pub from: Option<String>,
    /// To which state, label or version.
    pub to: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
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
    /// A backup was asked for.
    Request,
    /// A backup succeeded.
    Succeed,
    /// A backup failed.
    Fail,
    /// Somebody asked to cancel a backup.
    Cancel,
    /// A policy raised a label.
    Relabel,
    /// A policy discarded a backup.
    Discard,
    /// Somebody deleted a backup.
    Delete,
}
