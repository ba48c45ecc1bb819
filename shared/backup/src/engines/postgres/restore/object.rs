//! An archive in the bucket, read range by range.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use holdfast_domain::backup::StoredObject;
use tokio::runtime::Handle;

use super::sums::Sums;
use crate::{
    ports::{ArtifactStore, StorageError},
    read_ahead::{self, Fetch, PIECE_BYTES, ReadAhead},
};

/// What is asked for first where it is not known how much there is to read, in bytes; then ever more.
const FIRST_BYTES: u64 = 256 * 1024;

/// Pieces that are on their way at once, for each of those who read.
const AHEAD: usize = 1;

/// An object, as the version that it is.
#[derive(Clone)]
pub(super) struct ArchiveObject {
    store: Arc<dyn ArtifactStore>,
    pub(super) object: StoredObject,
    /// The checksums of what was read, but for the beginning.
    pub(super) sums: Arc<Sums>,
    /// Where it is asked for: those who read are on threads that block.
    runtime: Handle,
}

impl fmt::Debug for ArchiveObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArchiveObject").field(&self.object).finish()
    }
}

impl ArchiveObject {
    /// `object` of `store`. It is asked for on the runtime that this is called on.
    pub(super) fn new(store: Arc<dyn ArtifactStore>, object: StoredObject) -> Self {
        Self { store, object, sums: Arc::default(), runtime: Handle::current() }
    }

    /// A range of it, to be read on a thread that may block, and all of it.
    pub(super) fn read(&self, range: Range<u64>) -> ReadAhead {
        ReadAhead::new(self.summed(), self.runtime.clone(), range, PIECE_BYTES, AHEAD)
    }

    /// All of it, of which perhaps only the beginning is read.
    pub(super) fn read_beginning(&self) -> ReadAhead {
        ReadAhead::new(self.fetch(), self.runtime.clone(), 0..self.object.size, FIRST_BYTES, AHEAD)
    }

    fn fetch(&self) -> Fetch {
        read_ahead::fetch(self.store.clone(), &self.object)
    }

    /// The same, counting in what is read.
    fn summed(&self) -> Fetch {
        let (fetch, sums) = (self.fetch(), self.sums.clone());
        Arc::new(move |range| {
            let (read, sums, start) = (fetch(range.clone()), sums.clone(), range.start);
            async move { read.await.inspect(|bytes| sums.add(start, bytes)) }.boxed()
        })
    }

    /// Ranges of it, one after the other and in pieces, the next of which is asked for before it is needed.
    pub(super) fn pieces(
        &self,
        ranges: Vec<Range<u64>>,
    ) -> impl Stream<Item = Result<Bytes, StorageError>> + Send + use<> {
        let fetch = self.summed();
        stream::iter(ranges.into_iter().flat_map(divided)).map(move |piece| fetch(piece)).buffered(2)
    }

    /// A small object that stands beside it, if it is there; to be called on a thread that may block.
    pub(super) fn beside(&self, file_name: &str) -> Result<Option<Bytes>, StorageError> {
        self.runtime.block_on(self.store.get(&self.store.beside(&self.object.key, file_name)))
    }
}

fn divided(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let pieces = (range.end - range.start).div_ceil(PIECE_BYTES);
    (0..pieces).map(move |piece| {
        let start = range.start + piece * PIECE_BYTES;
        start..range.end.min(start + PIECE_BYTES)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(7..7, &[])]
    #[case(7..8, &[(7, 8)])]
    #[case(0..PIECE_BYTES, &[(0, PIECE_BYTES)])]
    #[case(1..PIECE_BYTES + 2, &[(1, PIECE_BYTES + 1), (PIECE_BYTES + 1, PIECE_BYTES + 2)])]
    fn a_range_is_divided(#[case] range: Range<u64>, #[case] pieces: &[(u64, u64)]) {
        assert_eq!(divided(range).map(|piece| (piece.start, piece.end)).collect::<Vec<_>>(), pieces);
    }
}
