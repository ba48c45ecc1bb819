//! `holdfast restore follow`: watching a running restore until it ends.

mod bars;

use std::collections::BTreeMap;

use holdfast_domain::id::ApplicationId;
use serde_json::Value;

use super::{
    path, show,
    view::{Run, View},
};
use crate::{
    client::{Call, Client},
    failure::Failure,
    follow::{self, Bars, FIRST_PAUSE},
    listing,
    table::{plain, size},
    terminal::Terminal,
};

/// Follows a restore until it ends, shows it, and fails if it did.
pub(super) async fn run(
    app: &ApplicationId,
    id: &str,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let following = until_the_end(app, id, client, terminal);
    let ended = follow::unless_interrupted(following, || interrupted(app, id)).await?;
    let view: View = listing::read_one(ended.clone())?;
    show::print(ended, terminal)?;
    outcome(&view)
}

async fn until_the_end(
    app: &ApplicationId,
    id: &str,
    client: &Client,
    terminal: &Terminal,
) -> Result<Value, Failure> {
    let call = Call::get(format!("{}/{id}", path(app)));
    let mut screen =
        if terminal.is_watched() { Screen::Bars(Bars::new(id)) } else { Screen::Lines(Said::default()) };
    let answer = client.call(&call).await?;
    let (document, _) = follow::until_the_end(answer, &call, client, Some(FIRST_PAUSE), |view: &View| {
        match &mut screen {
            Screen::Bars(bars) => bars::show(bars, view),
            Screen::Lines(said) => said.changes(view).iter().for_each(|line| terminal.note(line)),
        }
        view.is_open()
    })
    .await?;
    Ok(document)
}

/// What the person sees meanwhile.
enum Screen {
    Bars(Bars),
    Lines(Said),
}

/// What was last said, where nobody watches: a line is written only when something changes.
#[derive(Default)]
struct Said {
    head: String,
    services: BTreeMap<String, String>,
}

impl Said {
    /// A line for each change since the last look.
    fn changes(&mut self, view: &View) -> Vec<String> {
        let mut lines = Vec::new();
        let head = head(view);
        if self.head != head {
            lines.push(plain(&head));
            self.head = head;
        }
        for run in view.runs.iter().filter(|run| run.doing.is_some() || run.restored.is_some()) {
            if self.services.get(&run.service).is_none_or(|said| said != run.phase()) {
                self.services.insert(run.service.clone(), run.phase().to_owned());
                lines.push(plain(&format!("{}: {}", run.service, doing(run))));
            }
        }
        lines
    }
}

/// Where the whole of it is.
fn head(view: &View) -> String {
    let untouched = view.runs.iter().all(|run| run.doing.is_none() && run.restored.is_none());
    match &view.safety_backup {
        Some(backup) if view.is_open() && untouched => {
            format!("{}: {}, what is there is backed up first as {backup}", view.id, view.state)
        }
        _ => format!("{}: {}", view.id, view.state),
    }
}

/// What it is doing with a service, and how far it has come.
fn doing(run: &Run) -> String {
    match run.of_bytes {
        Some(of) if run.restored.is_none() => {
            format!("{}, {} of {} restored", run.phase(), size(run.bytes), size(of))
        }
        _ => format!("{}, {} restored", run.phase(), size(run.bytes)),
    }
}

fn interrupted(app: &ApplicationId, id: &str) -> Failure {
    let id = plain(id);
    Failure::interrupted(format!("interrupted; the restore {id} goes on")).fix(format!(
        "follow it with `holdfast restore follow {app} {id}`, or stop it with `holdfast restore cancel {app} {id}`"
    ))
}

/// Fails unless the restore succeeded, and a dry run found nothing in its way.
fn outcome(view: &View) -> Result<(), Failure> {
    let mut refusals = view.refusals().peekable();
    match (view.state.as_str(), &view.failure) {
        ("succeeded", _) if refusals.peek().is_none() => Ok(()),
        ("succeeded", _) => {
            let what: Vec<String> =
                refusals.map(|(service, refusal)| plain(&format!("{service}: {}", refusal.what))).collect();
            Err(Failure::new(format!("it would be refused: {}", what.join("; "))))
        }
        ("failed", Some(failure)) => {
            let failed = Failure::new(format!("the restore failed: {}", plain(&failure.message)));
            Err(match undo(view) {
                Some(undo) => failed.fix(undo),
                None if failure.transient => failed.fix("try again; nothing needs to be changed"),
                None => failed,
            })
        }
        (state, _) => {
            let failed = Failure::new(format!("the restore {} is {}", plain(&view.id), plain(state)));
            Err(match undo(view) {
                Some(undo) => failed.fix(undo),
                None => failed,
            })
        }
    }
}

/// How to get back what was there, where something was changed.
fn undo(view: &View) -> Option<String> {
    view.links.undo.as_ref().map(|_| {
        plain(&format!(
            "get back what was there with `holdfast restore undo {} {}`",
            view.application, view.id
        ))
    })
}

#[cfg(test)]
mod tests;
