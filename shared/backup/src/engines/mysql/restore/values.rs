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
    /// By whom values were written in the dump, and are written now.
    pub(super) by: (By<'a>, By<'a>),
}

/// Who writes values.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    /// The version of the server, such as `10.11.19-MariaDB`.
    pub(super) server: &'a str,
    /// What the dump program says of itself.
    pub(super) program: &'a str,
}

impl By<'_> {
    /// Whether `self` and `other` write values in the same way.
    fn writes_as(self, other: Self) -> bool {
        let series_of = |by: Self| (series(by.server), series(version_in(by.program)));
        series_of(self) == series_of(other)
    }
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
                found = &mut summing => break found.map_err(not_read)?,
                _ = ticks.tick() => observer.advanced(so_far.clone()).await?,
            }
        };
        match found {
            Some(found) => compared(restored, &dumped, &found, self.by),
            None => Ok(not_compared(restored)),
        }
    }
}

fn not_read(error: SliceError) -> SliceError {
    match error {
        SliceError::Failed(mut failure) => {
            failure.message = format!("what was restored could not be read again: {}", failure.message);
            SliceError::Failed(failure)
        }
        other => other,
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
    (then, now): (By<'_>, By<'_>),
) -> Result<Restored, SliceError> {
    let differing = found.differing(dumped);
    let all = restored.tables.unwrap_or_default();
    restored.values_compared = Some(all.saturating_sub(differing.len() as u64));
    // Others may write the same values in another way.
    if then.writes_as(now) {
        let words = |table: &&String| format!("{table} has other values than were dumped");
        return match row_counts::differing(differing.iter().map(words).collect()) {
            Some(differing) => Err(restored_differs(&differing)),
            None => Ok(restored),
        };
    }
    let names: BTreeSet<String> = differing.into_iter().cloned().collect();
    if let Some(names) = row_counts::differing(names.into_iter().collect()) {
        restored.notes.push(format!(
            "The values of {names} could not be compared: they are written differently now, by another server or dump program \
             ({}, {:?}) than when they were dumped ({}, {:?}).",
            now.server, now.program, then.server, then.program
        ));
    }
    Ok(restored)
}

/// The first two numbers of a version: within them, values are written in one way.
fn series(version: &str) -> Vec<&str> {
    version.split(|character: char| !character.is_ascii_digit()).take(2).collect()
}

/// The version in what a dump program says of itself: that of its server, where it has another one of its own, as `MariaDB`'s have.
fn version_in(said: &str) -> &str {
    let after = |word| said.split_once(word).map(|(_, version)| version);
    ["Distrib ", " from ", "Ver "].into_iter().find_map(after).unwrap_or_default()
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

    const THEN: By<'static> = By {
        server: "10.11.19-MariaDB",
        program: "mariadb-dump Ver 10.19 Distrib 10.11.19-MariaDB, for Linux (x86_64)",
    };
    const NOW: By<'static> = By {
        server: "10.11.4-MariaDB-log",
        program: "mysqldump Ver 10.19 Distrib 10.11.4-MariaDB, for debian-linux-gnu (aarch64)",
    };
    const OTHER_SERVER: By<'static> = By { server: "11.4.2-MariaDB", ..NOW };
    const OTHER_PROGRAM: By<'static> =
        By { program: "mariadb-dump from 11.4.2-MariaDB, client 10.11 for Linux (x86_64)", ..NOW };
    const MYSQL: By<'static> =
        By { server: "8.0.44", program: "mysqldump Ver 8.0.44 for Linux on x86_64 (Source distribution)" };
    const OLD_MYSQL: By<'static> = By { server: "5.7.44", ..MYSQL };

    #[rstest]
    #[case::as_it_was("1", THEN, NOW, Ok((3, 0)))]
    #[case::another_value("2", THEN, NOW, Err(()))]
    #[case::another_value_in_mysql("2", MYSQL, MYSQL, Err(()))]
    #[case::another_server("2", THEN, OTHER_SERVER, Ok((2, 1)))]
    #[case::another_program("2", THEN, OTHER_PROGRAM, Ok((2, 1)))]
    #[case::an_unknown_program("2", By { program: "", ..THEN }, NOW, Ok((2, 1)))]
    #[case::another_server_and_as_it_was("1", OLD_MYSQL, MYSQL, Ok((3, 0)))]
    fn others_may_write_otherwise(
        #[case] value: &str,
        #[case] then: By<'_>,
        #[case] now: By<'_>,
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
        let outcome = compared(restored, &dumped, &found, (then, now));
        let outcome = outcome.map(|restored| (restored.values_compared.unwrap(), restored.notes.len()));
        assert_eq!(outcome.map_err(|_| ()), expected);
    }
}
