//! The client programs as processes: they learn what is secret through a pipe, and are never left behind.

use std::{io, path::Path, process::Stdio};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

pub(super) use crate::engines::process::{end, last_words, library_path};

/// Starts `program`, which reads its settings, the password among them, from its standard input and from nowhere else: no
/// file of this machine has a say, and nothing secret is on a command line, in an environment or on a disk.
pub(super) async fn start(program: &Path, settings: &[u8], arguments: &[&str]) -> io::Result<Child> {
    let mut child = Command::new(program)
        .arg("--defaults-file=/dev/stdin")
        .args(arguments)
        .env_clear()
        .envs(library_path(program))
        // Its words are read by `failure::of_words`.
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(settings).await {
            // A program that ends without reading says why itself.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    Ok(child)
}
