//! `holdfast backup create`.

use http::Method;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{follow, path, show, view::View};
use crate::{
    arguments::Create,
    client::{Call, Client},
    clock,
    failure::Failure,
    listing, moment,
    terminal::Terminal,
};

/// Asks for a backup, and follows it until it ends unless told otherwise.
pub(super) async fn run(options: Create, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let detach = options.detach;
    let app = options.app.clone();
    let answer = client.call(&request(options)?).await?;
    if answer.says("idempotency-replayed") {
        terminal.note("this key was used before: this is the backup it made");
    }
    let document = answer.json()?;
    let view: View = listing::read_one(document.clone())?;
    if detach {
        return if terminal.is_json() {
            show::print(document, terminal)
        } else {
            terminal.line(&format!("{}\nfollow it with `holdfast backup follow {app} {}`", view.id, view.id))
        };
    }
    follow::run(&app, &view.id, client, terminal).await
}

fn request(options: Create) -> Result<Call, Failure> {
    let mut document = Map::new();
    if !options.services.is_empty() {
        let services = options.services.iter().map(|service| Value::from(service.as_str())).collect();
        document.insert("services".to_owned(), services);
    }
    if let Some(note) = options.note {
        document.insert("note".to_owned(), note.into());
    }
    if let Some(expiry) = options.expires {
        let at = expiry.from(clock::now()).ok_or_else(|| Failure::usage("--expires is too far away"))?;
        document.insert("expires_at".to_owned(), moment::show(at).into());
    }
    // The key makes it safe to repeat a request whose answer was lost.
    let key = options.idempotency_key.unwrap_or_else(|| Uuid::new_v4().to_string());
    Ok(Call::new(Method::POST, path(&options.app)).header("idempotency-key", key).body(document.into()))
}
