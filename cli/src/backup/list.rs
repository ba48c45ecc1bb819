//! `holdfast backup list`.

use super::{path, view::View};
use crate::{
    arguments::List,
    client::{Call, Client, parameter},
    failure::Failure,
    listing, moment,
    table::{Table, size},
    terminal::Terminal,
};

/// Lists an application's backups, newest first.
pub(super) async fn run(options: List, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let mut call = Call::get(path(&options.app));
    if !options.states.is_empty() {
        call = call.query("state", options.states.join(","));
    }
    let filters = [
        ("trigger", options.trigger),
        ("label", options.label),
        ("since", options.since.map(parameter)),
        ("until", options.until.map(parameter)),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            call = call.query(name, value);
        }
    }
    let items = listing::items(client, call, options.limit).await?;
    if terminal.is_json() {
        return terminal.json(&listing::document(&items));
    }
    let mut table = Table::new(["BACKUP", "STATE", "TRIGGER", "LABEL", "DATA OF", "SIZE", "NOTE"]).right([5]);
    for view in listing::read::<View>(items)? {
        let remark = remark(&view);
        let bytes = if view.artifacts.is_empty() { "-".to_owned() } else { size(view.bytes()) };
        table.row([
            view.id,
            view.state,
            view.trigger,
            view.label.unwrap_or_else(|| "-".to_owned()),
            moment::show(view.taken_at.unwrap_or(view.created_at)),
            bytes,
            remark,
        ]);
    }
    if table.is_empty() {
        return terminal
            .line("no backups; make one with `holdfast backup create APP`, or look with fewer filters");
    }
    terminal.print(&table.to_string())
}

/// What is worth knowing in a line: a hold, how many files were left out, and the note or why it failed.
fn remark(view: &View) -> String {
    let held = view.hold.as_ref().map(|hold| format!("held: {}", hold.reason));
    let note = view.note.clone().or_else(|| view.failure.as_ref().map(|failure| failure.message.clone()));
    let parts: Vec<String> = held.into_iter().chain(view.left_out()).chain(note).collect();
    parts.join("; ")
}
