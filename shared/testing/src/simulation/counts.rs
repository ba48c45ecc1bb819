//! What happened in many histories, in numbers.

use std::fmt;

/// What happened in many histories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Histories that were played to their end.
    pub histories: u64,
    /// Calls to the ports, each a point at which somebody else may go on.
    pub calls: u64,
    /// Calls that failed before they had an effect.
    pub failed_before: u64,
    /// Calls that had their effect, and whose answer was lost.
    pub answers_lost: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Invocations that the state machine took for failed, and that went on beside those that followed.
    pub given_up_on: u64,
    /// Executions of the state machine.
    pub executions: u64,
    /// Ticks.
    pub ticks: u64,
    /// Nightly runs of retention.
    pub nights: u64,
    /// Calls of the API.
    pub wishes: u64,
    /// Artifacts that rotted.
    pub rotten: u64,
    /// Backups that succeeded and were kept.
    pub succeeded: u64,
    /// Backups that failed.
    pub failed: u64,
    /// Backups that were cancelled.
    pub cancelled: u64,
    /// Backups that were let go of.
    pub expired: u64,
    /// Backups of before the history that were let go of.
    pub earlier_expired: u64,
    /// Backups that were found to be what they should be.
    pub verified: u64,
    /// Backups that were found damaged.
    pub found_damaged: u64,
    /// Deleted backups that were brought back.
    pub brought_back: u64,
    /// Restores that succeeded.
    pub restored: u64,
    /// Restores that failed.
    pub restores_failed: u64,
    /// Restores that were cancelled.
    pub restores_cancelled: u64,
    /// Restores that took another one back.
    pub undone: u64,
}

impl Counts {
    fn all(&mut self) -> [(&'static str, &mut u64); 23] {
        [
            ("histories", &mut self.histories),
            ("calls to the ports", &mut self.calls),
            ("calls that failed", &mut self.failed_before),
            ("answers that were lost", &mut self.answers_lost),
            ("processes killed", &mut self.kills),
            ("invocations given up on", &mut self.given_up_on),
            ("executions", &mut self.executions),
            ("ticks", &mut self.ticks),
            ("nights", &mut self.nights),
            ("calls of the API", &mut self.wishes),
            ("artifacts that rotted", &mut self.rotten),
            ("backups that succeeded and stay", &mut self.succeeded),
            ("backups that failed", &mut self.failed),
            ("backups cancelled", &mut self.cancelled),
            ("backups let go of", &mut self.expired),
            ("earlier backups let go of", &mut self.earlier_expired),
            ("backups verified", &mut self.verified),
            ("backups found damaged", &mut self.found_damaged),
            ("backups brought back", &mut self.brought_back),
            ("restores that succeeded", &mut self.restored),
            ("restores that failed", &mut self.restores_failed),
            ("restores cancelled", &mut self.restores_cancelled),
            ("restores that undo one", &mut self.undone),
        ]
    }

    /// Adds what happened in others.
    pub fn add(&mut self, mut other: Self) {
        for ((_, own), (_, others)) in self.all().into_iter().zip(other.all()) {
            *own += *others;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = *self;
        counts.all().into_iter().try_for_each(|(name, count)| writeln!(f, "{count:>12}  {name}"))
    }
}
