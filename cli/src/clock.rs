//! The command line's clock.

use std::time::SystemTime;

use chrono::{DateTime, Utc};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the one place where the command line reads the clock")]
pub(crate) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}
