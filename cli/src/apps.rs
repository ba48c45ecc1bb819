//! `holdfast apps`: what is backed up.

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    arguments::{Apps, Fate},
    client::{Call, Client},
    documents,
    failure::Failure,
    listing, moment,
    table::{Table, plain},
    terminal::Terminal,
};

const PATH: &str = "/v1/applications";

/// What the tables show of an application.
#[derive(Deserialize)]
struct Application {
    id: String,
    version: u64,
    spec: Spec,
    next_run_at: Option<DateTime<Utc>>,
    overdue_since: Option<DateTime<Utc>>,
}

impl Application {
    /// When it is backed up next, and since when that has not worked.
    fn next_backup(&self) -> String {
        let next = moment::show_or_dash(self.next_run_at);
        match self.overdue_since {
            Some(since) => format!("{next} (overdue since {})", moment::show_or_dash(Some(since))),
            None => next,
        }
    }
}

#[derive(Deserialize)]
struct Spec {
    plan: String,
    time_zone: String,
    services: Vec<Value>,
}

/// Runs one of the commands.
pub(crate) async fn run(command: Apps, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Apps::List => list(client, terminal).await,
        Apps::Get { app } => {
            let answer = client.call(&Call::get(format!("{PATH}/{app}"))).await?.json()?;
            show(answer, terminal)
        }
        Apps::Put { app, document } => {
            let look = format!("holdfast apps get {app}");
            let answer = documents::put(client, &format!("{PATH}/{app}"), &document, &look).await?;
            show(answer.json()?, terminal)
        }
        Apps::Delete { app, backups, version, yes } => {
            let (fate, outcome) = match backups {
                Fate::Keep => ("keep", "its backups are kept"),
                Fate::Delete => ("delete", "its backups are deleted"),
            };
            if !yes {
                terminal.confirm(&format!("Remove the application {app}? Then {outcome}."))?;
            }
            let mut call = Call::new(Method::DELETE, format!("{PATH}/{app}")).query("backups", fate);
            if let Some(version) = version {
                call = call.header("if-match", documents::etag(version));
            }
            client.call(&call).await?;
            if terminal.is_json() {
                terminal.json(&json!({ "removed": app, "backups": fate }))
            } else {
                terminal.line(&format!("{app} is removed; {outcome}"))
            }
        }
    }
}

async fn list(client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    let items = listing::items(client, Call::get(PATH), usize::MAX).await?;
    if terminal.is_json() {
        return terminal.json(&listing::document(&items));
    }
    let mut table = Table::new(["APPLICATION", "PLAN", "TIME ZONE", "SERVICES", "NEXT BACKUP"]);
    for application in listing::read::<Application>(items)? {
        let services: Vec<_> =
            application.spec.services.iter().map(|service| text(service, "name")).collect();
        let next_backup = application.next_backup();
        table.row([
            application.id,
            application.spec.plan,
            application.spec.time_zone,
            services.join(", "),
            next_backup,
        ]);
    }
    if table.is_empty() {
        return terminal.line("no applications yet; register one with `holdfast apps put APP --file FILE`");
    }
    terminal.print(&table.to_string())
}

fn show(answer: Value, terminal: &Terminal) -> Result<(), Failure> {
    if terminal.is_json() {
        return terminal.json(&answer);
    }
    let application: Application = listing::read_one(answer)?;
    let mut table = Table::new(["SERVICE", "KIND", "WHERE"]);
    for service in &application.spec.services {
        let place = match service.get("kind").and_then(Value::as_str) {
            Some("postgres" | "mysql") => {
                let port = service.get("port").map(Value::to_string).unwrap_or_default();
                format!("{}:{port}/{}", text(service, "host"), text(service, "database"))
            }
            _ => format!("s3://{}/{}", text(service, "bucket"), text(service, "prefix")),
        };
        table.row([text(service, "name"), text(service, "kind"), place]);
    }
    terminal.print(&format!(
        "application  {}\nversion      {}\nplan         {}\ntime zone    {}\nnext backup  {}\n\n{table}",
        plain(&application.id),
        application.version,
        plain(&application.spec.plan),
        plain(&application.spec.time_zone),
        application.next_backup(),
    ))
}

fn text(document: &Value, field: &str) -> String {
    document.get(field).and_then(Value::as_str).unwrap_or("-").to_owned()
}
