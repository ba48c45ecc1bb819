//! What was written down beside an archive: how many rows each table has.

use std::{collections::HashMap, fs, io::ErrorKind, path::Path};

use serde::Deserialize;

use crate::{
    engines::row_counts::{self, TableLine},
    error::SliceError,
};

/// What a file with row counts is called, in the place of the archive's own extension.
const EXTENSION: &str = "rows.jsonl";

/// The rows of each table, by the dump id of its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engines::postgres) struct RowCounts(pub(in crate::engines::postgres) HashMap<i32, u64>);

#[derive(Deserialize)]
struct Line {
    dump_id: i32,
    rows: u64,
}

impl TableLine for Line {
    fn rows(&self) -> u64 {
        self.rows
    }
}

impl RowCounts {
    /// Those that stand beside `archive`, if they do: `shop.rows.jsonl` beside `shop.dump`.
    pub(super) fn beside(archive: &Path) -> Result<Option<Self>, SliceError> {
        let path = archive.with_extension(EXTENSION);
        let refused = |why: String| {
            let message = format!(
                "the row counts {} cannot be used: {why}; download them again, or remove them",
                path.display()
            );
            SliceError::permanent("row_counts_unreadable", message)
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text).map(Some).map_err(refused),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(error.to_string())),
        }
    }

    /// Those that `text` says, or why it says none.
    pub(in crate::engines::postgres) fn parse(text: &str) -> Result<Self, String> {
        let tables: Vec<Line> = row_counts::parse(text)?;
        Ok(Self(tables.into_iter().map(|line| (line.dump_id, line.rows)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"format":"holdfast-row-counts","version":1,"tables":2,"rows":7}"#;

    #[test]
    fn rows_are_read_as_they_are_written() {
        let text = format!(
            "{HEAD}\n{{\"dump_id\":7,\"schema\":\"s\",\"table\":\"t\",\"rows\":3}}\n{{\"dump_id\":8,\"rows\":4}}\n"
        );
        assert_eq!(RowCounts::parse(&text), Ok(RowCounts([(7, 3), (8, 4)].into())));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        assert!(RowCounts::parse(&format!("{HEAD}\n{{\"dump_id\":7,\"rows\":7}}\n")).is_err());
        assert!(RowCounts::parse("").is_err());
        assert!(RowCounts::parse(&HEAD.replace("\"version\":1", "\"version\":2")).is_err());
    }
}
