//! The artifact as the SQL that is in it: read by ranges, one ahead, and decompressed on a thread of its own.

use std::{
    io::{self, Read as _},
    sync::Arc,
};

use holdfast_domain::backup::StoredObject;
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

/// An artifact that is being read.
pub(super) struct Reading {
    pieces: mpsc::Receiver<Result<Vec<u8>, SliceError>>,
    stored: Arc<stored_reader::Reading>,
}

impl Reading {
    /// Begins to read all of `object`.
    pub(super) fn of(store: &Arc<dyn ArtifactStore>, object: StoredObject) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let (reader, stored) = StoredReader::open(store, &object, 0);
        let stored = Arc::new(stored);
        let reading = stored.clone();
        // It ends when nobody wants its pieces any more.
        spawn_blocking(move || {
            if let Err(error) = decompress(&object, reader, &reading, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { pieces, stored }
    }

    /// The next SQL. At the end, which is None, every byte of the artifact was read and has the checksum that it should.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, SliceError> {
        self.pieces.recv().await.transpose()
    }

    /// Knows how many bytes of the artifact were read.
    pub(super) fn stored(&self) -> Arc<stored_reader::Reading> {
        self.stored.clone()
    }
}

fn decompress(
    object: &StoredObject,
    reader: StoredReader,
    stored: &stored_reader::Reading,
    sender: &mpsc::Sender<Result<Vec<u8>, SliceError>>,
) -> Result<(), SliceError> {
    let failed = |error: io::Error| match stored.fault() {
        Some(fault) => SliceError::from(fault),
        None => damaged(&object.key, &error.to_string()),
    };
    let mut decoder = zstd::stream::read::Decoder::new(reader).map_err(failed)?;
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        (&mut decoder).take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(failed)?;
        if piece.is_empty() {
            break;
        }
        if sender.blocking_send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
    let reader = decoder.finish().into_inner();
    let found = reader.checksum().to_string();
    if reader.position() != object.size || found != object.crc64nvme {
        let words = format!("its checksum is {found}, and it was stored with {}", object.crc64nvme);
        return Err(damaged(&object.key, &words));
    }
    Ok(())
}

/// That an artifact is not what it should be.
pub(super) fn damaged(key: &str, words: &str) -> SliceError {
    SliceError::permanent("artifact_damaged", format!("{key} is damaged: {words}; restore another backup"))
}
