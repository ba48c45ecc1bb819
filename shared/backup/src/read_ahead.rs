//! Bytes from elsewhere as a reader: what comes next is asked for while what is here is read.

use std::{collections::VecDeque, io, ops::Range, sync::Arc};

use bytes::{Buf, Bytes};
use futures::{FutureExt as _, future::BoxFuture};
use holdfast_domain::backup::StoredObject;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::ports::{ArtifactStore, StorageError};

/// What is asked for at once, in bytes. A reader holds one such piece while those that are asked for ahead are on their way: with
/// as many readers as there are, the memory is bounded at any size of what is read.
pub(crate) const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Gets a range of bytes, all of it or an error.
pub(crate) type Fetch =
    Arc<dyn Fn(Range<u64>) -> BoxFuture<'static, Result<Bytes, StorageError>> + Send + Sync>;

/// Gets ranges of exactly the version `object` is.
pub(crate) fn fetch(store: Arc<dyn ArtifactStore>, object: &StoredObject) -> Fetch {
    let object = Arc::new(object.clone());
    Arc::new(move |range| {
        let (store, object) = (store.clone(), object.clone());
        async move { store.read(&object, range).await }.boxed()
    })
}

/// A range of bytes in their order, to be read on a thread that may block. An error of the storage is inside the reader's.
pub(crate) struct ReadAhead {
    fetch: Fetch,
    runtime: Handle,
    /// What was not asked for yet.
    left: Range<u64>,
    /// How much of it to ask for.
    next: u64,
    /// How many pieces may be on their way.
    ahead: usize,
    /// What is on its way, and how many bytes that should be.
    coming: VecDeque<(u64, JoinHandle<Result<Bytes, StorageError>>)>,
    here: Bytes,
}

impl ReadAhead {
    /// The bytes of `range`, of which `ahead` pieces may be on their way at once. `first` of them are asked for at first, and ever
    /// more up to what is asked for at once.
    pub(crate) fn new(fetch: Fetch, runtime: Handle, range: Range<u64>, first: u64, ahead: usize) -> Self {
        Self { fetch, runtime, left: range, next: first, ahead, coming: VecDeque::new(), here: Bytes::new() }
    }

    fn ask(&mut self) {
        while self.coming.len() < self.ahead && self.left.start < self.left.end {
            let end = self.left.end.min(self.left.start + self.next);
            let bytes = end - self.left.start;
            self.coming.push_back((bytes, self.runtime.spawn((self.fetch)(self.left.start..end))));
            self.left.start = end;
            self.next = PIECE_BYTES.min(self.next * 4);
        }
    }
}

impl io::Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.here.is_empty() {
            self.ask();
            let Some((bytes, coming)) = self.coming.pop_front() else { return Ok(0) };
            let read = self.runtime.block_on(coming).map_err(io::Error::other)?;
            let here = read.map_err(io::Error::other)?;
            if here.len() as u64 != bytes {
                return Err(io::Error::other("the storage gave other bytes than were asked for"));
            }
            self.here = here;
            self.ask();
        }
        let some = self.here.len().min(into.len());
        self.here.copy_to_slice(&mut into[..some]);
        Ok(some)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        for (_, coming) in &self.coming {
            coming.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rstest::rstest;

    use super::*;

    /// Reads `range` of `bytes`, with so many pieces on their way.
    async fn read(bytes: &Bytes, range: Range<u64>, first: u64, ahead: usize) -> io::Result<Vec<u8>> {
        let bytes = bytes.clone();
        let fetch: Fetch = Arc::new(move |range| {
            let place = |at| usize::try_from(at).unwrap();
            let whole = bytes.get(place(range.start)..place(range.end)).map(Bytes::copy_from_slice);
            async move { whole.ok_or(StorageError::Changed("it".to_owned())) }.boxed()
        });
        let mut reader = ReadAhead::new(fetch, Handle::current(), range, first, ahead);
        let reading = tokio::task::spawn_blocking(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        reading.await.unwrap()
    }

    #[rstest]
    #[case(0..0, 1)]
    #[case(0..1, 1)]
    #[case(3..1003, 5)]
    #[case(0..PIECE_BYTES, PIECE_BYTES)]
    #[case(5..PIECE_BYTES + 6, PIECE_BYTES)]
    #[case(1..3 * PIECE_BYTES, 100)]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_range_comes_whole(
        #[case] range: Range<u64>,
        #[case] first: u64,
        #[values(1, 3)] ahead: usize,
    ) {
        let bytes: Bytes =
            (0..3 * PIECE_BYTES).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        let place = |at| usize::try_from(at).unwrap();
        let expected = &bytes[place(range.start)..place(range.end)];
        assert!(read(&bytes, range.clone(), first, ahead).await.unwrap() == expected);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_storage_says_is_not_lost() {
        let error = read(&Bytes::from_static(b"short"), 0..6, 4, 1).await.unwrap_err();
        let error = error.downcast::<StorageError>().unwrap();
        assert!(matches!(error, StorageError::Changed(_)), "{error}");
    }
}
