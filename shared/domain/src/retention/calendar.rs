//! A picture of what is kept, for a terminal: one row for each month, one mark for each day.

use std::{collections::BTreeMap, fmt};

use chrono::{Datelike, Days, NaiveDate};

use super::simulate::{ActionKind, Simulation};
use crate::backup::Label;

/// What became of a day's backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Kept in this tier.
    Kept(Label),
    /// Discarded.
    Discarded,
}

/// The days of the backups of an application, and what became of them. Its `Display` is the picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    days: BTreeMap<NaiveDate, Mark>,
    colour: bool,
}

impl Calendar {
    /// The picture of these days. Where a day comes more than once, its highest label shows.
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

    /// The same picture with or without ANSI colours.
    #[must_use]
    pub fn with_colour(mut self, colour: bool) -> Self {
        self.colour = colour;
        self
    }

    fn count(&self, mark: Mark) -> usize {
        self.days.values().filter(|other| **other == mark).count()
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

impl Mark {
    fn symbol(self) -> char {
        match self {
            Self::Kept(Label::Daily) => 'D',
            Self::Kept(Label::Weekly) => 'W',
            Self::Kept(Label::Monthly) => 'M',
            Self::Discarded => '·',
        }
    }

    /// Green, blue and magenta, all bold; dim for what is gone.
    fn ansi(self) -> &'static str {
        match self {
            Self::Kept(Label::Daily) => "1;32",
            Self::Kept(Label::Weekly) => "1;34",
            Self::Kept(Label::Monthly) => "1;35",
            Self::Discarded => "2",
        }
    }

    fn rank(self) -> Option<Label> {
        match self {
            Self::Kept(label) => Some(label),
            Self::Discarded => None,
        }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = || self.days.iter().filter(|(_, mark)| **mark != Mark::Discarded).map(|(date, _)| *date);
        let (Some(oldest), Some((newest, _))) = (kept().next(), self.days.last_key_value()) else {
            return writeln!(f, "nothing is kept");
        };
        writeln!(f, "         1       5         10        15        20        25        30")?;
        let mut month = oldest.with_day(1).unwrap_or(oldest);
        let mut skipping = false;
        while month <= *newest {
            let next = first_of_next_month(month);
            let empty = next.is_some_and(|next| self.days.range(month..next).next().is_none());
            if !empty {
                self.month(f, month)?;
            } else if !skipping {
                writeln!(f, "   …")?;
            }
            skipping = empty;
            match next {
                Some(next) => month = next,
                None => break,
            }
        }
        writeln!(f)?;
        let marks = [
            (Mark::Kept(Label::Daily), "daily"),
            (Mark::Kept(Label::Weekly), "weekly"),
            (Mark::Kept(Label::Monthly), "monthly"),
            (Mark::Discarded, "discarded"),
        ];
        for (index, (mark, name)) in marks.into_iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "   " })?;
            self.paint(f, mark)?;
            write!(f, " {name} {}", self.count(mark))?;
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
    fn nothing_kept_is_said_in_words() {
        assert_eq!(Calendar::default().to_string(), "nothing is kept\n");
    }
}
