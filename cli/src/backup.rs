//! `holdfast backup`: making, following, finding, verifying, downloading, holding, deleting and bringing back backups.

mod create;
mod download;
mod files;
mod follow;
mod keep;
mod list;
mod remove;
mod show;
mod verify;
mod view;

use holdfast_domain::id::{ApplicationId, BackupId};

use crate::{
    arguments::{Backup, Which},
    client::{Call, Client},
    events,
    failure::Failure,
    terminal::Terminal,
};

/// Runs one of the commands.
pub(crate) async fn run(command: Backup, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Backup::Create(options) => create::run(options, client, terminal).await,
        Backup::List(options) => list::run(options, client, terminal).await,
        Backup::Show { app, backup } => show::run(&app, backup, client, terminal).await,
        Backup::Follow { app, id } => follow::run(&app, &id.to_string(), client, terminal).await,
        Backup::Cancel { app, id } => remove::cancel(&app, id, client, terminal).await,
        Backup::Delete { app, id, yes } => remove::delete(&app, id, yes, client, terminal).await,
        Backup::Download(options) => download::run(options, client, terminal).await,
        Backup::Files(options) => files::list(options, client, terminal).await,
        Backup::Cat { file } => files::cat(file, client, terminal).await,
        Backup::Get { file, to, overwrite } => files::get(file, to, overwrite, client, terminal).await,
        Backup::Hold { app, backup, reason } => keep::hold(&app, backup, &reason, client, terminal).await,
        Backup::Release { app, id } => keep::release(&app, id, client, terminal).await,
        Backup::Undelete { app, id } => keep::undelete(&app, id, client, terminal).await,
        Backup::Verify { app, backup, restore, checksums } => {
            verify::run(&app, backup, verify::level(restore, checksums), client, terminal).await
        }
        Backup::Events { app, limit } => {
            events::run(format!("/v1/applications/{app}/events"), limit, client, terminal).await
        }
    }
}

/// The id of the backup that is meant: the newest may be another one by the time it is asked for again.
async fn id_of(app: &ApplicationId, backup: Which, client: &Client) -> Result<BackupId, Failure> {
    if let Which::Id(id) = backup {
        return Ok(id);
    }
    let found: view::View = client.call(&Call::get(path_of(app, backup))).await?.read()?;
    found.id.parse().map_err(|_| Failure::new("the API's answer cannot be understood: it has no id"))
}

/// The path of an application's backups.
fn path(app: &ApplicationId) -> String {
    format!("/v1/applications/{app}/backups")
}

/// The path of one backup.
fn path_of(app: &ApplicationId, backup: Which) -> String {
    format!("{}/{backup}", path(app))
}
