//! The client programs as processes: they learn what is secret through a pipe, and are never left behind.

use std::{
    io::{self, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process::Stdio,
};

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
};

pub(super) use crate::engines::process::{end, last_words, library_path};

/// Starts `program`, which reads its settings, the password among them, from its standard input and from nowhere else: no
/// file of this machine has a say, and nothing secret is on a command line, in an environment or on a disk.
pub(super) async fn start(program: &Path, settings: &[u8], arguments: &[&str]) -> io::Result<Child> {
    let mut child = command(program, "/dev/stdin", arguments).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(settings).await {
            // A program that ends without reading says why itself.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    Ok(child)
}

/// Starts `program` in the same way, for SQL that comes on its standard input: its settings are in a pipe of their own. Another
/// program that is started at this very moment may get hold of that pipe too, and does not read it.
pub(super) fn start_for_input(program: &Path, settings: &[u8], arguments: &[&str]) -> io::Result<Child> {
    let (reading, mut writing) = io::pipe()?;
    // They are less than a pipe holds, so that nobody has to read for this to end.
    writing.write_all(settings)?;
    drop(writing);
    fcntl_setfd(&reading, FdFlags::empty())?;
    command(program, &format!("/dev/fd/{}", reading.as_raw_fd()), arguments).spawn()
}

fn command(program: &Path, settings: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .arg(format!("--defaults-file={settings}"))
        .args(arguments)
        .env_clear()
        .envs(library_path(program))
        // Its words are read by `failure::of_words`.
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}
