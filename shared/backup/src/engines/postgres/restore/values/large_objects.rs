//! Large objects of a restored database, compared with those of the archive. The server hashes them, so that no byte of them has to come
//! here.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use holdfast_archive::{
    checksum::{Sha256, Sha256Hasher},
    pg_custom::{BlockKind, read_blocks},
};
use tokio::sync::mpsc;

use super::super::{
    archive::Archive,
    broke_down,
    copier::{Copier, end},
};
use crate::error::SliceError;

/// What is compared at once, in bytes; the server holds as much in its memory.
const PIECE_BYTES: u64 = 8 * 1024 * 1024;

/// What is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Pieces that wait to be compared, at most.
const PIECES: usize = 64;

/// What was found of large objects.
#[derive(Debug, Default)]
pub(super) struct LargeObjects {
    /// Those that differ, in words.
    pub(super) differing: Vec<String>,
    /// How many this role may not read.
    pub(super) closed: u64,
    /// Whether only `pg_restore` can read them in the archive.
    pub(super) is_unreadable: bool,
}

/// A piece of a large object in the archive. The last one of each is shorter than the others, and may be empty.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    oid: u32,
    offset: u64,
    sha256: Sha256,
}

/// Compares each large object of `archive` with the one in the database that `copier` copies into, which has to have no others.
pub(super) async fn compare(copier: &Copier, archive: &Archive) -> Result<LargeObjects, SliceError> {
    let mut found = LargeObjects::default();
    let mut blocks: Vec<_> =
        archive.blocks.values().filter(|block| block.kind == BlockKind::LargeObjects).collect();
    blocks.sort_by_key(|block| block.position);
    if blocks.is_empty() {
        return Ok(found);
    }
    if !archive.is_readable() {
        return Ok(LargeObjects { is_unreadable: true, ..found });
    }
    let compression = archive.contents.header.compression;
    let sources: Vec<_> = blocks
        .iter()
        .map(|block| (block.position, archive.source.read(block.position..block.position + block.bytes)))
        .collect();
    let (sender, mut pieces) = mpsc::channel(PIECES);
    let reading = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; READ_BYTES];
        for (position, source) in sources {
            read_blocks(source, position, compression, |_, oid, data| {
                each_piece(oid.cast_unsigned(), data, &mut buffer, |piece| {
                    sender.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
                })
            })?;
        }
        Ok(())
    });
    let (mut seen, mut closed, mut differing) = (0_u64, BTreeSet::new(), BTreeSet::new());
    let mut session = copier.begin().await?;
    while let Some(piece) = pieces.recv().await {
        seen += u64::from(piece.offset == 0);
        if closed.contains(&piece.oid) || differing.contains(&piece.oid) {
            continue;
        }
        match copier.value_if_allowed(&mut session, asking(&piece).as_bytes()).await? {
            Some(hash) if hash == piece.sha256.to_string() => {}
            Some(_) => drop(differing.insert(piece.oid)),
            None => drop(closed.insert(piece.oid)),
        }
    }
    reading
        .await
        .map_err(|error| broke_down(&error))?
        .map_err(|error| archive.source.not_read("large objects", error))?;
    let there = b"SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata";
    let there = copier.value(&mut session, there).await?;
    end(session).await;
    found.closed = closed.len() as u64;
    found.differing =
        differing.iter().map(|oid| format!("the large object {oid} has other contents")).collect();
    if there != seen.to_string() {
        found.differing.push(format!("there are {there} large objects, and there were {seen}"));
    }
    Ok(found)
}

/// Gives the pieces of a large object whose contents are `data`.
fn each_piece(
    oid: u32,
    data: &mut dyn Read,
    buffer: &mut [u8],
    mut give: impl FnMut(Piece) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = 0;
    loop {
        let (mut hasher, mut bytes) = (Sha256Hasher::new(), 0);
        let mut data = (&mut *data).take(PIECE_BYTES);
        loop {
            let some = data.read(buffer)?;
            if some == 0 {
                break;
            }
            hasher.update(&buffer[..some]);
            bytes += some as u64;
        }
        give(Piece { oid, offset, sha256: hasher.finish() })?;
        if bytes < PIECE_BYTES {
            return Ok(());
        }
        offset += bytes;
    }
}

/// Asks for the hash of the same piece in the database; nothing, if there is no such large object.
fn asking(piece: &Piece) -> String {
    let Piece { oid, offset, .. } = piece;
    format!(
        "SELECT CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata WHERE oid = {oid}) THEN
            pg_catalog.encode(pg_catalog.sha256(pg_catalog.lo_get({oid}, {offset}, {PIECE_BYTES})), 'hex') END"
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Whatever its length, the last piece shows where it ends.
    #[rstest]
    #[case(0, &[0])]
    #[case(5, &[5])]
    #[case(PIECE_BYTES, &[PIECE_BYTES, 0])]
    #[case(PIECE_BYTES + 1, &[PIECE_BYTES, 1])]
    fn the_last_piece_is_shorter(#[case] bytes: u64, #[case] expected: &[u64]) {
        let mut pieces = Vec::new();
        let give = |piece| {
            pieces.push(piece);
            Ok(())
        };
        each_piece(7, &mut io::repeat(1).take(bytes), &mut [0; 100], give).unwrap();
        let mut offset = 0;
        let expected: Vec<Piece> = expected
            .iter()
            .map(|length| {
                let sha256 = Sha256::of(&vec![1; usize::try_from(*length).unwrap()]);
                offset += length;
                Piece { oid: 7, offset: offset - length, sha256 }
            })
            .collect();
        assert_eq!(pieces, expected);
    }
}
