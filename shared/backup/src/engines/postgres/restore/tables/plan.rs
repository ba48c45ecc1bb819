//! What is done with single tables, and what stands in the way. Pure: everything is known by then.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    choice::Chosen,
    looked::{There, columns_of},
};
use crate::engines::postgres::restore::plan::{Refusal, list};

/// A table that is restored, and what is there in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) chosen: Chosen,
    pub(super) there: Option<There>,
}

/// What is done, in order.
pub(super) fn steps(tables: &[Placed]) -> Vec<String> {
    let names = |is_there: bool| -> BTreeSet<String> {
        tables
            .iter()
            .filter(|table| table.there.is_some() == is_there)
            .map(|table| table.chosen.name.clone())
            .collect()
    };
    let (absent, there) = (names(false), names(true));
    let mut steps = Vec::new();
    if !absent.is_empty() {
        steps.push(format!("make {}, with their rows", list(&absent)));
    }
    if !there.is_empty() {
        steps.push(format!("empty {}, and copy the rows that the archive has of them", list(&there)));
    }
    if !absent.is_empty() {
        steps.push(format!("make the indexes, constraints and triggers of {}", list(&absent)));
    }
    steps.push("commit all of it as one transaction".to_owned());
    steps
}

/// What is good to know.
pub(super) fn notes(tables: &[Placed]) -> Vec<String> {
    let mut notes = Vec::new();
    if tables.iter().any(|table| table.there.is_some()) {
        notes.push(
            "until it is committed, nobody else can read the tables that are there; their indexes, privileges and sequences \
             stay as they are, and their triggers are not run"
                .to_owned(),
        );
    }
    if tables.iter().any(|table| table.there.is_none()) {
        notes.push("foreign keys and views of other tables that need these tables are not made".to_owned());
    }
    notes
}

/// What stands in the way.
pub(super) fn refusals(tables: &[Placed], overwrite: bool) -> Vec<Refusal> {
    let chosen: BTreeSet<&str> =
        tables.iter().filter_map(|table| Some(table.there.as_ref()?.oid.as_str())).collect();
    let mut refusals = Vec::new();
    for Placed { chosen: table, there } in tables {
        let Some(there) = there else { continue };
        let name = &table.name;
        let mut refuse = |code: &'static str, what: String, fix: &str| {
            refusals.push(Refusal { code, what, fix: fix.to_owned() });
        };
        if there.kind != "r" {
            let what = format!("what is called {name} in the database is no ordinary table");
            refuse("table_differs", what, "rename it, or restore all of the database");
            continue;
        }
        if !overwrite {
            refuse("target_not_empty", format!("{name} is there"), "replace its rows with overwrite");
        }
        let archived = columns_of(&String::from_utf8_lossy(&table.rows.copy));
        if archived != there.columns {
            let only = |some: &BTreeSet<String>, others: &BTreeSet<String>| {
                list(&some.difference(others).cloned().collect())
            };
            let what = format!(
                "{name} has other columns than in the archive: only in the archive are [{}], only in the database [{}]",
                only(&archived, &there.columns),
                only(&there.columns, &archived)
            );
            refuse(
                "table_differs",
                what,
                "rename the table that is there: then it is made as the archive has it",
            );
        }
        let others: BTreeSet<String> = there
            .referenced_by
            .iter()
            .filter(|(oid, _)| !chosen.contains(oid.as_str()))
            .map(|(_, name)| name.clone())
            .collect();
        if !others.is_empty() {
            let what = format!("foreign keys of {} point at rows of {name}", list(&others));
            refuse("table_referenced", what, "restore these tables too, or drop their foreign keys first");
        }
    }
    refusals
}

/// The tables in an order in which each comes after those that its foreign keys point at, as far as there is one.
pub(super) fn in_order(tables: Vec<Placed>) -> Vec<Placed> {
    let mut left: BTreeMap<usize, Placed> = tables.into_iter().enumerate().collect();
    let mut ordered = Vec::new();
    while let Some(first) = left.keys().next().copied() {
        let waits_for = |table: &Placed| -> bool {
            let Some(there) = &table.there else { return false };
            left.values().any(|other| {
                other
                    .there
                    .as_ref()
                    .is_some_and(|other| other.oid != there.oid && there.references.contains(&other.oid))
            })
        };
        // Where they go round in a circle, the server says what is missing.
        let next = left.iter().find(|(_, table)| !waits_for(table)).map_or(first, |(index, _)| *index);
        ordered.extend(left.remove(&next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::postgres::restore::facts::TableRows;

    fn table(oid: &str, references: &[&str], referenced_by: &[&str]) -> Placed {
        let set = |oids: &[&str]| oids.iter().map(|oid| (*oid).to_owned()).collect();
        let rows = TableRows {
            dump_id: 1,
            name: "\"s\".\"t\"".into(),
            copy: "COPY s.t (a) FROM stdin".into(),
            is_fresh: true,
            position: 0,
            bytes: 0,
            rows: None,
        };
        Placed {
            chosen: Chosen { name: format!("s.t{oid}"), dump_id: 1, rows },
            there: Some(There {
                oid: oid.to_owned(),
                kind: "r".to_owned(),
                columns: set(&["a"]),
                referenced_by: referenced_by
                    .iter()
                    .map(|oid| ((*oid).to_owned(), format!("s.t{oid}")))
                    .collect(),
                references: set(references),
                triggers: vec![],
            }),
        }
    }

    #[test]
    fn what_is_pointed_at_comes_first() {
        let tables = vec![table("1", &["2"], &[]), table("2", &["3"], &["1"]), table("3", &[], &["2"])];
        let ordered: Vec<_> =
            in_order(tables.clone()).into_iter().map(|table| table.there.unwrap().oid).collect();
        assert_eq!(ordered, ["3", "2", "1"]);
        assert!(refusals(&tables, true).is_empty());
        let alone = refusals(&tables[1..], true);
        assert_eq!((alone.len(), alone[0].code), (1, "table_referenced"), "{alone:?}");
        assert!(alone[0].what.contains("s.t1"));
    }

    #[test]
    fn tables_that_point_at_each_other_still_have_an_order() {
        assert_eq!(in_order(vec![table("1", &["2"], &[]), table("2", &["1"], &[])]).len(), 2);
    }

    #[test]
    fn a_table_with_other_columns_is_refused() {
        let mut other = table("1", &[], &[]);
        other.there.as_mut().unwrap().columns.insert("b".to_owned());
        let refused = refusals(&[other], false);
        let codes: Vec<_> = refused.iter().map(|refusal| refusal.code).collect();
        assert_eq!(codes, ["target_not_empty", "table_differs"]);
        assert!(refused[1].what.contains("\"b\""), "{refused:?}");
    }
}
