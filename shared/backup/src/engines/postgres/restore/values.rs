//! The values that are in a restored database once everything is made, compared with those of the archive: whatever runs while a database is
//! restored may have changed some, and as many rows would be there.
//!
//! What the rows of a table are as text is added up while they go into it, and again when the server gives them out, as it gave them to
//! `pg_dump`. Where that differs, it may be the text that is another one: servers write timestamps in the time zone of a session, and
//! older ones write floating-point numbers with other digits. So the rows are then read once more, into a table that has the same columns
//! and nothing that could change them, and what the server gives out of that decides.

mod large_objects;
mod sequences;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use holdfast_archive::checksum::{MultisetHasher, MultisetSum};

use super::{
    archive::Archive,
    copier::{Copier, end},
    facts::TableRows,
};
use crate::{
    engines::{
        postgres::{
            login::Session,
            session::{StatementError, copied},
            wire::{Refusal, head, unexpected},
        },
        restorer::restored_differs,
        row_counts,
    },
    error::SliceError,
};

/// How `pg_dump` has a server write values (`setup_connection` in `pg_dump.c`). The encoding and the schemas that names are looked for in
/// are those of the archive.
const AS_DUMPED: &[u8] = b"SET datestyle = ISO; SET intervalstyle = postgres; SET extra_float_digits = 3";

/// What the columns are in that decide.
const AGAIN: &[u8] = b"pg_temp.holdfast_again";

/// What a `COPY` that takes rows ends with, and one that gives them.
const FROM: &[u8] = b"FROM stdin";
const TO: &[u8] = b"TO stdout";

/// What the rows of tables add up to in the archive, by the dump ids of their data.
#[derive(Debug, Default)]
pub(super) struct TableSums(Mutex<HashMap<i32, MultisetSum>>);

impl TableSums {
    /// The rows of the table `dump_id` add up to `sum`.
    pub(super) fn keep(&self, dump_id: i32, sum: MultisetSum) {
        lock(&self.0).insert(dump_id, sum);
    }

    /// What they add up to, if they were read.
    pub(super) fn of(&self, dump_id: i32) -> Option<MultisetSum> {
        lock(&self.0).get(&dump_id).copied()
    }
}

/// What was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// How many tables have the values that they have in the archive.
    pub(super) tables: u64,
    /// What is good to know.
    pub(super) notes: Vec<String>,
}

/// What sessions share that compare.
pub(super) struct Comparison {
    copier: Copier,
    sums: Arc<TableSums>,
    /// How many sessions have something to do.
    pub(super) sessions: usize,
    tables: Mutex<VecDeque<TableRows>>,
    found: Mutex<Found>,
    /// One at a time reads rows again: that takes room, and one more session.
    again: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Found {
    /// How many tables are as they were.
    same: u64,
    /// How many of them were read again to see that.
    again: u64,
    /// How many this role may not read.
    closed: u64,
    /// How many have amounts of money that are written in another way.
    money: u64,
    /// Those that differ, in words.
    differing: Vec<String>,
}

/// What was found of a table.
enum Verdict {
    Same,
    SameAgain,
    Closed,
    Money,
    Differs,
}

impl Comparison {
    /// Compares those of `tables` with `sums` of which all rows are in one place, in `jobs` sessions at the most.
    pub(super) fn new(copier: Copier, sums: Arc<TableSums>, tables: &[TableRows], jobs: usize) -> Self {
        let mut tables: Vec<TableRows> = tables.iter().filter(|table| table.is_fresh).cloned().collect();
        tables.sort_by_key(|table| std::cmp::Reverse(table.bytes));
        let sessions = jobs.min(tables.len());
        let (tables, found, again) =
            (Mutex::new(tables.into()), Mutex::default(), tokio::sync::Mutex::default());
        Self { copier, sums, sessions, tables, found, again }
    }

    /// Compares tables until there are none left. Unless `must`, it leaves the work to others if the server has no session to give.
    pub(super) async fn run(self: Arc<Self>, must: bool) -> Result<(), SliceError> {
        let mut session = match self.begin().await {
            Ok(session) => session,
            Err(SliceError::Failed(failure)) if failure.code == "too_many_connections" && !must => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        while let Some(table) = self.next() {
            let verdict = self.compare(&mut session, &table).await?;
            let mut found = lock(&self.found);
            match verdict {
                Verdict::Same => found.same += 1,
                Verdict::SameAgain => {
                    found.same += 1;
                    found.again += 1;
                }
                Verdict::Closed => found.closed += 1,
                Verdict::Money => found.money += 1,
                Verdict::Differs => {
                    let name = String::from_utf8_lossy(&table.name);
                    found.differing.push(format!("{name} has other values than were dumped"));
                }
            }
        }
        end(session).await;
        Ok(())
    }

    /// What came of all of it, with sequences and large objects, of what `archive` holds. Fails if something is not as it should be.
    pub(super) async fn compared(&self, archive: &Archive) -> Result<Compared, SliceError> {
        let sequences = sequences::compare(&self.copier, archive).await?;
        let large_objects = large_objects::compare(&self.copier, archive).await?;
        let found = lock(&self.found);
        let differing = [&found.differing, &sequences.differing, &large_objects.differing];
        if let Some(differing) = row_counts::differing(differing.into_iter().flatten().cloned().collect()) {
            return Err(restored_differs(&differing));
        }
        let entries = &archive.contents.entries;
        let all = entries.iter().filter(|entry| entry.is_table_data()).count() as u64;
        let others = all.saturating_sub(found.same + found.closed + found.money);
        let told = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let notes = [
            told(
                others,
                "tables were not compared by their values: extensions make them, their rows go to whichever partition takes them, or \
                 only pg_restore reads them",
            ),
            told(found.closed, "tables were not compared by their values: this role may not read them"),
            told(
                found.money,
                "tables were not compared by their values: they are written in another way here, and have amounts of money, of which \
                 nobody knows then whether they were understood (lc_monetary)",
            ),
            told(
                found.again,
                "tables are written in another way here (the time zone, another version), and were compared by loading them twice",
            ),
            told(
                sequences.closed,
                "sequences were not compared: this role may not read them, or the archive sets them in a way that is not known",
            ),
            told(large_objects.closed, "large objects were not compared: this role may not read them"),
            large_objects.is_unreadable.then(|| {
                "large objects were not compared: only pg_restore reads them in this archive".to_owned()
            }),
        ];
        Ok(Compared { tables: found.same, notes: notes.into_iter().flatten().collect() })
    }

    fn next(&self) -> Option<TableRows> {
        lock(&self.tables).pop_front()
    }

    /// A session in which the server writes values as for `pg_dump`.
    async fn begin(&self) -> Result<Session, SliceError> {
        let mut session = self.copier.begin().await?;
        self.copier.ask(&mut session, AS_DUMPED).await?;
        Ok(session)
    }

    async fn compare(&self, session: &mut Session, table: &TableRows) -> Result<Verdict, SliceError> {
        let found = match self.sum(session, &giving(&table.copy)).await {
            Ok(found) => found,
            // Who may restore a table may not be allowed to read it.
            Err(SliceError::Failed(failure)) if failure.code == "permission_denied" => {
                return Ok(Verdict::Closed);
            }
            Err(error) => return Err(error),
        };
        if self.sums.of(table.dump_id) == Some(found) {
            return Ok(Verdict::Same);
        }
        if self.sum_again(table).await? != found {
            return Ok(Verdict::Differs);
        }
        // What another locale makes of an amount of money may not be what it was, however often it is asked.
        let has_money = self.copier.value(session, &has_money(&table.name)).await? == "t";
        Ok(if has_money { Verdict::Money } else { Verdict::SameAgain })
    }

    /// What the server gives out once it has taken the rows of `table` in a session of its own, where nothing but their types changes
    /// them.
    async fn sum_again(&self, table: &TableRows) -> Result<MultisetSum, SliceError> {
        let _turn = self.again.lock().await;
        let mut session = self.copier.begin().await?;
        let columns = [
            b"CREATE TEMPORARY TABLE holdfast_again AS SELECT * FROM ONLY ",
            &table.name[..],
            b" WITH NO DATA",
        ];
        self.copier.ask(&mut session, &columns.concat()).await?;
        let taking = TableRows { copy: elsewhere(&table.copy), ..table.clone() };
        let rows = self.copier.read_again(table);
        self.copier.take(&mut session, &taking, &rows, false).await?;
        self.copier.ask(&mut session, AS_DUMPED).await?;
        let sum = self.sum(&mut session, &giving(&taking.copy)).await?;
        end(session).await;
        Ok(sum)
    }

    async fn sum(&self, session: &mut Session, sql: &[u8]) -> Result<MultisetSum, SliceError> {
        session.sum(sql).await.map_err(|error| self.copier.failed(error, sql))
    }
}

impl Session {
    /// Runs a `COPY … TO stdout`; returns what its rows add up to, which are as many as the server says it gave.
    async fn sum(&mut self, sql: &[u8]) -> Result<MultisetSum, StatementError> {
        self.ask_for_rows([sql]).await?;
        let mut hasher = MultisetHasher::default();
        let said = loop {
            match head(self.wire.unread())? {
                None => self.wire.fill().await?,
                Some(next) if next.tag == b'd' => {
                    let mut left = self.wire.head().await?.body;
                    while left > 0 {
                        let some = self.wire.some_of(left).await?;
                        hasher.lines(&some);
                        left -= some.len();
                    }
                }
                Some(_) => {
                    let message = self.wire.message().await?;
                    match message.tag {
                        // Text, in as many columns as there are.
                        b'H' if message.body().first() == Some(&0) => {}
                        b'c' | b'N' | b'S' | b'A' => {}
                        b'C' => break copied(&message.body()),
                        b'E' => return Err(self.refused(Refusal::read(&message.body())).await),
                        other => return Err(unexpected(&format!("message {:?}", char::from(other))).into()),
                    }
                }
            }
        };
        self.end_of_rows().await?;
        match hasher.finish() {
            Some(sum) if said == Some(sum.items()) => Ok(sum),
            sum => Err(unexpected(&format!("an end after {sum:?}, of {said:?}")).into()),
        }
    }
}

/// The question whether there are amounts of money in a table, in whatever they are wrapped.
fn has_money(name: &[u8]) -> Vec<u8> {
    const BEFORE: &[u8] = b"WITH RECURSIVE used(oid) AS (
        SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ";
    const AFTER: &[u8] = b"::pg_catalog.regclass UNION
        SELECT n.oid FROM used JOIN pg_catalog.pg_type t ON t.oid = used.oid CROSS JOIN LATERAL (
            SELECT t.typbasetype UNION ALL SELECT t.typelem
            UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid
            UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) n(oid) WHERE n.oid <> 0)
        SELECT pg_catalog.bool_or(oid = 'pg_catalog.money'::pg_catalog.regtype) FROM used";
    let quoted: Vec<u8> =
        name.iter().flat_map(|byte| std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'\''))).collect();
    [BEFORE, b"'", &quoted, b"'", AFTER].concat()
}

/// The `COPY` that gives the columns which `taking` takes.
fn giving(taking: &[u8]) -> Vec<u8> {
    [taking.strip_suffix(FROM).unwrap_or(taking), TO].concat()
}

/// The same `COPY` for the table that decides.
fn elsewhere(copy: &[u8]) -> Bytes {
    const COPY: &[u8] = b"COPY ";
    let name = copy.strip_prefix(COPY).unwrap_or(copy);
    let mut is_quoted = false;
    let name_end = name.iter().position(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b' ' && !is_quoted
    });
    [COPY, AGAIN, &name[name_end.unwrap_or(name.len())..]].concat().into()
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("COPY public.t (a, b) FROM stdin", "COPY pg_temp.holdfast_again (a, b) TO stdout")]
    #[case("COPY public.nothing  FROM stdin", "COPY pg_temp.holdfast_again  TO stdout")]
    #[case(
        r#"COPY "Odd ""schema""; --"."select" ("from", "TO stdout;") FROM stdin"#,
        r#"COPY pg_temp.holdfast_again ("from", "TO stdout;") TO stdout"#
    )]
    fn the_same_columns_are_given_by_another_table(#[case] copy: &str, #[case] expected: &str) {
        assert_eq!(String::from_utf8(giving(&elsewhere(copy.as_bytes()))).unwrap(), expected);
    }
}
