//! What of a restore over several slices is done, written down in the new database itself, by the same transactions that do it: so it
//! is right whatever becomes of a slice. It has a schema of its own, which is dropped before anybody sees the database.

use std::collections::BTreeMap;

use holdfast_archive::checksum::{Crc64Nvme, MultisetSum};

use super::control::{Control, identifier, literal};
use crate::error::SliceError;

/// The ledger of one restore.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    /// Its schema, as SQL.
    schema: String,
    name: String,
}

/// What a restore was begun with. It goes on only with the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    /// The archive: key, version, checksum.
    pub(super) archive: String,
    /// What the server knows the database by that is to be replaced; empty where there is none.
    pub(super) target: String,
    /// The server's major version.
    pub(super) server: u32,
}

/// An entry of the archive that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Done {
    /// How many rows were copied, of a table.
    pub(super) rows: Option<u64>,
    /// The checksum of its block, if it has one.
    pub(super) crc64nvme: Option<Crc64Nvme>,
    /// What its rows add up to, if that is going to be compared.
    pub(super) sum: Option<MultisetSum>,
}

/// Entries that are done, by their dump ids.
pub(super) type Entries = BTreeMap<i32, Done>;

impl Ledger {
    /// That of `restore`.
    pub(super) fn of(restore: &str) -> Self {
        let name = format!("holdfast_restore_{restore}");
        Self { schema: identifier(&name), name }
    }

    /// Opens it, in the database that `control` is on, with what is done by then.
    pub(super) async fn open(
        &self,
        control: &mut Control,
        begun: &Begun,
        done: &Entries,
    ) -> Result<(), SliceError> {
        let schema = &self.schema;
        let Begun { archive, target, server } = begun;
        let tables = format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.begun (archive text, target text, server text);
             CREATE TABLE {schema}.done (dump_id int4 PRIMARY KEY, rows int8, crc64nvme text, sum text);
             INSERT INTO {schema}.begun VALUES ({}, {}, '{server}')",
            literal(archive),
            literal(target)
        );
        let entries = done.iter().map(|(dump_id, done)| self.entry(*dump_id, done));
        // What is sent at once is one transaction.
        let statements: Vec<String> = std::iter::once(tables).chain(entries).collect();
        control.run(&statements.join("; ")).await
    }

    /// What it says; nothing if it was not opened.
    pub(super) async fn read(&self, control: &mut Control) -> Result<Option<(Begun, Entries)>, SliceError> {
        let there = format!("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {}", literal(&self.name));
        if control.value(&there).await?.is_none() {
            return Ok(None);
        }
        let schema = &self.schema;
        let begun = control.row(&format!("SELECT archive, target, server FROM {schema}.begun")).await?;
        let text = |index: usize| begun.get(index).cloned().flatten().unwrap_or_default();
        let begun = Begun { archive: text(0), target: text(1), server: text(2).parse().unwrap_or(0) };
        let rows = control.rows(&format!("SELECT dump_id, rows, crc64nvme, sum FROM {schema}.done")).await?;
        let done = rows.into_iter().filter_map(|row| {
            let [Some(dump_id), rows, crc64nvme, sum] = &row[..] else { return None };
            let rows = rows.as_ref().and_then(|rows| rows.parse().ok());
            let crc64nvme = crc64nvme.as_ref().and_then(|crc64nvme| crc64nvme.parse().ok());
            let sum = sum.as_ref().and_then(|sum| sum.parse().ok());
            Some((dump_id.parse().ok()?, Done { rows, crc64nvme, sum }))
        });
        Ok(Some((begun, done.collect())))
    }

    /// The statement that writes down that the entry `dump_id` is done. It cannot be twice.
    pub(super) fn entry(&self, dump_id: i32, done: &Done) -> String {
        let text = |value: Option<String>| value.map_or("NULL".to_owned(), |value| literal(&value));
        let rows = done.rows.map_or("NULL".to_owned(), |rows| rows.to_string());
        let crc64nvme = text(done.crc64nvme.map(|crc64nvme| crc64nvme.to_string()));
        let sum = text(done.sum.map(|sum| sum.to_string()));
        format!("INSERT INTO {}.done VALUES ({dump_id}, {rows}, {crc64nvme}, {sum})", self.schema)
    }

    /// The statement that removes it.
    pub(super) fn removal(&self) -> String {
        format!("DROP SCHEMA {} CASCADE", self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_written_as_sql() {
        let ledger = Ledger::of("0190-7");
        let (crc64nvme, sum) = (Some(Crc64Nvme::EMPTY), Some(MultisetSum::default()));
        let done = Done { rows: Some(3), crc64nvme, sum };
        assert_eq!(
            ledger.entry(7, &done),
            "INSERT INTO \"holdfast_restore_0190-7\".done VALUES (7, 3, 'AAAAAAAAAAA=', '0:00000000000000000000000000000000')"
        );
        assert!(ledger.entry(8, &Done::default()).ends_with("(8, NULL, NULL, NULL)"));
    }
}
