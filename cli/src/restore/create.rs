//! `holdfast restore create`.

use holdfast_domain::id::ApplicationId;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{follow, path, show, view::View};
use crate::{
    arguments::{CreateRestore, Which},
    client::{Answer, Call, Client},
    failure::Failure,
    listing,
    terminal::Terminal,
};

/// Asks for a restore, and follows it until it ends unless told otherwise.
pub(super) async fn run(options: CreateRestore, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    if (!options.tables.is_empty() || !options.files.is_empty()) && options.services.len() != 1 {
        return Err(Failure::usage("--table and --file are for one service")
            .fix("name that with one --service, and restore the others by another command"));
    }
    if options.overwrite && options.no_safety_backup && !options.dry_run && !options.yes {
        terminal
            .confirm(&format!("Replace what is in {} for good, without backing it up first?", options.app))?;
    }
    let (app, detach) = (options.app.clone(), options.detach);
    let id = backup(&options, client).await?;
    let answer = client.call(&request(options, &id)).await?;
    if answer.says("idempotency-replayed") {
        terminal.note("this key was used before: this is the restore it made");
    }
    accepted(&app, &answer, detach, client, terminal).await
}

/// Follows a restore that was asked for, or says how to.
pub(super) async fn accepted(
    app: &ApplicationId,
    answer: &Answer,
    detach: bool,
    client: &Client,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let document = answer.json()?;
    let view: View = listing::read_one(document.clone())?;
    if !detach {
        return follow::run(app, &view.id, client, terminal).await;
    }
    if terminal.is_json() {
        return show::print(document, terminal);
    }
    terminal.line(&format!("{}\nfollow it with `holdfast restore follow {app} {}`", view.id, view.id))
}

/// The id of the backup. The newest is looked up once: by the time the request is repeated, it may be another one.
async fn backup(options: &CreateRestore, client: &Client) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Found {
        id: String,
    }
    match options.from {
        Which::Id(id) => Ok(id.to_string()),
        Which::Latest => {
            let source = options.from_application.as_ref().unwrap_or(&options.app);
            let call = Call::get(format!("/v1/applications/{source}/backups/latest"));
            Ok(client.call(&call).await?.read::<Found>()?.id)
        }
    }
}

fn request(options: CreateRestore, backup: &str) -> Call {
    let mut document = json!({ "from": { "backup": backup } });
    if let Some(source) = options.from_application {
        document["from"]["application"] = source.as_str().into();
    }
    if !options.services.is_empty() {
        let services = options.services.iter().map(|service| {
            let mut mapping = json!({ "from": service.from.as_str(), "to": service.to.as_str() });
            for (name, chosen) in [("tables", &options.tables), ("files", &options.files)] {
                if !chosen.is_empty() {
                    mapping[name] = chosen.as_slice().into();
                }
            }
            mapping
        });
        document["services"] = services.collect();
    }
    let flags = [
        ("dry_run", options.dry_run, Value::from(true)),
        ("overwrite", options.overwrite, true.into()),
        ("safety_backup", options.no_safety_backup, false.into()),
        ("no_owner", options.no_owner, true.into()),
        ("media", options.mirror, "mirror".into()),
    ];
    for (name, _, value) in flags.into_iter().filter(|(_, given, _)| *given) {
        document["options"][name] = value;
    }
    if let Some(prefix) = options.into_prefix {
        document["options"]["into_prefix"] = prefix.into();
    }
    // The key makes it safe to repeat a request whose answer was lost.
    let key = options.idempotency_key.unwrap_or_else(|| Uuid::new_v4().to_string());
    Call::new(Method::POST, path(&options.app)).header("idempotency-key", key).body(document)
}

#[cfg(test)]
mod tests;
