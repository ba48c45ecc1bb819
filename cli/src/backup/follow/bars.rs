//! How far a backup has come, drawn.

use crate::{
    backup::{
        show::whole,
        view::{Progress, View},
    },
    follow::Bars,
    moment,
    table::size,
};

/// Draws how far the backup has come; once it has ended, the bars go.
pub(super) fn show(bars: &mut Bars, view: &View) {
    if !view.is_open() {
        bars.clear();
        return;
    }
    bars.head(&format!("{} {}", view.id, view.state));
    for progress in &view.progress {
        // Compressed output stays below the estimate: the end is known by the phase, not by the bytes.
        let stored = progress.phase == "done" || progress.phase == "verifying";
        let estimated = progress.estimated_bytes.filter(|_| !stored);
        let length = estimated.unwrap_or(0).max(progress.bytes).max(1);
        let done = if stored { length } else { estimated.map_or(0, |_| progress.bytes) };
        bars.service(&progress.service, done, length, &words(progress));
    }
}

/// What stands beside the bar.
fn words(progress: &Progress) -> String {
    let mut words = format!("{} {}", progress.phase, size(progress.bytes));
    if progress.phase == "copying" {
        if let Some(rate) = progress.bytes_per_second {
            words = format!("{words}, {}/s", size(whole(rate)));
        }
        if let Some(seconds) = progress.seconds_left {
            words = format!("{words}, {} left", moment::span(whole(seconds)));
        }
    }
    words
}
