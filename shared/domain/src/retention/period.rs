//! Days, ISO weeks and months.

use std::fmt;

use chrono::{Datelike, NaiveDate};

use crate::backup::Label;

/// The period of a tier that a local day lies in: the day itself, its ISO week or its calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Daily for days, weekly for ISO weeks, monthly for calendar months.
    pub label: Label,
    /// A day within it.
    pub date: NaiveDate,
}

impl Period {
    /// A number for the period, one more than that of the period before it.
    pub fn number(self) -> i32 {
        match self.label {
            Label::Daily => self.date.num_days_from_ce(),
            // 1 January of year 1 was a Monday, as all ISO weeks start.
            Label::Weekly => (self.date.num_days_from_ce() - 1).div_euclid(7),
            Label::Monthly => self.date.year() * 12 + self.date.month0().cast_signed(),
        }
    }
}

impl fmt::Display for Period {
    /// `2026-04-06`, `2026-W15` or `2026-04`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Label::Daily => self.date.fmt(f),
            Label::Weekly => {
                let week = self.date.iso_week();
                write!(f, "{:04}-W{:02}", week.year(), week.week())
            }
            Label::Monthly => write!(f, "{:04}-{:02}", self.date.year(), self.date.month()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("2025-12-28", "2025-W52")]
    #[case("2025-12-29", "2026-W01")]
    #[case("2026-01-04", "2026-W01")]
    #[case("2026-12-31", "2026-W53")]
    #[case("2027-01-03", "2026-W53")]
    #[case("2027-01-04", "2027-W01")]
    #[case("2020-12-31", "2020-W53")]
    #[case("2021-01-03", "2020-W53")]
    #[case("2024-02-29", "2024-W09")]
    #[case("2024-12-30", "2025-W01")]
    fn a_week_belongs_to_the_year_of_its_thursday(#[case] date: NaiveDate, #[case] week: &str) {
        assert_eq!(Period { label: Label::Weekly, date }.to_string(), week);
    }

    proptest! {
        #[test]
        fn two_days_share_a_number_exactly_when_they_share_a_name(days in 700_000_i32..760_000, apart in 0_i32..40) {
            let date = |days| NaiveDate::from_num_days_from_ce_opt(days).unwrap();
            for label in [Label::Daily, Label::Weekly, Label::Monthly] {
                let (one, other) = (Period { label, date: date(days) }, Period { label, date: date(days + apart) });
                prop_assert_eq!(one.number() == other.number(), one.to_string() == other.to_string());
            }
        }
    }
}
