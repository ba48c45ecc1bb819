//! How far something has come with each service, drawn.

use indicatif::{MultiProgress, ProgressBar};

use crate::{table::plain, terminal::bar_style};

/// A bar for each service, on standard error.
pub(crate) struct Bars {
    screen: MultiProgress,
    head: ProgressBar,
    services: Vec<(String, ProgressBar)>,
}

impl Bars {
    /// The bars of what is called `id`.
    pub(crate) fn new(id: &str) -> Self {
        let screen = MultiProgress::new();
        let head = screen.add(ProgressBar::new_spinner().with_style(bar_style("{spinner} {msg}")));
        head.set_message(plain(id));
        head.enable_steady_tick(std::time::Duration::from_millis(120));
        Self { screen, head, services: Vec::new() }
    }

    /// Says where the whole of it is.
    pub(crate) fn head(&self, words: &str) {
        self.head.set_message(plain(words));
    }

    /// The bar of a service, which is added when the service is first heard of: `done` of `length`, with `words` beside it.
    pub(crate) fn service(&mut self, service: &str, done: u64, length: u64, words: &str) {
        let bar = self.bar(service);
        bar.set_length(length);
        bar.set_position(done);
        bar.set_message(plain(words));
    }

    /// Takes the bars away.
    pub(crate) fn clear(&self) {
        for (_, bar) in &self.services {
            bar.finish_and_clear();
        }
        self.head.finish_and_clear();
    }

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
}
