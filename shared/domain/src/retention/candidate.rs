//! A succeeded backup as retention sees it.

use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    backup::{Backup, Label, State, Trigger},
    id::BackupId,
    schedule::Slot,
};

/// A succeeded backup as retention sees it. Others take no part: they never push a good one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub id: BackupId,
    /// What made it start, and what its policy needs to know.
    pub origin: Origin,
    /// The point in time of its data.
    pub taken_at: DateTime<Utc>,
    /// Whether a hold is on it: then it is neither relabelled nor discarded nor counted.
    pub held: bool,
    /// Whether it lacks a service that the application has: then it is the last good one only where no whole one is.
    pub partial: bool,
}

/// What made a backup start; it belongs to that trigger's policy for life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The plan's schedule.
    Scheduled {
        /// The slot it was due at; its periods are those of the slot's local day.
        slot: Slot,
        /// The tier it is in.
        label: Label,
    },
    /// A person or a program.
    OnDemand {
        /// From then on it is discarded whatever the policy.
        expires_at: Option<DateTime<Utc>>,
    },
}

impl Candidate {
    /// A scheduled backup without a hold.
    pub fn scheduled(id: BackupId, slot: Slot, taken_at: DateTime<Utc>, label: Label) -> Self {
        Self { id, origin: Origin::Scheduled { slot, label }, taken_at, held: false, partial: false }
    }

    /// A backup on demand without a hold.
    pub fn on_demand(id: BackupId, taken_at: DateTime<Utc>, expires_at: Option<DateTime<Utc>>) -> Self {
        Self { id, origin: Origin::OnDemand { expires_at }, taken_at, held: false, partial: false }
    }

    /// `backup` as retention sees it; none unless it has succeeded, and none for a scheduled one
    /// whose record lost its slot: what cannot be placed in a period is left alone. So is one that was found damaged, which must
    /// push no good one out.
    pub fn of(backup: &Backup) -> Option<Self> {
        if backup.state != State::Succeeded || backup.is_damaged() {
            return None;
        }
        let taken_at = backup.taken_at.or(backup.started_at).unwrap_or(backup.created_at);
        let candidate = match backup.trigger {
            Trigger::Scheduled => {
                let slot = Slot { at: backup.slot_at?, local_date: backup.slot_date? };
                Self::scheduled(backup.id, slot, taken_at, backup.label.unwrap_or(Label::Daily))
            }
            Trigger::OnDemand => Self::on_demand(backup.id, taken_at, backup.expires_at),
        };
        Some(candidate.with_hold(backup.hold.is_some()))
    }

    /// The same backup with or without a hold.
    #[must_use]
    pub fn with_hold(mut self, held: bool) -> Self {
        self.held = held;
        self
    }

    /// The same backup, which covers all of the application's services or does not.
    #[must_use]
    pub fn with_partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    /// The policy it belongs to.
    pub fn trigger(&self) -> Trigger {
        match self.origin {
            Origin::Scheduled { .. } => Trigger::Scheduled,
            Origin::OnDemand { .. } => Trigger::OnDemand,
        }
    }

    /// The tier it is in; none for a backup on demand.
    pub fn label(&self) -> Option<Label> {
        match self.origin {
            Origin::Scheduled { label, .. } => Some(label),
            Origin::OnDemand { .. } => None,
        }
    }

    /// The day to call it by: the local day of its slot, or the day (UTC) it was taken on demand.
    pub fn date(&self) -> NaiveDate {
        match self.origin {
            Origin::Scheduled { slot, .. } => slot.local_date,
            Origin::OnDemand { .. } => self.taken_at.date_naive(),
        }
    }

    /// Whether its own expiry has come; a hold puts that off.
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        match self.origin {
            Origin::OnDemand { expires_at: Some(expires_at) } => !self.held && now >= expires_at,
            _ => false,
        }
    }
}
