//! The life of a backup: `queued → running → succeeded | failed | cancelled`, then `succeeded → expiring → expired`, from
//! where it can be brought back to `succeeded` within the grace period; an attempt that failed is deleted again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a backup is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for; no slice has begun.
    Queued,
    /// A slice has begun.
    Running,
    /// Everything is stored and was read back; it can be restored.
    Succeeded,
    /// It ended without a usable result, and nothing of it is left.
    Failed,
    /// Somebody stopped it, and nothing of it is left.
    Cancelled,
    /// Being deleted: its objects may be partly gone.
    Expiring,
    /// Its objects are deleted, and can be brought back for some days; the record stays.
    Expired,
}

/// A change of state that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a backup that is {} cannot become {}", from.as_str(), to.as_str())]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: State,
    /// The state that was asked for.
    pub to: State,
}

impl State {
    /// Every state, in the order of a backup's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Expiring,
        Self::Expired,
    ];

    /// The state as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
        }
    }

    /// Whether a job still has to bring it to an end.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// Whether there is nothing left of it but its record, for good.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::Expired)
    }

    /// The next state, if a backup's life can go there from here.
    pub fn to(self, next: Self) -> Result<Self, IllegalTransition> {
        use State::{Cancelled, Expired, Expiring, Failed, Queued, Running, Succeeded};
        match (self, next) {
            (Queued, Running | Failed | Cancelled)
            | (Running, Succeeded | Failed | Cancelled)
            | (Succeeded, Expiring)
            | (Expiring, Expired)
            | (Expired, Succeeded | Expiring) => Ok(next),
            (from, to) => Err(IllegalTransition { from, to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_backup_never_runs_again() {
        for state in State::ALL.into_iter().filter(|state| !state.is_open()) {
            for next in [State::Queued, State::Running] {
                assert_eq!(state.to(next), Err(IllegalTransition { from: state, to: next }));
            }
        }
    }

    #[test]
    fn only_a_running_and_an_expired_backup_become_good() {
        let from = State::ALL.into_iter().filter(|state| state.to(State::Succeeded).is_ok());
        assert_eq!(from.collect::<Vec<_>>(), [State::Running, State::Expired]);
    }

    #[test]
    fn only_what_was_good_expires() {
        let from: Vec<_> = State::ALL.into_iter().filter(|state| state.to(State::Expiring).is_ok()).collect();
        assert_eq!(from, [State::Succeeded, State::Expired]);
    }
}
