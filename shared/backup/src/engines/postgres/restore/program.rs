//! `pg_restore`, which makes all but rows: it runs against a relay in this process, and needs no password.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use holdfast_archive::pg_custom::Contents;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Stopped,
    excerpt::Excerpt,
    failure::{failure, lost, of_restore, refused},
    unless,
};
use crate::{
    engines::{
        postgres::{
            failure::Fault,
            login::Session,
            process::{command, end, first_and_last_words},
            relay::{Relay, error_response},
            session::StatementError,
            sessions::Sessions,
            wire::Wire,
        },
        temporary::temporary,
    },
    error::SliceError,
};

/// What its sessions get before they begin. What is lost when the server crashes is restored again; what is kept is on the
/// disk before the database is in its place.
const SETTING: &[u8] = b"SET synchronous_commit = off; SET default_transaction_read_only = off";

/// Which part of an archive is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// What data need: tables, types, functions.
    PreData,
    /// Data; those entries that a list names.
    Data,
    /// What is made of data: indexes, constraints, triggers.
    PostData,
}

/// What it is given of an archive.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    /// All that is in a file.
    File(&'a Path),
    /// What the second file lists of the first one.
    Listed(&'a Path, &'a Path),
    /// What comes through its standard input.
    Excerpt(&'a Excerpt),
}

/// A `pg_restore` and the server that it works on.
pub(super) struct PgRestore {
    pub(super) program: PathBuf,
    pub(super) sessions: Arc<Sessions>,
    /// The database that it restores into.
    pub(super) database: String,
    /// How many sessions it may have.
    pub(super) jobs: usize,
    pub(super) stopped: Stopped,
}

impl PgRestore {
    /// Restores a section of what `contents` have.
    pub(super) async fn restore_contents(
        &self,
        section: Section,
        contents: &Contents,
    ) -> Result<(), SliceError> {
        let file = temporary(&contents.to_bytes())?;
        self.restore(section, Input::File(file.path())).await
    }

    /// Restores a section of what `input` has. However it ends, the program and its sessions have ended too; should this future
    /// be dropped, they are ended.
    pub(super) async fn restore(&self, section: Section, input: Input<'_>) -> Result<(), SliceError> {
        let service = &self.sessions.upstream.service;
        let not_run = |error: io::Error| {
            let words = format!("{} could not be run: {error}", self.program.display());
            failure(service, Fault::DumpFailed, &words)
        };
        let relay = Relay::open().map_err(not_run)?;
        let mut command = command(&self.sessions.upstream, &self.program, relay.host(), &self.database);
        command.args(["--exit-on-error", "--no-password"]).arg(format!("--dbname={}", self.database));
        command.arg(match section {
            Section::PreData => "--section=pre-data",
            Section::Data => "--section=data",
            Section::PostData => "--section=post-data",
        });
        // A schema is made in its order, and what comes through a pipe is there only once.
        if section != Section::PreData && self.jobs > 1 && !matches!(input, Input::Excerpt(_)) {
            command.arg(format!("--jobs={}", self.jobs));
        }
        match input {
            Input::File(archive) => command.arg(archive),
            Input::Listed(archive, list) => command.arg("--use-list").arg(list).arg(archive),
            Input::Excerpt(_) => command.stdin(Stdio::piped()),
        };
        let mut child = command.stdout(Stdio::null()).spawn().map_err(not_run)?;
        let Some(stderr) = child.stderr.take() else {
            return Err(not_run(io::Error::other("its output is not there")));
        };
        let stdin = child.stdin.take();
        let mut passing = JoinSet::new();
        let ended = {
            let running = async { tokio::join!(first_and_last_words(stderr), child.wait()) };
            let serving = async { Err(self.serve(&relay, &mut passing).await) };
            let feeding = async {
                match (input, stdin) {
                    (Input::Excerpt(excerpt), Some(stdin)) => excerpt.write_to(stdin).await?,
                    (_, stdin) => drop(stdin),
                }
                std::future::pending().await
            };
            let mut stopped = self.stopped.clone();
            tokio::select! {
                ended = running => Ok(ended),
                error = unless(&mut stopped, serving) => error,
                error = feeding => error,
            }
        };
        let outcome = match ended {
            Ok((_, Ok(status))) if status.success() => Ok(()),
            Ok((said, Ok(status))) => Err(of_restore(service, status, &said)),
            Ok((_, Err(error))) => Err(not_run(error)),
            Err(error) => {
                // It would ask to cancel there, and wait for an answer.
                drop(relay);
                end(&mut child).await;
                Err(error)
            }
        };
        passing.shutdown().await;
        outcome
    }

    /// Lets the program's sessions through, until one cannot begin.
    async fn serve(&self, relay: &Relay, passing: &mut JoinSet<()>) -> SliceError {
        let (failed, mut failures) = mpsc::channel(1);
        let accepting = async {
            loop {
                let (client, startup) = match relay.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => return error,
                };
                let (sessions, failed) = (self.sessions.clone(), failed.clone());
                passing.spawn(async move {
                    if let Err(error) = pass(sessions, client, startup).await {
                        // One is enough.
                        let _ = failed.try_send(error);
                    }
                });
            }
        };
        tokio::select! {
            Some(error) = failures.recv() => error,
            error = accepting => {
                let words = format!("the local connection with pg_restore broke: {error}");
                failure(&self.sessions.upstream.service, Fault::ConnectionLost, &words)
            }
        }
    }
}

/// Passes on what one session says, to its end.
async fn pass(sessions: Arc<Sessions>, mut client: Wire, startup: bytes::Bytes) -> Result<(), SliceError> {
    let begun = async {
        let mut session = sessions.log_in(&startup).await?;
        let service = &sessions.upstream.service;
        match session.ask(SETTING).await {
            Ok(_) => Ok(session),
            // It may have been ended just now, and come back.
            Err(StatementError::Refused(refusal)) => Err(refused(service, &refusal, SETTING)),
            Err(StatementError::Lost(error)) => Err(lost(service, &error)),
        }
    };
    let Session { wire, greeting, .. } = match begun.await {
        Ok(session) => session,
        Err(error) => {
            // It ends then; what it says of that is not heard.
            let _ = client.send(&error_response(&error.to_string())).await;
            return Err(error);
        }
    };
    // Either side may end before all is said; what that means, the program says.
    if client.send(&greeting).await.is_ok() {
        let _ = client.join(wire).await;
    }
    Ok(())
}
