//! How many rows of each table a dump has, counted as its SQL goes by; and what they add up to, where that is wanted.
//!
//! The dump programs write rows in one way only (`dump_table` in `mysqldump.c`): a line begins with ``INSERT INTO `table` ``, then come
//! columns in parentheses, for tables with generated ones, then `VALUES`, and rows in parentheses with commas between them, up to a
//! semicolon. Text is in single quotes, with backslashes before what has a meaning in it. Where something is written otherwise,
//! nothing is counted at all: a wrong number is worse than none.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use bytes::Bytes;
use holdfast_archive::checksum::{MultisetHasher, MultisetSum};
use serde::{Deserialize, Serialize};

use crate::engines::row_counts::{self, TableLine};

/// How a line begins that inserts rows.
const INSERT: &[u8] = b"INSERT INTO `";

/// How one begins that makes a table.
const CREATE: &[u8] = b"CREATE TABLE `";

/// What stands around routines, triggers and events, whose lines are anybody's.
const DELIMITED: &[u8] = b"DELIMITER ;;\n";
const UNDELIMITED: &[u8] = b"DELIMITER ;\n";

/// How many rows each table has, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RowCounts(pub(super) BTreeMap<String, u64>);

/// What the rows of each table add up to as text, by its name: of those that have any.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RowSums(pub(super) BTreeMap<String, MultisetSum>);

impl RowSums {
    /// The tables whose rows are not as in `others`.
    pub(super) fn differing<'a>(&'a self, others: &'a Self) -> Vec<&'a String> {
        let tables: BTreeSet<&String> = self.0.keys().chain(others.0.keys()).collect();
        tables.into_iter().filter(|table| self.0.get(*table) != others.0.get(*table)).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    table: String,
    rows: u64,
}

impl TableLine for Line {
    fn rows(&self) -> u64 {
        self.rows
    }
}

impl RowCounts {
    /// The rows of all tables.
    pub(super) fn rows(&self) -> u64 {
        self.0.values().sum()
    }

    /// What of it is not as in `told`: the first few tables, in words.
    pub(super) fn difference(&self, told: &Self) -> Option<String> {
        let tables: BTreeSet<&String> = self.0.keys().chain(told.0.keys()).collect();
        let rows = |counts: &Self, table: &String| {
            counts.0.get(table).map_or_else(|| "is not there".to_owned(), |rows| format!("{rows} rows"))
        };
        let differing = tables.into_iter().filter(|table| self.0.get(*table) != told.0.get(*table));
        let named = differing.map(|table| {
            format!("{table} ({}, and {} when it was dumped)", rows(self, table), rows(told, table))
        });
        row_counts::differing(named.collect())
    }

    /// What stands beside a dump.
    pub(super) fn to_lines(&self) -> Bytes {
        let line = |(table, rows): (&String, &u64)| Line { table: table.clone(), rows: *rows };
        row_counts::to_lines(&self.0.iter().map(line).collect::<Vec<_>>())
    }

    /// What `text` tells, or why it tells nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<Line> = row_counts::parse(text)?;
        Ok(Self(lines.into_iter().map(|line| (line.table, line.rows)).collect()))
    }
}

/// Counts the rows of a dump that comes in pieces.
#[derive(Debug)]
pub(super) struct RowCounter {
    at: At,
    /// What was read of a line, a name, or what stands between the name and the rows.
    read: Vec<u8>,
    /// Whether lines are those of a routine, trigger or event.
    is_delimited: bool,
    table: String,
    /// Rows of the table that have ended.
    rows: u64,
    counts: BTreeMap<String, u64>,
    adding_up: Option<AddingUp>,
}

/// What adds rows up.
#[derive(Debug, Default)]
struct AddingUp {
    rows: MultisetHasher,
    sums: BTreeMap<String, MultisetSum>,
}

/// Where in a dump it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the beginning of a line that may be of interest.
    Line,
    /// In the rest of one that is of none.
    Rest,
    /// In the name of a table, whose rows follow or not.
    Name { inserts: bool },
    /// Behind a backtick in it, which may be the first of two.
    NameTick { inserts: bool },
    /// Between the name and the rows.
    Head,
    /// In the names of columns, and in one of them.
    Columns { quoted: bool },
    /// Between rows.
    Rows,
    /// In a row.
    Row,
    /// In text in a row.
    Text,
    /// Behind a backslash in it.
    Escaped,
    /// It is written in another way.
    Elsewhere,
}

impl RowCounter {
    /// Counts from the beginning of a dump.
    pub(super) fn new() -> Self {
        Self {
            at: At::Line,
            read: Vec::new(),
            is_delimited: false,
            table: String::new(),
            rows: 0,
            counts: BTreeMap::new(),
            adding_up: None,
        }
    }

    /// The same, and adds the rows up.
    pub(super) fn adding_up() -> Self {
        Self { adding_up: Some(AddingUp::default()), ..Self::new() }
    }

    /// The same, behind a table up to which they add up to `sums`. It does not know how many rows came before.
    pub(super) fn going_on(RowSums(sums): RowSums) -> Self {
        Self { adding_up: Some(AddingUp { sums, ..AddingUp::default() }), ..Self::new() }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut at = 0;
        // Where a row begins that has not ended, as far as it is in this piece.
        let mut row_start = self.is_in_row().then_some(0);
        while at < piece.len() {
            // What is long is passed over at once.
            let rest = &piece[at..];
            at += match self.at {
                At::Text => memchr::memchr2(b'\'', b'\\', rest),
                At::Rest => memchr::memchr(b'\n', rest),
                At::Row => rest.iter().position(|byte| matches!(byte, b'\'' | b'(' | b')' | b'\n' | b';')),
                At::Elsewhere => return,
                _ => Some(0),
            }
            .unwrap_or(rest.len());
            if let Some(byte) = piece.get(at) {
                self.take(*byte);
                match (row_start, self.is_in_row()) {
                    (None, true) => row_start = Some(at + 1),
                    (Some(start), false) => {
                        row_start = None;
                        if let Some(AddingUp { rows, .. }) = &mut self.adding_up {
                            rows.end(&piece[start..at]);
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
        }
        if let (Some(AddingUp { rows, .. }), Some(start)) = (&mut self.adding_up, row_start) {
            rows.part(&piece[start..]);
        }
    }

    fn is_in_row(&self) -> bool {
        matches!(self.at, At::Row | At::Text | At::Escaped)
    }

    fn take(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Line, byte) => {
                self.read.push(byte);
                return self.look_at_line();
            }
            (At::Rest, b'\n') => At::Line,
            (At::Name { inserts }, b'`') => At::NameTick { inserts },
            (At::NameTick { inserts }, b'`') | (At::Name { inserts }, _) => {
                self.read.push(byte);
                At::Name { inserts }
            }
            (At::NameTick { inserts }, _) => {
                self.table = String::from_utf8_lossy(&mem::take(&mut self.read)).into_owned();
                self.counts.entry(self.table.clone()).or_default();
                match (inserts, byte) {
                    (true, b' ') => At::Head,
                    (true, _) => At::Elsewhere,
                    (false, b'\n') => At::Line,
                    (false, _) => At::Rest,
                }
            }
            (At::Head, b'(') if self.read.is_empty() => At::Columns { quoted: false },
            (At::Head, b' ' | b'\n') if self.read.is_empty() => At::Head,
            (At::Head, b' ' | b'\n') if mem::take(&mut self.read) == b"VALUES" => At::Rows,
            (At::Head, b'A'..=b'Z') if self.read.len() < b"VALUES".len() => {
                self.read.push(byte);
                At::Head
            }
            (At::Columns { quoted: false }, b')') => At::Head,
            (At::Columns { quoted }, byte) => At::Columns { quoted: quoted != (byte == b'`') },
            (At::Rows, b' ' | b',' | b'\n') => At::Rows,
            (At::Rows, b'(') | (At::Text, b'\'') => At::Row,
            (At::Rows, b';') => {
                if let Some(AddingUp { rows, sums }) = &mut self.adding_up {
                    *sums.entry(self.table.clone()).or_default() += rows.take();
                }
                *self.counts.entry(self.table.clone()).or_default() += mem::take(&mut self.rows);
                At::Rest
            }
            (At::Row, b')') => {
                self.rows += 1;
                At::Rows
            }
            (At::Row, b'\'') | (At::Escaped, _) => At::Text,
            (At::Text, b'\\') => At::Escaped,
            (At::Rest, _) => At::Rest,
            _ => At::Elsewhere,
        };
    }

    /// Decides what a line is, as soon as that can be known.
    fn look_at_line(&mut self) {
        let patterns: &[&[u8]] =
            if self.is_delimited { &[UNDELIMITED] } else { &[INSERT, CREATE, DELIMITED, UNDELIMITED] };
        self.at = match &self.read[..] {
            INSERT if !self.is_delimited => At::Name { inserts: true },
            CREATE if !self.is_delimited => At::Name { inserts: false },
            DELIMITED | UNDELIMITED => {
                self.is_delimited = self.read == DELIMITED;
                At::Line
            }
            line if patterns.iter().any(|pattern| pattern.starts_with(line)) => return,
            line if line.ends_with(b"\n") => At::Line,
            _ => At::Rest,
        };
        self.read.clear();
    }

    /// How many rows each table has, if all of them were understood.
    pub(super) fn finish(self) -> Option<RowCounts> {
        self.is_understood().then_some(RowCounts(self.counts))
    }

    /// What the rows of each table add up to, at the end or between two tables, if all of them were understood, and it has added them up.
    pub(super) fn sums(&self) -> Option<RowSums> {
        let adding_up = self.adding_up.as_ref().filter(|_| self.is_understood());
        adding_up.map(|adding_up| RowSums(adding_up.sums.clone()))
    }

    fn is_understood(&self) -> bool {
        matches!(self.at, At::Line | At::Rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn counted(sql: &[u8], step: usize) -> Option<Vec<(String, u64)>> {
        let mut counter = RowCounter::new();
        sql.chunks(step).for_each(|piece| counter.push(piece));
        counter.finish().map(|counts| counts.0.into_iter().collect())
    }

    #[rstest]
    #[case::none("-- MariaDB dump\n\n", &[])]
    #[case::empty("CREATE TABLE `t` (\n  `a` int\n);\n", &[("t", 0)])]
    #[case::by_mysql("INSERT INTO `t` VALUES (1,'a'),(2,NULL);\nINSERT INTO `t` VALUES (3,_binary 'b');\n", &[("t", 3)])]
    #[case::by_mariadb("INSERT INTO `t` VALUES\n(1,'a'),\n(0x2729,-1.5e+10);\nUNLOCK TABLES;\n", &[("t", 2)])]
    #[case::columns("INSERT INTO `t` (`a)`, `VALUES ```) VALUES (1,2);\n", &[("t", 1)])]
    #[case::name("INSERT INTO `a``b (` VALUES (1);\n", &[("a`b (", 1)])]
    #[case::text(r"INSERT INTO `t` VALUES ('a\'),(\\'),('),(''),('),(';\nINSERT INTO `x` VALUES (1);');
", &[("t", 3)])]
    #[case::routine("DELIMITER ;;\nCREATE PROCEDURE p()\nINSERT INTO `t` VALUES (1);;\nDELIMITER ;\nINSERT INTO `u` VALUES (1);\n", &[("u", 1)])]
    #[case::spatial("INSERT INTO `t` VALUES (1,0x000000000101000000);\n", &[("t", 1)])]
    fn rows_are_counted(
        #[case] sql: &str,
        #[case] expected: &[(&str, u64)],
        #[values(1, 2, 7, 4096)] step: usize,
    ) {
        let expected = expected.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect();
        assert_eq!(counted(sql.as_bytes(), step), Some(expected));
    }

    #[rstest]
    #[case::cut_off("INSERT INTO `t` VALUES (1,'a")]
    #[case::no_values("INSERT INTO `t` SELECT 1;\n")]
    #[case::a_set("INSERT INTO `t` SET a = 1;\n")]
    #[case::a_break("INSERT INTO `t` VALUES (1,\n2);\n")]
    #[case::between("INSERT INTO `t` VALUES (1) ON DUPLICATE KEY UPDATE a = 2;\n")]
    fn what_is_written_otherwise_is_not_counted(#[case] sql: &str, #[values(1, 4096)] step: usize) {
        assert_eq!(counted(sql.as_bytes(), step), None);
    }

    fn sums(sql: &[u8], step: usize) -> Option<RowSums> {
        let mut counter = RowCounter::adding_up();
        sql.chunks(step).for_each(|piece| counter.push(piece));
        counter.sums()
    }

    fn sum_of(rows: &[&str]) -> MultisetSum {
        let mut hasher = MultisetHasher::default();
        for row in rows {
            hasher.end(row.as_bytes());
        }
        hasher.finish().unwrap()
    }

    #[rstest]
    fn rows_are_added_up_whatever_statements_they_are_in(#[values(1, 2, 7, 4096)] step: usize) {
        let rows = [r"3,'a\'),(\\','(;'", "1,NULL", "1,NULL", "0x2729"];
        let sql = format!(
            "CREATE TABLE `none` (\n  `a` int\n);\nINSERT INTO `t` VALUES ({}),({});\nINSERT INTO `u` VALUES (7);\n\
             INSERT INTO `t` VALUES\n({}),\n({});\n",
            rows[3], rows[1], rows[0], rows[2]
        );
        let expected = [("t".to_owned(), sum_of(&rows)), ("u".to_owned(), sum_of(&["7"]))];
        assert_eq!(sums(sql.as_bytes(), step), Some(RowSums(expected.into())));
        assert_eq!(sums(b"INSERT INTO `t` SELECT 1;\n", step), None);
    }

    #[rstest]
    #[case::the_same("(1,'a'),(2,'b')", &[])]
    #[case::another_value("(1,'a'),(2,'c')", &["t"])]
    #[case::values_have_changed_places("(1,'b'),(2,'a')", &["t"])]
    #[case::one_twice("(1,'a'),(2,'b'),(2,'b')", &["t"])]
    fn tables_differ_by_their_rows(#[case] rows: &str, #[case] expected: &[&str]) {
        let of = |rows: &str| sums(format!("INSERT INTO `t` VALUES {rows};\n").as_bytes(), 4096).unwrap();
        assert_eq!(of(rows).differing(&of("(2,'b'),(1,'a')")), expected);
        assert_eq!(RowSums::default().differing(&of(rows)), ["t"]);
    }

    #[test]
    fn lines_come_back() {
        let counts = RowCounts([("a".to_owned(), 3), ("ä`".to_owned(), 0)].into());
        assert_eq!(RowCounts::parse(std::str::from_utf8(&counts.to_lines()).unwrap()), Ok(counts));
    }

    proptest! {
        /// Whatever text is in rows, as the programs escape it (`mysql_real_escape_string`).
        #[test]
        fn text_is_passed_over(
            rows in proptest::collection::vec(proptest::collection::vec(".{0,20}|[\\\\'(),;\n`]{0,8}", 1..4), 1..20),
            step in 1_usize..64,
        ) {
            let escape = |text: &String| {
                let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
                format!("'{}'", escaped.replace('\0', "\\0").replace('\r', "\\r").replace('\u{1a}', "\\Z"))
            };
            let values: Vec<String> = rows
                .iter()
                .map(|row| format!("({})", row.iter().map(escape).collect::<Vec<_>>().join(",")))
                .collect();
            let sql = format!("INSERT INTO `t` VALUES\n{};\n", values.join(",\n"));
            prop_assert_eq!(counted(sql.as_bytes(), step), Some(vec![("t".to_owned(), rows.len() as u64)]));
        }
    }
}
