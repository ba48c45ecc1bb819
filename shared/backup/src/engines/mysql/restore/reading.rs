//! The artifact as the SQL that is in it: read by ranges, one ahead, and decompressed on a thread of its own.

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::Arc,
};

use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};
use holdfast_domain::backup::StoredObject;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    error::SliceError,
    ports::ArtifactStore,
    stored_reader::{self, StoredReader},
};

/// What is handed over at once, in bytes of SQL.
const PIECE_BYTES: usize = 1024 * 1024;

/// How many such pieces may wait. Together with what is read ahead, and whatever zstd keeps, that is all the memory there is of it.
const PIECES_MAX: usize = 4;

/// A place in the SQL of an artifact. It is read from the zstd frame that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spot {
    /// Where that frame begins, in bytes of the artifact.
    frame: u64,
    /// The checksum of all that comes before the frame.
    crc64nvme: Crc64Nvme,
    /// How many bytes of the frame's SQL come before.
    sql: u64,
}

impl Spot {
    /// The beginning.
    pub(super) const START: Self = Self { frame: 0, crc64nvme: Crc64Nvme::EMPTY, sql: 0 };

    /// So many bytes of SQL further, in the same frame.
    fn further(self, bytes: usize) -> Self {
        Self { sql: self.sql + bytes as u64, ..self }
    }
}

/// Some SQL, all of one frame.
pub(super) struct Piece {
    pub(super) sql: Vec<u8>,
    /// Where it is.
    spot: Spot,
}

impl Piece {
    /// What comes after the first `bytes` of it.
    pub(super) fn behind(&self, bytes: usize) -> Self {
        Self { sql: self.sql[bytes..].to_owned(), spot: self.spot.further(bytes) }
    }

    /// Where it is.
    pub(super) fn spot(&self) -> Spot {
        self.spot
    }
}

/// An artifact that is being read.
pub(super) struct Reading {
    pieces: mpsc::Receiver<Result<Piece, SliceError>>,
    stored: Arc<stored_reader::Reading>,
}

impl Reading {
    /// Begins to read `object`, from `spot` to its end.
    pub(super) fn from(store: &Arc<dyn ArtifactStore>, object: StoredObject, spot: Spot) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let (reader, stored) = StoredReader::open(store, &object, spot.frame);
        let stored = Arc::new(stored);
        let reading = stored.clone();
        // It ends when nobody wants its pieces any more.
        spawn_blocking(move || {
            if let Err(error) = decompress(&object, spot, reader, &reading, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { pieces, stored }
    }

    /// The next SQL. At the end, which is None, every byte of the artifact was read, by this one or before it began, and has the checksum
    /// that it should.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, SliceError> {
        self.pieces.recv().await.transpose()
    }

    /// Knows how many bytes of the artifact were read.
    pub(super) fn stored(&self) -> Arc<stored_reader::Reading> {
        self.stored.clone()
    }
}

fn decompress(
    object: &StoredObject,
    from: Spot,
    reader: StoredReader,
    stored: &stored_reader::Reading,
    sender: &mpsc::Sender<Result<Piece, SliceError>>,
) -> Result<(), SliceError> {
    let failed = |error: io::Error| match stored.fault() {
        Some(fault) => SliceError::from(fault),
        None => damaged(&object.key, &error.to_string()),
    };
    let mut compressed = Compressed::from(from, reader);
    let mut passed_over = from.sql;
    while !compressed.fill_buf().map_err(failed)?.is_empty() {
        let mut spot = compressed.spot();
        let mut decoder =
            zstd::stream::read::Decoder::with_buffer(&mut compressed).map_err(failed)?.single_frame();
        if passed_over > 0 {
            let passed = io::copy(&mut (&mut decoder).take(passed_over), &mut io::sink()).map_err(failed)?;
            if passed < passed_over {
                return Err(damaged(&object.key, "it has less in it than was read before"));
            }
            spot.sql = std::mem::take(&mut passed_over);
        }
        loop {
            let mut sql = Vec::with_capacity(PIECE_BYTES);
            (&mut decoder).take(PIECE_BYTES as u64).read_to_end(&mut sql).map_err(failed)?;
            if sql.is_empty() {
                break;
            }
            let next = spot.further(sql.len());
            if sender.blocking_send(Ok(Piece { sql, spot })).is_err() {
                return Ok(());
            }
            spot = next;
        }
    }
    let end = compressed.spot();
    let found = end.crc64nvme.to_string();
    if end.frame != object.size || found != object.crc64nvme {
        let words = format!("its checksum is {found}, and it was stored with {}", object.crc64nvme);
        return Err(damaged(&object.key, &words));
    }
    Ok(())
}

/// Frames that are read one after the other. It knows what of them was taken.
struct Compressed {
    from: Spot,
    reader: BufReader<StoredReader>,
    hasher: Crc64NvmeHasher,
    taken: u64,
}

impl Compressed {
    fn from(from: Spot, reader: StoredReader) -> Self {
        Self {
            from,
            reader: BufReader::with_capacity(PIECE_BYTES, reader),
            hasher: Crc64NvmeHasher::new(),
            taken: 0,
        }
    }

    /// Where it is, between two frames.
    fn spot(&self) -> Spot {
        let crc64nvme = Crc64Nvme::combine(self.from.crc64nvme, self.hasher.finish(), self.taken);
        Spot { frame: self.from.frame + self.taken, crc64nvme, sql: 0 }
    }
}

impl Read for Compressed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Compressed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.hasher.update(&self.reader.buffer()[..bytes]);
        self.taken += bytes as u64;
        self.reader.consume(bytes);
    }
}

/// That an artifact is not what it should be.
pub(super) fn damaged(key: &str, words: &str) -> SliceError {
    SliceError::permanent("artifact_damaged", format!("{key} is damaged: {words}; restore another backup"))
}
