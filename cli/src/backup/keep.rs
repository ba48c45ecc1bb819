//! `holdfast backup hold`, `release` and `undelete`.

use holdfast_domain::id::{ApplicationId, BackupId};
use http::Method;
use serde_json::json;

use super::{id_of, path_of, show, view::View};
use crate::{
    arguments::Which,
    client::{Call, Client},
    failure::Failure,
    follow,
    table::plain,
    terminal::Terminal,
};

/// Keeps a backup whatever the policy says.
pub(super) async fn hold(
    app: &ApplicationId,
    backup: Which,
    reason: &str,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let backup = Which::Id(id_of(app, backup, client).await?);
    let call = Call::new(Method::PUT, format!("{}/hold", path_of(app, backup)));
    let answer = client.call(&call.body(json!({ "reason": reason }))).await?.json()?;
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    terminal.line(&format!(
        "{backup} is held: nobody and no policy takes it until `holdfast backup release {app} {backup}`"
    ))
}

/// Lets the policy decide again.
pub(super) async fn release(
    app: &ApplicationId,
    id: BackupId,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let path = format!("{}/hold", path_of(app, Which::Id(id)));
    let answer = client.call(&Call::new(Method::DELETE, path)).await?.json()?;
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    terminal.line(&format!(
        "{id} is not held any more; see with `holdfast retention show {app}` what the next run does with it"
    ))
}

/// Brings a deleted backup back, and waits until it is there.
pub(super) async fn undelete(
    app: &ApplicationId,
    id: BackupId,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let path = path_of(app, Which::Id(id));
    let answer = client.call(&Call::new(Method::POST, format!("{path}/undelete"))).await?;
    let call = Call::get(path);
    let coming = follow::until_the_end(answer, &call, client, None, View::is_coming_back);
    let interrupted = || {
        Failure::interrupted(format!("interrupted; {id} is still being brought back"))
            .fix(format!("see with `holdfast backup show {app} {id}` what became of it"))
    };
    let (document, view) = follow::unless_interrupted(coming, interrupted).await?;
    if view.state == "succeeded" { show::print(document, terminal) } else { Err(failed(app, &view)) }
}

fn failed(app: &ApplicationId, view: &View) -> Failure {
    Failure::new(format!("{} could not be brought back and is {}", plain(&view.id), plain(&view.state)))
        .fix(format!("see why with `holdfast backup events {app}`, and choose another backup"))
}
