//! `holdfast backup cancel` and `delete`.

use holdfast_domain::id::{ApplicationId, BackupId};
use http::Method;
use serde_json::json;

use super::{path_of, show};
use crate::{
    arguments::Which,
    client::{Call, Client},
    failure::Failure,
    terminal::Terminal,
};

/// Asks a running backup to stop.
pub(super) async fn cancel(
    app: &ApplicationId,
    id: BackupId,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let path = format!("{}/cancel", path_of(app, Which::Id(id)));
    let answer = client.call(&Call::new(Method::POST, path)).await?.json()?;
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    terminal.line(&format!(
        "{id} will stop soon and leave nothing behind; see it with `holdfast backup show {app} {id}`"
    ))
}

/// Deletes a backup, after asking.
pub(super) async fn delete(
    app: &ApplicationId,
    id: BackupId,
    yes: bool,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    if !yes {
        terminal.confirm(&format!("Delete the backup {id} of {app}?"))?;
    }
    match client.call(&Call::new(Method::DELETE, path_of(app, Which::Id(id)))).await?.json_if_any()? {
        Some(answer) if terminal.is_json() => show::print(answer, terminal),
        None if terminal.is_json() => terminal.json(&json!({ "deleted": id })),
        _ => terminal.line(&format!("{id} is deleted")),
    }
}
