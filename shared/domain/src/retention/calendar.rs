//! A picture of what is kept: one row for each month, one mark for each day, so that a year is seen at a glance.
//!
//! `Display` draws it for a terminal, [`Calendar::svg`] for a page.

mod day;
mod svg;

use std::{collections::BTreeMap, fmt};

use chrono::{Datelike, Days, NaiveDate};

use super::{
    Candidate,
    simulate::{ActionKind, Simulation},
};
use crate::backup::Label;

pub use day::{CalendarDay, DayMark};

/// What became of a day's backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Kept in this tier.
    Kept(Label),
    /// Kept, on demand.
    OnDemand,
    /// Under a hold, in this tier; in none if it is one on demand.
    Held(Option<Label>),
    /// Discarded.
    Discarded,
}

/// The days of the backups of an application, and what became of them. Its `Display` is the picture for a terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    days: BTreeMap<NaiveDate, Mark>,
    colour: bool,
}

impl Calendar {
    /// The picture of these days. Where a day comes more than once, a hold shows before the highest label, a label before
    /// one on demand, and anything kept before what was discarded.
    pub fn new(marks: impl IntoIterator<Item = (NaiveDate, Mark)>) -> Self {
        let mut days = BTreeMap::new();
        for (date, mark) in marks {
            let shown = days.entry(date).or_insert(mark);
            if mark.rank() > shown.rank() {
                *shown = mark;
            }
        }
        Self { days, colour: false }
    }

    /// The picture at the end of a simulation.
    pub fn of(simulation: &Simulation) -> Self {
        let kept = simulation.kept.iter().map(|kept| (kept.slot, Mark::Kept(kept.label)));
        let discarded = simulation.actions.iter().filter(|action| action.action == ActionKind::Discard);
        Self::new(kept.chain(discarded.map(|action| (action.slot, Mark::Discarded))))
    }

    /// The same picture of the days from `first` to `last` alone, both included.
    #[must_use]
    pub fn between(mut self, first: NaiveDate, last: NaiveDate) -> Self {
        self.days.retain(|date, _| (first..=last).contains(date));
        self
    }

    /// The same picture with or without ANSI colours in a terminal.
    #[must_use]
    pub fn with_colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    fn count(&self, name: &str) -> usize {
        self.days.values().filter(|mark| mark.name() == name).count()
    }

    /// The marks to explain, in order: always the tiers and what was discarded, the others where they come up.
    fn legend(&self) -> impl Iterator<Item = (Mark, &'static str, usize)> {
        let marks = [
            Mark::Kept(Label::Daily),
            Mark::Kept(Label::Weekly),
            Mark::Kept(Label::Monthly),
            Mark::OnDemand,
            Mark::Held(None),
            Mark::Discarded,
        ];
        marks
            .into_iter()
            .map(|mark| (mark, mark.name(), self.count(mark.name())))
            .filter(|(mark, _, count)| *count > 0 || !matches!(mark, Mark::OnDemand | Mark::Held(_)))
    }

    /// The months from the oldest backup that is kept to the newest day; none if nothing is kept.
    fn rows(&self) -> Vec<Row> {
        let mut kept = self.days.iter().filter(|(_, mark)| **mark != Mark::Discarded).map(|(date, _)| *date);
        let (Some(oldest), Some((newest, _))) = (kept.next(), self.days.last_key_value()) else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        let mut month = oldest.with_day(1);
        while let Some(first) = month.filter(|first| first <= newest) {
            month = first_of_next_month(first);
            let empty = month.is_some_and(|next| self.days.range(first..next).next().is_none());
            if !empty {
                rows.push(Row::Month(first));
            } else if rows.last() != Some(&Row::Gap) {
                rows.push(Row::Gap);
            }
        }
        rows
    }

    fn paint(&self, f: &mut fmt::Formatter<'_>, mark: Mark) -> fmt::Result {
        if self.colour {
            write!(f, "\x1b[{}m{}\x1b[0m", mark.ansi(), mark.symbol())
        } else {
            write!(f, "{}", mark.symbol())
        }
    }

    fn month(&self, f: &mut fmt::Formatter<'_>, first: NaiveDate) -> fmt::Result {
        write!(f, "{:04}-{:02} ", first.year(), first.month())?;
        let mut blanks = 0;
        for date in first.iter_days().take_while(|date| date.month() == first.month()) {
            match self.days.get(&date) {
                // Blanks are written before the next mark, so that no line ends in them.
                None => blanks += 2,
                Some(mark) => {
                    write!(f, "{:blanks$} ", "")?;
                    self.paint(f, *mark)?;
                    blanks = 0;
                }
            }
        }
        writeln!(f)
    }
}

/// A line of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// The month that starts on that day.
    Month(NaiveDate),
    /// Months without any backup.
    Gap,
}

impl Mark {
    /// The mark of a backup that is kept.
    pub fn of(backup: &Candidate) -> Self {
        match (backup.held, backup.label()) {
            (true, label) => Self::Held(label),
            (false, Some(label)) => Self::Kept(label),
            (false, None) => Self::OnDemand,
        }
    }

    fn symbol(self) -> char {
        match self {
            Self::Kept(Label::Daily) => 'D',
            Self::Kept(Label::Weekly) => 'W',
            Self::Kept(Label::Monthly) => 'M',
            Self::OnDemand => 'O',
            Self::Held(_) => 'H',
            Self::Discarded => '·',
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kept(label) => label.as_str(),
            Self::OnDemand => "on demand",
            Self::Held(_) => "held",
            Self::Discarded => "discarded",
        }
    }

    /// Green, blue, magenta and yellow, all bold, a hold reversed; dim for what is gone.
    fn ansi(self) -> &'static str {
        match self {
            Self::Kept(Label::Daily) => "1;32",
            Self::Kept(Label::Weekly) => "1;34",
            Self::Kept(Label::Monthly) => "1;35",
            Self::OnDemand => "1;33",
            Self::Held(Some(Label::Daily)) => "1;7;32",
            Self::Held(Some(Label::Weekly)) => "1;7;34",
            Self::Held(Some(Label::Monthly)) => "1;7;35",
            Self::Held(None) => "1;7;33",
            Self::Discarded => "2",
        }
    }

    /// What shows on a day with several: the greatest.
    fn rank(self) -> (bool, bool, Option<Label>) {
        match self {
            Self::Held(label) => (true, true, label),
            Self::Kept(label) => (false, true, Some(label)),
            Self::OnDemand => (false, true, None),
            Self::Discarded => (false, false, None),
        }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        if rows.is_empty() {
            return writeln!(f, "nothing is kept");
        }
        writeln!(f, "         1       5         10        15        20        25        30")?;
        for row in rows {
            match row {
                Row::Month(first) => self.month(f, first)?,
                Row::Gap => writeln!(f, "   …")?,
            }
        }
        writeln!(f)?;
        for (index, (mark, name, count)) in self.legend().enumerate() {
            f.write_str(if index == 0 { "" } else { "   " })?;
            self.paint(f, mark)?;
            write!(f, " {name} {count}")?;
        }
        writeln!(f)
    }
}

fn first_of_next_month(first: NaiveDate) -> Option<NaiveDate> {
    // The 28th plus four days is in the next month, whatever the month.
    first.with_day(28)?.checked_add_days(Days::new(4))?.with_day(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn picture(policy: &str, from: &str, days: u32) -> String {
        let simulation =
            super::super::simulate::simulate(policy.parse().unwrap(), from.parse().unwrap(), days, &[])
                .unwrap();
        Calendar::of(&simulation).to_string()
    }

    #[test]
    fn a_year_of_7_4_12() {
        insta::assert_snapshot!(picture("gfs:7/4/12", "2025-01-01", 420));
    }

    #[test]
    fn marks_stand_below_the_number_of_their_day() {
        let drawn = picture("gfs:2/0/0", "2026-02-09", 2);
        let (header, row) =
            drawn.split_once('\n').map(|(h, rest)| (h, rest.lines().next().unwrap())).unwrap();
        assert_eq!(header.find("10"), row.rfind('D'));
        assert!(drawn.lines().all(|line| line == line.trim_end()));
    }

    #[test]
    fn months_without_any_backup_fold_into_one_line() {
        let date = |text: &str| text.parse().unwrap();
        let mark = Mark::Kept(Label::Monthly);
        let drawn = Calendar::new([(date("2020-01-31"), mark), (date("2026-12-31"), mark)]).to_string();
        assert_eq!(drawn.lines().count(), 6, "{drawn}");
    }

    #[rstest]
    #[case(true)]
    #[case(false)]
    fn colour_changes_no_mark(#[case] colour: bool) {
        let day = NaiveDate::from_ymd_opt(2026, 4, 6).unwrap();
        let drawn = Calendar::new([(day, Mark::Kept(Label::Weekly))]).with_colour(colour).to_string();
        assert_eq!(drawn.contains("\x1b[1;34mW\x1b[0m"), colour);
        assert!(drawn.contains('W'));
    }

    #[test]
    fn holds_and_backups_on_demand_have_marks_of_their_own() {
        let date = |text: &str| text.parse().unwrap();
        let calendar = Calendar::new([
            (date("2026-04-01"), Mark::OnDemand),
            (date("2026-04-02"), Mark::Held(Some(Label::Weekly))),
            (date("2026-04-02"), Mark::Kept(Label::Monthly)),
            (date("2026-04-03"), Mark::OnDemand),
            (date("2026-04-03"), Mark::Kept(Label::Daily)),
            (date("2026-04-04"), Mark::Discarded),
            (date("2026-04-04"), Mark::Held(None)),
        ]);
        let drawn = calendar.to_string();
        assert!(drawn.contains("2026-04  O H D H\n"), "{drawn}");
        assert!(drawn.ends_with("O on demand 1   H held 2   · discarded 0\n"), "{drawn}");
        let week = calendar.between(date("2026-04-02"), date("2026-04-03")).to_string();
        assert!(week.contains("2026-04    H D\n"), "{week}");
    }

    #[test]
    fn nothing_kept_is_said_in_words() {
        assert_eq!(Calendar::default().to_string(), "nothing is kept\n");
    }
}
