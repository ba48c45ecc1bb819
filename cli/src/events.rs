//! `holdfast backup events` and `holdfast plans events`: who did what.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::{
    client::{Call, Client},
    failure::Failure,
    listing, moment,
    table::Table,
    terminal::Terminal,
};

/// What the table shows of an entry.
#[derive(Deserialize)]
struct Entry {
    at: DateTime<Utc>,
    actor: String,
    action: String,
    backup: Option<String>,
    restore: Option<String>,
    from: Option<String>,
    to: Option<String>,
    reason: Option<String>,
}

/// Shows the audit trail at `path`, newest first.
pub(crate) async fn run(
    path: String,
    limit: usize,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let items = listing::items(client, Call::get(path), limit).await?;
    if terminal.is_json() {
        return terminal.json(&listing::document(&items));
    }
    let mut table = Table::new(["AT", "ACTION", "BY", "BACKUP OR RESTORE", "CHANGE", "WHY"]);
    for entry in listing::read::<Entry>(items)? {
        let change = match (entry.from, entry.to) {
            (Some(from), Some(to)) => format!("{from} → {to}"),
            (from, to) => from.or(to).unwrap_or_else(|| "-".to_owned()),
        };
        let restore = entry.restore.map(|id| format!("restore {id}"));
        table.row([
            moment::show(entry.at),
            entry.action,
            entry.actor,
            restore.or(entry.backup).unwrap_or_else(|| "-".to_owned()),
            change,
            entry.reason.unwrap_or_default(),
        ]);
    }
    if table.is_empty() {
        return terminal.line("nothing has been done yet");
    }
    terminal.print(&table.to_string())
}
