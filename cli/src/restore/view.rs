//! What the command line reads of a restore. States are read as text, so that those of a newer API show too.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// A restore.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct View {
    pub(super) id: String,
    pub(super) application: String,
    pub(super) from: Origin,
    #[serde(default)]
    pub(super) services: Vec<Mapping>,
    #[serde(default)]
    pub(super) options: Options,
    pub(super) state: String,
    pub(super) undoes: Option<String>,
    #[serde(default)]
    pub(super) rehearsal: bool,
    #[serde(default)]
    pub(super) requested_by: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(super) preflight: Vec<Preflight>,
    pub(super) safety_backup: Option<String>,
    #[serde(default)]
    pub(super) runs: Vec<Run>,
    pub(super) failure: Option<Failed>,
    #[serde(default)]
    pub(super) links: Links,
}

/// The backup it restores.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Origin {
    pub(super) application: String,
    pub(super) backup: String,
}

/// A service of the backup, and the one it is restored into.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Mapping {
    pub(super) from: String,
    pub(super) to: String,
    #[serde(default)]
    pub(super) tables: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<String>,
}

/// How it restores.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub(super) dry_run: bool,
}

/// What was found about a service before anything was changed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Preflight {
    pub(super) service: String,
    pub(super) target: String,
    #[serde(default)]
    pub(super) steps: Vec<String>,
    #[serde(default)]
    pub(super) notes: Vec<String>,
    #[serde(default)]
    pub(super) refusals: Vec<Refusal>,
    pub(super) bytes: u64,
    pub(super) estimated_seconds: u64,
    pub(super) changes: Option<Changes>,
}

/// Why nothing is done.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) fix: String,
}

/// What becomes, or became, of the files of a storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Changes {
    pub(super) added: u64,
    pub(super) replaced: u64,
    pub(super) unchanged: u64,
    pub(super) removed: u64,
}

/// How far it has come with a service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Run {
    pub(super) service: String,
    #[serde(default)]
    pub(super) bytes: u64,
    pub(super) of_bytes: Option<u64>,
    pub(super) doing: Option<String>,
    pub(super) restored: Option<Restored>,
}

/// What was restored of a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Restored {
    pub(super) tables: Option<u64>,
    pub(super) rows: Option<u64>,
    pub(super) rows_compared: bool,
    pub(super) values_compared: Option<u64>,
    pub(super) changes: Option<Changes>,
    pub(super) files_compared: Option<u64>,
    pub(super) notes: Vec<String>,
}

/// Why it failed.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Failed {
    pub(super) code: String,
    pub(super) message: String,
    #[serde(default)]
    pub(super) transient: bool,
}

/// Where to go from it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Links {
    pub(super) undo: Option<String>,
}

impl View {
    /// Whether it still runs, or will.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "queued" | "running")
    }

    /// Everything that stands in its way, as far as it was looked, with the service.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&str, &Refusal)> {
        self.preflight
            .iter()
            .flat_map(|found| found.refusals.iter().map(|refusal| (found.service.as_str(), refusal)))
    }
}

impl Run {
    /// What it is doing, in a word or two.
    pub(super) fn phase(&self) -> &str {
        if self.restored.is_some() { "done" } else { self.doing.as_deref().unwrap_or("waiting") }
    }
}

impl Changes {
    /// The same in words.
    pub(super) fn words(self) -> String {
        let Self { added, replaced, unchanged, removed } = self;
        format!("{added} added, {replaced} replaced, {unchanged} unchanged, {removed} removed")
    }
}
