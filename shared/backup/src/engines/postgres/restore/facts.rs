//! What an archive wants of a server. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_archive::pg_custom::{Contents, Entry, Offset};

use super::{archive::Archive, roles};

/// `SECTION_PRE_DATA` in `pg_backup.h`.
pub(super) const SECTION_PRE_DATA: i32 = 2;

/// `SECTION_DATA` in `pg_backup.h`.
pub(super) const SECTION_DATA: i32 = 3;

/// `SECTION_POST_DATA` in `pg_backup.h`.
pub(super) const SECTION_POST_DATA: i32 = 4;

/// What a `COPY` that `pg_dump` writes down ends with (`dumpTableData` in `pg_dump.c`).
const FROM_STDIN: &[u8] = b"FROM stdin;";

/// What the definition of an entry begins with whose rows go to the root of its partitions (`dumpTableData`).
const BY_THE_ROOT: &[u8] = b"-- load via partition root ";

/// The rows of a table, to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableRows {
    pub(super) dump_id: i32,
    /// Its name with its schema, as SQL, in the encoding of the archive.
    pub(super) name: Bytes,
    /// `COPY … FROM stdin`, without the semicolon.
    pub(super) copy: Bytes,
    /// Whether the archive makes the table, so that nothing is in it but these rows, and no partition gets others.
    pub(super) is_fresh: bool,
    /// Where the block is, in bytes from the start of the archive.
    pub(super) position: u64,
    /// How long it is, in bytes.
    pub(super) bytes: u64,
    /// How many rows there should be.
    pub(super) rows: Option<u64>,
}

/// What an archive wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wants {
    /// Extensions that it makes.
    pub(super) extensions: BTreeSet<String>,
    /// Roles that own something.
    pub(super) owners: BTreeSet<String>,
    /// Roles that are granted something, or grant it.
    pub(super) grantees: BTreeSet<String>,
    /// Roles that policies and user mappings cannot do without.
    pub(super) needed: BTreeSet<String>,
    /// Tablespaces that something is in.
    pub(super) tablespaces: BTreeSet<String>,
    /// Statements by which a session reads the archive's text as it is meant, in the archive's encoding.
    pub(super) settings: Vec<Bytes>,
    /// What follows the name in its `CREATE DATABASE`, without the semicolon.
    pub(super) database_options: Option<String>,
    /// The encoding of its text.
    pub(super) encoding: Option<String>,
    /// Tables whose rows are copied.
    pub(super) tables: Vec<TableRows>,
    /// Entries of the data section that are left to `pg_restore`, tables among them.
    pub(super) others: Vec<i32>,
    /// How many tables are among them.
    pub(super) other_tables: usize,
    /// How many indexes, constraints and the like come after the data.
    pub(super) after_data: usize,
}

/// A table whose rows can be counted once it is restored: all that are in it are those of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CountedTable {
    /// Its name with its schema, as SQL, in the encoding of the archive.
    pub(super) name: Bytes,
    /// How many rows there should be, where that was written down.
    pub(super) rows: Option<u64>,
}

/// The tables that an archive makes itself: its rows are all that is in them, and none of them go elsewhere.
struct Fresh<'a>(BTreeMap<i32, (&'a Option<Bytes>, &'a Option<Bytes>)>);

impl<'a> Fresh<'a> {
    fn of(archive: &'a Archive) -> Self {
        let entries = archive.contents.entries.iter();
        let tables = entries.filter(|entry| entry.description.as_deref() == Some(b"TABLE"));
        Self(tables.map(|entry| (entry.dump_id, (&entry.namespace, &entry.tag))).collect())
    }

    /// Whether `entry` has the rows of one of them.
    fn has_rows(&self, entry: &Entry) -> bool {
        !entry.definition.as_deref().unwrap_or_default().starts_with(BY_THE_ROOT)
            && dependencies(entry).any(|id| self.0.get(&id) == Some(&(&entry.namespace, &entry.tag)))
    }
}

/// The tables of `archive` whose rows can be counted once they are restored, and how many others there are: those that an extension
/// makes, or whose rows go to whichever partition takes them.
pub(super) fn counted(archive: &Archive) -> (Vec<CountedTable>, usize) {
    let fresh = Fresh::of(archive);
    let tables: Vec<&Entry> = archive.contents.entries.iter().filter(|entry| entry.is_table_data()).collect();
    let counted = tables.iter().filter(|entry| fresh.has_rows(entry)).filter_map(|entry| {
        let rows = archive.row_counts.as_ref().and_then(|counts| counts.0.get(&entry.dump_id).copied());
        Some(CountedTable { name: relation_of(entry)?, rows })
    });
    let counted: Vec<CountedTable> = counted.collect();
    let others = tables.len() - counted.len();
    (counted, others)
}

impl Wants {
    /// What `archive` wants.
    pub(super) fn of(archive: &Archive) -> Self {
        let mut wants = Self::default();
        let fresh = Fresh::of(archive);
        for entry in &archive.contents.entries {
            wants.take(entry);
            if entry.section != SECTION_DATA {
                continue;
            }
            let block = archive.blocks.get(&entry.dump_id);
            let rows = block.and_then(|block| copy_of(archive, entry, block.position, block.bytes));
            if let Some(mut rows) = rows {
                rows.is_fresh = fresh.has_rows(entry);
                rows.rows =
                    archive.row_counts.as_ref().and_then(|counts| counts.0.get(&entry.dump_id).copied());
                wants.tables.push(rows);
            } else {
                wants.others.push(entry.dump_id);
                wants.other_tables += usize::from(entry.is_table_data());
            }
        }
        wants
    }

    /// What `contents` want, without their data.
    pub(super) fn of_contents(contents: &Contents) -> Self {
        let mut wants = Self::default();
        for entry in &contents.entries {
            wants.take(entry);
        }
        wants
    }

    fn take(&mut self, entry: &Entry) {
        let definition = text(entry.definition.as_ref());
        let description = text(entry.description.as_ref());
        // An entry that is only there for `pg_restore --create`.
        if description == "DATABASE" {
            self.database_options = definition
                .split_once(" WITH TEMPLATE = ")
                .map(|(_, options)| format!("WITH TEMPLATE = {}", options.trim_end().trim_end_matches(';')));
            return;
        }
        if is_of_the_database(entry) {
            return;
        }
        match description.as_str() {
            "EXTENSION" => {
                self.extensions.insert(text(entry.tag.as_ref()));
            }
            "ENCODING" | "STDSTRINGS" | "SEARCHPATH" => {
                self.settings.extend(entry.definition.clone());
                if description == "ENCODING" {
                    self.encoding = definition.split('\'').nth(1).map(str::to_owned);
                }
            }
            "ACL" | "DEFAULT ACL" => self.grantees.extend(roles::of_privileges(&definition)),
            "POLICY" => self.needed.extend(roles::of_policy(&definition)),
            "USER MAPPING" => {
                let user = text(entry.tag.as_ref());
                let user = user.strip_prefix("USER MAPPING ").and_then(|rest| rest.split(" SERVER ").next());
                self.needed.extend(user.filter(|user| *user != "public").map(str::to_owned));
            }
            _ => {}
        }
        let owner = text(entry.owner.as_ref());
        if !owner.is_empty() && !description.ends_with("ACL") {
            self.owners.insert(owner);
        }
        let tablespace = text(entry.tablespace.as_ref());
        if !tablespace.is_empty() {
            self.tablespaces.insert(tablespace);
        }
        self.after_data += usize::from(entry.section == SECTION_POST_DATA);
    }
}

/// Whether it is about the database as such, which only `pg_restore --create` makes.
pub(super) fn is_of_the_database(entry: &Entry) -> bool {
    match entry.description.as_deref() {
        Some(b"DATABASE" | b"DATABASE PROPERTIES") => true,
        Some(b"ACL" | b"COMMENT" | b"SECURITY LABEL") => {
            entry.tag.as_deref().is_some_and(|tag| tag.starts_with(b"DATABASE "))
        }
        _ => false,
    }
}

/// How its rows are copied; none where they are not, or not by us.
fn copy_of(archive: &Archive, entry: &Entry, position: u64, bytes: u64) -> Option<TableRows> {
    if !archive.is_readable() || !entry.is_table_data() || matches!(entry.offset, Offset::NoData(_)) {
        return None;
    }
    let statement = entry.copy_statement.as_ref()?;
    let copy = statement.trim_ascii_end().strip_suffix(FROM_STDIN)?;
    let copy = [copy, b"FROM stdin"].concat().into();
    let name = relation_of(entry)?;
    Some(TableRows { dump_id: entry.dump_id, name, copy, is_fresh: false, position, bytes, rows: None })
}

/// The name of the table or sequence whose data an entry is, with its schema, as SQL.
pub(super) fn relation_of(entry: &Entry) -> Option<Bytes> {
    Some([quoted(entry.namespace.as_ref()?), b".".to_vec(), quoted(entry.tag.as_ref()?)].concat().into())
}

/// The dump ids of what `entry` depends on.
pub(super) fn dependencies(entry: &Entry) -> impl Iterator<Item = i32> {
    entry.dependencies.iter().filter_map(|id| std::str::from_utf8(id).ok()?.parse().ok())
}

/// An identifier as SQL.
pub(super) fn quoted(identifier: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for byte in identifier {
        out.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'"')));
    }
    out.push(b'"');
    out
}

/// Text for people, and for what servers show in UTF-8. Where an archive's encoding is another one, names that are not ASCII
/// come out damaged.
pub(super) fn text(bytes: Option<&Bytes>) -> String {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}
