use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast_backup::ports::Clock;

/// A clock that moves only when it is told to.
pub struct FakeClock(Mutex<DateTime<Utc>>);

impl FakeClock {
    /// A clock that shows `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        Self(Mutex::new(now))
    }

    /// Sets the time, back or forth.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.0.lock().unwrap() = now;
    }

    /// Moves the time on.
    pub fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for FakeClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}
