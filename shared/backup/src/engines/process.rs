//! Client programs of databases as processes: what they say, and how they end.

use std::{
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

/// How much of what a program complains of is kept: the end, which has the error, in bytes.
const LAST_WORDS: usize = 4 * 1024;

/// How long a program may take to end when it is told to, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Where a program that was unpacked anywhere has its libraries: beside its own folder.
pub(super) fn library_path(program: &Path) -> Option<(&'static str, PathBuf)> {
    let libraries = program.parent()?.parent()?.join("lib");
    libraries.is_dir().then_some(("LD_LIBRARY_PATH", libraries))
}

/// What a program says of itself, asked by `arguments`.
pub(super) async fn version(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(library_path(program))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("it ended with {}: {why}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The last of what a process complains of. All of it is read, so that the process never waits.
pub(super) async fn last_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; LAST_WORDS];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(LAST_WORDS));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The first and the last of what a process complains of, in which a statement may be that is longer than what is kept.
pub(super) async fn first_and_last_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut first = Vec::new();
    // What cannot be read is the end.
    let _ = (&mut stderr).take(LAST_WORDS as u64).read_to_end(&mut first).await;
    let last = last_words(stderr).await;
    let between = if last.len() < LAST_WORDS { "" } else { "\n" };
    format!("{}{between}{last}", String::from_utf8_lossy(&first))
}

/// That `program` was ended by a signal, and what it `said` before.
pub(super) fn killed(program: &str, signal: i32, said: &str) -> String {
    match said {
        "" => format!("{program} was ended by signal {signal}"),
        said => format!("{program} was ended by signal {signal}; before, it said: {said}"),
    }
}

/// That `program` ended by itself, and what it `said`.
pub(super) fn ended(program: &str, status: ExitStatus, said: &str) -> String {
    match said {
        "" => format!("{program} ended with {status} without a word"),
        said => format!("{program} ended with {status}: {said}"),
    }
}

/// Ends a program and waits for it.
pub(super) async fn end(child: &mut Child) {
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

    #[tokio::test]
    async fn the_first_words_are_kept_with_the_last() {
        let text = format!("the beginning{}the end", "x".repeat(3 * LAST_WORDS));
        let words = first_and_last_words(text.as_bytes()).await;
        assert_eq!(words.len(), 2 * LAST_WORDS + 1);
        assert!(words.starts_with("the beginningx") && words.ends_with("xthe end"));
        for text in ["", "short", &"x".repeat(LAST_WORDS + 1)] {
            assert_eq!(first_and_last_words(text.as_bytes()).await, text);
        }
    }
}
