//! How far a restore has come, drawn.

use indicatif::{MultiProgress, ProgressBar};

use super::{doing, head};
use crate::{
    restore::view::{Run, View},
    table::plain,
    terminal::bar_style,
};

/// A bar for each service, on standard error.
pub(super) struct Bars {
    screen: MultiProgress,
    head: ProgressBar,
    services: Vec<(String, ProgressBar)>,
}

impl Bars {
    /// The bars of the restore `id`.
    pub(super) fn new(id: &str) -> Self {
        let screen = MultiProgress::new();
        let head = screen.add(ProgressBar::new_spinner().with_style(bar_style("{spinner} {msg}")));
        head.set_message(plain(id));
        head.enable_steady_tick(std::time::Duration::from_millis(120));
        Self { screen, head, services: Vec::new() }
    }

    /// Draws how far the restore has come; once it has ended, the bars go.
    pub(super) fn show(&mut self, view: &View) {
        if !view.is_open() {
            for (_, bar) in &self.services {
                bar.finish_and_clear();
            }
            self.head.finish_and_clear();
            return;
        }
        self.head.set_message(plain(&head(view)));
        for run in &view.runs {
            self.show_service(run);
        }
    }

    /// The bar of a service, which is added when the service is first heard of.
    fn bar(&mut self, service: &str) -> ProgressBar {
        if let Some((_, bar)) = self.services.iter().find(|(known, _)| known == service) {
            return bar.clone();
        }
        let bar = self.screen.add(ProgressBar::new(0));
        bar.set_style(bar_style("  {prefix:<16} {bar:30} {msg}"));
        bar.set_prefix(plain(service));
        self.services.push((service.to_owned(), bar.clone()));
        bar
    }

    fn show_service(&mut self, run: &Run) {
        let bar = self.bar(&run.service);
        let length =
            if run.restored.is_some() { run.bytes } else { run.of_bytes.unwrap_or(0).max(run.bytes) };
        bar.set_length(length.max(1));
        bar.set_position(match (&run.restored, run.of_bytes) {
            (Some(_), _) => length.max(1),
            (None, Some(_)) => run.bytes,
            (None, None) => 0,
        });
        bar.set_message(plain(&doing(run)));
    }
}
