//! The run of `pg_dump`: its output straight into segments, its success beyond doubt.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use holdfast_domain::application::PostgresService;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{
    connect::{CONNECT_SECONDS, SESSION_NAME},
    failure::{Fault, failure, of_dump},
    inherited_file::{InheritedFile, SecretFile},
    tools::PgDump,
    trust::Trust,
};
use crate::{
    engines::segments::{SegmentSender, SegmentWriter, Stopped},
    error::SliceError,
    ports::DatabaseCredentials,
};

/// What every custom-format archive begins with (`K_VERS` and magic in `pg_backup_archiver.c`).
const MAGIC: &[u8] = b"PGDMP";

/// How much of what `pg_dump` complains of is kept: the end, which has the error, in bytes.
const LAST_WORDS: usize = 4 * 1024;

/// What a pipe holds, and so the most that one read gives.
const READ_BYTES: usize = 64 * 1024;

/// How long `pg_dump` may take to cancel its query and end when it is told to, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(2);

/// Parameters of the connection that have no environment variable. A server that has gone without a word is noticed
/// within about a minute.
const CONNECTION: &str =
    "keepalives=1 keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000";

/// Dumps the database into `out`. Ok means: `pg_dump` has ended well, and all that it wrote has been sent. However it
/// ends, `pg_dump` has ended too; should this future be dropped, it is killed.
pub(super) async fn run(
    service: &PostgresService,
    credentials: &DatabaseCredentials,
    pg_dump: &PgDump,
    trust: Option<&Trust>,
    out: SegmentSender,
) -> Result<(), SliceError> {
    let not_started = |error: io::Error| {
        failure(
            service,
            Fault::DumpFailed,
            &format!("{} could not be started: {error}", pg_dump.path.display()),
        )
    };
    if credentials.password.expose_secret().contains(['\n', '\r', '\0']) {
        let words = "a password with a line break or a zero byte cannot be given to pg_dump";
        return Err(failure(service, Fault::WrongPassword, words));
    }
    let mut child = start(service, credentials, pg_dump, trust).map_err(not_started)?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(not_started(io::Error::other("its output is not there")));
    };
    let complaints = tokio::spawn(last_words(stderr));

    let copying = async {
        let copied = copy(service, stdout, SegmentWriter::new(out.clone())).await?;
        let status = child.wait().await.map_err(not_started)?;
        Ok::<_, SliceError>((copied, status))
    };
    let copied = tokio::select! {
        copied = copying => copied,
        () = out.closed() => Err(Stopped.into()),
    };
    let (Copied { archive, writer }, status) = match copied {
        Ok(copied) => copied,
        Err(error) => {
            end(&mut child).await;
            return Err(error);
        }
    };
    let said = complaints.await.unwrap_or_default();
    if !status.success() {
        return Err(of_dump(service, status, &said));
    }
    if !archive {
        return Err(not_an_archive(service));
    }
    writer.finish().await
}

/// Starts `pg_dump`. What it must know is in its environment, which holds nothing secret: the password is in a file
/// that only it can see.
fn start(
    service: &PostgresService,
    credentials: &DatabaseCredentials,
    pg_dump: &PgDump,
    trust: Option<&Trust>,
) -> io::Result<Child> {
    let passfile = SecretFile::new(passfile(&credentials.password).expose_secret().as_bytes())?;
    let authorities = trust.map(|trust| InheritedFile::new(trust.pem().as_bytes())).transpose()?;
    let mut command = Command::new(&pg_dump.path);
    command
        .args(["--format=custom", "--no-password", "--lock-wait-timeout=120000", "--dbname", CONNECTION])
        .env_clear()
        .envs(library_path(&pg_dump.path))
        // Its words are read by `failure::of_dump`, and no file of whoever runs this has a say.
        .envs([("LC_ALL", "C"), ("HOME", "/nonexistent"), ("PGSYSCONFDIR", "/nonexistent")])
        .env("PGHOST", &service.host)
        .env("PGPORT", service.port.to_string())
        // From here a name is taken as it is; on the command line one with `=` would be a connection string.
        .env("PGDATABASE", &service.database)
        .env("PGUSER", &credentials.username)
        .env("PGPASSFILE", SecretFile::PATH)
        .env("PGAPPNAME", SESSION_NAME)
        .env("PGCONNECT_TIMEOUT", CONNECT_SECONDS.to_string())
        .env("PGGSSENCMODE", "disable")
        .stdin(passfile.into_stdin())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    match &authorities {
        Some(file) => command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", file.path()),
        None => command.env("PGSSLMODE", "disable"),
    };
    command.spawn()
}

/// Where a `pg_dump` that was unpacked anywhere has its libraries: beside its own folder.
pub(super) fn library_path(pg_dump: &Path) -> Option<(&'static str, PathBuf)> {
    let libraries = pg_dump.parent()?.parent()?.join("lib");
    libraries.is_dir().then_some(("LD_LIBRARY_PATH", libraries))
}

/// One line that fits every connection, with what separates its fields escaped:
/// <https://www.postgresql.org/docs/current/libpq-pgpass.html>.
fn passfile(password: &SecretString) -> SecretString {
    let escaped = password.expose_secret().replace('\\', "\\\\").replace(':', "\\:");
    SecretString::from(format!("*:*:*:*:{escaped}\n"))
}

struct Copied {
    /// Whether it began as an archive does.
    archive: bool,
    /// Holds what does not fill a segment yet.
    writer: SegmentWriter,
}

/// Copies until `pg_dump` closes its output.
async fn copy(
    service: &PostgresService,
    mut stdout: ChildStdout,
    mut writer: SegmentWriter,
) -> Result<Copied, SliceError> {
    let mut buffer = vec![0; READ_BYTES];
    let mut magic_seen = 0;
    loop {
        let count = stdout.read(&mut buffer).await.map_err(|error| {
            SliceError::transient("dump_failed", format!("the output of pg_dump broke: {error}"))
        })?;
        let read = &buffer[..count];
        if read.is_empty() {
            return Ok(Copied { archive: magic_seen == MAGIC.len(), writer });
        }
        let head = &read[..count.min(MAGIC.len() - magic_seen)];
        if !MAGIC[magic_seen..].starts_with(head) {
            return Err(not_an_archive(service));
        }
        magic_seen += head.len();
        writer.write(read).await?;
    }
}

fn not_an_archive(service: &PostgresService) -> SliceError {
    let words = "what pg_dump wrote is not a custom-format archive";
    failure(service, Fault::DumpFailed, words)
}

/// The last of what a process complains of. All of it is read, so that the process never waits.
async fn last_words(mut stderr: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut buffer = vec![0; LAST_WORDS];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(LAST_WORDS));
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Ends `pg_dump` and waits for it. Told first, it cancels the query that the server is working on.
async fn end(child: &mut Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // It may have ended by itself meanwhile; until it has been waited for, the id is still its own.
    if let Some(pid) = pid
        && kill_process(pid, Signal::TERM).is_ok()
        && timeout(END_WITHIN, child.wait()).await.is_ok()
    {
        return;
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "pg_dump could not be killed");
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain", "*:*:*:*:plain\n")]
    #[case(r"a:b\c", "*:*:*:*:a\\:b\\\\c\n")]
    #[case("'\" =#", "*:*:*:*:'\" =#\n")]
    fn a_password_is_escaped(#[case] password: &str, #[case] line: &str) {
        assert_eq!(passfile(&SecretString::from(password)).expose_secret(), line);
    }

    #[tokio::test]
    async fn the_last_words_are_the_end() {
        let text = format!("{}the end", "x".repeat(3 * LAST_WORDS));
        let words = last_words(text.as_bytes()).await;
        assert_eq!(words.len(), LAST_WORDS);
        assert!(words.ends_with("xthe end"));
    }
}
