//! One dump: the family's own program writes SQL, which is compressed and sent as it comes.

use std::io;

use bytes::BytesMut;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, ChildStderr, ChildStdout},
};

use super::{
    access::Access,
    failure::{Fault, failure, of_end},
    frames,
    greeting::Family,
    process,
    rows::{RowCounter, RowCounts, RowSums},
};
use crate::{
    engines::segments::{SegmentWriter, Stopped},
    error::SliceError,
};

/// What is read at once of what is only looked at, and how much of its end is kept, in bytes.
const PIECE_BYTES: usize = 256 * 1024;
const TAIL_BYTES: usize = 256;

/// How the last line of a whole dump begins.
const TRAILER: &str = "-- Dump completed";

/// What both programs are told.
const ARGUMENTS: [&str; 7] = [
    // One snapshot of all tables that have transactions, and no locks.
    "--single-transaction",
    "--skip-lock-tables",
    // Rows as they come, not a table at a time in memory.
    "--quick",
    // Bytes as digits, so that the dump is text whatever is in it.
    "--hex-blob",
    // Every character there is; latin1 tables are converted and stay latin1.
    "--default-character-set=utf8mb4",
    // They belong to the server, and need a privilege over all of it.
    "--no-tablespaces",
    // A row may be as long as the protocol allows.
    "--max-allowed-packet=1G",
];

/// What both are told besides for a backup.
const OBJECTS: [&str; 3] = ["--routines", "--triggers", "--events"];

/// What both are told besides where only rows are wanted.
const ROWS_ONLY: [&str; 2] = ["--no-create-info", "--skip-triggers"];

/// What `MySQL`'s is told besides.
const ARGUMENTS_OF_MYSQL: [&str; 2] = [
    // A restore shall not touch the server's replication.
    "--set-gtid-purged=OFF",
    // Statistics are the optimizer's; it makes them again.
    "--column-statistics=0",
];

/// What of a database a run of the program dumps.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part<'a> {
    /// All of it.
    All,
    /// These tables, with their rows and triggers.
    Tables(&'a [String]),
    /// Everything else: views, routines, events.
    AllBut(&'a [String]),
}

impl Part<'_> {
    /// The options that say so.
    fn options(self, database: &str) -> Vec<String> {
        match self {
            Self::All => OBJECTS.map(str::to_owned).to_vec(),
            Self::Tables(_) => vec!["--triggers".to_owned()],
            Self::AllBut(tables) => {
                let ignored = tables.iter().map(|table| format!("--ignore-table={database}.{table}"));
                ignored.chain(OBJECTS.map(str::to_owned)).collect()
            }
        }
    }

    /// The tables that are named.
    fn tables(&self) -> &[String] {
        match self {
            Self::Tables(tables) => tables,
            Self::All | Self::AllBut(_) => &[],
        }
    }
}

/// Dumps `part` of the database as what comes next of `out`. Ok means: the program has ended well and written its last line. However it ends, the
/// program has ended too, and with it its session; should this future be dropped, it is killed.
///
/// What is returned still holds back the end of the artifact; with it comes how many rows each table has, if that was understood.
pub(super) async fn to_segments(
    access: &Access,
    part: Part<'_>,
    out: SegmentWriter,
) -> Result<(SegmentWriter, Option<RowCounts>), SliceError> {
    let database = access.service.database.as_str();
    let options = part.options(database);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut child = start(access, &options, database, part.tables()).await?;
    let closing = out.sender().clone();
    let outcome = tokio::select! {
        outcome = read(access, &mut child, out) => outcome,
        () = closing.closed() => Err(Stopped.into()),
    };
    if outcome.is_err() {
        process::end(&mut child).await;
    }
    outcome
}

/// Starts the dump program on `tables` of `database`, or on all of it where none are named, with `more` options than it always has.
async fn start(
    access: &Access,
    more: &[&str],
    database: &str,
    tables: &[String],
) -> Result<Child, SliceError> {
    let mut arguments = [&ARGUMENTS, more].concat();
    if access.programs.family == Family::MySql {
        arguments.extend(ARGUMENTS_OF_MYSQL);
    }
    // The name ends the options, whatever it begins with.
    arguments.extend(["--", database]);
    arguments.extend(tables.iter().map(String::as_str));
    let program = &access.programs.dump;
    process::start(program, access.settings(), &arguments).await.map_err(|error| {
        let words = format!("{} could not be started: {error}", program.display());
        failure(&access.service, Fault::DumpFailed, &words)
    })
}

/// What the rows of each table of `database` add up to as a backup would have them, if that was understood. Dropped, the program is
/// killed.
pub(super) async fn sums(access: &Access, database: &str) -> Result<Option<RowSums>, SliceError> {
    let mut child = start(access, &ROWS_ONLY, database, &[]).await?;
    let mut counter = RowCounter::adding_up();
    let looked = look(access, &mut child, |piece| counter.push(piece)).await;
    if looked.is_err() {
        process::end(&mut child).await;
    }
    looked.map(|()| counter.sums())
}

/// Shows `look` all that the program writes, which is a whole dump.
async fn look(access: &Access, child: &mut Child, mut look: impl FnMut(&[u8])) -> Result<(), SliceError> {
    let (mut stdout, stderr) = pipes(access, child)?;
    let mut tail = Vec::new();
    let reading = async {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        while stdout.read_buf(&mut piece).await? > 0 {
            look(&piece);
            tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
            piece.clear();
        }
        Ok(())
    };
    let (read, said) = tokio::join!(reading, process::last_words(stderr));
    let ended: Result<(), io::Error> = read;
    ended.map_err(|error| broken(access, &error))?;
    check_end(access, child, &tail, &said).await
}

fn pipes(access: &Access, child: &mut Child) -> Result<(ChildStdout, ChildStderr), SliceError> {
    match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), Some(stderr)) => Ok((stdout, stderr)),
        _ => Err(broken(access, &io::Error::other("the output of the dump program is not there"))),
    }
}

fn broken(access: &Access, error: &io::Error) -> SliceError {
    failure(&access.service, Fault::DumpFailed, &error.to_string())
}

/// That the program has ended well, and that `tail` is what it has written last.
async fn check_end(access: &Access, child: &mut Child, tail: &[u8], said: &str) -> Result<(), SliceError> {
    let service = &access.service;
    let status = child.wait().await.map_err(|error| broken(access, &error))?;
    if !status.success() {
        return Err(of_end(service, status, said));
    }
    if !is_whole(tail) {
        let words = format!("the dump program ended well without writing {TRAILER:?}: {said}");
        return Err(failure(service, Fault::DumpFailed, &words));
    }
    if !said.trim().is_empty() {
        tracing::warn!(said = said.trim(), "the dump program had something to say");
    }
    Ok(())
}

async fn read(
    access: &Access,
    child: &mut Child,
    mut writer: SegmentWriter,
) -> Result<(SegmentWriter, Option<RowCounts>), SliceError> {
    let (stdout, stderr) = pipes(access, child)?;
    let mut counter = RowCounter::new();
    let compressed = frames::compress(stdout, &mut writer, |piece| counter.push(piece));
    // In the same task, so that nothing of it is left when this is dropped.
    let (tail, said) = tokio::try_join!(compressed, async { Ok(process::last_words(stderr).await) })?;
    check_end(access, child, &tail, &said).await?;
    Ok((writer, counter.finish()))
}

/// Whether a dump ends as a whole one does: no value can end so, for a line break within one is written as `\n`.
pub(super) fn is_whole(tail: &[u8]) -> bool {
    let tail = String::from_utf8_lossy(tail);
    let last = tail.strip_suffix('\n').and_then(|lines| lines.rsplit_once('\n'));
    last.is_some_and(|(_, last)| last.starts_with(TRAILER))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("*/;\n\n-- Dump completed on 2026-11-24 15:46:26\n", true)]
    #[case("*/;\n-- Dump completed\n", true)]
    #[case("*/;\n-- Dump completed on 2026-11-24", false)]
    #[case("-- Dump completed\nINSERT INTO `t` VALUES (1);\n", false)]
    #[case("INSERT INTO `t` VALUES ('-- Dump completed\n", false)]
    #[case("", false)]
    fn a_whole_dump_has_its_last_line(#[case] tail: &str, #[case] whole: bool) {
        assert_eq!(is_whole(tail.as_bytes()), whole);
    }
}
