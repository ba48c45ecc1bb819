//! How far a dump has come, drawn.

use holdfast_backup::engines::postgres::{DumpAdvance, DumpProgress};
use indicatif::ProgressBar;

use crate::{moment, table::size};

/// Shows how far the dump has come.
pub(super) fn show(bar: &ProgressBar, progress: &DumpProgress) {
    let DumpAdvance { tables, tables_done, table_bytes, table_bytes_done, raw_bytes, .. } =
        progress.advance();
    bar.set_length(table_bytes.max(1));
    bar.set_position(table_bytes_done);
    let seconds = bar.elapsed().as_secs().max(1);
    let mut words =
        format!("{}, {}/s, {tables_done} of {tables} tables", size(raw_bytes), size(raw_bytes / seconds));
    if let Some(left) = (table_bytes.saturating_sub(table_bytes_done) * seconds).checked_div(table_bytes_done)
    {
        words = format!("{words}, {} left", moment::span(left));
    }
    bar.set_message(words);
}
