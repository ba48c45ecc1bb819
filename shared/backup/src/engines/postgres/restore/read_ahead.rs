//! Bytes from elsewhere as a reader: what comes next is asked for while what is here is read.

use std::{io, ops::Range, sync::Arc};

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::ports::StorageError;

/// What is asked for at once, in bytes. A reader holds one such piece while the next one is on its way: with as many readers
/// as there are sessions, the memory is bounded at any size of the archive.
pub(super) const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Gets a range of bytes, all of it or an error.
pub(super) type Fetch =
    Arc<dyn Fn(Range<u64>) -> BoxFuture<'static, Result<Bytes, StorageError>> + Send + Sync>;

/// A range of bytes in their order, to be read on a thread that may block. An error of the storage is inside the reader's.
pub(super) struct ReadAhead {
    fetch: Fetch,
    runtime: Handle,
    /// What was not asked for yet.
    left: Range<u64>,
    /// How much of it to ask for.
    next: u64,
    coming: Option<JoinHandle<Result<Bytes, StorageError>>>,
    here: Bytes,
}

impl ReadAhead {
    /// The bytes of `range`. `first` of them are asked for at first, and ever more up to what is asked for at once.
    pub(super) fn new(fetch: Fetch, runtime: Handle, range: Range<u64>, first: u64) -> Self {
        Self { fetch, runtime, left: range, next: first, coming: None, here: Bytes::new() }
    }

    fn ask(&mut self) {
        let end = self.left.end.min(self.left.start + self.next);
        if self.left.start < end {
            self.coming = Some(self.runtime.spawn((self.fetch)(self.left.start..end)));
            self.left.start = end;
            self.next = PIECE_BYTES.min(self.next * 4);
        }
    }
}

impl io::Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.here.is_empty() {
            if self.coming.is_none() {
                self.ask();
            }
            let Some(coming) = self.coming.take() else { return Ok(0) };
            let read = self.runtime.block_on(coming).map_err(io::Error::other)?;
            self.here = read.map_err(io::Error::other)?;
            self.ask();
        }
        let some = self.here.len().min(into.len());
        self.here.copy_to_slice(&mut into[..some]);
        Ok(some)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        if let Some(coming) = self.coming.take() {
            coming.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use futures::FutureExt as _;
    use rstest::rstest;

    use super::*;

    /// Reads `range` of `bytes`.
    async fn read(bytes: &Bytes, range: Range<u64>, first: u64) -> io::Result<Vec<u8>> {
        let bytes = bytes.clone();
        let fetch: Fetch = Arc::new(move |range| {
            let place = |at| usize::try_from(at).unwrap();
            let whole = bytes.get(place(range.start)..place(range.end)).map(Bytes::copy_from_slice);
            async move { whole.ok_or(StorageError::Changed("it".to_owned())) }.boxed()
        });
        let mut reader = ReadAhead::new(fetch, Handle::current(), range, first);
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
    async fn a_range_comes_whole(#[case] range: Range<u64>, #[case] first: u64) {
        let bytes: Bytes =
            (0..3 * PIECE_BYTES).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        let place = |at| usize::try_from(at).unwrap();
        let expected = &bytes[place(range.start)..place(range.end)];
        assert!(read(&bytes, range.clone(), first).await.unwrap() == expected);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_storage_says_is_not_lost() {
        let error = read(&Bytes::from_static(b"short"), 0..6, 4).await.unwrap_err();
        let error = error.downcast::<StorageError>().unwrap();
        assert!(matches!(error, StorageError::Changed(_)), "{error}");
    }
}
