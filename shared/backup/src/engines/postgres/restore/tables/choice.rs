//! Which entries of an archive single tables are made of. Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_archive::pg_custom::{Contents, Entry};

use crate::engines::postgres::restore::{
    facts::{TableRows, Wants, dependencies, text},
    plan::Refusal,
};

/// What belongs to a table where it depends on it. Views do not, nor do publications.
const PARTS: [&[u8]; 16] = [
    b"DEFAULT",
    b"CONSTRAINT",
    b"CHECK CONSTRAINT",
    b"FK CONSTRAINT",
    b"INDEX",
    b"TRIGGER",
    b"POLICY",
    b"ROW SECURITY",
    b"RULE",
    b"STATISTICS",
    b"COMMENT",
    b"SECURITY LABEL",
    b"ACL",
    b"SEQUENCE",
    b"SEQUENCE OWNED BY",
    b"SEQUENCE SET",
];

/// Those of them whose tag begins with the name of their table: they may depend on a table that they are not of.
const OF_A_TABLE: [&[u8]; 7] =
    [b"DEFAULT", b"CONSTRAINT", b"CHECK CONSTRAINT", b"FK CONSTRAINT", b"TRIGGER", b"POLICY", b"RULE"];

/// A table of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// Its name with its schema, for people.
    pub(super) name: String,
    /// The dump id of the table itself.
    pub(super) dump_id: i32,
    /// Its rows.
    pub(super) rows: TableRows,
}

/// The tables of `contents` that are called `name`: `schema.table`, or `table` where there is no other one of that name.
pub(super) fn choose(contents: &Contents, wants: &Wants, name: &str) -> Result<Chosen, Refusal> {
    let full = |entry: &Entry| format!("{}.{}", text(entry.namespace.as_ref()), text(entry.tag.as_ref()));
    let of_kind = |kind: &'static [u8]| {
        contents.entries.iter().filter(move |entry| entry.description.as_deref() == Some(kind))
    };
    let tables: Vec<&Entry> = of_kind(b"TABLE").collect();
    let exact: Vec<&Entry> = tables.iter().copied().filter(|entry| full(entry) == name).collect();
    let found = if exact.is_empty() {
        tables.iter().copied().filter(|entry| text(entry.tag.as_ref()) == name).collect()
    } else {
        exact
    };
    let table = match found[..] {
        [table] => table,
        [] => {
            return Err(Refusal {
                code: "table_not_in_archive",
                what: format!("there is no table {name:?} in the archive"),
                fix: "name one that pg_restore --list shows, as schema.table".to_owned(),
            });
        }
        _ => {
            let names = found.iter().map(|entry| full(entry)).collect::<Vec<_>>().join(", ");
            return Err(Refusal {
                code: "table_ambiguous",
                what: format!("{name:?} may be any of {names}"),
                fix: "name it with its schema".to_owned(),
            });
        }
    };
    let name = full(table);
    let is_its = |entry: &&Entry| (&entry.namespace, &entry.tag) == (&table.namespace, &table.tag);
    let refused = |what: String, fix: &str| Refusal { code: "table_without_rows", what, fix: fix.to_owned() };
    let Some(data) = of_kind(b"TABLE DATA").find(is_its) else {
        return Err(refused(
            format!("{name} has no rows of its own in the archive, as is so with partitioned tables"),
            "name its partitions",
        ));
    };
    let Some(rows) = wants.tables.iter().find(|rows| rows.dump_id == data.dump_id) else {
        return Err(refused(
            format!("the rows of {name} can only be read by pg_restore"),
            "restore it with pg_restore --table",
        ));
    };
    if is_by_root(data) {
        return Err(refused(
            format!("the rows of {name} go to the table that it is a partition of"),
            "restore all of the database",
        ));
    }
    Ok(Chosen { name, dump_id: table.dump_id, rows: rows.clone() })
}

/// Whether rows go to the root of the partitions they are in (`dumpTableData` in `pg_dump.c`).
fn is_by_root(data: &Entry) -> bool {
    data.definition
        .as_deref()
        .is_some_and(|definition| definition.starts_with(b"-- load via partition root "))
}

/// What makes the tables whose dump ids are `tables`: they themselves and their parts, in the order of the archive, with what tells
/// how its text is meant.
pub(super) fn made_of(contents: &Contents, tables: &BTreeSet<i32>) -> Contents {
    let mut taken = tables.clone();
    let names: BTreeSet<(&Option<Bytes>, &[u8])> = contents
        .entries
        .iter()
        .filter(|entry| tables.contains(&entry.dump_id))
        .map(|entry| (&entry.namespace, entry.tag.as_deref().unwrap_or_default()))
        .collect();
    let is_of_these = |entry: &Entry| {
        let tag = entry.tag.as_deref().unwrap_or_default();
        names.iter().any(|(namespace, table)| {
            *namespace == &entry.namespace
                && tag.strip_prefix(*table).is_some_and(|rest| rest.starts_with(b" "))
        })
    };
    loop {
        let before = taken.len();
        for entry in &contents.entries {
            let kind = entry.description.as_deref().unwrap_or_default();
            if !PARTS.contains(&kind)
                || taken.contains(&entry.dump_id)
                || !dependencies(entry).any(|id| taken.contains(&id))
                || OF_A_TABLE.contains(&kind) && !is_of_these(entry)
            {
                continue;
            }
            taken.insert(entry.dump_id);
            // The sequence of a serial column does not depend on the table that owns it.
            if kind == b"SEQUENCE OWNED BY" {
                taken.extend(dependencies(entry).filter(|id| is_sequence(contents, *id)));
            }
        }
        if taken.len() == before {
            break;
        }
    }
    let mut made = contents.clone();
    made.entries.retain(|entry| {
        taken.contains(&entry.dump_id)
            || matches!(entry.description.as_deref(), Some(b"ENCODING" | b"STDSTRINGS" | b"SEARCHPATH"))
    });
    made
}

fn is_sequence(contents: &Contents, id: i32) -> bool {
    contents
        .entries
        .iter()
        .any(|entry| entry.dump_id == id && entry.description.as_deref() == Some(b"SEQUENCE"))
}
