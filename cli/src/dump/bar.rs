//! How far a dump has come, drawn.

use holdfast_backup::engines::postgres::{DumpAdvance, DumpProgress};
use indicatif::ProgressBar;

use crate::{
    moment,
    table::{plain, size},
    terminal::{Terminal, bar_style},
};

/// How far the dump has come, for people.
pub(super) enum Bar {
    Drawn(ProgressBar),
    Quiet,
}

impl Bar {
    pub(super) fn new(database: &str, terminal: &Terminal) -> Self {
        if !terminal.is_watched() {
            return Self::Quiet;
        }
        let bar = ProgressBar::new(0);
        bar.set_style(bar_style("{prefix} {bar:30} {percent:>3} %  {msg}"));
        bar.set_prefix(plain(database));
        Self::Drawn(bar)
    }

    pub(super) fn show(&self, progress: &DumpProgress) {
        let Self::Drawn(bar) = self else { return };
        let DumpAdvance { tables, tables_done, table_bytes, table_bytes_done, raw_bytes, .. } =
            progress.advance();
        bar.set_length(table_bytes.max(1));
        bar.set_position(table_bytes_done);
        let seconds = bar.elapsed().as_secs().max(1);
        let mut words =
            format!("{}, {}/s, {tables_done} of {tables} tables", size(raw_bytes), size(raw_bytes / seconds));
        if let Some(left) =
            (table_bytes.saturating_sub(table_bytes_done) * seconds).checked_div(table_bytes_done)
        {
            words = format!("{words}, {} left", moment::span(left));
        }
        bar.set_message(words);
    }

    pub(super) fn end(&self) {
        if let Self::Drawn(bar) = self {
            bar.finish_and_clear();
        }
    }
}
