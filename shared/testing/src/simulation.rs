//! Histories of the use cases, each chosen by a seed: two schedulers, executions with several slices of one job at a time,
//! people, retention and restores go on by turns, call by call, over ports in memory and a clock of their own. Calls fail or
//! lose their answers, processes are killed, time passes. Then nothing goes wrong any more, all comes to rest, and what there
//! is then is looked at from outside.

mod audit;
mod book;
mod counts;
mod databases;
mod dice;
mod door;
mod execution;
mod history;
mod people;
mod process;
mod stage;
mod trace;

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

pub use counts::Counts;
pub use databases::Databases;
pub use trace::Trace;

use crate::fakes::Neglect;
use history::History;
use stage::{Model, Stage};

/// Histories after which their runtime is made anew: its clock only ever goes on.
const HISTORIES_A_RUNTIME: u64 = 500;

/// What plays histories, one after the other.
pub struct Simulation {
    runtime: tokio::runtime::Runtime,
    played: u64,
    models: Vec<Model>,
    neglected: Option<Neglect>,
}

/// What came of a history.
pub struct Played {
    /// What happened, in numbers.
    pub counts: Counts,
    /// What happened, step by step.
    pub trace: Trace,
    /// What was wrong with it.
    pub wrong: Vec<String>,
}

impl Simulation {
    /// Histories in which the use cases can rely on their ports.
    pub fn new() -> Self {
        let runtime = runtime();
        let models = runtime.block_on(Stage::models());
        Self { runtime, played: 0, models, neglected: None }
    }

    /// Histories in which the records do not keep one of their conditions, to see that it is noticed.
    pub fn neglecting(condition: Neglect) -> Self {
        Self { neglected: Some(condition), ..Self::new() }
    }

    /// Plays the history of `seed`, which is always the same.
    pub fn play(&mut self, seed: u64) -> Played {
        self.played += 1;
        if self.played.is_multiple_of(HISTORIES_A_RUNTIME) {
            self.runtime = runtime();
        }
        let (models, neglected) = (&self.models, self.neglected);
        self.runtime.block_on(async {
            let mut history = History::new(seed, models, neglected).await;
            let played = AssertUnwindSafe(history.play()).catch_unwind().await;
            let wrong = played.unwrap_or_else(|panic| vec![format!("somebody panicked: {}", said(&*panic))]);
            Played { counts: history.counts, trace: std::mem::take(&mut history.trace), wrong }
        })
    }

    /// Plays the histories of so many seeds from `first` on. The first one that is wrong ends it, with all that is to be said
    /// about it.
    pub fn play_all(&mut self, first: u64, histories: u64) -> Result<Counts, String> {
        let mut counts = Counts::default();
        for seed in first..first + histories {
            let played = self.play(seed);
            if !played.wrong.is_empty() {
                return Err(played.report(seed));
            }
            counts.add(played.counts);
        }
        Ok(counts)
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Played {
    /// All that is to be said about the history of `seed`.
    pub fn report(&self, seed: u64) -> String {
        format!("{}\nSeed {seed}: {}", self.trace, self.wrong.join("\n"))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default()
}
