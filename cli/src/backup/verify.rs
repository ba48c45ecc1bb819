//! `holdfast backup verify`.

use std::time::Duration;

use holdfast_domain::id::ApplicationId;
use http::Method;

use super::{
    path_of, show,
    view::{Verification, View},
};
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

/// Has a backup read again, and waits for what is found.
pub(super) async fn run(
    app: &ApplicationId,
    backup: Which,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let backup = match backup {
        Which::Id(_) => backup,
        // The newest may be another one by the time it is asked for.
        Which::Latest => Which::Id(newest(app, client).await?),
    };
    let path = path_of(app, backup);
    let mut answer = client.call(&Call::new(Method::POST, format!("{path}/verify"))).await?;
    let bar = terminal.bar(&backup.to_string());
    loop {
        let document = answer.json()?;
        let view: View = listing::read_one(document.clone())?;
        let last = view.verification.as_ref();
        match last.map(|last| last.state.as_str()) {
            Some("running") => {
                bar.set_length(view.bytes().max(1));
                bar.set_position(last.map_or(0, Verification::bytes));
                bar.set_message(so_far(&view));
            }
            Some("passed") => {
                bar.finish_and_clear();
                return show::print(document, terminal);
            }
            state => {
                bar.finish_and_clear();
                return Err(not_passed(app, &view, state));
            }
        }
        let pause = answer.retry_after().unwrap_or(PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = tokio::signal::ctrl_c() => {
                bar.finish_and_clear();
                return Err(Failure::interrupted(format!("interrupted; {backup} is still being verified"))
                    .fix(format!("see with `holdfast backup show {app} {backup}` what is found")));
            }
        }
        answer = client.call(&Call::get(path.clone())).await?;
    }
}

async fn newest(app: &ApplicationId, client: &Client) -> Result<holdfast_domain::id::BackupId, Failure> {
    let found: View = client.call(&Call::get(path_of(app, Which::Latest))).await?.read()?;
    found.id.parse().map_err(|_| Failure::new("the API's answer cannot be understood: it has no id"))
}

/// Which artifacts were read so far.
fn so_far(view: &View) -> String {
    let done = view.verification.as_ref().map_or(0, |last| last.artifacts.len());
    format!("{done} of {} artifacts read", view.artifacts.len())
}

fn not_passed(app: &ApplicationId, view: &View, state: Option<&str>) -> Failure {
    let id = plain(&view.id);
    let why = view.verification.as_ref().and_then(|Verification { failure, .. }| failure.as_ref());
    let why = why
        .map_or(String::new(), |failure| format!(": {} ({})", plain(&failure.message), plain(&failure.code)));
    match state {
        Some("damaged") => Failure::new(format!("{id} is damaged{why}")).fix(format!(
            "make a new backup with `holdfast backup create {app}`, and find another one to rely on with `holdfast backup list {app}`"
        )),
        _ => Failure::new(format!("{id} could not be verified, which says nothing about it{why}"))
            .fix(format!("see `holdfast backup events {app}`, and ask again")),
    }
}
