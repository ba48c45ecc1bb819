//! `holdfast backup follow`: watching a running backup until it ends.

mod bars;

use std::{collections::BTreeMap, time::Duration};

use holdfast_domain::id::ApplicationId;
use serde_json::Value;

use self::bars::Bars;
use super::{path, show, view::View};
use crate::{
    client::{Call, Client},
    failure::Failure,
    listing,
    table::{plain, size},
    terminal::Terminal,
};

/// How often the API is asked if it does not say.
const PAUSE: Duration = Duration::from_secs(2);

/// The first look comes sooner: a small backup takes about a second.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Follows a backup until it ends, shows it, and fails if it did.
pub(super) async fn run(
    app: &ApplicationId,
    id: &str,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let ended = tokio::select! {
        ended = until_the_end(app, id, client, terminal) => ended?,
        _ = tokio::signal::ctrl_c() => return Err(interrupted(app, id)),
    };
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
    let mut first = true;
    loop {
        let answer = client.call(&call).await?;
        let document = answer.json()?;
        let view: View = listing::read_one(document.clone())?;
        match &mut screen {
            Screen::Bars(bars) => bars.show(&view),
            Screen::Lines(phases) => phases.changes(&view).iter().for_each(|line| terminal.note(line)),
        }
        if !view.is_open() {
            return Ok(document);
        }
        let pause = if first { FIRST_PAUSE } else { answer.retry_after().unwrap_or(PAUSE) };
        first = false;
        tokio::time::sleep(pause).await;
    }
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
