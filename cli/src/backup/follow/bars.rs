//! How far a backup has come, drawn.

use indicatif::{MultiProgress, ProgressBar};

use crate::{
    backup::{
        show::whole,
        view::{Progress, View},
    },
    moment,
    table::{plain, size},
    terminal::bar_style,
};

/// A bar for each service, on standard error.
pub(super) struct Bars {
    screen: MultiProgress,
    head: ProgressBar,
    services: Vec<(String, ProgressBar)>,
}

impl Bars {
    /// The bars of the backup `id`.
    pub(super) fn new(id: &str) -> Self {
        let screen = MultiProgress::new();
        let head = screen.add(ProgressBar::new_spinner().with_style(bar_style("{spinner} {msg}")));
        head.set_message(plain(id));
        head.enable_steady_tick(std::time::Duration::from_millis(120));
        Self { screen, head, services: Vec::new() }
    }

    /// Draws how far the backup has come; once it has ended, the bars go.
    pub(super) fn show(&mut self, view: &View) {
        if !view.is_open() {
            for (_, bar) in &self.services {
                bar.finish_and_clear();
            }
            self.head.finish_and_clear();
            return;
        }
        self.head.set_message(plain(&format!("{} {}", view.id, view.state)));
        for progress in &view.progress {
            self.show_service(progress);
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

    fn show_service(&mut self, progress: &Progress) {
        let bar = self.bar(&progress.service);
        // Compressed output stays below the estimate: the end is known by the phase, not by the bytes.
        let stored = progress.phase == "done" || progress.phase == "verifying";
        let length =
            if stored { progress.bytes } else { progress.estimated_bytes.unwrap_or(0).max(progress.bytes) };
        bar.set_length(length.max(1));
        bar.set_position(if stored {
            length.max(1)
        } else if progress.estimated_bytes.is_some() {
            progress.bytes
        } else {
            0
        });
        bar.set_message(words(progress));
    }
}

/// What stands beside the bar.
fn words(progress: &Progress) -> String {
    let mut words = format!("{} {}", plain(&progress.phase), size(progress.bytes));
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
