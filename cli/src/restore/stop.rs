//! `holdfast restore cancel`.

use holdfast_domain::id::{ApplicationId, RestoreId};
use http::Method;

use super::path_of;
use crate::{
    client::{Call, Client},
    failure::Failure,
    terminal::Terminal,
};

/// Asks a running restore to stop.
pub(super) async fn run(
    app: &ApplicationId,
    id: RestoreId,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let path = format!("{}/cancel", path_of(app, id));
    let answer = client.call(&Call::new(Method::POST, path)).await?.json()?;
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    terminal.line(&format!(
        "{id} will stop soon; `holdfast restore show {app} {id}` says then what is as it was, and what is not"
    ))
}
