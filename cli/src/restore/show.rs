//! `holdfast restore show`.

use holdfast_domain::id::{ApplicationId, RestoreId};
use serde_json::Value;

use super::{
    path_of,
    view::{Mapping, Preflight, Restored, View},
};
use crate::{
    client::{Call, Client},
    failure::Failure,
    listing, moment,
    table::{Table, plain, size},
    terminal::Terminal,
};

/// Shows a restore.
pub(super) async fn run(
    app: &ApplicationId,
    id: RestoreId,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let answer = client.call(&Call::get(path_of(app, id))).await?.json()?;
    print(answer, terminal)
}

/// Prints a restore as the API gave it.
pub(super) fn print(answer: Value, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    terminal.print(&text(&listing::read_one(answer)?))
}

/// A restore in words: what it is, what was found before, and what came of it.
pub(super) fn text(view: &View) -> String {
    let lines = [
        ("restore", Some(view.id.clone())),
        ("application", Some(view.application.clone())),
        ("state", Some(state(view))),
        ("from", Some(origin(view))),
        ("undoes", view.undoes.clone()),
        ("only tried", view.rehearsal.then(|| "beside the services, compared, and removed again".to_owned())),
        ("asked for", Some(moment::show(view.created_at))),
        ("by", Some(view.requested_by.clone()).filter(|by| !by.is_empty())),
        ("finished", view.finished_at.map(moment::show)),
        (
            "safety",
            view.safety_backup.as_ref().map(|backup| format!("what was there is the backup {backup}")),
        ),
        ("undo", undo(view)),
        ("failure", view.failure.as_ref().map(|failure| format!("{} ({})", failure.message, failure.code))),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        if let Some(value) = value {
            text = format!("{text}{name:<12} {}\n", plain(&value));
        }
    }
    for found in &view.preflight {
        let mapping = view.services.iter().find(|mapping| mapping.to == found.service);
        text = format!("{text}\n{}", preflight(found, mapping));
    }
    let runs = runs(view);
    if runs.is_empty() { text } else { format!("{text}\n{runs}") }
}

/// Its state; that of a dry run needs a word more.
fn state(view: &View) -> String {
    match (view.options.dry_run, view.state.as_str(), view.refusals().next()) {
        (true, "succeeded", None) => "dry run: it can be done; nothing was changed".to_owned(),
        (true, "succeeded", Some(_)) => "dry run: it would be refused; nothing was changed".to_owned(),
        (true, state, _) => format!("{state} (dry run)"),
        (false, state, _) => state.to_owned(),
    }
}

fn origin(view: &View) -> String {
    if view.from.application == view.application {
        format!("the backup {}", view.from.backup)
    } else {
        format!("the backup {} of {}", view.from.backup, view.from.application)
    }
}

/// How to take it back, where that can be.
fn undo(view: &View) -> Option<String> {
    view.links.undo.as_ref().map(|_| format!("holdfast restore undo {} {}", view.application, view.id))
}

/// What was found about a service.
fn preflight(found: &Preflight, mapping: Option<&Mapping>) -> String {
    let from = mapping.filter(|mapping| mapping.from != mapping.to);
    let from = from.map_or_else(String::new, |mapping| format!(" from {}", mapping.from));
    let head = format!(
        "{}{from}: {}, {} to read, about {}",
        found.service,
        found.target,
        size(found.bytes),
        moment::span(found.estimated_seconds)
    );
    let chosen = mapping.map_or_else(Vec::new, |mapping| [&mapping.tables[..], &mapping.files].concat());
    let mut lines = vec![head];
    lines.extend((!chosen.is_empty()).then(|| format!("  only:       {}", chosen.join(", "))));
    lines.extend(found.steps.iter().enumerate().map(|(n, step)| format!("  step {}:     {step}", n + 1)));
    lines.extend(found.changes.map(|changes| format!("  files:      {}", changes.words())));
    lines.extend(found.notes.iter().map(|note| format!("  note:       {note}")));
    for refusal in &found.refusals {
        lines.push(format!("  in the way: {}", refusal.what));
        lines.push(format!("  what to do: {}", refusal.fix));
    }
    lines.iter().flat_map(|line| [plain(line), "\n".to_owned()]).collect()
}

/// How far it has come with each service, and what came of it.
fn runs(view: &View) -> Table {
    let mut table = Table::new(["SERVICE", "DOING", "RESTORED", "OF", "WHAT CAME OF IT"]).right([2, 3]);
    for run in &view.runs {
        let dash = || "-".to_owned();
        table.row([
            run.service.clone(),
            run.phase().to_owned(),
            size(run.bytes),
            run.of_bytes.map_or_else(dash, size),
            run.restored.as_ref().map_or_else(dash, words),
        ]);
    }
    table
}

/// What was restored, in words.
fn words(restored: &Restored) -> String {
    let compared = if restored.rows_compared { ", as many as when they were dumped" } else { "" };
    let values =
        restored.values_compared.map(|tables| format!("the values of {tables} tables as they were dumped"));
    let database = match (restored.tables, restored.rows) {
        (Some(tables), Some(rows)) => Some(format!("{tables} tables, {rows} rows{compared}")),
        (Some(tables), None) => Some(format!("{tables} tables")),
        (None, Some(rows)) => Some(format!("{rows} rows{compared}")),
        (None, None) => None,
    };
    let files = match (restored.files_compared, restored.changes) {
        (Some(files), _) => Some(format!("{files} files, as they were backed up")),
        (None, changes) => changes.map(|changes| format!("files: {}", changes.words())),
    };
    let said: Vec<String> =
        database.into_iter().chain(values).chain(files).chain(restored.notes.iter().cloned()).collect();
    if said.is_empty() { "restored".to_owned() } else { said.join("; ") }
}

#[cfg(test)]
mod tests;
