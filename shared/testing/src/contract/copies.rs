//! What [`ArtifactStore`] promises about parts that it copies by itself.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{ArtifactStore, MediaSource, PartCopy, StorageError};

use super::artifacts::{PART_BYTES, part, prefix, segment};
use crate::{
    builders,
    fakes::{FakeArtifacts, FakeMedia},
};

/// Makes a test of each case of what an [`ArtifactStore`] promises about copies, with a bucket to copy from.
#[macro_export]
macro_rules! copies_contract {
    ($copying:expr) => {
        $crate::contract_tests! { copies, $copying,
            a_part_is_copied_with_its_checksum
            a_copy_of_an_object_that_changed_or_is_gone_is_refused
        }
    };
}

/// A store, and a bucket that it copies from.
#[async_trait]
pub trait Copying: Send + Sync {
    /// What is tested.
    fn store(&self) -> &dyn ArtifactStore;

    /// The bucket to copy from.
    fn bucket(&self) -> &str;

    /// Puts an object to copy from; returns its entity tag.
    async fn put(&self, key: &str, bytes: Bytes) -> String;
}

/// Copying in memory.
pub struct FakeCopying {
    media: Arc<FakeMedia>,
    store: FakeArtifacts,
}

impl FakeCopying {
    /// An empty bucket to copy from.
    pub fn new() -> Self {
        let media = Arc::new(FakeMedia::new());
        media.make_bucket("contract-media", &builders::region());
        Self { store: FakeArtifacts::beside(media.clone()), media }
    }
}

impl Default for FakeCopying {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Copying for FakeCopying {
    fn store(&self) -> &dyn ArtifactStore {
        &self.store
    }

    fn bucket(&self) -> &'static str {
        "contract-media"
    }

    async fn put(&self, key: &str, bytes: Bytes) -> String {
        self.media.put(self.bucket(), key, bytes);
        self.media.list(self.bucket(), key, None, None).await.unwrap().objects.remove(0).etag
    }
}

/// Copied parts become one object with those that were sent; each has the checksum of what was copied, whatever the key.
pub async fn a_part_is_copied_with_its_checksum(copying: &dyn Copying) {
    let store = copying.store();
    for (case, name) in [("copied", "a.mp4"), ("copied-odd", "odd/Zü rich+&?versionId=1%20#\u{1f600}\n.mp4")]
    {
        let source: Bytes = [part(3), part(4), Bytes::from_static(b"tail")].concat().into();
        let etag = copying.put(name, source.clone()).await;
        let key = format!("{}MEDIA/media.tar", prefix(case));
        let upload = store.begin(&key, "application/x-tar").await.unwrap();
        let first = segment(1, part(1));
        let mut parts = vec![store.put_part(&upload, first.clone()).await.unwrap()];
        let ranges = [(2, 0, PART_BYTES + 7), (3, PART_BYTES + 7, source.len() - PART_BYTES - 7)];
        for (number, offset, bytes) in ranges {
            let copy = copy_of(copying, number, name, &etag, offset, bytes);
            let copied = store.copy_part(&upload, &copy).await.unwrap();
            let expected = Crc64Nvme::of(&source.slice(offset..offset + bytes));
            assert_eq!((copied.number, copied.size, copied.crc64nvme), (number, bytes as u64, expected));
            parts.push(copied);
        }
        let whole: Vec<u8> = [&first.bytes[..], &source].concat();
        store.complete(&upload, &parts, Crc64Nvme::of(&whole)).await.unwrap();
        let object = store.describe(&key).await.unwrap().unwrap();
        assert_eq!((object.size, object.crc64nvme), (whole.len() as u64, Crc64Nvme::of(&whole).to_string()));
        assert!(store.get(&key).await.unwrap().unwrap() == whole);
    }
}

/// An object that is another than the one named, or is not there, is not copied.
pub async fn a_copy_of_an_object_that_changed_or_is_gone_is_refused(copying: &dyn Copying) {
    let store = copying.store();
    let etag = copying.put("changed.mp4", part(1)).await;
    copying.put("changed.mp4", part(2)).await;
    let key = format!("{}MEDIA/media.tar", prefix("copy-changed"));
    let upload = store.begin(&key, "application/x-tar").await.unwrap();
    let changed = store.copy_part(&upload, &copy_of(copying, 1, "changed.mp4", &etag, 0, PART_BYTES)).await;
    assert!(matches!(changed, Err(StorageError::Changed(_))), "{changed:?}");
    let missing = store.copy_part(&upload, &copy_of(copying, 1, "missing.mp4", &etag, 0, PART_BYTES)).await;
    assert!(matches!(missing, Err(StorageError::NotFound(_))), "{missing:?}");
    store.abort(&upload).await.unwrap();
}

fn copy_of(
    copying: &dyn Copying,
    number: u32,
    key: &str,
    etag: &str,
    offset: usize,
    bytes: usize,
) -> PartCopy {
    PartCopy {
        number,
        bucket: copying.bucket().to_owned(),
        key: key.to_owned(),
        etag: etag.to_owned(),
        offset: offset as u64,
        bytes: bytes as u64,
    }
}
