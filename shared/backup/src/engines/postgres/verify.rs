//! Reads a stored dump again, from its first byte to its last.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Read},
    process::Stdio,
    sync::Arc,
};

use holdfast_archive::pg_custom::{Block, BlockKind, Contents, read_blocks};
use holdfast_domain::backup::StoredObject;
use tokio::process::Command;

use super::{
    connect::Server,
    process::library_path,
    restore::{END, RowCounts, assigned, lines},
    tools::ClientTools,
};
use crate::{
    engines::{row_counts, temporary::temporary},
    error::SliceError,
    ports::ArtifactStore,
    stored_reader::StoredReader,
    verify::{damaged, invalid, read_all},
};

/// What is decompressed at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// What was found in a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Tables whose rows were read.
    pub(crate) tables: u64,
    /// Their rows.
    pub(crate) rows: u64,
}

/// Reads all of the archive `object`: its blocks are what its table of contents says, each can be decompressed to its end, its
/// tables have the rows that were counted when it was made, and the stock `pg_restore` understands its table of contents.
pub(crate) async fn verify(
    store: &Arc<dyn ArtifactStore>,
    tools: &ClientTools,
    object: &StoredObject,
    server_version: &str,
) -> Result<Found, SliceError> {
    let Seen { contents, blocks, rows } = read_all(store, object, look).await?;
    assigned(&contents, blocks).map_err(|why| damaged(object, &why))?;
    list(tools, &contents, server_version, object).await?;
    if let Some(told) = row_counts::told(store.as_ref(), object, RowCounts::parse).await? {
        let counts = row_counts::key(object);
        let other = rows.iter().find(|(id, rows)| told.0.get(id).is_some_and(|told| told != *rows));
        if let Some((id, rows)) = other {
            let words = format!("the table of entry {id} has {rows} rows, and {} by {counts}", told.0[id]);
            return Err(damaged(object, &words));
        }
        if let Some(missing) = told.0.keys().find(|id| !rows.contains_key(id)) {
            return Err(damaged(
                object,
                &format!("the table of entry {missing} is in {counts}, and not in it"),
            ));
        }
    }
    Ok(Found { tables: rows.len() as u64, rows: rows.values().sum() })
}

/// What an archive turned out to be.
struct Seen {
    contents: Contents,
    blocks: Vec<Block>,
    /// Rows by the dump ids of their tables' data.
    rows: BTreeMap<i32, u64>,
}

fn look(reader: &mut StoredReader) -> io::Result<Seen> {
    let mut kept = Kept { from: reader, bytes: Vec::new() };
    let contents = Contents::read(&mut kept).map_err(io::Error::other)?;
    let Kept { from: reader, bytes } = kept;
    // What was read too far.
    let ahead = usize::try_from(contents.end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
    let copied: HashSet<i32> = contents
        .entries
        .iter()
        .filter(|entry| entry.copy_statement.as_ref().is_some_and(|statement| !statement.is_empty()))
        .map(|entry| entry.dump_id)
        .collect();
    let mut rows = BTreeMap::new();
    let compression = contents.header.compression;
    let blocks = read_blocks(ahead.chain(reader), contents.end, compression, |kind, id, data| {
        if kind == BlockKind::Data && copied.contains(&id) {
            rows.insert(id, count(data)?);
        }
        Ok(())
    })?;
    Ok(Seen { contents, blocks, rows })
}

/// Keeps what is read.
struct Kept<R> {
    from: R,
    bytes: Vec<u8>,
}

impl<R: Read> Read for Kept<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.from.read(into)?;
        self.bytes.extend_from_slice(&into[..some]);
        Ok(some)
    }
}

/// How many rows `data` has, which end as those of a `COPY` do.
fn count(data: &mut dyn Read) -> io::Result<u64> {
    let (mut rows, mut tail, mut buffer) = (0, Vec::new(), vec![0; READ_BYTES]);
    loop {
        let some = match data.read(&mut buffer)? {
            0 => break,
            some => &buffer[..some],
        };
        rows += lines(some);
        tail.extend_from_slice(&some[some.len().saturating_sub(END.len())..]);
        tail.drain(..tail.len().saturating_sub(END.len()));
    }
    if tail == END { Ok(rows - lines(END)) } else { Err(invalid("the rows of a table have no end")) }
}

/// Has the stock `pg_restore` list the table of contents.
async fn list(
    tools: &ClientTools,
    contents: &Contents,
    server_version: &str,
    object: &StoredObject,
) -> Result<(), SliceError> {
    let program = tools.restorer_for(&Server::of_version(server_version)).await?;
    let not_run = |error: io::Error| {
        let words = format!("{} could not list {}: {error}", program.display(), object.key);
        SliceError::transient("client_broken", words)
    };
    let file = temporary(&contents.to_bytes())?;
    let listed = Command::new(&program)
        .env_clear()
        .envs(library_path(&program))
        .env("LC_ALL", "C")
        .arg("--list")
        .arg(file.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(not_run)?;
    let said = String::from_utf8_lossy(&listed.stderr);
    if !listed.status.success() {
        return Err(damaged(object, &format!("pg_restore --list does not understand it: {}", said.trim())));
    }
    // `PrintTOCSummary` in `pg_backup_archiver.c`.
    let told = format!(";     TOC Entries: {}\n", contents.entries.len());
    if String::from_utf8_lossy(&listed.stdout).contains(&told) {
        Ok(())
    } else {
        Err(damaged(object, "pg_restore --list finds another number of entries in it"))
    }
}
