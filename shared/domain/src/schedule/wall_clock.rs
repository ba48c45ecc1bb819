//! Local time to instants, through every clock change.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

/// The instant at which the clocks of `tz` show `local`: the first of two, or the first after the gap when they
/// never show it. None beyond the range of time itself.
pub(super) fn instant(tz: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    let at = match tz.from_local_datetime(&local) {
        LocalResult::Single(at) => at,
        LocalResult::Ambiguous(first, _) => first,
        LocalResult::None => GapInfo::new(&local, &tz)?.end?,
    };
    Some(at.to_utc())
}

/// Whether `tz` had that day at all: Samoa went from 29 to 31 December 2011 overnight.
pub(super) fn has_day(tz: Tz, date: NaiveDate) -> bool {
    instant(tz, date.and_time(NaiveTime::MIN))
        .is_some_and(|first| first.with_timezone(&tz).date_naive() == date)
}
