//! The time.

use std::time::{Duration, SystemTime};

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

/// The time for work until `deadline`, in milliseconds since 1970, when Lambda kills the process; `spare` of it is left.
pub fn time_left(clock: &dyn Clock, deadline: u64, spare: Duration) -> Duration {
    let now = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
    Duration::from_millis(deadline.saturating_sub(now)).saturating_sub(spare)
}
