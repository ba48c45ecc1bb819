//! `holdfast restore list`.

use holdfast_domain::id::ApplicationId;

use super::{path, view::View};
use crate::{
    client::{Call, Client},
    failure::Failure,
    listing, moment,
    table::Table,
    terminal::Terminal,
};

/// Lists an application's restores, newest first.
pub(super) async fn run(
    app: &ApplicationId,
    states: &[String],
    limit: usize,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let mut call = Call::get(path(app));
    if !states.is_empty() {
        call = call.query("state", states.join(","));
    }
    let items = listing::items(client, call, limit).await?;
    if terminal.is_json() {
        return terminal.json(&listing::document(&items));
    }
    let mut table = Table::new(["RESTORE", "STATE", "ASKED FOR", "BACKUP", "INTO", "REMARK"]);
    for view in listing::read::<View>(items)? {
        let into = view.services.iter().map(|mapping| mapping.to.as_str()).collect::<Vec<_>>().join(", ");
        let remark = remark(&view);
        let from = if view.from.application == view.application {
            view.from.backup
        } else {
            format!("{} of {}", view.from.backup, view.from.application)
        };
        table.row([view.id, view.state, moment::show(view.created_at), from, into, remark]);
    }
    if table.is_empty() {
        return terminal.line("no restores; make one with `holdfast restore create APP --from latest`");
    }
    terminal.print(&table.to_string())
}

/// What is worth knowing in a line.
fn remark(view: &View) -> String {
    let dry_run = view.options.dry_run.then(|| "dry run".to_owned());
    let undoes = view.undoes.as_ref().map(|undone| format!("undoes {undone}"));
    let refused = match view.refusals().count() {
        0 => None,
        1 => Some("1 thing is in the way".to_owned()),
        count => Some(format!("{count} things are in the way")),
    };
    let failure = view.failure.as_ref().map(|failure| failure.message.clone());
    dry_run.into_iter().chain(undoes).chain(failure.or(refused)).collect::<Vec<_>>().join("; ")
}
