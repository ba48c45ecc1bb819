use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Calendar, Mark};
use crate::backup::Label;

/// A day of a calendar, as documents have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CalendarDay {
    /// The local day of the slot, or of the moment a backup on demand was taken.
    pub date: NaiveDate,
    /// What became of the day's backup.
    pub mark: DayMark,
    /// The tier it is kept in; scheduled ones only.
    pub label: Option<Label>,
}

/// What became of a day's backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DayMark {
    /// Kept by the policy.
    Kept,
    /// Under a hold.
    Held,
    /// Discarded or deleted.
    Discarded,
}

impl Calendar {
    /// The days that have a backup, in order.
    pub fn days(&self) -> Vec<CalendarDay> {
        let day = |(date, mark): (&NaiveDate, &Mark)| {
            let (mark, label) = match *mark {
                Mark::Kept(label) => (DayMark::Kept, Some(label)),
                Mark::OnDemand => (DayMark::Kept, None),
                Mark::Held(label) => (DayMark::Held, label),
                Mark::Discarded => (DayMark::Discarded, None),
            };
            CalendarDay { date: *date, mark, label }
        };
        self.days.iter().map(day).collect()
    }
}

impl FromIterator<CalendarDay> for Calendar {
    fn from_iter<T: IntoIterator<Item = CalendarDay>>(days: T) -> Self {
        Self::new(days.into_iter().map(|day| {
            let mark = match (day.mark, day.label) {
                (DayMark::Kept, Some(label)) => Mark::Kept(label),
                (DayMark::Kept, None) => Mark::OnDemand,
                (DayMark::Held, label) => Mark::Held(label),
                (DayMark::Discarded, _) => Mark::Discarded,
            };
            (day.date, mark)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_make_the_same_picture_again() {
        let date = |day| NaiveDate::from_ymd_opt(2026, 4, day).unwrap();
        let marks = [
            Mark::Kept(Label::Daily),
            Mark::Kept(Label::Monthly),
            Mark::OnDemand,
            Mark::Held(None),
            Mark::Held(Some(Label::Weekly)),
            Mark::Discarded,
        ];
        let calendar = Calendar::new((1..).map(date).zip(marks));
        let again: Calendar = calendar.days().into_iter().collect();
        assert_eq!(again, calendar);
    }
}
