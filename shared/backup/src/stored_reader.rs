//! A stored object, read from one byte on to its end, some pieces ahead of whoever reads.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf as _, Bytes};
use futures::{StreamExt as _, stream};
use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};
use holdfast_domain::backup::StoredObject;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::ports::{ArtifactStore, StorageError};

/// What is asked for at once, in bytes.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Pieces that are on their way at once. With the one being read and the one that waits, 24 MiB.
const AHEAD: usize = 4;

/// Reads an object for code that blocks: on a thread of its own, never on one of the runtime's.
pub(crate) struct StoredReader {
    pieces: mpsc::Receiver<Result<Bytes, StorageError>>,
    piece: Bytes,
    position: u64,
    end: u64,
    hasher: Crc64NvmeHasher,
    fault: Arc<Mutex<Option<StorageError>>>,
}

/// The other end of a reader: ends the reading when it is dropped, and knows whether the storage failed it.
pub(crate) struct Reading {
    task: AbortHandle,
    fault: Arc<Mutex<Option<StorageError>>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    /// Why the storage did not give a piece, if it did not. What the reader made of that error says nothing about the bytes.
    pub(crate) fn fault(&self) -> Option<StorageError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl StoredReader {
    /// Reads exactly the version `object` is, from byte `from` on. Must be called within a runtime.
    pub(crate) fn open(store: &Arc<dyn ArtifactStore>, object: &StoredObject, from: u64) -> (Self, Reading) {
        let (sender, pieces) = mpsc::channel(1);
        let (store, object, end) = (store.clone(), Arc::new(object.clone()), object.size);
        let task = tokio::spawn(async move {
            let starts = (0..end.saturating_sub(from).div_ceil(PIECE_BYTES)).map(|n| from + n * PIECE_BYTES);
            let reads = stream::iter(starts).map(|start| {
                let (store, object) = (store.clone(), object.clone());
                async move { store.read(&object, start..end.min(start + PIECE_BYTES)).await }
            });
            let mut reads = std::pin::pin!(reads.buffered(AHEAD));
            while let Some(piece) = reads.next().await {
                let is_last = piece.is_err();
                // Nobody may be reading any more.
                if sender.send(piece).await.is_err() || is_last {
                    break;
                }
            }
        });
        let fault = Arc::default();
        let reading = Reading { task: task.abort_handle(), fault: Arc::clone(&fault) };
        let hasher = Crc64NvmeHasher::new();
        (Self { pieces, piece: Bytes::new(), position: from, end, hasher, fault }, reading)
    }

    /// The checksum of what was read.
    pub(crate) fn checksum(&self) -> Crc64Nvme {
        self.hasher.finish()
    }

    /// The next byte to read, counted from the start of the object.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Reads to the end.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }
}

impl Read for StoredReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.position < self.end {
            self.piece = match self.pieces.blocking_recv() {
                Some(Ok(piece)) if !piece.is_empty() && piece.len() as u64 <= self.end - self.position => {
                    piece
                }
                Some(Ok(_)) => {
                    return Err(io::Error::other("the storage gave other bytes than were asked for"));
                }
                Some(Err(error)) => {
                    let words = error.to_string();
                    *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(io::Error::other(words));
                }
                None => return Err(io::Error::other("the reading was ended")),
            };
        }
        let some = into.len().min(self.piece.len());
        into[..some].copy_from_slice(&self.piece[..some]);
        self.hasher.update(&into[..some]);
        self.piece.advance(some);
        self.position += some as u64;
        Ok(some)
    }
}
