//! The values that are in a restored database, compared with those of its dump: the dump program reads them again, and what it writes of
//! each row is added up as it was when the row was restored.

use std::{collections::BTreeSet, time::Duration};

use holdfast_domain::restore::Restored;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    engines::{
        mysql::{access::Access, dump, rows::RowSums},
        restorer::{RestoreObserver, Restoring, restored_differs},
        row_counts,
    },
    error::SliceError,
};

/// How often it is told that it goes on.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is said where rows were not understood.
const NOT_UNDERSTOOD: &str = "Values were not compared: the dump has rows that are written in another way than those of the dump programs.";

/// What is compared, and with what.
pub(super) struct Comparison<'a> {
    pub(super) access: &'a Access,
    /// The database that was restored. Its views and events are dropped.
    pub(super) database: &'a str,
    /// What the rows of the dump added up to, if they were understood.
    pub(super) dumped: Option<RowSums>,
    /// The versions of the server that was dumped, and of this one.
    pub(super) versions: (&'a str, &'a str),
}

impl Comparison<'_> {
    /// Compares the values of all tables that were `restored`, and adds what came of it. Fails if a table has others than the dump.
    pub(super) async fn run(
        self,
        restored: Restored,
        so_far: Restoring,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Restored, SliceError> {
        let Some(dumped) = self.dumped else { return Ok(not_compared(restored)) };
        let summing = dump::sums(self.access, self.database);
        tokio::pin!(summing);
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let found = loop {
            tokio::select! {
                biased;
                found = &mut summing => break found?,
                _ = ticks.tick() => observer.advanced(so_far.clone()).await?,
            }
        };
        match found {
            Some(found) => compared(restored, &dumped, &found, self.versions),
            None => Ok(not_compared(restored)),
        }
    }
}

fn not_compared(mut restored: Restored) -> Restored {
    restored.values_compared = Some(0);
    restored.notes.push(NOT_UNDERSTOOD.to_owned());
    restored
}

/// What it means that tables add up to what was `found`, where they were `dumped` with other sums or the same.
fn compared(
    mut restored: Restored,
    dumped: &RowSums,
    found: &RowSums,
    (from, to): (&str, &str),
) -> Result<Restored, SliceError> {
    let differing = found.differing(dumped);
    let all = restored.tables.unwrap_or_default();
    restored.values_compared = Some(all.saturating_sub(differing.len() as u64));
    // Another version may write the same values in another way.
    if series(from) == series(to) {
        let words = |table: &&String| format!("{table} has other values than were dumped");
        return match row_counts::differing(differing.iter().map(words).collect()) {
            Some(differing) => Err(restored_differs(&differing)),
            None => Ok(restored),
        };
    }
    let names: BTreeSet<String> = differing.into_iter().cloned().collect();
    if let Some(names) = row_counts::differing(names.into_iter().collect()) {
        restored.notes.push(format!(
            "The values of {names} could not be compared: they are written differently by {from}, which was dumped, and {to}."
        ));
    }
    Ok(restored)
}

/// The first two numbers of a version: within them, values are written in one way.
fn series(version: &str) -> Vec<&str> {
    version.split(|character: char| !character.is_ascii_digit()).take(2).collect()
}

#[cfg(test)]
mod tests {
    use holdfast_archive::checksum::MultisetHasher;
    use rstest::rstest;

    use super::*;

    fn sums(rows: &[(&str, &str)]) -> RowSums {
        let sum = |row: &str| {
            let mut hasher = MultisetHasher::default();
            hasher.end(row.as_bytes());
            hasher.take()
        };
        RowSums(rows.iter().map(|(table, row)| ((*table).to_owned(), sum(row))).collect())
    }

    #[rstest]
    #[case::as_it_was("1", "10.11.19-MariaDB", "10.11.4-MariaDB-log", Ok((3, 0)))]
    #[case::another_value("2", "10.11.19-MariaDB", "10.11.4-MariaDB-log", Err(()))]
    #[case::another_version("2", "10.6.1-MariaDB", "10.11.4-MariaDB", Ok((2, 1)))]
    #[case::another_version_and_as_it_was("1", "5.7.44", "8.0.44", Ok((3, 0)))]
    fn another_version_may_write_otherwise(
        #[case] value: &str,
        #[case] from: &str,
        #[case] to: &str,
        #[case] expected: Result<(u64, usize), ()>,
    ) {
        let restored = Restored {
            tables: Some(3),
            rows: Some(2),
            rows_compared: true,
            values_compared: None,
            changes: None,
            files_compared: None,
            notes: Vec::new(),
        };
        let (dumped, found) = (sums(&[("t", "1"), ("u", "1")]), sums(&[("t", value), ("u", "1")]));
        let outcome = compared(restored, &dumped, &found, (from, to));
        let outcome = outcome.map(|restored| (restored.values_compared.unwrap(), restored.notes.len()));
        assert_eq!(outcome.map_err(|_| ()), expected);
    }
}
