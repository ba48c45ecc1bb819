//! Text in columns.

use std::fmt;

/// Rows below a header, each column as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// A table with these headers.
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned).to_vec()], right: Vec::new() }
    }

    /// The same table with these columns, counted from 0, aligned to the right: numbers.
    #[must_use]
    pub(crate) fn right<const N: usize>(mut self, columns: [usize; N]) -> Self {
        self.right = columns.to_vec();
        self
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// Whether it has a header only.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, wide)) in row.iter().zip(&widths).enumerate() {
                let blanks = " ".repeat(wide - width(cell));
                let gap = if column == 0 { "" } else { "  " };
                if self.right.contains(&column) {
                    line.extend([gap, &blanks, cell]);
                } else {
                    line.extend([gap, cell, &blanks]);
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Text of others without what a terminal would obey: no control characters, no line breaks.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bytes in MiB, to a tenth; less than that in bytes.
#[expect(clippy::cast_precision_loss, reason = "a size for people to read")]
pub(crate) fn size(bytes: u64) -> String {
    const MIB: f64 = 1_048_576.0;
    if bytes < 104_858 { format!("{bytes} B") } else { format!("{:.1} MiB", bytes as f64 / MIB) }
}

/// Columns a text takes, if every character takes one.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let mut table = Table::new(["NAME", "SIZE", "NOTE"]).right([1]);
        table.row(["DEFAULT".to_owned(), "7 B".to_owned(), String::new()]);
        table.row(["é".to_owned(), "100 B".to_owned(), "before".to_owned()]);
        assert_eq!(table.to_string(), "NAME      SIZE  NOTE\nDEFAULT    7 B\né        100 B  before\n");
    }

    #[test]
    fn a_note_cannot_command_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[rstest]
    #[case(0, "0 B")]
    #[case(104_857, "104857 B")]
    #[case(104_858, "0.1 MiB")]
    #[case(1_048_576, "1.0 MiB")]
    #[case(2_684_354_560, "2560.0 MiB")]
    fn sizes_are_in_mib(#[case] bytes: u64, #[case] text: &str) {
        assert_eq!(size(bytes), text);
    }
}
