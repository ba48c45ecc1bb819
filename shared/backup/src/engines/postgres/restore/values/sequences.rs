//! Where sequences stand in a restored database, compared with where they stand in the archive.

use holdfast_archive::pg_custom::Entry;

use super::super::{
    archive::Archive,
    copier::{Copier, end},
    facts::{relation_of, text},
};
use crate::error::SliceError;

/// What was found of sequences.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    /// Those that differ, in words.
    pub(super) differing: Vec<String>,
    /// How many this role may not read, or the archive sets in a way that is not understood.
    pub(super) closed: u64,
}

/// Compares where each sequence of `archive` stands in the database that `copier` copies into.
pub(super) async fn compare(copier: &Copier, archive: &Archive) -> Result<Sequences, SliceError> {
    let mut found = Sequences::default();
    let entries = &archive.contents.entries;
    let sets: Vec<_> =
        entries.iter().filter(|entry| entry.description.as_deref() == Some(b"SEQUENCE SET")).collect();
    if sets.is_empty() {
        return Ok(found);
    }
    let mut session = copier.begin().await?;
    for entry in sets {
        let (Some(name), Some(told)) = (relation_of(entry), position(entry)) else {
            found.closed += 1;
            continue;
        };
        match copier.value_if_allowed(&mut session, &asking(&name)).await? {
            Some(stands) if stands == told => {}
            Some(stands) => found.differing.push(format!(
                "the sequence {} is at {}, and was at {}",
                String::from_utf8_lossy(&name),
                in_words(&stands),
                in_words(&told)
            )),
            None => found.closed += 1,
        }
    }
    end(session).await;
    Ok(found)
}

/// Asks for the position as [`position`] gives it.
fn asking(name: &[u8]) -> Vec<u8> {
    [b"SELECT last_value || ', ' || is_called::pg_catalog.text FROM ", name].concat()
}

/// Where an entry sets its sequence (`dumpSequenceData` in `pg_dump.c`): `SELECT pg_catalog.setval('name', 42, true);` is `42, true`.
fn position(entry: &Entry) -> Option<String> {
    let definition = text(entry.definition.as_ref());
    let (before, is_called) = definition.trim_end().strip_suffix(");")?.rsplit_once(", ")?;
    let (_, value) = before.rsplit_once(", ")?;
    (value.parse::<i64>().is_ok() && ["true", "false"].contains(&is_called))
        .then(|| format!("{value}, {is_called}"))
}

/// A position for people.
fn in_words(position: &str) -> String {
    match position.split_once(", ") {
        Some((value, "false")) => format!("{value}, which it has not given yet"),
        Some((value, _)) => value.to_owned(),
        None => "no position".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::engines::postgres::sample::table_data;

    #[rstest]
    #[case("SELECT pg_catalog.setval('public.t_id_seq', 42, true);\n", Some("42, true"))]
    #[case(r#"SELECT pg_catalog.setval('"a, b"."c'', 1, true);"', -7, false);"#, Some("-7, false"))]
    #[case("SELECT pg_catalog.setval('public.t_id_seq', nextval('x'), true);", None)]
    #[case("", None)]
    fn positions_are_read(#[case] definition: &str, #[case] expected: Option<&str>) {
        let entry = Entry { definition: Some(definition.to_owned().into()), ..table_data(1) };
        assert_eq!(position(&entry).as_deref(), expected);
    }
}
