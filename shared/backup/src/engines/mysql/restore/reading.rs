//! The artifact as the SQL that is in it: read by ranges, one ahead, and decompressed on a thread of its own.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf as _, Bytes};
use holdfast_archive::checksum::Crc64NvmeHasher;
use holdfast_domain::backup::StoredObject;
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    error::SliceError,
    ports::{ArtifactStore, StorageError},
};

/// What is asked for at once, in bytes.
const RANGE_BYTES: u64 = 4 * 1024 * 1024;

/// How many ranges are here or on their way.
const RANGES_MAX: usize = 3;

/// What is handed over at once, in bytes of SQL.
const PIECE_BYTES: usize = 1024 * 1024;

/// How many such pieces may wait. Together with the ranges, and whatever zstd keeps, that is all the memory there is of it.
const PIECES_MAX: usize = 4;

/// An artifact that is being read.
pub(super) struct Reading {
    pieces: mpsc::Receiver<Result<Vec<u8>, SliceError>>,
    read: Arc<AtomicU64>,
}

impl Reading {
    /// Begins to read all of `object`.
    pub(super) fn of(store: Arc<dyn ArtifactStore>, object: StoredObject) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        let read = Arc::new(AtomicU64::new(0));
        let ranges = Ranges {
            store,
            next: 0,
            runtime: Handle::current(),
            coming: VecDeque::new(),
            here: Bytes::new(),
            hasher: Crc64NvmeHasher::new(),
            read: read.clone(),
            object,
        };
        // It ends when nobody wants its pieces any more.
        spawn_blocking(move || {
            if let Err(error) = decompress(ranges, &sender) {
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { pieces, read }
    }

    /// The next SQL. At the end, which is None, every byte of the artifact was read and has the checksum that it should.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, SliceError> {
        self.pieces.recv().await.transpose()
    }

    /// Counts the bytes of the artifact that were read.
    pub(super) fn counter(&self) -> Arc<AtomicU64> {
        self.read.clone()
    }
}

fn decompress(ranges: Ranges, sender: &mpsc::Sender<Result<Vec<u8>, SliceError>>) -> Result<(), SliceError> {
    let object = ranges.object.clone();
    let failed = |error: io::Error| match error.downcast::<StorageError>() {
        Ok(error) => SliceError::from(error),
        Err(error) => damaged(&object.key, &error.to_string()),
    };
    let mut decoder = zstd::stream::read::Decoder::new(ranges).map_err(failed)?;
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
    let ranges = decoder.finish().into_inner();
    let found = ranges.hasher.finish().to_string();
    if ranges.read.load(Ordering::Relaxed) != object.size || found != object.crc64nvme {
        let words = format!("its checksum is {found}, and it was stored with {}", object.crc64nvme);
        return Err(damaged(&object.key, &words));
    }
    Ok(())
}

/// That an artifact is not what it should be.
pub(super) fn damaged(key: &str, words: &str) -> SliceError {
    SliceError::permanent("artifact_damaged", format!("{key} is damaged: {words}; restore another backup"))
}

/// The bytes of an object in their order, for a thread that may wait.
struct Ranges {
    store: Arc<dyn ArtifactStore>,
    object: StoredObject,
    /// The first byte that was not asked for yet.
    next: u64,
    runtime: Handle,
    coming: VecDeque<JoinHandle<Result<Bytes, StorageError>>>,
    here: Bytes,
    hasher: Crc64NvmeHasher,
    read: Arc<AtomicU64>,
}

impl Ranges {
    fn ask(&mut self) {
        while self.coming.len() < RANGES_MAX && self.next < self.object.size {
            let range = self.next..self.object.size.min(self.next + RANGE_BYTES);
            self.next = range.end;
            let (store, object) = (self.store.clone(), self.object.clone());
            self.coming.push_back(self.runtime.spawn(async move { store.read(&object, range).await }));
        }
    }
}

impl Read for Ranges {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.here.is_empty() {
            self.ask();
            let Some(coming) = self.coming.pop_front() else { return Ok(0) };
            let read = self.runtime.block_on(coming).map_err(io::Error::other)?;
            self.here = read.map_err(io::Error::other)?;
            self.hasher.update(&self.here);
            self.read.fetch_add(self.here.len() as u64, Ordering::Relaxed);
            self.ask();
        }
        let some = self.here.len().min(into.len());
        self.here.copy_to_slice(&mut into[..some]);
        Ok(some)
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        for coming in &self.coming {
            coming.abort();
        }
    }
}
