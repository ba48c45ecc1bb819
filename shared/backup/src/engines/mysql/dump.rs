//! One dump: the family's own program writes SQL, which is compressed and sent as it comes.

use std::io;

use tokio::process::Child;

use super::{
    access::Access,
    failure::{Fault, failure, of_end},
    frames,
    greeting::Family,
    process,
    rows::{RowCounter, RowCounts},
};
use crate::{
    engines::segments::{SegmentWriter, Stopped},
    error::SliceError,
};

/// How the last line of a whole dump begins.
const TRAILER: &str = "-- Dump completed";

/// What both programs are told.
const ARGUMENTS: [&str; 10] = [
    // One snapshot of all tables that have transactions, and no locks.
    "--single-transaction",
    "--skip-lock-tables",
    // Rows as they come, not a table at a time in memory.
    "--quick",
    "--routines",
    "--triggers",
    "--events",
    // Bytes as digits, so that the dump is text whatever is in it.
    "--hex-blob",
    // Every character there is; latin1 tables are converted and stay latin1.
    "--default-character-set=utf8mb4",
    // They belong to the server, and need a privilege over all of it.
    "--no-tablespaces",
    // A row may be as long as the protocol allows.
    "--max-allowed-packet=1G",
];

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
    /// The arguments that say so; the last ones there are.
    fn arguments(self, database: &str) -> Vec<String> {
        // The name ends the options, whatever it begins with.
        let end = ["--".to_owned(), database.to_owned()];
        match self {
            Self::All => end.to_vec(),
            Self::Tables(tables) => {
                let options = ["--skip-routines".to_owned(), "--skip-events".to_owned()];
                options.into_iter().chain(end).chain(tables.iter().cloned()).collect()
            }
            Self::AllBut(tables) => {
                let ignored = tables.iter().map(|table| format!("--ignore-table={database}.{table}"));
                ignored.chain(end).collect()
            }
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
    let parted = part.arguments(&access.service.database);
    let mut arguments = ARGUMENTS.to_vec();
    if access.programs.family == Family::MySql {
        arguments.extend(ARGUMENTS_OF_MYSQL);
    }
    arguments.extend(parted.iter().map(String::as_str));
    let program = &access.programs.dump;
    let mut child = process::start(program, access.settings(), &arguments).await.map_err(|error| {
        let words = format!("{} could not be started: {error}", program.display());
        failure(&access.service, Fault::DumpFailed, &words)
    })?;
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

async fn read(
    access: &Access,
    child: &mut Child,
    mut writer: SegmentWriter,
) -> Result<(SegmentWriter, Option<RowCounts>), SliceError> {
    let service = &access.service;
    let broken = |error: io::Error| failure(service, Fault::DumpFailed, &error.to_string());
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(broken(io::Error::other("the output of the dump program is not there")));
    };
    let mut counter = RowCounter::new();
    let compressed = frames::compress(stdout, &mut writer, |piece| counter.push(piece));
    // In the same task, so that nothing of it is left when this is dropped.
    let (tail, said) = tokio::try_join!(compressed, async { Ok(process::last_words(stderr).await) })?;
    let status = child.wait().await.map_err(broken)?;
    if !status.success() {
        return Err(of_end(service, status, &said));
    }
    if !is_whole(&tail) {
        let words = format!("the dump program ended well without writing {TRAILER:?}: {said}");
        return Err(failure(service, Fault::DumpFailed, &words));
    }
    if !said.trim().is_empty() {
        tracing::warn!(said = said.trim(), "the dump program had something to say");
    }
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
