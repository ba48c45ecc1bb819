//! The command line's clock.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use holdfast_backup::ports::Clock;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the one place where the command line reads the clock")]
pub(crate) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// The same, for what takes a clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        now()
    }
}
