//! Times and spans of time, as people write and read them.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};

/// When a backup expires: at a time, or a while from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// At this time.
    At(DateTime<Utc>),
    /// So long from now.
    After(TimeDelta),
}

impl Expiry {
    /// The time, seen from `now`.
    pub(crate) fn from(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::At(time) => Some(time),
            Self::After(span) => now.checked_add_signed(span),
        }
    }
}

/// Reads an RFC 3339 time, or a number with `m`, `h`, `d` or `w`.
pub(crate) fn parse_expiry(text: &str) -> Result<Expiry, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Expiry::At(time.to_utc()));
    }
    let seconds = match text.char_indices().next_back() {
        Some((_, 'm')) => 60,
        Some((_, 'h')) => 3_600,
        Some((_, 'd')) => 86_400,
        Some((_, 'w')) => 7 * 86_400,
        _ => 0_i64,
    };
    // The unit is one byte long, if there is one.
    let number = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    number
        .parse::<u32>()
        .ok()
        .filter(|number| *number > 0 && seconds > 0)
        .and_then(|number| TimeDelta::try_seconds(i64::from(number) * seconds))
        .map(Expiry::After)
        .ok_or_else(|| {
            "use a time such as 2026-12-31T00:00:00Z, or a duration such as 14d, 12h, 2w".to_owned()
        })
}

/// Reads an RFC 3339 time, or a day, which stands for its first moment in UTC.
pub(crate) fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| text.parse::<NaiveDate>().map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc()))
        .map_err(|_| "use a time such as 2026-12-31T06:00:00Z, or a day such as 2026-12-31".to_owned())
}

/// A time as RFC 3339 in UTC, to the second.
pub(crate) fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A time, or a dash where there is none.
pub(crate) fn show_or_dash(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "-".to_owned(), show)
}

/// Seconds in the largest unit that leaves a whole number worth saying.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("14d", Some(14 * 86_400))]
    #[case("12h", Some(12 * 3_600))]
    #[case("2w", Some(14 * 86_400))]
    #[case("90m", Some(5_400))]
    #[case("0d", None)]
    #[case("d", None)]
    #[case("", None)]
    #[case("14", None)]
    #[case("-1d", None)]
    #[case("1é", None)]
    #[case("99999999999d", None)]
    fn a_duration_has_a_number_and_a_unit(#[case] text: &str, #[case] seconds: Option<i64>) {
        let expected = seconds.map(|seconds| Expiry::After(TimeDelta::seconds(seconds)));
        assert_eq!(parse_expiry(text).ok(), expected);
    }

    #[test]
    fn an_expiry_counts_from_now_or_is_a_time() {
        let now = parse_time("2026-11-24").unwrap();
        assert_eq!(parse_expiry("1d").unwrap().from(now), Some(parse_time("2026-11-25").unwrap()));
        let at = parse_expiry("2026-12-31T01:00:00+01:00").unwrap().from(now).unwrap();
        assert_eq!(show(at), "2026-12-31T00:00:00Z");
        assert_eq!(parse_expiry("4294967295w").unwrap().from(now), None);
    }

    #[rstest]
    #[case(0, "0 s")]
    #[case(119, "119 s")]
    #[case(121, "3 min")]
    #[case(7_201, "3 h")]
    fn a_span_rounds_up(#[case] seconds: u64, #[case] text: &str) {
        assert_eq!(span(seconds), text);
    }
}
