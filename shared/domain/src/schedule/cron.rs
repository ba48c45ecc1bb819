//! Cron expressions: read by `croner`, in local time without a zone, and kept within reason.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, Seconds, Year},
};

use crate::invalid::Invalid;

const FIELD: &str = "expression";

/// A backup more often than this would be a replica by other means, and the tick looks only once a minute.
const SHORTEST_PAUSE: TimeDelta = TimeDelta::minutes(15);

/// How many times in a row are looked at for one that comes too soon: weeks of the densest expression, decades
/// of a sparse one, so that every pair of neighbouring days an expression can name comes by.
const PAUSES_CHECKED: usize = 2_000;

/// Reads the five fields minute, hour, day of month, month, day of week.
pub(super) fn parse(expression: &str) -> Result<Cron, CronError> {
    if expression.split_whitespace().count() != 5 {
        return Err(CronError::InvalidPattern("there must be five fields".to_owned()));
    }
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(expression)
}

/// Refuses what cannot be read, never fires, or fires too often.
pub(super) fn validate(expression: &str) -> Result<(), Invalid> {
    let cron = parse(expression).map_err(|error| {
        let problem = format!("is not a cron expression: {expression:?}: {error}");
        Invalid::new(
            FIELD,
            problem,
            "use five fields, as in `0 */6 * * *`: minute, hour, day, month, day of week",
        )
    })?;
    // Any start will do: an expression repeats itself at the latest after the 400 years of the calendar.
    let start = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default().and_time(chrono::NaiveTime::MIN);
    let times = || std::iter::successors(next(&cron, start), |time| next(&cron, *time));
    if times().next().is_none() {
        let problem = format!("never fires: {expression:?} names a day that does not exist");
        return Err(Invalid::new(FIELD, problem, "name a day of the month that the month has"));
    }
    let too_soon = times()
        .zip(times().skip(1))
        .take(PAUSES_CHECKED)
        .find(|(time, after)| *after - *time < SHORTEST_PAUSE);
    match too_soon {
        None => Ok(()),
        Some((time, after)) => {
            let minutes = (after - time).num_minutes();
            let problem =
                format!("fires again after {minutes} minutes (at {} and {})", time.time(), after.time());
            Err(Invalid::new(FIELD, problem, "leave at least 15 minutes between two backups"))
        }
    }
}

fn next(cron: &Cron, time: NaiveDateTime) -> Option<NaiveDateTime> {
    cron.find_next_occurrence(&time, false).ok()
}
