use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_backup::ports::{ArtifactStore, OpenUpload, PartCopy, StorageError, StoredPart};
use holdfast_domain::backup::{Encryption, StoredObject};
use holdfast_testing::fakes::FakeArtifacts;
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc};

/// Changes what is read of an object.
type Alter = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// What the bucket says about an object, changed.
type Describe = Box<dyn Fn(StoredObject) -> Option<StoredObject> + Send + Sync>;

/// The fake bucket behind a gate: parts wait there until it is opened, and whoever holds the gate sees them come.
pub(crate) struct GatedStore {
    pub(crate) bucket: Arc<FakeArtifacts>,
    gate: Semaphore,
    arrivals: mpsc::UnboundedSender<u32>,
    describe: Describe,
    alter: Alter,
    waiting: AtomicUsize,
    waiting_bytes: AtomicU64,
    pub(crate) most_waiting: AtomicUsize,
    pub(crate) most_waiting_bytes: AtomicU64,
}

impl GatedStore {
    /// A closed gate, and the numbers of the parts as they come to it.
    pub(crate) fn closed() -> (Arc<Self>, mpsc::UnboundedReceiver<u32>) {
        let (arrivals, numbers) = mpsc::unbounded_channel();
        let store = Self {
            bucket: Arc::default(),
            gate: Semaphore::new(0),
            arrivals,
            describe: Box::new(Some),
            alter: Box::new(|_| {}),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicU64::new(0),
            most_waiting: AtomicUsize::new(0),
            most_waiting_bytes: AtomicU64::new(0),
        };
        (Arc::new(store), numbers)
    }

    /// An open gate, where the bucket describes objects as `describe` changes them.
    pub(crate) fn describing(
        describe: impl Fn(StoredObject) -> Option<StoredObject> + Send + Sync + 'static,
    ) -> Self {
        let (store, _) = Self::closed();
        let mut store = Arc::into_inner(store).unwrap();
        store.describe = Box::new(describe);
        store.open_gate();
        store
    }

    /// An open gate, where what is read of an object is what `alter` makes of it.
    pub(crate) fn reading_back(alter: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self { alter: Box::new(alter), ..Self::describing(Some) }
    }

    /// Lets every part through from now on.
    pub(crate) fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Panics if anything of an upload is there.
    pub(crate) fn assert_empty(&self) {
        assert_eq!(self.bucket.object_keys(), Vec::<String>::new(), "an object appeared");
        assert_eq!(self.bucket.open_upload_count(), 0, "an upload is left open");
    }
}

#[async_trait]
impl ArtifactStore for GatedStore {
    async fn begin(&self, key: &str, content_type: &str) -> Result<OpenUpload, StorageError> {
        self.bucket.begin(key, content_type).await
    }

    async fn put_part(&self, upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError> {
        let bytes = segment.bytes.len() as u64;
        let count = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_waiting.fetch_max(count, Ordering::SeqCst);
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.most_waiting_bytes.fetch_max(waiting, Ordering::SeqCst);
        let _ = self.arrivals.send(segment.number);
        let permit = self.gate.acquire().await;
        drop(permit);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.waiting_bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.bucket.put_part(upload, segment).await
    }

    async fn copy_part(&self, upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError> {
        self.bucket.copy_part(upload, copy).await
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        self.bucket.complete(upload, parts, whole).await
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<(), StorageError> {
        self.bucket.abort(upload).await
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        self.bucket.open_uploads(prefix).await
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.bucket.put(key, content_type, bytes).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        self.bucket.get(key).await
    }

    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError> {
        let mut bytes = self.bucket.read(object, range).await?.to_vec();
        (self.alter)(&mut bytes);
        Ok(bytes.into())
    }

    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError> {
        Ok(self.bucket.describe(key).await?.and_then(&self.describe))
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.bucket.keys(prefix).await
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StorageError> {
        self.bucket.delete(keys).await
    }

    async fn bring_back(&self, prefix: &str) -> Result<(), StorageError> {
        self.bucket.bring_back(prefix).await
    }

    async fn purge(&self, prefix: &str) -> Result<(), StorageError> {
        self.bucket.purge(prefix).await
    }

    async fn download_url(
        &self,
        object: &StoredObject,
        file_name: &str,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        self.bucket.download_url(object, file_name, valid).await
    }

    async fn range_url(
        &self,
        object: &StoredObject,
        range: Range<u64>,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        self.bucket.range_url(object, range, valid).await
    }

    fn check_protection(&self, object: &StoredObject) -> Result<(), StorageError> {
        self.bucket.check_protection(object)
    }
}

/// What a [`NullStore`] keeps of an object: more than a table of contents of a few tables.
const HEAD: usize = 64 * 1024;

/// Forgets the bytes it is given, but for the first few, and keeps their size and checksum: to measure what everything else takes.
#[derive(Default)]
pub(crate) struct NullStore {
    /// The beginning of the object, which is read back.
    head: std::sync::Mutex<Bytes>,
    whole: std::sync::Mutex<Option<(u64, Crc64Nvme)>>,
}

#[async_trait]
impl ArtifactStore for NullStore {
    async fn begin(&self, key: &str, _content_type: &str) -> Result<OpenUpload, StorageError> {
        Ok(OpenUpload { key: key.to_owned(), upload_id: "1".to_owned() })
    }

    async fn put_part(&self, _upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError> {
        // About what a function's network takes, so that parts pile up as they do there.
        let size = segment.bytes.len() as u64;
        tokio::time::sleep(Duration::from_micros(size / 75)).await;
        if segment.number == 1 {
            *self.head.lock().unwrap() =
                Bytes::copy_from_slice(&segment.bytes[..segment.bytes.len().min(HEAD)]);
        }
        Ok(StoredPart { number: segment.number, size, etag: String::new(), crc64nvme: segment.crc64nvme })
    }

    async fn copy_part(&self, _upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError> {
        let crc64nvme = Crc64Nvme::EMPTY;
        Ok(StoredPart { number: copy.number, size: copy.bytes, etag: String::new(), crc64nvme })
    }

    async fn complete(
        &self,
        _upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        *self.whole.lock().unwrap() = Some((parts.iter().map(|part| part.size).sum(), whole));
        Ok(())
    }

    async fn abort(&self, _upload: &OpenUpload) -> Result<(), StorageError> {
        Ok(())
    }

    async fn open_uploads(&self, _prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        Ok(Vec::new())
    }

    async fn put(&self, _key: &str, _content_type: &str, bytes: Bytes) -> Result<(), StorageError> {
        *self.whole.lock().unwrap() = Some((bytes.len() as u64, Crc64Nvme::of(&bytes)));
        Ok(())
    }

    async fn get(&self, _key: &str) -> Result<Option<Bytes>, StorageError> {
        Ok(None)
    }

    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError> {
        let head = self.head.lock().unwrap();
        let place = |at| usize::try_from(at).unwrap();
        if place(range.end) > head.len() {
            return Err(StorageError::Rejected(object.key.clone()));
        }
        Ok(head.slice(place(range.start)..place(range.end)))
    }

    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError> {
        Ok(self.whole.lock().unwrap().map(|(size, whole)| StoredObject {
            key: key.to_owned(),
            size,
            crc64nvme: whole.to_string(),
            etag: String::new(),
            version_id: None,
            storage_class: String::new(),
            encryption: Encryption { algorithm: String::new(), key_arn: String::new(), bucket_key: true },
        }))
    }

    async fn keys(&self, _prefix: &str) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }

    async fn delete(&self, _keys: &[String]) -> Result<(), StorageError> {
        Ok(())
    }

    async fn bring_back(&self, _prefix: &str) -> Result<(), StorageError> {
        Ok(())
    }

    async fn purge(&self, _prefix: &str) -> Result<(), StorageError> {
        Ok(())
    }

    async fn download_url(
        &self,
        object: &StoredObject,
        _name: &str,
        _valid: Duration,
    ) -> Result<SecretString, StorageError> {
        Err(StorageError::Rejected(object.key.clone()))
    }

    async fn range_url(
        &self,
        object: &StoredObject,
        _range: Range<u64>,
        _valid: Duration,
    ) -> Result<SecretString, StorageError> {
        Err(StorageError::Rejected(object.key.clone()))
    }

    fn check_protection(&self, _object: &StoredObject) -> Result<(), StorageError> {
        Ok(())
    }
}
