//! The processes that `pg_dump` and `pg_restore` are: started with nothing secret, and never left behind.

use std::{io, path::Path, process::Stdio};

use tokio::process::{Child, Command};

use super::{
    connect::{CONNECT_SECONDS, SESSION_NAME},
    login::Upstream,
    relay,
    tools::PgDump,
};
pub(super) use crate::engines::process::{end, first_and_last_words, last_words, library_path};

/// Starts `pg_dump` against the relay at `host`. All that it must know is in its environment, and nothing of that is
/// secret: the relay needs no password.
pub(super) fn start(
    upstream: &Upstream,
    pg_dump: &PgDump,
    host: &Path,
    compression: &str,
) -> io::Result<Child> {
    command(upstream, &pg_dump.path, host, &upstream.service.database)
        .args(["--format=custom", "--no-password", "--lock-wait-timeout=120000"])
        .arg(format!("--compress={compression}"))
        .stdout(Stdio::piped())
        .spawn()
}

/// A client program that is to find `database` through the relay at `host`, and is not told anything secret.
pub(super) fn command(upstream: &Upstream, program: &Path, host: &Path, database: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(library_path(program))
        // Its words are read by `failure::of_dump`, and no file of whoever runs this has a say.
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent"), ("PGSYSCONFDIR", "/nonexistent")])
        .env("PGHOST", host)
        .env("PGPORT", relay::PORT.to_string())
        // From here a name is taken as it is; on the command line one with `=` would be a connection string.
        .env("PGDATABASE", database)
        .env("PGUSER", &upstream.credentials.username)
        .env("PGAPPNAME", SESSION_NAME)
        // The relay gives up first, and knows why.
        .env("PGCONNECT_TIMEOUT", (2 * CONNECT_SECONDS).to_string())
        .env("PGGSSENCMODE", "disable")
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
