//! The life of a restore: `queued → running → succeeded | failed | cancelled`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a restore is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestoreState {
    /// Asked for; no slice has begun.
    Queued,
    /// A slice has begun.
    Running,
    /// Everything is restored; of a dry run: it was looked at everything.
    Succeeded,
    /// It ended without all restored. What is as it was, and what is not, its failure says.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// A change of state that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a restore that is {} cannot become {}", from.as_str(), to.as_str())]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: RestoreState,
    /// The state that was asked for.
    pub to: RestoreState,
}

impl RestoreState {
    /// Every state, in the order of a restore's life.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The state as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a job still has to bring it to an end.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// The next state, if a restore's life can go there from here.
    pub fn to(self, next: Self) -> Result<Self, IllegalTransition> {
        use RestoreState::{Cancelled, Failed, Queued, Running, Succeeded};
        match (self, next) {
            (Queued, Running | Failed | Cancelled) | (Running, Succeeded | Failed | Cancelled) => Ok(next),
            (from, to) => Err(IllegalTransition { from, to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_restore_never_runs_again() {
        for state in RestoreState::ALL.into_iter().filter(|state| !state.is_open()) {
            for next in RestoreState::ALL {
                assert_eq!(state.to(next), Err(IllegalTransition { from: state, to: next }));
            }
        }
    }

    #[test]
    fn only_a_running_restore_succeeds() {
        let from = RestoreState::ALL.into_iter().filter(|state| state.to(RestoreState::Succeeded).is_ok());
        assert_eq!(from.collect::<Vec<_>>(), [RestoreState::Running]);
    }
}
