//! What is made once the data are there, divided between slices: each entry writes down itself that it is made, in the transaction
//! in which it is. Pure.

use bytes::Bytes;
use holdfast_archive::pg_custom::{Contents, Entry};

use super::{
    facts::{SECTION_DATA, SECTION_POST_DATA, SECTION_PRE_DATA, quoted, text},
    ledger::{Done, Entries, Ledger},
};

/// Kinds of objects after the data whose owner `pg_restore` sets by a statement of its own (`_printTocEntry` in
/// `pg_backup_archiver.c`), and whether they are in a schema.
const OWNED: [(&[u8], bool); 4] =
    [(b"EVENT TRIGGER", false), (b"PUBLICATION", false), (b"STATISTICS", true), (b"SUBSCRIPTION", false)];

/// Which entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    All,
    /// All but event triggers, which would see what is done in the database after them.
    NoEventTriggers,
    EventTriggers,
}

/// The entries after the data that are left to make.
#[derive(Debug)]
pub(super) struct AfterData {
    contents: Contents,
    left: Vec<i32>,
}

impl AfterData {
    /// What of `outline` is left when `done` is.
    pub(super) fn left(outline: &Contents, done: &Entries, which: Which) -> Self {
        let mut contents = outline.clone();
        place(&mut contents.entries);
        contents.entries.retain(|entry| {
            entry.section != SECTION_POST_DATA
                || (which.has(entry) && !done.contains_key(&entry.dump_id) && !is_empty(entry))
        });
        let after = contents.entries.iter().filter(|entry| entry.section == SECTION_POST_DATA);
        let left = after.map(|entry| entry.dump_id).collect();
        Self { contents, left }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    /// Leaves the first `entries` of them.
    pub(super) fn truncate(&mut self, entries: usize) {
        self.left.truncate(entries);
        let left = &self.left;
        self.contents
            .entries
            .retain(|entry| entry.section != SECTION_POST_DATA || left.contains(&entry.dump_id));
    }

    /// The first of them, in words.
    pub(super) fn first(&self) -> Option<String> {
        let first = self.left.first()?;
        let entry = self.contents.entries.iter().find(|entry| entry.dump_id == *first)?;
        Some(format!("{} {}", text(entry.description.as_ref()), text(entry.tag.as_ref())))
    }

    /// As an archive for `pg_restore`, in which each writes itself down in `ledger`.
    pub(super) fn recorded(mut self, ledger: &Ledger) -> Contents {
        for entry in self.contents.entries.iter_mut().filter(|entry| entry.section == SECTION_POST_DATA) {
            let definition = entry.definition.as_deref().unwrap_or_default();
            // `pg_restore` sends a definition as one query, which is one transaction.
            let recorded = ledger.entry(entry.dump_id, &Done::default());
            let owned = owner(entry).unwrap_or_default();
            entry.definition =
                Some([definition, b"\n;", &owned, recorded.as_bytes(), b";\n"].concat().into());
        }
        self.contents
    }

    /// The same, written down nowhere.
    pub(super) fn unrecorded(self) -> Contents {
        self.contents
    }
}

impl Which {
    fn has(self, entry: &Entry) -> bool {
        match self {
            Self::All => true,
            Self::NoEventTriggers => !is_of_event_trigger(entry),
            Self::EventTriggers => is_of_event_trigger(entry),
        }
    }
}

fn is_of_event_trigger(entry: &Entry) -> bool {
    entry.description.as_deref() == Some(b"EVENT TRIGGER")
        || entry.tag.as_deref().is_some_and(|tag| tag.starts_with(b"EVENT TRIGGER "))
}

fn is_empty(entry: &Entry) -> bool {
    entry.definition.as_deref().unwrap_or_default().is_empty()
}

/// Comments, privileges and labels are in no section, but that of what they follow (`ProcessArchiveRestoreOptions` in
/// `pg_backup_archiver.c`). When some of the others are left out, it must be written down which that is.
fn place(entries: &mut [Entry]) {
    let mut section = SECTION_PRE_DATA;
    for entry in entries {
        if [SECTION_PRE_DATA, SECTION_DATA, SECTION_POST_DATA].contains(&entry.section) {
            section = entry.section;
        } else if section == SECTION_POST_DATA {
            entry.section = section;
        }
    }
}

/// The statement that gives an object its owner, where `pg_restore` would do so after it was written down.
fn owner(entry: &Entry) -> Option<Vec<u8>> {
    let owner = entry.owner.as_deref().filter(|owner| !owner.is_empty())?;
    let description = entry.description.as_deref()?;
    let (kind, in_schema) = OWNED.into_iter().find(|(kind, _)| *kind == description)?;
    let schema = |schema: &Bytes| [quoted(schema), b".".to_vec()].concat();
    let schema = if in_schema { entry.namespace.as_ref().map(schema)? } else { Vec::new() };
    let name = [schema, quoted(entry.tag.as_deref()?)].concat();
    Some([b"ALTER ", kind, b" ", &name, b" OWNER TO ", &quoted(owner), b";"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::postgres::sample::{header, table_data};

    fn entry(dump_id: i32, section: i32, description: &str, tag: &str) -> Entry {
        let bytes = |text: &str| Some(Bytes::copy_from_slice(text.as_bytes()));
        Entry {
            section,
            tag: bytes(tag),
            description: bytes(description),
            definition: bytes(&format!("MAKE {tag};\n")),
            namespace: bytes("s"),
            owner: bytes("o\"k"),
            ..table_data(dump_id)
        }
    }

    fn outline() -> Contents {
        let entries = vec![
            entry(1, SECTION_PRE_DATA, "TABLE", "t"),
            entry(2, 1, "COMMENT", "TABLE t"),
            table_data(3),
            entry(4, SECTION_POST_DATA, "INDEX", "i"),
            entry(5, 1, "COMMENT", "INDEX i"),
            entry(6, SECTION_POST_DATA, "STATISTICS", "x"),
            entry(7, SECTION_POST_DATA, "EVENT TRIGGER", "e"),
            entry(8, 1, "COMMENT", "EVENT TRIGGER e"),
        ];
        Contents { header: header(), entries, end: 0 }
    }

    fn ids(contents: &Contents) -> Vec<i32> {
        contents.entries.iter().map(|entry| entry.dump_id).collect()
    }

    #[test]
    fn what_is_done_is_left_out() {
        let done = [(3, Done::default()), (4, Done::default())].into();
        let mut left = AfterData::left(&outline(), &done, Which::NoEventTriggers);
        assert_eq!((left.len(), left.first().as_deref()), (2, Some("COMMENT INDEX i")));
        left.truncate(1);
        let contents = left.unrecorded();
        assert_eq!(ids(&contents), [1, 2, 3, 5]);
        // It would count as one from before the data, behind nothing that comes after them.
        assert_eq!(contents.entries[3].section, SECTION_POST_DATA);
        assert_eq!(contents.entries[1].section, 1);
        let triggers = AfterData::left(&outline(), &Entries::new(), Which::EventTriggers);
        assert_eq!(ids(&triggers.unrecorded()), [1, 2, 3, 7, 8]);
        assert_eq!(AfterData::left(&outline(), &Entries::new(), Which::All).len(), 5);
    }

    #[test]
    fn each_writes_itself_down_when_it_is_as_it_should_be() {
        let left = AfterData::left(&outline(), &Entries::new(), Which::All);
        let recorded = left.recorded(&Ledger::of("1"));
        let definition = |index: usize| text(recorded.entries[index].definition.as_ref());
        let record =
            |id: i32| format!("INSERT INTO \"holdfast_restore_1\".done VALUES ({id}, NULL, NULL, NULL);\n");
        assert_eq!(definition(0), "MAKE t;\n");
        assert_eq!(definition(3), format!("MAKE i;\n\n;{}", record(4)));
        assert_eq!(
            definition(5),
            format!("MAKE x;\n\n;ALTER STATISTICS \"s\".\"x\" OWNER TO \"o\"\"k\";{}", record(6))
        );
        assert!(definition(6).contains("ALTER EVENT TRIGGER \"e\" OWNER TO \"o\"\"k\";INSERT"));
    }
}
