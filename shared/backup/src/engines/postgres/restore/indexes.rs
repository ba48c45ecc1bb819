//! Indexes and keys of tables whose rows are copied here: a session makes them as soon as the rows are there, while others still copy. What
//! else comes after the data is left to `pg_restore`. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use holdfast_archive::pg_custom::{Contents, Entry};

use super::{
    facts::{SECTION_DATA, SECTION_POST_DATA, TableRows, dependencies},
    ledger::{Done, Entries, Ledger},
};

/// An index, or a constraint that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) dump_id: i32,
    /// The statement that makes it, in the encoding of the archive.
    pub(super) statement: Bytes,
    /// Whether nothing else can be made on its table meanwhile (`identify_locking_dependencies` in `pg_backup_archiver.c`).
    pub(super) is_exclusive: bool,
}

impl Index {
    /// What a session runs to make it, and to write down in `ledger` that it has: what is sent at once is one transaction.
    pub(super) fn sql(&self, ledger: Option<&Ledger>) -> Vec<u8> {
        let record = ledger.map(|ledger| ledger.entry(self.dump_id, &Done::default())).unwrap_or_default();
        [&self.statement[..], b"\n;", record.as_bytes()].concat()
    }
}

/// What of `outline` is made along with the rows of `tables`, by the dump ids of these rows, when `done` is: nothing that depends on
/// anything that comes later.
pub(super) fn indexes(outline: &Contents, tables: &[TableRows], done: &Entries) -> HashMap<i32, Vec<Index>> {
    let copied: BTreeSet<i32> =
        tables.iter().filter(|table| table.is_fresh).map(|table| table.dump_id).collect();
    // An index names its table, and so do the rows.
    let mut rows_of = HashMap::new();
    for entry in outline.entries.iter().filter(|entry| copied.contains(&entry.dump_id)) {
        rows_of.extend(dependencies(entry).map(|table| (table, entry.dump_id)));
    }
    let mut later: HashSet<i32> = outline
        .entries
        .iter()
        .filter(|entry| [SECTION_DATA, SECTION_POST_DATA].contains(&entry.section))
        .map(|entry| entry.dump_id)
        .collect();
    let mut found: HashMap<i32, Vec<Index>> = HashMap::new();
    for entry in outline.entries.iter().filter(|entry| entry.section == SECTION_POST_DATA) {
        let Some(index) = made_here(entry) else { continue };
        let of: BTreeSet<i32> = dependencies(entry).filter_map(|id| rows_of.get(&id).copied()).collect();
        let waits = |id: i32| later.contains(&id) && !of.contains(&id);
        if of.len() != 1 || dependencies(entry).any(waits) {
            continue;
        }
        later.remove(&index.dump_id);
        if !done.contains_key(&index.dump_id) {
            found.entry(of.first().copied().unwrap_or_default()).or_default().push(index);
        }
    }
    found
}

/// The first `count` of `indexes`, and how many that are.
pub(super) fn limited(indexes: HashMap<i32, Vec<Index>>, count: usize) -> (HashMap<i32, Vec<Index>>, usize) {
    let mut found: HashMap<i32, Vec<Index>> = HashMap::new();
    let indexes: BTreeMap<i32, Vec<Index>> = indexes.into_iter().collect();
    let all = indexes.into_iter().flat_map(|(rows, of)| of.into_iter().map(move |index| (rows, index)));
    let mut taken = 0;
    for (rows, index) in all.take(count) {
        found.entry(rows).or_default().push(index);
        taken += 1;
    }
    (found, taken)
}

fn made_here(entry: &Entry) -> Option<Index> {
    let is_exclusive = match entry.description.as_deref()? {
        b"INDEX" => false,
        b"CONSTRAINT" => true,
        _ => return None,
    };
    let statement = entry.definition.clone().filter(|definition| !definition.is_empty())?;
    // `pg_restore` sets the tablespace in its session.
    let is_anywhere = entry.tablespace.as_deref().unwrap_or_default().is_empty();
    is_anywhere.then_some(Index { dump_id: entry.dump_id, statement, is_exclusive })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::postgres::{
        restore::facts::SECTION_PRE_DATA,
        sample::{header, table_data},
    };

    fn entry(dump_id: i32, section: i32, description: &str, dependencies: &[i32]) -> Entry {
        let bytes = |text: String| Some(Bytes::from(text));
        Entry {
            section,
            description: bytes(description.to_owned()),
            definition: bytes(format!("MAKE {dump_id};\n")),
            dependencies: dependencies.iter().map(|id| id.to_string().into()).collect(),
            ..table_data(dump_id)
        }
    }

    fn rows(dump_id: i32, is_fresh: bool) -> TableRows {
        let (name, copy) = (Bytes::new(), Bytes::new());
        TableRows { dump_id, name, copy, is_fresh, position: 0, bytes: 1, rows: None }
    }

    fn outline() -> Contents {
        let tablespace = |entry| Entry { tablespace: Some("fast".into()), ..entry };
        let entries = vec![
            entry(1, SECTION_PRE_DATA, "TABLE", &[]),
            entry(2, SECTION_PRE_DATA, "TABLE", &[]),
            entry(3, SECTION_PRE_DATA, "FUNCTION", &[]),
            entry(11, SECTION_DATA, "TABLE DATA", &[1]),
            entry(12, SECTION_DATA, "TABLE DATA", &[2]),
            entry(20, SECTION_POST_DATA, "INDEX", &[1, 3]),
            entry(21, SECTION_POST_DATA, "CONSTRAINT", &[1, 99]),
            entry(22, SECTION_POST_DATA, "CONSTRAINT", &[2]),
            entry(23, SECTION_POST_DATA, "CONSTRAINT", &[1, 20]),
            entry(24, SECTION_POST_DATA, "FK CONSTRAINT", &[1, 2, 22]),
            entry(25, SECTION_POST_DATA, "INDEX", &[1, 24]),
            entry(26, SECTION_POST_DATA, "INDEX", &[3]),
            tablespace(entry(27, SECTION_POST_DATA, "INDEX", &[1])),
        ];
        Contents { header: header(), entries, end: 0 }
    }

    fn ids(found: &HashMap<i32, Vec<Index>>, rows: i32) -> Vec<i32> {
        found.get(&rows).into_iter().flatten().map(|index| index.dump_id).collect()
    }

    #[test]
    fn indexes_and_keys_belong_to_the_rows_that_they_are_made_of() {
        let found = indexes(&outline(), &[rows(11, true), rows(12, true)], &Entries::new());
        // Not what is of no table, comes after what `pg_restore` makes, or is somewhere else.
        assert_eq!((ids(&found, 11), ids(&found, 12)), (vec![20, 21, 23], vec![22]));
        let exclusive: Vec<bool> = found[&11].iter().map(|index| index.is_exclusive).collect();
        assert_eq!(exclusive, [false, true, true]);
    }

    #[test]
    fn what_is_done_is_not_made_again() {
        let done = [(20, Done::default()), (22, Done::default())].into();
        let found = indexes(&outline(), &[rows(11, true), rows(12, true)], &done);
        assert_eq!((ids(&found, 11), found.len()), (vec![21, 23], 1));
    }

    #[test]
    fn tables_of_extensions_and_those_that_pg_restore_fills_are_left_to_it() {
        let found = indexes(&outline(), &[rows(11, false)], &Entries::new());
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn it_writes_itself_down() {
        let index = Index { dump_id: 7, statement: "CREATE INDEX i ON t (n);\n".into(), is_exclusive: false };
        let sql = String::from_utf8(index.sql(Some(&Ledger::of("1")))).unwrap();
        let record = "INSERT INTO \"holdfast_restore_1\".done VALUES (7, NULL, NULL, NULL)";
        assert_eq!(sql, format!("CREATE INDEX i ON t (n);\n\n;{record}"));
        assert_eq!(index.sql(None), b"CREATE INDEX i ON t (n);\n\n;");
    }
}
