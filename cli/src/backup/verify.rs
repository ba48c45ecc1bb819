//! `holdfast backup verify`.

use holdfast_domain::id::ApplicationId;
use http::Method;
use serde_json::json;

use super::{
    id_of, path_of, show,
    view::{Verification, View},
};
use crate::{
    arguments::Which,
    client::{Call, Client},
    failure::Failure,
    follow,
    table::plain,
    terminal::Terminal,
};

/// The level that needs no asking for: everything is read.
const LEAST_LEVEL: u8 = 1;

/// How far a verification goes that restores or not, and then compares values or not.
pub(super) fn level(restore: bool, checksums: bool) -> u8 {
    LEAST_LEVEL + u8::from(restore) + u8::from(checksums)
}

/// Has a backup verified up to `level`, and waits for what is found.
pub(super) async fn run(
    app: &ApplicationId,
    backup: Which,
    level: u8,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let id = id_of(app, backup, client).await?;
    let path = path_of(app, Which::Id(id));
    let mut call = Call::new(Method::POST, format!("{path}/verify"));
    if level > LEAST_LEVEL {
        call = call.body(json!({ "level": level }));
    }
    let answer = client.call(&call).await?;
    let bar = terminal.bar(&id.to_string());
    let call = Call::get(path);
    let reading = follow::until_the_end(answer, &call, client, None, |view: &View| {
        let Some(last) = view.verification.as_ref().filter(|last| last.state == "running") else {
            return false;
        };
        bar.set_length(view.bytes().max(1));
        bar.set_position(last.bytes());
        bar.set_message(so_far(view));
        true
    });
    let interrupted = || {
        Failure::interrupted(format!("interrupted; {id} is still being verified"))
            .fix(format!("see with `holdfast backup show {app} {id}` what is found"))
    };
    let ended = follow::unless_interrupted(reading, interrupted).await;
    bar.finish_and_clear();
    let (document, view) = ended?;
    match view.verification.as_ref().map(|last| last.state.as_str()) {
        Some("passed") => show::print(document, terminal),
        state => Err(not_passed(app, &view, state)),
    }
}

/// Which artifacts were read so far.
fn so_far(view: &View) -> String {
    let last = view.verification.as_ref();
    let rehearsal = last.and_then(|last| last.rehearsal.as_ref());
    if let Some(rehearsal) = rehearsal {
        let (app, id) = (plain(&view.application), plain(&rehearsal.restore));
        return format!("all read; being restored beside its services: holdfast restore show {app} {id}");
    }
    let done = last.map_or(0, |last| last.artifacts.len());
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
