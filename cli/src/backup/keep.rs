//! `holdfast backup hold`, `release` and `undelete`.

use std::time::Duration;

use holdfast_domain::id::{ApplicationId, BackupId};
use http::Method;
use serde_json::json;

use super::{path_of, show, view::View};
use crate::{
    arguments::Which,
    client::{Call, Client},
    failure::Failure,
    listing,
    table::plain,
    terminal::Terminal,
};

/// How often the API is asked if it does not say.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps a backup whatever the policy says.
pub(super) async fn hold(
    app: &ApplicationId,
    backup: Which,
    reason: &str,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let backup = match backup {
        Which::Id(_) => backup,
        // The newest may be another one by the time it is held.
        Which::Latest => {
            let found: View = client.call(&Call::get(path_of(app, backup))).await?.read()?;
            found
                .id
                .parse()
                .map_err(|_| Failure::new("the API's answer cannot be understood: it has no id"))?
        }
    };
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
    let mut answer = client.call(&Call::new(Method::POST, format!("{path}/undelete"))).await?;
    loop {
        let document = answer.json()?;
        let view: View = listing::read_one(document.clone())?;
        if !view.is_coming_back() {
            return if view.state == "succeeded" {
                show::print(document, terminal)
            } else {
                Err(failed(app, &view))
            };
        }
        let pause = answer.retry_after().unwrap_or(PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::interrupted(format!("interrupted; {id} is still being brought back"))
                    .fix(format!("see with `holdfast backup show {app} {id}` what became of it")));
            }
        }
        answer = client.call(&Call::get(path.clone())).await?;
    }
}

fn failed(app: &ApplicationId, view: &View) -> Failure {
    Failure::new(format!("{} could not be brought back and is {}", plain(&view.id), plain(&view.state)))
        .fix(format!("see why with `holdfast backup events {app}`, and choose another backup"))
}
