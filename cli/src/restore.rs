//! `holdfast restore`: backups into applications, through the API; and a database out of an archive in a file.

mod create;
mod file;
mod follow;
mod list;
mod show;
mod stop;
mod undo;
mod view;

use holdfast_domain::id::{ApplicationId, RestoreId};

use crate::{
    arguments::{Connection, Restore, Restores},
    client::Client,
    failure::Failure,
    terminal::Terminal,
};

/// Runs one of the commands, or restores from a file where there is none.
pub(crate) async fn run(
    options: Restore,
    connection: &Connection,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match options.command {
        None => file::run(options.file, terminal).await,
        Some(command) => by_api(command, &Client::connect(connection).await?, terminal).await,
    }
}

async fn by_api(command: Restores, client: &Client, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        Restores::Create(options) => create::run(options, client, terminal).await,
        Restores::List { app, states, limit } => list::run(&app, &states, limit, client, terminal).await,
        Restores::Show { app, id } => show::run(&app, id, client, terminal).await,
        Restores::Follow { app, id } => follow::run(&app, &id.to_string(), client, terminal).await,
        Restores::Cancel { app, id } => stop::run(&app, id, client, terminal).await,
        Restores::Undo(options) => undo::run(options, client, terminal).await,
    }
}

/// The path of an application's restores.
fn path(app: &ApplicationId) -> String {
    format!("/v1/applications/{app}/restores")
}

/// The path of one restore.
fn path_of(app: &ApplicationId, id: RestoreId) -> String {
    format!("{}/{id}", path(app))
}
