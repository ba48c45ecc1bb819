//! What happened, for whoever listens: the events on the bus.
//!
//! `docs/events.md` says what each holds and what is promised. They name things and times, and quote the failures that records
//! have; never a secret.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    backup::{Backup, Failure, State, Trigger, VerificationState},
    id::{ApplicationId, BackupId, PlanId, RestoreId},
    restore::{Restore, RestoreState},
};

/// Where events come from, as their `source` says.
pub const SOURCE: &str = "holdfast";

/// Something that happened to an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The application.
    pub application: ApplicationId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. Its fields, together with `application` and `at`, are the event's `detail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum What {
    /// A backup has ended.
    Backup {
        /// The backup.
        backup: BackupId,
        /// `succeeded`, `failed` or `cancelled`.
        state: State,
        /// What made it start.
        trigger: Trigger,
        /// Bytes of all its artifacts.
        bytes: u64,
        /// Why it failed.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A verification has found that a backup is not what it should be.
    Damaged {
        /// The backup.
        backup: BackupId,
        /// What was found.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// A restore has ended.
    Restore {
        /// The restore.
        restore: RestoreId,
        /// `succeeded`, `failed` or `cancelled`.
        state: RestoreState,
        /// The backup that was restored.
        from: BackupId,
        /// Whether it only looked.
        dry_run: bool,
        /// Why it failed, and what is as it was and what is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// No scheduled backup of an application has succeeded for too long.
    Overdue {
        /// Since when that is so.
        overdue_since: DateTime<Utc>,
        /// The slot of its last scheduled backup that succeeded, if there was one.
        last_success_slot: Option<DateTime<Utc>>,
        /// Its plan.
        plan: PlanId,
    },
}

impl Event {
    /// What is told of a backup as it is recorded; nothing of one that has not ended, or is being let go of.
    pub fn of_backup(backup: &Backup) -> Option<Self> {
        if !matches!(backup.state, State::Succeeded | State::Failed | State::Cancelled) {
            return None;
        }
        let what = What::Backup {
            backup: backup.id,
            state: backup.state,
            trigger: backup.trigger,
            bytes: backup.bytes(),
            failure: backup.failure.clone(),
        };
        Some(Self { application: backup.application.clone(), at: backup.finished_at?, what })
    }

    /// What is told of a backup that was found damaged; nothing of another.
    pub fn of_damage(backup: &Backup) -> Option<Self> {
        let last = backup.verification.as_ref().filter(|last| last.state == VerificationState::Damaged)?;
        let what = What::Damaged { backup: backup.id, failure: last.failure.clone() };
        Some(Self { application: backup.application.clone(), at: last.finished_at?, what })
    }

    /// What is told of a restore as it is recorded; nothing of one that has not ended, or that was only tried for the sake of a
    /// verification.
    pub fn of_restore(restore: &Restore) -> Option<Self> {
        if restore.state.is_open() || restore.rehearsal {
            return None;
        }
        let what = What::Restore {
            restore: restore.id,
            state: restore.state,
            from: restore.from.backup,
            dry_run: restore.options.dry_run,
            failure: restore.failure.clone(),
        };
        Some(Self { application: restore.application.clone(), at: restore.finished_at?, what })
    }

    /// Its `detail-type`.
    pub fn detail_type(&self) -> &'static str {
        match &self.what {
            What::Backup { state: State::Succeeded, .. } => "Backup Succeeded",
            What::Backup { state: State::Cancelled, .. } => "Backup Cancelled",
            What::Backup { .. } => "Backup Failed",
            What::Damaged { .. } => "Backup Damaged",
            What::Restore { state: RestoreState::Succeeded, .. } => "Restore Succeeded",
            What::Restore { state: RestoreState::Cancelled, .. } => "Restore Cancelled",
            What::Restore { .. } => "Restore Failed",
            What::Overdue { .. } => "Application Overdue",
        }
    }

    /// The name of the metric that counts such events.
    pub fn metric(&self) -> &'static str {
        match &self.what {
            What::Backup { state: State::Succeeded, .. } => "BackupsSucceeded",
            What::Backup { state: State::Cancelled, .. } => "BackupsCancelled",
            What::Backup { .. } => "BackupsFailed",
            What::Damaged { .. } => "BackupsDamaged",
            What::Restore { state: RestoreState::Succeeded, .. } => "RestoresSucceeded",
            What::Restore { state: RestoreState::Cancelled, .. } => "RestoresCancelled",
            What::Restore { .. } => "RestoresFailed",
            What::Overdue { .. } => "ApplicationsFoundOverdue",
        }
    }

    /// Its `detail`: one JSON object.
    pub fn detail(&self) -> String {
        // Names, numbers and times always have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}
