//! When backups are due: a plan's schedule, turned into slots in an application's time zone.

mod cron;
mod overdue;
mod spread;
mod wall_clock;

use std::fmt;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{id::ApplicationId, invalid::Invalid};

pub use overdue::LONGEST_BACKUP;

/// Minutes in a day: the widest a spread may be, so that every application keeps one slot a day.
const DAY_MINUTES: u32 = 24 * 60;

/// Farther than any clock was ever set back, so that a search backwards from there meets every slot.
const FARTHEST_FOLD: TimeDelta = TimeDelta::hours(25);

/// When the backups of a plan's applications are due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Once per local day, each application at its own minute of the window.
    Daily {
        /// Where in the day.
        window: Window,
    },
    /// At the times of a cron expression, read on the application's wall clock.
    Cron {
        /// Five fields: minute, hour, day of month, month, day of week.
        expression: String,
        /// Each application's slots come up to this many minutes after the expression's times, always equally late.
        #[serde(default)]
        spread_minutes: u32,
    },
}

/// A stretch of every local day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its first minute as local time, `HH:MM`.
    pub start: String,
    /// Its length in minutes; it may run past midnight. 0 starts every application at `start`.
    pub minutes: u32,
}

/// The moment a scheduled backup is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The instant.
    pub at: DateTime<Utc>,
    /// The local calendar day it is meant for: the one on which its window starts, or the cron expression fires,
    /// even when the spread carries `at` past midnight.
    pub local_date: NaiveDate,
}

impl Schedule {
    /// Refuses a start that is no time of day, a spread beyond a day, and a cron expression that cannot be read,
    /// never fires or fires more often than every 15 minutes.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Self::Daily { window } => time_of_day(&window.start)
                .ok_or_else(|| {
                    let problem = format!("is not a time of day: {:?}", window.start);
                    Invalid::new("window.start", problem, "write it as HH:MM, from 00:00 to 23:59")
                })
                .and_then(|_| validate_spread("window.minutes", window.minutes)),
            Self::Cron { expression, spread_minutes } => {
                cron::validate(expression)?;
                validate_spread("spread_minutes", *spread_minutes)
            }
        }
    }

    /// The first slot of `application` after `after`; none when the schedule is invalid.
    ///
    /// A slot whose local time is skipped by a clock change moves to the first instant after the gap; one whose
    /// local time comes twice runs at the first. A local day that a zone skipped altogether has no slot.
    pub fn next_slot(&self, application: &ApplicationId, tz: Tz, after: DateTime<Utc>) -> Option<Slot> {
        self.timing(application)?.next(tz, after)
    }

    /// The newest slot of `application` after `since` and not after `now`: what to catch up with after an outage.
    pub fn latest_slot(
        &self,
        application: &ApplicationId,
        tz: Tz,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Slot> {
        self.timing(application)?.latest(tz, since, now)
    }

    /// The slots of `application` after `after`, in order; none when the schedule is invalid.
    pub fn slots(
        &self,
        application: &ApplicationId,
        tz: Tz,
        after: DateTime<Utc>,
    ) -> impl Iterator<Item = Slot> + use<> {
        let timing = self.timing(application);
        let mut last = after;
        std::iter::from_fn(move || {
            let slot = timing.as_ref()?.next(tz, last)?;
            last = slot.at;
            Some(slot)
        })
    }

    fn timing(&self, application: &ApplicationId) -> Option<Timing> {
        let (times, minutes) = match self {
            Self::Daily { window } => (Times::Daily(time_of_day(&window.start)?), window.minutes),
            Self::Cron { expression, spread_minutes } => {
                (Times::Cron(Box::new(cron::parse(expression).ok()?)), *spread_minutes)
            }
        };
        Some(Timing { times, spread: spread::within(application, minutes) })
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Daily { window: Window { start: "01:00".to_owned(), minutes: 240 } }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = match self {
            Self::Daily { window } => {
                write!(f, "daily at {}", window.start)?;
                window.minutes
            }
            Self::Cron { expression, spread_minutes } => {
                write!(f, "cron {expression}")?;
                *spread_minutes
            }
        };
        if minutes == 0 { Ok(()) } else { write!(f, ", spread over {minutes} minutes") }
    }
}

/// A schedule as one application sees it.
struct Timing {
    times: Times,
    spread: TimeDelta,
}

/// Local times, before the spread and before any clock change.
enum Times {
    Daily(NaiveTime),
    Cron(Box<croner::Cron>),
}

impl Timing {
    fn next(&self, tz: Tz, after: DateTime<Utc>) -> Option<Slot> {
        // Whatever is not later on the wall clock is not later in time: gaps move forward, folds take the first.
        let mut time = self.unspread(tz, after)?;
        loop {
            time = self.times.after(time)?;
            if let Some(slot) = self.slot(tz, time).filter(|slot| slot.at > after) {
                return Some(slot);
            }
        }
    }

    fn latest(&self, tz: Tz, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<Slot> {
        let mut time = self.unspread(tz, now)?.checked_add_signed(FARTHEST_FOLD)?;
        let newest = loop {
            time = self.times.before(time)?;
            if let Some(slot) = self.slot(tz, time).filter(|slot| slot.at <= now) {
                break slot;
            }
        };
        // Several times may have moved to the end of one gap: they are one slot, the one `next` gives.
        if newest.at > since { self.next(tz, newest.at - TimeDelta::seconds(1)) } else { None }
    }

    fn unspread(&self, tz: Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
        at.with_timezone(&tz).naive_local().with_nanosecond(0)?.checked_sub_signed(self.spread)
    }

    fn slot(&self, tz: Tz, time: NaiveDateTime) -> Option<Slot> {
        let local_date = time.date();
        if !wall_clock::has_day(tz, local_date) {
            return None;
        }
        let at = wall_clock::instant(tz, time.checked_add_signed(self.spread)?)?;
        Some(Slot { at, local_date })
    }
}

impl Times {
    fn after(&self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        match self {
            Self::Daily(start) => {
                let today = moment.date().and_time(*start);
                if today > moment { Some(today) } else { today.checked_add_days(Days::new(1)) }
            }
            Self::Cron(cron) => cron.find_next_occurrence(&moment, false).ok(),
        }
    }

    fn before(&self, moment: NaiveDateTime) -> Option<NaiveDateTime> {
        match self {
            Self::Daily(start) => {
                let today = moment.date().and_time(*start);
                if today < moment { Some(today) } else { today.checked_sub_days(Days::new(1)) }
            }
            Self::Cron(cron) => cron.find_previous_occurrence(&moment, false).ok(),
        }
    }
}

fn validate_spread(field: &str, minutes: u32) -> Result<(), Invalid> {
    if minutes <= DAY_MINUTES {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("is {minutes}, longer than a day"),
        format!("use 0 to {DAY_MINUTES} minutes"),
    ))
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    // The parser alone would also take `1:0`.
    let plain = text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit() || b == b':');
    plain.then(|| NaiveTime::parse_from_str(text, "%H:%M").ok()).flatten()
}

#[cfg(test)]
mod tests;
