//! `holdfast backup show`.

use holdfast_domain::id::ApplicationId;
use serde_json::Value;

use super::{
    path_of,
    view::{Contents, Verification, Verified, View},
};
use crate::{
    arguments::Which,
    client::{Call, Client},
    failure::Failure,
    left_out, listing, moment,
    table::{Table, plain, size},
    terminal::Terminal,
};

/// Shows a backup.
pub(super) async fn run(
    app: &ApplicationId,
    backup: Which,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let answer = client.call(&Call::get(path_of(app, backup))).await?.json()?;
    print(answer, terminal)
}

/// Prints a backup as the API gave it.
pub(super) fn print(answer: Value, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    terminal.print(&text(&listing::read_one(answer)?))
}

/// A backup in words.
pub(super) fn text(view: &View) -> String {
    let mut lines = vec![
        ("backup", view.id.clone()),
        ("application", view.application.clone()),
        ("state", view.state.clone()),
        ("trigger", view.trigger.clone()),
    ];
    let time = |time: &Option<_>| time.map(moment::show);
    let retention = view.retention.as_ref();
    let details = [
        ("label", view.label.clone()),
        ("slot", view.slot_date.map(|date| date.to_string())),
        ("asked for", Some(moment::show(view.created_at))),
        ("by", Some(view.requested_by.clone()).filter(|by| !by.is_empty())),
        ("data of", time(&view.taken_at)),
        ("finished", time(&view.finished_at)),
        ("expires", time(&view.expires_at)),
        ("note", view.note.clone()),
        (
            "retention",
            retention.map(|retention| retention.reason.clone()).or_else(|| view.retention_reason.clone()),
        ),
        ("next label", retention.and_then(|retention| retention.next.relabel())),
        ("goes", retention.map(|retention| retention.next.discard())),
        (
            "held",
            view.hold
                .as_ref()
                .map(|hold| format!("{} (by {}, {})", hold.reason, hold.by, moment::show(hold.at))),
        ),
        ("verified", view.verification.as_ref().map(verified)),
        ("undelete", time(&view.undelete_until).map(|until| format!("can be brought back until {until}"))),
        ("no snapshot", outside_snapshot(view)),
        ("left out", left_out(view)),
        ("failure", view.failure.as_ref().map(|failure| format!("{} ({})", failure.message, failure.code))),
    ];
    lines.extend(details.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let mut text = String::new();
    for (name, value) in lines {
        text = format!("{text}{name:<12} {}\n", plain(&value));
    }
    for table in [progress(view), artifacts(view)].iter().filter(|table| !table.is_empty()) {
        text = format!("{text}\n{table}");
    }
    text
}

/// What the last look at all of it has found.
fn verified(last: &Verification) -> String {
    let by = format!("(by {}, {})", last.by, moment::show(last.finished_at.unwrap_or(last.at)));
    match (&last.failure, last.state.as_str()) {
        (Some(failure), state) => format!("{state}: {} {by}", failure.message),
        (None, "passed") => {
            let sum = |of: fn(&Verified) -> Option<u64>| last.artifacts.iter().filter_map(of).sum::<u64>();
            let read = counted(
                sum(|artifact| artifact.rows),
                sum(|artifact| artifact.tables),
                sum(|artifact| artifact.files),
            );
            let read = std::iter::once(size(last.bytes())).chain(read).collect::<Vec<_>>().join(", ");
            let tried = last.rehearsal.as_ref().map_or_else(String::new, |rehearsal| {
                let tried = counted(
                    sum(|artifact| artifact.rehearsed.as_ref()?.rows),
                    sum(|artifact| artifact.rehearsed.as_ref()?.tables),
                    sum(|artifact| artifact.rehearsed.as_ref()?.files),
                );
                let is_compared = |artifact: &Verified| {
                    artifact.rehearsed.as_ref().is_some_and(|rehearsed| rehearsed.values_compared.is_some())
                };
                let compared = last.artifacts.iter().any(is_compared).then(|| {
                    let tables = sum(|artifact| artifact.rehearsed.as_ref()?.values_compared);
                    format!("the values of {tables} tables compared")
                });
                let tried = tried.chain(compared).collect::<Vec<_>>().join(", ");
                let span = rehearsal
                    .seconds
                    .map_or_else(String::new, |seconds| format!(" in {}", moment::span(seconds)));
                format!("; restored{span} by {}: {tried}", rehearsal.restore)
            });
            format!("every byte is what it was: {read}{tried} {by}")
        }
        (None, state) => format!("{state} {by}"),
    }
}

/// What there is any of, in words.
fn counted(rows: u64, tables: u64, files: u64) -> impl Iterator<Item = String> {
    let counted = [(rows, "rows"), (tables, "tables"), (files, "files")].into_iter();
    counted.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"))
}

/// How many files are not in the backup, with the first of them.
fn left_out(view: &View) -> Option<String> {
    let named = view.artifacts.iter().flat_map(|artifact| &artifact.contents.skipped);
    left_out::words(view.skipped(), named.map(|skipped| (skipped.key.as_str(), skipped.reason.as_str())))
}

/// Tables that were read when their turn came, since they have no transactions.
fn outside_snapshot(view: &View) -> Option<String> {
    let contents = || view.artifacts.iter().map(|artifact| &artifact.contents);
    let count: u64 = contents().map(|contents| contents.outside_snapshot_count).sum();
    let named: Vec<&str> =
        contents().flat_map(|contents| &contents.outside_snapshot).map(String::as_str).collect();
    let more = match count.saturating_sub(u64::try_from(named.len()).unwrap_or(u64::MAX)) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (count > 0).then(|| {
        format!(
            "{count} tables without transactions are not of one moment with the others: {}{more}",
            named.join(", ")
        )
    })
}

fn progress(view: &View) -> Table {
    let mut table =
        Table::new(["SERVICE", "PHASE", "STORED", "OF ABOUT", "PER SECOND", "LEFT"]).right([2, 3, 4, 5]);
    for service in &view.progress {
        let dash = || "-".to_owned();
        table.row([
            service.service.clone(),
            service.phase.clone(),
            size(service.bytes),
            service.estimated_bytes.map_or_else(dash, size),
            service.bytes_per_second.map_or_else(dash, |rate| size(whole(rate))),
            service.seconds_left.map_or_else(dash, |seconds| moment::span(whole(seconds))),
        ]);
    }
    table
}

fn artifacts(view: &View) -> Table {
    let mut table =
        Table::new(["SERVICE", "HOLDS", "SIZE", "SECONDS", "STORAGE CLASS", "ENCRYPTION", "CRC64NVME"])
            .right([2, 3]);
    for artifact in &view.artifacts {
        let object = &artifact.object;
        table.row([
            artifact.service.clone(),
            holds(&artifact.contents),
            size(object.size),
            format!("{}.{}", artifact.milliseconds / 1000, artifact.milliseconds % 1000 / 100),
            object.storage_class.clone(),
            object.encryption.algorithm.clone(),
            object.crc64nvme.clone(),
        ]);
    }
    table
}

/// What is in an artifact, as far as it was counted.
fn holds(contents: &Contents) -> String {
    match (contents.rows, contents.tables, contents.files) {
        (Some(rows), Some(tables), _) => format!("{rows} rows in {tables} tables"),
        (_, _, Some(files)) => format!("{files} files"),
        _ => "-".to_owned(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped; an estimate for people to read"
)]
pub(super) fn whole(number: f64) -> u64 {
    number.clamp(0.0, 1e15).round() as u64
}

#[cfg(test)]
mod tests;
