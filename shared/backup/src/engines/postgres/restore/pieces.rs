//! The rows of a table, out of their block and as messages for the server.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use holdfast_archive::{
    checksum::{MultisetHasher, MultisetSum},
    pg_custom::{BlockData, BlockKind, Compression, block_head},
};
use tokio::sync::{Mutex, MutexGuard, mpsc};

use super::{archive::Archive, facts::TableRows, progress::RestoreProgress};

/// What is sent at once, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces that wait to be sent, at most.
const PIECES: usize = 4;

/// What is read of the archive at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Bytes before the body of a message.
const HEAD_BYTES: usize = 5;

/// What `pg_dump` writes after the last row (`dumpTableData_copy` in `pg_dump.c`). It is for `psql`, and not for a server.
pub(in crate::engines::postgres) const END: &[u8] = b"\\.\n\n\n";

/// Some of the rows of a table.
#[derive(Debug)]
enum Piece {
    /// A `CopyData` message.
    Message(Message),
    /// There are no more; this is what there was.
    End(Read),
}

/// What was read of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// How many rows.
    pub(super) rows: u64,
    /// What they add up to, if that was asked for.
    pub(super) sum: Option<MultisetSum>,
}

/// Some rows, as the server takes them.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    /// Whether it ends where a row ends. The rest of a row goes to the session that got its beginning.
    pub(super) ends_row: bool,
}

/// The rows of a table that are being read, for one session or for several that share them.
#[derive(Debug)]
pub(super) struct Pieces {
    coming: Mutex<mpsc::Receiver<io::Result<Piece>>>,
    /// What was read, once all of it was taken; none, if it could not be.
    read: OnceLock<Option<Read>>,
}

impl Pieces {
    /// What was read, once all rows were taken.
    pub(super) fn read(&self) -> Option<Read> {
        self.read.get().copied().flatten()
    }

    /// The turn to take messages, of one session at a time.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn { coming: self.coming.lock().await, read: &self.read }
    }
}

/// The turn to take messages, until one ends where a row does.
pub(super) struct Turn<'a> {
    coming: MutexGuard<'a, mpsc::Receiver<io::Result<Piece>>>,
    read: &'a OnceLock<Option<Read>>,
}

impl Turn<'_> {
    /// The next message; none when there are no more. An error is told to one session: to others that share the rows, nothing
    /// comes any more, and whoever learnt of it ends them.
    pub(super) async fn next(&mut self) -> io::Result<Option<Message>> {
        match self.read.get() {
            Some(Some(_)) => return Ok(None),
            Some(None) => return std::future::pending().await,
            None => {}
        }
        let error = match self.coming.recv().await {
            Some(Ok(Piece::Message(message))) => return Ok(Some(message)),
            Some(Ok(Piece::End(read))) => {
                self.read.get_or_init(|| Some(read));
                return Ok(None);
            }
            Some(Err(error)) => error,
            None => io::Error::other("the thread that reads them broke down"),
        };
        self.read.get_or_init(|| None);
        Err(error)
    }
}

/// Reads the rows of `table` on a thread of their own, which ends when nobody takes them any more; and adds them up, if `is_summed`.
pub(super) fn read_rows(
    archive: &Archive,
    table: &TableRows,
    progress: Arc<RestoreProgress>,
    is_summed: bool,
) -> Pieces {
    let (sender, coming) = mpsc::channel(PIECES);
    let from = archive.source.read(table.position..table.position + table.bytes);
    let (compression, dump_id) = (archive.contents.header.compression, table.dump_id);
    tokio::task::spawn_blocking(move || {
        let hasher = is_summed.then(MultisetHasher::default);
        let end = read(compression, dump_id, from, &sender, &progress, hasher);
        // Nobody takes it any more only when everything is being stopped.
        let _ = sender.blocking_send(end.map(Piece::End));
    });
    Pieces { coming: Mutex::new(coming), read: OnceLock::new() }
}

fn read(
    compression: Compression,
    dump_id: i32,
    from: impl io::Read,
    to: &mpsc::Sender<io::Result<Piece>>,
    progress: &RestoreProgress,
    mut hasher: Option<MultisetHasher>,
) -> io::Result<Read> {
    let mut from = BufReader::with_capacity(READ_BYTES, from);
    let mut data = BlockData::open(compression, dump_id, &mut from)?;
    progress.copied(block_head(BlockKind::Data, dump_id).len() as u64, 0);
    let (mut rows, mut taken) = (0, 0);
    // What follows the last row that is whole is held back until more has come, and at least what may be the end.
    let mut held = Vec::new();
    loop {
        let mut piece = Vec::with_capacity(HEAD_BYTES + PIECE_BYTES);
        piece.extend_from_slice(&[b'd', 0, 0, 0, 0]);
        piece.append(&mut held);
        let room = (HEAD_BYTES + PIECE_BYTES - piece.len()) as u64;
        let read = (&mut data).take(room).read_to_end(&mut piece)?;
        let is_last = (read as u64) < room;
        let may_be_end = piece.len().saturating_sub(END.len()).max(HEAD_BYTES);
        let row_end = piece[HEAD_BYTES..may_be_end].iter().rposition(|byte| *byte == b'\n');
        held = piece.split_off(row_end.map_or(may_be_end, |end| HEAD_BYTES + end + 1));
        let raw = &piece[HEAD_BYTES..];
        rows += lines(raw);
        if let Some(hasher) = &mut hasher {
            hasher.lines(raw);
        }
        progress.copied(data.taken() - taken, raw.len() as u64);
        taken = data.taken();
        if !raw.is_empty() {
            let length = u32::try_from(raw.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
            piece[1..HEAD_BYTES].copy_from_slice(&length);
            let message = Message { bytes: piece.into(), ends_row: row_end.is_some() };
            if to.blocking_send(Ok(Piece::Message(message))).is_err() {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the rows any more"));
            }
        }
        if is_last {
            break;
        }
    }
    drop(data);
    let damaged = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if held != END {
        damaged("the rows have no end")
    } else if from.fill_buf()?.is_empty() {
        Ok(Read { rows, sum: hasher.and_then(MultisetHasher::finish) })
    } else {
        damaged("something follows the rows")
    }
}

/// How many lines end in `text`. What is counted in a byte at a time is counted many bytes at a time.
pub(in crate::engines::postgres) fn lines(text: &[u8]) -> u64 {
    let ends = |some: &[u8]| some.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>();
    text.chunks(usize::from(u8::MAX)).map(|some| u64::from(ends(some))).sum()
}

#[cfg(test)]
mod tests {
    use holdfast_archive::pg_custom::{chunk, end_of_data};
    use rstest::rstest;

    use super::*;

    /// The rows of a block that holds `data`, and how many they are said to be.
    async fn rows(data: Vec<u8>) -> (Vec<u8>, io::Result<Read>) {
        let mut block = block_head(BlockKind::Data, 7);
        block.extend(data.chunks(100_000).flat_map(chunk));
        block.extend(end_of_data());
        let (sender, mut messages) = mpsc::channel(PIECES);
        let reading = tokio::task::spawn_blocking(move || {
            let hasher = Some(MultisetHasher::default());
            read(Compression::None, 7, &block[..], &sender, &RestoreProgress::default(), hasher)
        });
        let mut out = Vec::new();
        while let Some(piece) = messages.recv().await {
            let Ok(Piece::Message(Message { bytes, ends_row })) = piece else { panic!("{piece:?}") };
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
            assert_eq!((bytes[0], length as usize), (b'd', bytes.len() - 1));
            assert_eq!(ends_row, bytes.ends_with(b"\n"));
            out.extend_from_slice(&bytes[5..]);
        }
        (out, reading.await.unwrap())
    }

    #[rstest]
    #[case(0)]
    #[case(1)]
    // Around the length of a piece, where the end is divided.
    #[case(PIECE_BYTES / 2 - 3)]
    #[case(PIECE_BYTES / 2 - 2)]
    #[case(PIECE_BYTES / 2 - 1)]
    #[case(PIECE_BYTES / 2)]
    #[case(PIECE_BYTES * 2)]
    #[tokio::test]
    async fn rows_come_without_their_end(#[case] count: usize) {
        let text = b"x\n".repeat(count);
        let (out, said) = rows([&text[..], END].concat()).await;
        assert!(out == text);
        let Read { rows, sum } = said.unwrap();
        assert_eq!((rows, sum.unwrap().items()), (count as u64, count as u64));
    }

    /// Whatever pieces it comes in.
    #[tokio::test]
    async fn a_row_longer_than_a_piece_is_one_row() {
        let long = vec![b'x'; PIECE_BYTES * 3];
        let (_, said) = rows([&long[..], b"\nshort\n\n", END].concat()).await;
        let mut expected = MultisetHasher::default();
        for row in [b"", &b"short"[..], &long] {
            expected.end(row);
        }
        assert_eq!(said.unwrap(), Read { rows: 3, sum: expected.finish() });
    }

    #[tokio::test]
    async fn nothing_follows_the_rows() {
        let mut block = block_head(BlockKind::Data, 7);
        block.extend([chunk(END), end_of_data(), vec![0]].concat());
        let (sender, _messages) = mpsc::channel(PIECES);
        let reading = tokio::task::spawn_blocking(move || {
            read(Compression::None, 7, &block[..], &sender, &RestoreProgress::default(), None)
        });
        assert!(reading.await.unwrap().is_err());
    }

    #[rstest]
    #[case::nothing(b"")]
    #[case::cut_off(b"1\n2\n\\.\n")]
    #[case::no_end(b"1\n2\n3\n4\n")]
    #[tokio::test]
    async fn rows_without_an_end_are_none(#[case] data: &[u8]) {
        assert!(rows(data.to_vec()).await.1.is_err());
    }
}
