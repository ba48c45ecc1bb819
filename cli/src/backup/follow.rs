//! `holdfast backup follow`: watching a running backup until it ends.

mod bars;

use std::collections::BTreeMap;

use holdfast_domain::id::ApplicationId;
use serde_json::Value;

use super::{path, show, view::View};
use crate::{
    client::{Call, Client},
    failure::Failure,
    follow::{self, Bars, FIRST_PAUSE},
    listing,
    table::{plain, size},
    terminal::Terminal,
};

/// Follows a backup until it ends, shows it, and fails if it did.
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
        if terminal.is_watched() { Screen::Bars(Bars::new(id)) } else { Screen::Lines(Phases::default()) };
    let answer = client.call(&call).await?;
    let (document, _) = follow::until_the_end(answer, &call, client, Some(FIRST_PAUSE), |view: &View| {
        match &mut screen {
            Screen::Bars(bars) => bars::show(bars, view),
            Screen::Lines(phases) => phases.changes(view).iter().for_each(|line| terminal.note(line)),
        }
        view.is_open()
    })
    .await?;
    Ok(document)
}

/// What the person sees meanwhile.
enum Screen {
    Bars(Bars),
    Lines(Phases),
}

/// What was last said, where nobody watches: a line is written only when something changes.
#[derive(Default)]
struct Phases {
    state: String,
    services: BTreeMap<String, String>,
}

impl Phases {
    /// A line for each change since the last look.
    fn changes(&mut self, view: &View) -> Vec<String> {
        let mut lines = Vec::new();
        if self.state != view.state {
            self.state.clone_from(&view.state);
            lines.push(plain(&format!("{}: {}", view.id, view.state)));
        }
        for progress in &view.progress {
            if self.services.get(&progress.service) != Some(&progress.phase) {
                self.services.insert(progress.service.clone(), progress.phase.clone());
                lines.push(plain(&format!(
                    "{}: {}, {} stored",
                    progress.service,
                    progress.phase,
                    size(progress.bytes)
                )));
            }
        }
        lines
    }
}

fn interrupted(app: &ApplicationId, id: &str) -> Failure {
    let id = plain(id);
    Failure::interrupted(format!("interrupted; the backup {id} goes on")).fix(format!(
        "follow it with `holdfast backup follow {app} {id}`, or stop it with `holdfast backup cancel {app} {id}`"
    ))
}

/// Fails unless the backup succeeded.
fn outcome(view: &View) -> Result<(), Failure> {
    match (view.state.as_str(), &view.failure) {
        ("succeeded", _) => Ok(()),
        ("failed", Some(failure)) => {
            let failed = Failure::new(format!("the backup failed: {}", plain(&failure.message)));
            Err(if failure.transient { failed.fix("try again; nothing needs to be changed") } else { failed })
        }
        (state, _) => Err(Failure::new(format!("the backup {} is {}", plain(&view.id), plain(state)))),
    }
}

#[cfg(test)]
mod tests;
