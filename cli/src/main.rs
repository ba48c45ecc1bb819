//! holdfast, for people and scripts: the API's calls as commands, and some that need no API: a
//! retention simulator, dumps and restores of databases, the archive of a bucket's files, and the catalogue.

mod address;
mod apps;
mod archive;
mod arguments;
mod backup;
mod buckets;
mod catalog;
mod client;
mod clock;
mod completions;
mod documents;
mod dump;
mod events;
mod failure;
mod follow;
mod interrupts;
mod left_out;
mod listing;
mod moment;
mod new_file;
mod outlook;
mod place;
mod plans;
mod postgres;
mod resolve;
mod restore;
mod retention;
#[cfg(test)]
mod scripted_server;
mod sign;
mod table;
mod terminal;
mod upload;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Command},
    client::Client,
    failure::Failure,
    terminal::Terminal,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = Terminal::new(arguments.format(), arguments.no_color);
    match run(arguments, &terminal).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal.complain(&failure);
            failure.exit()
        }
    }
}

async fn run(arguments: Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let connection = arguments.connection;
    match arguments.command {
        Command::Apps(command) => apps::run(command, &Client::connect(&connection).await?, terminal).await,
        Command::Plans(command) => plans::run(command, &Client::connect(&connection).await?, terminal).await,
        Command::Backup(command) => {
            backup::run(command, &Client::connect(&connection).await?, terminal).await
        }
        Command::Retention(command) => retention::run(command, &connection, terminal).await,
        Command::Catalog(command) => catalog::run(command, &connection, terminal).await,
        Command::Archive(options) => archive::run(options, &connection, terminal).await,
        Command::Dump(options) => dump::run(options, &connection, terminal).await,
        Command::Restore(options) => Box::pin(restore::run(options, &connection, terminal)).await,
        Command::Completions { shell } => completions::print(shell, terminal),
    }
}
