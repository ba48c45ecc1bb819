//! What stands beside a database's artifact: how many rows each of its tables has, as lines of JSON. The first line says how many
//! tables and rows there are in all.

use bytes::Bytes;
use holdfast_domain::backup::StoredObject;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::SliceError,
    ports::{ArtifactStore, beside},
    verify::damaged,
};

/// What the object is called that they are stored in, in the folder of the artifact.
pub(super) const FILE_NAME: &str = "database.rows.jsonl";

/// Its media type.
pub(super) const CONTENT_TYPE: &str = "application/x-ndjson";

const FORMAT: &str = "holdfast-row-counts";

const VERSION: u32 = 1;

/// How many tables are named of those that differ.
const NAMED: usize = 5;

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    tables: usize,
    rows: u64,
}

/// A line for one table.
pub(super) trait TableLine {
    /// How many rows it has.
    fn rows(&self) -> u64;
}

/// The lines for `tables`.
pub(super) fn to_lines<L: TableLine + Serialize>(tables: &[L]) -> Bytes {
    let rows = tables.iter().map(TableLine::rows).sum();
    let head = Head { format: FORMAT.to_owned(), version: VERSION, tables: tables.len(), rows };
    let mut lines = Vec::new();
    let mut write = |line: serde_json::Result<String>| {
        // Nothing in them can fail to be written.
        lines.extend_from_slice(line.unwrap_or_default().as_bytes());
        lines.push(b'\n');
    };
    write(serde_json::to_string(&head));
    for table in tables {
        write(serde_json::to_string(table));
    }
    lines.into()
}

/// The tables that `text` tells of, or why it tells of none.
pub(super) fn parse<L: TableLine + DeserializeOwned>(text: &str) -> Result<Vec<L>, String> {
    let mut lines = text.lines();
    let head: Head =
        serde_json::from_str(lines.next().unwrap_or_default()).map_err(|error| error.to_string())?;
    if head.format != FORMAT || head.version != VERSION {
        return Err(format!("their format is {:?} {}", head.format, head.version));
    }
    let tables: Vec<L> =
        lines.map(serde_json::from_str).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if (tables.len(), tables.iter().map(TableLine::rows).sum::<u64>()) != (head.tables, head.rows) {
        return Err("they are not as many as they say".to_owned());
    }
    Ok(tables)
}

/// What stands beside `object`, as `parse` understands it; none if nothing does.
pub(super) async fn told<T>(
    store: &dyn ArtifactStore,
    object: &StoredObject,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, SliceError> {
    let counts = key(object);
    let Some(text) = store.get(&counts).await? else { return Ok(None) };
    parse(&String::from_utf8_lossy(&text))
        .map(Some)
        .map_err(|why| damaged(object, &format!("the row counts {counts} cannot be used: {why}")))
}

/// Where the row counts of `object` are.
pub(super) fn key(object: &StoredObject) -> String {
    beside(&object.key, FILE_NAME)
}

/// What differs, in words: the first few, and how many more there are. None if nothing does.
pub(super) fn differing(mut found: Vec<String>) -> Option<String> {
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    let more = if more == 0 { String::new() } else { format!(", and {more} more differ") };
    (!found.is_empty()).then(|| format!("{}{more}", found.join(", ")))
}
