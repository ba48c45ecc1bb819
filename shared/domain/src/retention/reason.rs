//! Why a backup is kept, relabelled or discarded: facts, put into a sentence only when somebody reads it.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

use super::{candidate::Candidate, period::Period};
use crate::{backup::Label, id::BackupId};

/// Why a backup is kept, relabelled or discarded. Its `Display` is the whole sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Kept: a hold is on it.
    Held,
    /// Kept: its tier has room for it.
    InTier {
        /// The period it stands for.
        period: Period,
        /// How many its tier holds.
        capacity: u32,
    },
    /// Kept above the count: it is the newest succeeded backup of the application.
    LastGood,
    /// Kept: on demand and not yet older than this many days.
    Young {
        /// The age in days.
        days: u32,
    },
    /// Kept: on demand and one of the most recent of the older ones.
    AmongOlder {
        /// The age in days.
        days: u32,
        /// How many of the older ones are kept.
        keep: u32,
    },
    /// Kept: its application was removed, and no policy applies to what it kept.
    Removed,
    /// Relabelled: it had to leave its tier and was the first of its period to do so.
    Promoted {
        /// The period it now stands for.
        period: Period,
        /// The tiers it left.
        overflow: Overflow,
    },
    /// Discarded: a day that is over counts once, and it has a newer one.
    SameDay {
        /// The newest of that day.
        by: Filler,
    },
    /// Discarded: it had to leave its tier, and its period is taken in the next.
    PeriodTaken {
        /// The period that is taken.
        period: Period,
        /// The tiers it had to leave.
        overflow: Overflow,
        /// The backup that stands for that period.
        by: Filler,
    },
    /// Discarded: it had to leave its tier, and there is none above it.
    NoTierAbove {
        /// The tiers it had to leave.
        overflow: Overflow,
        /// The backup whose arrival took its place; the last good one where the tier holds none.
        by: Option<Filler>,
    },
    /// Discarded: on demand, older than this many days, and enough newer ones are as old.
    Superseded {
        /// The age in days.
        days: u32,
        /// How many of the older ones are kept.
        keep: u32,
        /// The backup that grew old and took its place; the last good one where none as old are kept.
        by: Option<Filler>,
    },
    /// Discarded: its own expiry has come.
    Expired {
        /// When it came.
        at: DateTime<Utc>,
    },
}

/// The backup that fills the place of a discarded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filler {
    /// Which one.
    pub id: BackupId,
    /// Its label after the same plan's changes so far; none for a backup on demand.
    pub label: Option<Label>,
    /// The day to call it by.
    pub date: NaiveDate,
}

/// The tiers a backup had to leave as the oldest of more than they hold, with how many each holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Days its daily tier holds, if it left that.
    pub daily: Option<u32>,
    /// How many its weekly tier holds, if it left that.
    pub weekly: Option<u32>,
    /// How many its monthly tier holds, if it left that.
    pub monthly: Option<u32>,
}

impl Reason {
    /// The backup that fills the place of a discarded one.
    pub fn filled_by(&self) -> Option<Filler> {
        match self {
            Self::SameDay { by } | Self::PeriodTaken { by, .. } => Some(*by),
            Self::NoTierAbove { by, .. } | Self::Superseded { by, .. } => *by,
            _ => None,
        }
    }
}

impl Filler {
    pub(super) fn new(backup: &Candidate, label: Option<Label>) -> Self {
        Self { id: backup.id, label, date: backup.date() }
    }
}

impl Overflow {
    pub(super) fn push(&mut self, tier: Label, capacity: u32) {
        let left = match tier {
            Label::Daily => &mut self.daily,
            Label::Weekly => &mut self.weekly,
            Label::Monthly => &mut self.monthly,
        };
        *left = Some(capacity);
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("kept because a hold is on it"),
            Self::InTier { period, capacity } => {
                let (tier, unit) = (period.label.as_str(), unit(period.label, *capacity));
                write!(f, "kept as {tier} of {period}: within the {capacity} {unit} the policy keeps")
            }
            Self::LastGood => f.write_str("kept above the count: newest good backup of the application"),
            Self::Young { days } => {
                write!(f, "kept because it is not older than {days} {}", days_word(*days))
            }
            Self::AmongOlder { days, keep } => {
                write!(f, "kept as one of the {keep} newest older than {days} {}", days_word(*days))
            }
            Self::Removed => f.write_str("kept because its application was removed: no policy applies to it"),
            Self::Promoted { period, overflow } => {
                write!(f, "kept as {} of {period}: {overflow}", period.label.as_str())
            }
            Self::SameDay { by } => write!(f, "discarded because its day counts once: {by} is newer"),
            Self::PeriodTaken { period, overflow, by } => {
                write!(f, "discarded: {overflow}, and {period} already has {by}")
            }
            Self::NoTierAbove { overflow, by } => {
                write!(f, "discarded: {overflow}, and no tier is above")?;
                in_favour_of(f, *by)
            }
            Self::Superseded { days, keep, by } => {
                let word = days_word(*days);
                match keep {
                    0 => write!(f, "discarded: older than {days} {word}")?,
                    keep => write!(
                        f,
                        "discarded: older than {days} {word}, and not one of the {keep} newest such"
                    )?,
                }
                in_favour_of(f, *by)
            }
            Self::Expired { at } => {
                write!(f, "discarded because it expired at {}", at.to_rfc3339_opts(SecondsFormat::Secs, true))
            }
        }
    }
}

impl fmt::Display for Filler {
    /// `the weekly of 2026-04-06`: the day of its slot says which one of its week it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} of {}", self.label.map_or("backup", Label::as_str), self.date)
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tiers =
            [(Label::Daily, self.daily), (Label::Weekly, self.weekly), (Label::Monthly, self.monthly)];
        let left = tiers.into_iter().filter_map(|(tier, capacity)| Some((tier, capacity?)));
        for (index, (tier, capacity)) in left.enumerate() {
            if index > 0 {
                f.write_str(", then ")?;
            }
            match capacity {
                0 => write!(f, "the policy keeps no {}", unit(tier, 0))?,
                _ => write!(f, "oldest {} when the {} arrived", tier.as_str(), Ordinal(capacity + 1))?,
            }
        }
        Ok(())
    }
}

fn in_favour_of(f: &mut fmt::Formatter<'_>, by: Option<Filler>) -> fmt::Result {
    by.map_or(Ok(()), |by| write!(f, "; {by} has its place"))
}

fn days_word(days: u32) -> &'static str {
    if days == 1 { "day" } else { "days" }
}

fn unit(label: Label, count: u32) -> &'static str {
    match (label, count) {
        (Label::Daily, 1) => "daily",
        (Label::Daily, _) => "dailies",
        (Label::Weekly, 1) => "weekly",
        (Label::Weekly, _) => "weeklies",
        (Label::Monthly, 1) => "monthly",
        (Label::Monthly, _) => "monthlies",
    }
}

/// `eighth`, `21st`.
struct Ordinal(u32);

impl fmt::Display for Ordinal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WORDS: [&str; 13] = [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
            "thirteenth",
        ];
        let number = self.0;
        let word = usize::try_from(number).ok().and_then(|n| WORDS.get(n.checked_sub(1)?));
        let suffix = match (number % 10, number % 100) {
            (_, 11..=13) => "th",
            (1, _) => "st",
            (2, _) => "nd",
            (3, _) => "rd",
            _ => "th",
        };
        match word {
            Some(word) => f.write_str(word),
            None => write!(f, "{number}{suffix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, "first")]
    #[case(8, "eighth")]
    #[case(13, "thirteenth")]
    #[case(14, "14th")]
    #[case(21, "21st")]
    #[case(32, "32nd")]
    #[case(53, "53rd")]
    #[case(111, "111th")]
    fn ordinals_read_as_people_say_them(#[case] number: u32, #[case] text: &str) {
        assert_eq!(Ordinal(number).to_string(), text);
    }
}
