//! What the sessions of a restore have to do, and in which order: whoever is free makes an index of the largest table whose rows are there,
//! or copies the largest table that is left. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
};

use super::{facts::TableRows, indexes::Index};

/// What a session does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Task {
    /// Copies the rows of a table.
    Copy(TableRows),
    /// Makes an index of the table that has these rows.
    Make(i32, Index),
    /// Nothing, until another session is done with something.
    Wait,
    /// Nothing any more.
    End,
}

/// What is left to do, and what is under way.
#[derive(Debug)]
pub(super) struct Work {
    /// The largest first.
    tables: VecDeque<TableRows>,
    /// Tables with indexes, by the dump ids of their rows.
    indexed: HashMap<i32, Indexed>,
    /// Those that are copied and have indexes left, the largest first.
    ready: BTreeSet<(Reverse<u64>, i32)>,
    /// How many indexes are left, of all tables.
    left: usize,
    /// How many tables are not copied, those included that sessions are at.
    not_copied: usize,
    /// What is made, by dump id.
    made: Vec<i32>,
}

/// A table and its indexes.
#[derive(Debug)]
struct Indexed {
    bytes: u64,
    left: VecDeque<Index>,
    /// How many are being made.
    making: usize,
    /// Whether that is one which nothing else can be made beside.
    is_locked: bool,
}

impl Work {
    /// To copy `tables`, and those that all sessions `share`, and to make `indexes` of them and of what is copied already, by the dump
    /// ids of rows.
    pub(super) fn new(
        tables: VecDeque<TableRows>,
        share: &[TableRows],
        indexes: HashMap<i32, Vec<Index>>,
    ) -> Self {
        let not_copied: HashMap<i32, u64> =
            tables.iter().chain(share).map(|table| (table.dump_id, table.bytes)).collect();
        let left = indexes.values().map(Vec::len).sum();
        let is_copied = |rows: &&i32| !not_copied.contains_key(*rows);
        let ready = indexes.keys().filter(is_copied).map(|rows| (Reverse(0), *rows)).collect();
        let of_tables = indexes.into_iter().map(|(rows, left)| {
            let bytes = not_copied.get(&rows).copied().unwrap_or_default();
            (rows, Indexed { bytes, left: left.into(), making: 0, is_locked: false })
        });
        Self {
            tables,
            indexed: of_tables.collect(),
            ready,
            left,
            not_copied: not_copied.len(),
            made: Vec::new(),
        }
    }

    /// How many sessions have something to do, at the most.
    pub(super) fn tasks(&self) -> usize {
        self.tables.len() + self.left
    }

    /// Takes what comes next.
    pub(super) fn next(&mut self) -> Task {
        // No more of them are skipped than there are sessions: at each of those something is being made.
        let found = self.ready.iter().find_map(|table| {
            let of = self.indexed.get_mut(&table.1)?;
            Some((*table, of.take()?, of.left.is_empty()))
        });
        if let Some((table, index, was_last)) = found {
            if was_last {
                self.ready.remove(&table);
            }
            self.left -= 1;
            return Task::Make(table.1, index);
        }
        if let Some(table) = self.tables.pop_front() {
            return Task::Copy(table);
        }
        if self.left == 0 { Task::End } else { Task::Wait }
    }

    /// All rows of the table are there.
    pub(super) fn copied(&mut self, rows: i32) {
        self.not_copied = self.not_copied.saturating_sub(1);
        if let Some(table) = self.indexed.get(&rows) {
            self.ready.insert((Reverse(table.bytes), rows));
        }
    }

    /// Whether nothing is left but indexes.
    pub(super) fn is_copied(&self) -> bool {
        self.not_copied == 0
    }

    /// An index is made of the table that has these rows.
    pub(super) fn made(&mut self, rows: i32, index: &Index) {
        self.made.push(index.dump_id);
        if let Some(table) = self.indexed.get_mut(&rows) {
            table.making -= 1;
            table.is_locked = false;
        }
    }

    /// What was made, by dump id.
    pub(super) fn all_made(&self) -> &[i32] {
        &self.made
    }
}

impl Indexed {
    fn take(&mut self) -> Option<Index> {
        if self.is_locked {
            return None;
        }
        let making = self.making;
        let next = self.left.iter().position(|index| making == 0 || !index.is_exclusive)?;
        let index = self.left.remove(next)?;
        self.making += 1;
        self.is_locked = index.is_exclusive;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(dump_id: i32, bytes: u64) -> TableRows {
        let name = format!("t{dump_id}").into();
        TableRows { dump_id, name, copy: "".into(), is_fresh: true, position: 0, bytes, rows: None }
    }

    fn index(dump_id: i32, is_exclusive: bool) -> Index {
        Index { dump_id, statement: "".into(), is_exclusive }
    }

    fn told(task: &Task) -> i32 {
        match task {
            Task::Copy(table) => table.dump_id,
            Task::Make(_, index) => index.dump_id,
            Task::Wait => 0,
            Task::End => -1,
        }
    }

    #[test]
    fn indexes_are_made_as_soon_as_rows_are_there() {
        let tables = [table(1, 10), table(2, 5), table(3, 1)];
        let indexes = [(1, vec![index(11, true), index(12, false)]), (3, vec![index(13, true)])];
        let mut work = Work::new(tables.into(), &[], indexes.into());
        assert_eq!(work.tasks(), 6);
        let (first, second) = (work.next(), work.next());
        assert_eq!((told(&first), told(&second)), (1, 2));
        work.copied(1);
        // Nothing is made beside a constraint.
        let constraint = work.next();
        assert_eq!((told(&constraint), told(&work.next())), (11, 3));
        work.copied(2);
        assert_eq!(work.next(), Task::Wait);
        assert!(!work.is_copied());
        work.copied(3);
        assert!(work.is_copied());
        assert_eq!((told(&work.next()), work.next()), (13, Task::Wait));
        let Task::Make(rows, constraint) = constraint else { panic!("{constraint:?}") };
        work.made(rows, &constraint);
        assert_eq!((told(&work.next()), work.next()), (12, Task::End));
        assert_eq!(work.all_made(), [11]);
    }

    #[test]
    fn a_constraint_waits_for_indexes_that_are_being_made() {
        let indexes = [(1, vec![index(11, false), index(12, true), index(13, false)])];
        let mut work = Work::new(VecDeque::new(), &[], indexes.into());
        let (first, second) = (work.next(), work.next());
        assert_eq!((told(&first), told(&second), work.next()), (11, 13, Task::Wait));
        for task in [first, second] {
            let Task::Make(rows, index) = task else { panic!("{task:?}") };
            work.made(rows, &index);
        }
        assert_eq!((told(&work.next()), work.next()), (12, Task::End));
    }

    #[test]
    fn indexes_of_the_largest_table_come_first() {
        let (small, large) = (table(1, 1), table(2, 9));
        let indexes = [(1, vec![index(11, false)]), (2, vec![index(12, false)])];
        let mut work = Work::new([small].into(), &[large], indexes.into());
        assert_eq!(told(&work.next()), 1);
        work.copied(1);
        work.copied(2);
        assert_eq!((told(&work.next()), told(&work.next())), (12, 11));
    }
}
