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

use holdfast_domain::id::ApplicationId;

use crate::{
    arguments::{Backup, Which},
    client::Client,
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
        Backup::Verify { app, backup } => verify::run(&app, backup, client, terminal).await,
        Backup::Events { app, limit } => {
            events::run(format!("/v1/applications/{app}/events"), limit, client, terminal).await
        }
    }
}

/// The path of an application's backups.
fn path(app: &ApplicationId) -> String {
    format!("/v1/applications/{app}/backups")
}

/// The path of one backup.
fn path_of(app: &ApplicationId, backup: Which) -> String {
    format!("{}/{backup}", path(app))
}
