//! What the session of `pg_dump` sees, and what other sessions need to see the same.

use std::collections::HashMap;

use bytes::Bytes;

use super::{ranges::TableSize, session::Rows};

/// Asks the session of `pg_dump` for all that [`View::of`] needs.
pub(super) const VIEW: &[u8] =
    b"SELECT pg_catalog.pg_export_snapshot(), pg_catalog.txid_current_snapshot(), \
    pg_catalog.pg_backend_pid()";

/// Which transactions a session sees: the same in all that share a snapshot. Since version 13 it has another name too.
pub(super) const MOMENT: &[u8] = b"SELECT pg_catalog.txid_current_snapshot()";

/// The only access method whose tables are known to be divisible into blocks.
const HEAP: &str = "heap";

/// What every session needs to see the same rows in the same form. It is known as soon as `pg_dump` has locked its tables.
#[derive(Debug)]
pub(super) struct View {
    /// How `pg_dump` has begun its session.
    pub(super) startup: Bytes,
    /// The statements by which `pg_dump` has set it up so far.
    pub(super) settings: Vec<Vec<u8>>,
    /// The snapshot, by the name it was exported under.
    pub(super) snapshot: Bytes,
    /// What the server says of it.
    pub(super) moment: Bytes,
    /// The server's process that serves `pg_dump`: in digits, as the server has written it.
    pub(super) process: Bytes,
}

impl View {
    /// From the answer to [`VIEW`], if it is one.
    pub(super) fn of(startup: Bytes, settings: Vec<Vec<u8>>, answer: Rows) -> Option<Self> {
        let [Some(snapshot), Some(moment), Some(process)] = &answer.into_iter().next()?[..] else {
            return None;
        };
        let (snapshot, moment, process) = (snapshot.clone(), moment.clone(), process.clone());
        Some(Self { startup, settings, snapshot, moment, process })
    }

    /// Asks any session for the sizes of the tables that `pg_dump` has locked: those are the ones that are dumped. Only what
    /// holds rows and their long values: `pg_table_size` looks for a dozen files of each table, which takes longer than to
    /// read a small one.
    pub(super) fn sizes_question(&self) -> Vec<u8> {
        const BEFORE: &str = "
            SELECT n.nspname, c.relname, a.amname,
                   s.bytes / pg_catalog.current_setting('block_size')::pg_catalog.int8,
                   s.bytes + COALESCE(pg_catalog.pg_relation_size(c.reltoastrelid), 0)
            FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_am a ON a.oid = c.relam
            CROSS JOIN LATERAL (SELECT pg_catalog.pg_relation_size(c.oid) AS bytes OFFSET 0) s
            WHERE c.relkind = 'r' AND n.nspname <> 'pg_catalog' AND c.oid IN (
                SELECT l.relation FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'relation' AND l.granted
                  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                  AND l.pid = ";
        [BEFORE.as_bytes(), &self.process, b")"].concat()
    }
}

/// How large tables are.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Those that can be divided, by schema and name.
    pub(super) divisible: HashMap<(Bytes, Bytes), TableSize>,
    /// Bytes of all tables, on the server's disk.
    pub(super) table_bytes: u64,
}

impl Sizes {
    /// From the answer to [`View::sizes_question`].
    pub(super) fn of(answer: Rows) -> Self {
        let mut sizes = Self::default();
        for row in answer {
            if let [Some(schema), Some(name), Some(method), Some(blocks), Some(bytes)] = &row[..] {
                let size = TableSize { blocks: number(blocks), bytes: number(bytes) };
                sizes.table_bytes += size.bytes;
                if method == HEAP.as_bytes() {
                    sizes.divisible.insert((schema.clone(), name.clone()), size);
                }
            }
        }
        sizes
    }
}

/// A number that the server has written.
fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
