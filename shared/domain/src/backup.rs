//! One run over an application's services, and what it wrote.

mod artifact;
mod failure;
mod hold;
mod progress;
mod state;
mod verification;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    id::{ApplicationId, BackupId, RestoreId, ServiceName},
    schedule::Slot,
};

pub use artifact::{Artifact, Contents, Encryption, Skipped, StoredObject};
pub use failure::Failure;
pub use hold::{Hold, Undelete};
pub use progress::{Phase, Progress};
pub use state::{IllegalTransition, State};
pub use verification::{
    NoLevel, Rehearsal, Rehearsed, Verification, VerificationLevel, VerificationState, VerifiedArtifact,
};

/// Days for which a deleted or discarded backup can be brought back. The bucket keeps what was deleted for as long.
pub const GRACE_DAYS: i64 = 7;

/// What made a backup start; it belongs to that trigger's retention policy for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The plan's schedule.
    Scheduled,
    /// A person or a program, through the API.
    OnDemand,
}

/// The tier a scheduled backup is kept in. Labels only ever rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// One of the last days.
    Daily,
    /// One of the last weeks.
    Weekly,
    /// One of the last months.
    Monthly,
}

impl Label {
    /// The label as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

/// One backup of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backup {
    /// Its id: time-ordered, and the name of its execution and prefix.
    pub id: BackupId,
    /// The application it belongs to.
    pub application: ApplicationId,
    /// What made it start.
    pub trigger: Trigger,
    /// Where it is in its life.
    pub state: State,
    /// The tier it is kept in; scheduled backups only, from their success on.
    pub label: Option<Label>,
    /// The moment it was due; scheduled backups only.
    pub slot_at: Option<DateTime<Utc>>,
    /// The local calendar day of its slot in the application's time zone; scheduled backups only.
    pub slot_date: Option<NaiveDate>,
    /// The services it covers.
    pub services: Vec<ServiceName>,
    /// What the person who asked for it wanted to remember.
    pub note: Option<String>,
    /// The restore whose safety backup it is: what was there before that changed anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_restore: Option<RestoreId>,
    /// From then on it is discarded whatever the policy; on-demand backups only.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who asked for it: an identity's ARN, or `schedule`.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its first slice began.
    pub started_at: Option<DateTime<Utc>>,
    /// The point in time of its data: when the first snapshot was taken.
    pub taken_at: Option<DateTime<Utc>>,
    /// When it succeeded, failed or was cancelled.
    pub finished_at: Option<DateTime<Utc>>,
    /// When somebody asked to cancel it; the running slice stops soon after.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// When the clean-up of its failure or cancellation began: from then on nothing is stored or recorded any more.
    pub aborting_at: Option<DateTime<Utc>>,
    /// What it wrote, one for each service; complete once it has succeeded.
    pub artifacts: Vec<Artifact>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Why it is kept with its label, or why it was discarded, in words.
    pub retention_reason: Option<String>,
    /// When the deletion of its objects began.
    pub expired_at: Option<DateTime<Utc>>,
    /// The hold that is on it.
    pub hold: Option<Hold>,
    /// While it is being brought back from its deletion: who asked for that, and when.
    pub undelete: Option<Undelete>,
    /// When the last download link that was given out stops working; no policy discards it before.
    pub link_until: Option<DateTime<Utc>>,
    /// The last look at all of it since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

impl Backup {
    /// A backup that has been asked for and not yet started.
    pub fn queued(
        id: BackupId,
        application: ApplicationId,
        services: Vec<ServiceName>,
        requested_by: String,
        created_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            application,
            trigger: Trigger::OnDemand,
            state: State::Queued,
            label: None,
            slot_at: None,
            slot_date: None,
            services,
            note: None,
            before_restore: None,
            expires_at: None,
            requested_by,
            created_at,
            started_at: None,
            taken_at: None,
            finished_at: None,
            cancel_requested_at: None,
            aborting_at: None,
            artifacts: Vec::new(),
            failure: None,
            retention_reason: None,
            expired_at: None,
            hold: None,
            undelete: None,
            link_until: None,
            verification: None,
        }
    }

    /// The same backup, due at `slot`.
    #[must_use]
    pub fn scheduled(mut self, slot: &Slot) -> Self {
        self.trigger = Trigger::Scheduled;
        self.slot_at = Some(slot.at);
        self.slot_date = Some(slot.local_date);
        self
    }

    /// Bytes of all its artifacts.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.object.size).sum()
    }

    /// Until when it can be brought back, where it was deleted or discarded.
    pub fn undelete_until(&self) -> Option<DateTime<Utc>> {
        let expired_at = self.expired_at.filter(|_| self.state == State::Expired)?;
        Some(expired_at + TimeDelta::days(GRACE_DAYS))
    }

    /// Files that were left out of all its artifacts, because they vanished or could not be read.
    pub fn skipped(&self) -> u64 {
        self.artifacts.iter().map(|artifact| artifact.contents.skipped()).sum()
    }

    /// Whether something of it was found not to be what it should be: then it is good for nothing that others are kept for.
    pub fn is_damaged(&self) -> bool {
        self.verification.as_ref().is_some_and(|last| last.damaged_at().is_some())
    }

    /// Whether a look at all of it is under way.
    pub fn is_being_verified(&self) -> bool {
        self.verification.as_ref().is_some_and(|last| last.state == VerificationState::Running)
    }

    /// The prefix in the bucket that holds this backup and nothing else.
    pub fn prefix(&self) -> String {
        prefix(&self.application, self.id)
    }

    /// Moves to `state`, or says why that cannot be.
    pub fn transition(&mut self, state: State) -> Result<(), IllegalTransition> {
        self.state = self.state.to(state)?;
        Ok(())
    }
}

/// The prefix in the bucket that holds the backup `id` of `application` and nothing else; ends in `/`.
pub fn prefix(application: &ApplicationId, id: BackupId) -> String {
    format!("applications/{application}/{id}/")
}
