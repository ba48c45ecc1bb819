//! The time.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use holdfast_backup::ports::Clock;

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one adapter of the clock")]
    fn now(&self) -> DateTime<Utc> {
        SystemTime::now().into()
    }
}
