//! How far a restore has come, drawn.

use super::{doing, head};
use crate::{follow::Bars, restore::view::View};

/// Draws how far the restore has come; once it has ended, the bars go.
pub(super) fn show(bars: &mut Bars, view: &View) {
    if !view.is_open() {
        bars.clear();
        return;
    }
    bars.head(&head(view));
    for run in &view.runs {
        let of_bytes = run.of_bytes.filter(|_| run.restored.is_none());
        let length = of_bytes.unwrap_or(0).max(run.bytes).max(1);
        let done = if run.restored.is_some() { length } else { of_bytes.map_or(0, |_| run.bytes) };
        bars.service(&run.service, done, length, &doing(run));
    }
}
