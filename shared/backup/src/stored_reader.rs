//! A stored object, read from one byte on to its end, with its checksum.

use std::{
    io::{self, Read},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};
use holdfast_domain::backup::StoredObject;
use tokio::runtime::Handle;

use crate::{
    ports::{ArtifactStore, StorageError},
    read_ahead::{self, PIECE_BYTES, ReadAhead},
};

/// Pieces that are on their way at once. With the one being read, 16 MiB.
const AHEAD: usize = 3;

/// Reads an object for code that blocks: on a thread of its own, never on one of the runtime's.
pub(crate) struct StoredReader {
    from: ReadAhead,
    hasher: Crc64NvmeHasher,
    shared: Arc<Shared>,
}

/// The other end of a reader: ends the reading when it is dropped, and knows whether the storage failed it, and where it is.
pub(crate) struct Reading(Arc<Shared>);

/// What both ends know.
struct Shared {
    /// The next byte to read, counted from the start of the object.
    position: AtomicU64,
    ended: AtomicBool,
    fault: Mutex<Option<StorageError>>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

impl Reading {
    /// Why the storage did not give a piece, if it did not. What the reader made of that error says nothing about the bytes.
    pub(crate) fn fault(&self) -> Option<StorageError> {
        self.0.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The next byte that is read, counted from the start of the object.
    pub(crate) fn position(&self) -> u64 {
        self.0.position.load(Ordering::Relaxed)
    }
}

impl StoredReader {
    /// Reads exactly the version `object` is, from byte `from` on. Must be called within a runtime.
    pub(crate) fn open(store: &Arc<dyn ArtifactStore>, object: &StoredObject, from: u64) -> (Self, Reading) {
        let fetch = read_ahead::fetch(store.clone(), object);
        let range = from..object.size.max(from);
        let shared = Arc::new(Shared {
            position: AtomicU64::new(from),
            ended: AtomicBool::new(false),
            fault: Mutex::new(None),
        });
        let from = ReadAhead::new(fetch, Handle::current(), range, PIECE_BYTES, AHEAD);
        (Self { from, hasher: Crc64NvmeHasher::new(), shared: shared.clone() }, Reading(shared))
    }

    /// The checksum of what was read.
    pub(crate) fn checksum(&self) -> Crc64Nvme {
        self.hasher.finish()
    }

    /// The next byte to read, counted from the start of the object.
    pub(crate) fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Relaxed)
    }

    /// Reads to the end.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(|_| ())
    }
}

impl Read for StoredReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.shared.ended.load(Ordering::Relaxed) {
            return Err(io::Error::other("the reading was ended"));
        }
        let some = self.from.read(into).map_err(|error| match error.downcast::<StorageError>() {
            Ok(fault) => {
                let words = fault.to_string();
                *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                io::Error::other(words)
            }
            Err(error) => error,
        })?;
        self.hasher.update(&into[..some]);
        self.shared.position.fetch_add(some as u64, Ordering::Relaxed);
        Ok(some)
    }
}
