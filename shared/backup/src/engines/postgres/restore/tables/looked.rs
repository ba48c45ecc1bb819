//! What the server says of the tables that are to be restored.

use std::collections::BTreeSet;

use super::choice::Chosen;
use crate::{
    engines::postgres::restore::control::{Control, identifier, literal},
    error::SliceError,
};

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct There {
    pub(super) oid: String,
    /// `pg_class.relkind`.
    pub(super) kind: String,
    /// Columns that rows have values for.
    pub(super) columns: BTreeSet<String>,
    /// Other tables whose foreign keys point at it: OID and name.
    pub(super) referenced_by: Vec<(String, String)>,
    /// OIDs of the tables that its foreign keys point at.
    pub(super) references: BTreeSet<String>,
    /// Triggers that would be run, and when (`pg_trigger.tgenabled`).
    pub(super) triggers: Vec<(String, String)>,
}

impl There {
    /// Asks for the table of `chosen`, in a session on its database.
    pub(super) async fn of(control: &mut Control, chosen: &Chosen) -> Result<Option<Self>, SliceError> {
        let name = literal(&String::from_utf8_lossy(&chosen.rows.name));
        let found = control
            .row(&format!(
                "SELECT oid, relkind FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({name})"
            ))
            .await?;
        let [Some(oid), Some(kind)] = &found[..] else { return Ok(None) };
        let columns = control
            .column(&format!(
                "SELECT attname FROM pg_catalog.pg_attribute
                 WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
            ))
            .await?;
        let referenced_by = control
            .rows(&format!(
                "SELECT DISTINCT conrelid, conrelid::pg_catalog.regclass::text FROM pg_catalog.pg_constraint
                 WHERE contype = 'f' AND confrelid = {oid} AND conrelid <> {oid}"
            ))
            .await?;
        let references = control
            .column(&format!(
                "SELECT confrelid FROM pg_catalog.pg_constraint
                 WHERE contype = 'f' AND conrelid = {oid} AND confrelid <> {oid}"
            ))
            .await?;
        let triggers = control
            .rows(&format!(
                "SELECT tgname, tgenabled FROM pg_catalog.pg_trigger
                 WHERE tgrelid = {oid} AND NOT tgisinternal AND tgenabled <> 'D'"
            ))
            .await?;
        Ok(Some(Self {
            oid: oid.clone(),
            kind: kind.clone(),
            columns,
            referenced_by: pairs(referenced_by),
            references,
            triggers: pairs(triggers),
        }))
    }

    /// Statements that keep its triggers from being run, and let them be run again.
    pub(super) fn trigger_statements(&self, table: &str) -> (Vec<String>, Vec<String>) {
        let disabled = self
            .triggers
            .iter()
            .map(|(name, _)| format!("ALTER TABLE {table} DISABLE TRIGGER {}", identifier(name)));
        let enabled = self.triggers.iter().map(|(name, when)| {
            let how = match when.as_str() {
                "R" => "REPLICA ",
                "A" => "ALWAYS ",
                _ => "",
            };
            format!("ALTER TABLE {table} ENABLE {how}TRIGGER {}", identifier(name))
        });
        (disabled.collect(), enabled.collect())
    }
}

fn pairs(rows: Vec<Vec<Option<String>>>) -> Vec<(String, String)> {
    rows.into_iter()
        .filter_map(|row| {
            let mut values = row.into_iter().flatten();
            Some((values.next()?, values.next()?))
        })
        .collect()
}

/// The columns that `COPY schema.table (column, …) FROM stdin` names, as `pg_dump` writes it; none where it names none.
pub(super) fn columns_of(copy: &str) -> BTreeSet<String> {
    let listed = || {
        let (_, rest) = identifier_of(copy.strip_prefix("COPY ")?);
        let (_, rest) = identifier_of(rest.strip_prefix('.')?);
        rest.strip_prefix(" (")
    };
    let (mut columns, mut rest) = (BTreeSet::new(), listed());
    while let Some(next) = rest {
        let (column, after) = identifier_of(next);
        columns.insert(column);
        rest = after.strip_prefix(", ");
    }
    columns
}

/// The identifier that `text` begins with, without its quotes, and what follows it.
fn identifier_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', ' ', ',', '(', ')']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut end = 0;
    while let Some(found) = quoted[end..].find('"') {
        end += found;
        if !quoted[end + 1..].starts_with('"') {
            return (quoted[..end].replace("\"\"", "\""), &quoted[end + 1..]);
        }
        end += 2;
    }
    (quoted.to_owned(), "")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("COPY public.t (a, b) FROM stdin", &["a", "b"])]
    #[case("COPY public.nothing  FROM stdin", &[])]
    #[case(r#"COPY "Odd ""s"" (x, y)"."se.lect" ("from", "a "", b", c) FROM stdin"#, &["from", "a \", b", "c"])]
    fn a_copy_names_its_columns(#[case] copy: &str, #[case] columns: &[&str]) {
        assert_eq!(columns_of(copy), columns.iter().map(|column| (*column).to_owned()).collect());
    }
}
