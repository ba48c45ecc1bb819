//! The only place that prints.

use std::{
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{arguments::Output, failure::Failure, table::plain};

/// How often progress is drawn.
pub(crate) const DRAW_EVERY: Duration = Duration::from_millis(200);

/// Standard output and standard error.
pub(crate) struct Terminal {
    output: Output,
    no_color: bool,
}

#[expect(
    clippy::unused_self,
    reason = "who may print is handed the terminal, whether or not it has a choice"
)]
impl Terminal {
    /// Prints what `output` asks for.
    pub(crate) fn new(output: Output, no_color: bool) -> Self {
        Self { output, no_color }
    }

    /// Whether standard output gets one JSON document.
    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Whether somebody watches standard error, so that progress can be drawn there.
    pub(crate) fn is_watched(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// A bar on standard error for what is done to `name`; hidden where nobody watches.
    pub(crate) fn bar(&self, name: &str) -> ProgressBar {
        let bar = if self.is_watched() { ProgressBar::new(1) } else { ProgressBar::hidden() };
        bar.set_style(bar_style("{prefix} {bar:30} {percent:>3} %  {msg}"));
        bar.set_prefix(plain(name));
        bar
    }

    /// Whether standard output shows colours.
    pub(crate) fn has_colour(&self) -> bool {
        !self.no_color && io::stdout().is_terminal()
    }

    /// Prints `text` as it is.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())
    }

    /// Writes `bytes` as they are.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::closed_pipe(),
            _ => Failure::new(format!("standard output cannot be written: {error}")),
        })
    }

    /// Prints `text` and ends the line.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }

    /// Prints one JSON document.
    pub(crate) fn json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(document)
            .map_err(|error| Failure::new(format!("the result cannot be written as JSON: {error}")))?;
        self.line(&text)
    }

    /// Says `text` on standard error. If nobody can hear it, that is not worth failing for.
    pub(crate) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Says why the command failed.
    pub(crate) fn complain(&self, failure: &Failure) {
        if !failure.is_quiet() {
            self.note(&format!("holdfast: {failure}"));
        }
    }

    /// Asks a question that only `y` or `yes` says yes to. Without anybody to ask, the answer is yes: the command was
    /// written down by somebody, and says what it does.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), Failure> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(());
        }
        let mut err = io::stderr().lock();
        let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
        let mut answer = String::new();
        io::stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::new(format!("the answer cannot be read: {error}")))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new("nothing was changed")),
        }
    }
}

/// The style of a progress bar. The template is written down in this program; a wrong one would only look plain.
pub(crate) fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
