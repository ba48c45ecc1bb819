//! The process that `pg_dump` is: started with nothing secret, and never left behind.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::{
    connect::{CONNECT_SECONDS, SESSION_NAME},
    login::Upstream,
    relay,
    tools::PgDump,
};

/// How much of what `pg_dump` complains of is kept: the end, which has the error, in bytes.
const LAST_WORDS: usize = 4 * 1024;

/// How long `pg_dump` may take to end when it is told to, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Starts `pg_dump` against the relay at `host`. All that it must know is in its environment, and nothing of that is
/// secret: the relay needs no password.
pub(super) fn start(
    upstream: &Upstream,
    pg_dump: &PgDump,
    host: &Path,
    compression: &str,
) -> io::Result<Child> {
    Command::new(&pg_dump.path)
        .args(["--format=custom", "--no-password", "--lock-wait-timeout=120000"])
        .arg(format!("--compress={compression}"))
        .env_clear()
        .envs(library_path(&pg_dump.path))
        // Its words are read by `failure::of_dump`, and no file of whoever runs this has a say.
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent"), ("PGSYSCONFDIR", "/nonexistent")])
        .env("PGHOST", host)
        .env("PGPORT", relay::PORT.to_string())
        // From here a name is taken as it is; on the command line one with `=` would be a connection string.
        .env("PGDATABASE", &upstream.service.database)
        .env("PGUSER", &upstream.credentials.username)
        .env("PGAPPNAME", SESSION_NAME)
        // The relay gives up first, and knows why.
        .env("PGCONNECT_TIMEOUT", (2 * CONNECT_SECONDS).to_string())
        .env("PGGSSENCMODE", "disable")
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Where a `pg_dump` that was unpacked anywhere has its libraries: beside its own folder.
pub(in crate::engines) fn library_path(pg_dump: &Path) -> Option<(&'static str, PathBuf)> {
    let libraries = pg_dump.parent()?.parent()?.join("lib");
    libraries.is_dir().then_some(("LD_LIBRARY_PATH", libraries))
}

/// The last of what a process complains of. All of it is read, so that the process never waits.
pub(in crate::engines) async fn last_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; LAST_WORDS];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(LAST_WORDS));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Ends a dump program and waits for it.
pub(in crate::engines) async fn end(child: &mut Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // It may have ended by itself meanwhile; until it has been waited for, the id is still its own.
    if let Some(pid) = pid
        && kill_process(pid, Signal::TERM).is_ok()
        && timeout(END_WITHIN, child.wait()).await.is_ok()
    {
        return;
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "a dump program could not be killed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_words_are_the_end() {
        let text = format!("{}the end", "x".repeat(3 * LAST_WORDS));
        let words = last_words(text.as_bytes()).await;
        assert_eq!(words.len(), LAST_WORDS);
        assert!(words.ends_with("xthe end"));
    }
}
