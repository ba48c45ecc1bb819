use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use holdfast_archive::{
    checksum::Crc64Nvme,
    multipart::{MIN_PART_BYTES, Segment},
};
use holdfast_backup::ports::{
    ArtifactStore, CatalogBucket, OpenUpload, PartCopy, StorageError, StoredPart, is_within_a_backup,
};
use holdfast_domain::backup::{Encryption, StoredObject};
use secrecy::SecretString;

use super::FakeMedia;

/// The key that the fake encrypts with.
pub const KEY_ARN: &str = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-000000000000";

/// A versioned bucket in memory. It refuses what S3 refuses: wrong checksums, parts out of order or with numbers left out, parts that are
/// too small, uploads that are gone.
#[derive(Default)]
pub struct FakeArtifacts {
    state: Mutex<State>,
    copies_from: Option<Arc<FakeMedia>>,
}

#[derive(Default)]
struct State {
    counter: u64,
    uploads: BTreeMap<String, Upload>,
    completed: BTreeMap<String, Crc64Nvme>,
    versions: BTreeMap<String, Vec<Version>>,
    deletes_before_failure: Option<usize>,
    received: u64,
}

#[derive(Default)]
struct Upload {
    key: String,
    content_type: String,
    parts: BTreeMap<u32, (Bytes, StoredPart)>,
}

/// A version of an object; a deletion has none.
type Version = Option<Stored>;

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    content_type: String,
    object: StoredObject,
}

impl FakeArtifacts {
    /// An empty bucket that can copy from those of `media`.
    pub fn beside(media: Arc<FakeMedia>) -> Self {
        Self { state: Mutex::default(), copies_from: Some(media) }
    }

    /// How many bytes came as parts, and were not copied.
    pub fn bytes_received(&self) -> u64 {
        self.lock().received
    }

    /// An object's bytes, if it is there.
    pub fn bytes(&self, key: &str) -> Option<Bytes> {
        self.lock().current(key).map(|stored| stored.bytes.clone())
    }

    /// An object's content type, if it is there.
    pub fn content_type(&self, key: &str) -> Option<String> {
        self.lock().current(key).map(|stored| stored.content_type.clone())
    }

    /// The keys of all objects that are there.
    pub fn object_keys(&self) -> Vec<String> {
        let state = self.lock();
        state.versions.keys().filter(|key| state.current(key).is_some()).cloned().collect()
    }

    /// How many uploads are open.
    pub fn open_upload_count(&self) -> usize {
        self.lock().uploads.len()
    }

    /// How many versions and deletions there are below `prefix`.
    pub fn version_count(&self, prefix: &str) -> usize {
        self.lock().versions.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, v)| v.len()).sum()
    }

    /// Changes what the store says about an object from now on.
    pub fn tamper(&self, key: &str, change: impl FnOnce(&mut StoredObject)) {
        let mut state = self.lock();
        let version = state.versions.get_mut(key).and_then(|versions| versions.last_mut());
        change(&mut version.and_then(Option::as_mut).expect("the object is there").object);
    }

    /// Changes the bytes of an object in place, as a disk that rots; what the bucket says of it stays.
    pub fn damage(&self, key: &str, bytes: impl Into<Bytes>) {
        let mut state = self.lock();
        let version = state.versions.get_mut(key).and_then(|versions| versions.last_mut());
        version.and_then(Option::as_mut).expect("the object is there").bytes = bytes.into();
    }

    /// Lets the next deletion of several objects fail after this many of them are gone.
    pub fn fail_after_deleting(&self, objects: usize) {
        self.lock().deletes_before_failure = Some(objects);
    }

    /// Lets the grace period of everything that is deleted pass: its versions are gone for good.
    pub fn end_grace(&self) {
        self.lock().versions.retain(|_, versions| versions.last().is_some_and(Option::is_some));
    }

    /// Puts an object there that no upload made, for histories.
    pub fn insert(&self, key: &str, bytes: impl Into<Bytes>) -> StoredObject {
        self.lock().store(key, "application/octet-stream", bytes.into())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl ArtifactStore for FakeArtifacts {
    async fn begin(&self, key: &str, content_type: &str) -> Result<OpenUpload, StorageError> {
        let mut state = self.lock();
        let upload_id = format!("upload-{}", state.count());
        let upload =
            Upload { key: key.to_owned(), content_type: content_type.to_owned(), parts: BTreeMap::new() };
        state.uploads.insert(upload_id.clone(), upload);
        Ok(OpenUpload { key: key.to_owned(), upload_id })
    }

    async fn put_part(&self, upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError> {
        let mut state = self.lock();
        let open = state.upload(upload)?;
        if Crc64Nvme::of(&segment.bytes) != segment.crc64nvme {
            return Err(StorageError::Rejected(format!(
                "part {} of {}: wrong checksum",
                segment.number, upload.key
            )));
        }
        let size = segment.bytes.len() as u64;
        let part = open.store(segment);
        state.received += size;
        Ok(part)
    }

    async fn copy_part(&self, upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError> {
        let media = self.copies_from.as_ref().expect("the test has said where to copy from");
        self.lock().upload(upload)?;
        let bytes = media.copy(copy)?;
        let segment = Segment { number: copy.number, crc64nvme: Crc64Nvme::of(&bytes), bytes };
        Ok(self.lock().upload(upload)?.store(segment))
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        let mut state = self.lock();
        let refuse = |why: &str| Err(StorageError::Rejected(format!("to complete {}: {why}", upload.key)));
        if let Some(done) = state.completed.get(&upload.upload_id) {
            return if *done == whole { Ok(()) } else { refuse("it was completed as something else") };
        }
        let open = state.upload(upload)?;
        if parts.is_empty() || !parts.iter().zip(1..).all(|(part, number)| part.number == number) {
            return refuse("the numbers of its parts are not consecutive from 1 on");
        }
        let mut bytes = BytesMut::new();
        for (index, part) in parts.iter().enumerate() {
            match open.parts.get(&part.number) {
                Some((stored, found)) if found == part => bytes.extend_from_slice(stored),
                _ => return refuse("a part is not the one that was stored"),
            }
            if index + 1 < parts.len() && part.size < MIN_PART_BYTES as u64 {
                return refuse("a part is too small");
            }
        }
        if Crc64Nvme::of(&bytes) != whole {
            return refuse("the checksum of the whole is another");
        }
        let content_type = open.content_type.clone();
        state.uploads.remove(&upload.upload_id);
        state.completed.insert(upload.upload_id.clone(), whole);
        state.store(&upload.key, &content_type, bytes.freeze());
        Ok(())
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<(), StorageError> {
        self.lock().uploads.remove(&upload.upload_id);
        Ok(())
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        refuse_foreign(prefix)?;
        let state = self.lock();
        let below = state.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
        Ok(below.map(|(id, upload)| OpenUpload { key: upload.key.clone(), upload_id: id.clone() }).collect())
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.lock().store(key, content_type, bytes);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        Ok(self.bytes(key))
    }

    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError> {
        let key = object.key.as_str();
        let bytes = match &object.version_id {
            None => self.bytes(key),
            version => self.lock().version(key, version.as_ref()).map(|stored| stored.bytes.clone()),
        };
        let bytes = bytes.ok_or_else(|| StorageError::NotFound(format!("object {key}")))?;
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        if range.end > bytes.len() {
            return Err(StorageError::Changed(format!("object {key}")));
        }
        Ok(bytes.slice(range))
    }

    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError> {
        Ok(self.lock().current(key).map(|stored| stored.object.clone()))
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        refuse_foreign(prefix)?;
        Ok(self.object_keys().into_iter().filter(|key| key.starts_with(prefix)).collect())
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StorageError> {
        keys.iter().try_for_each(|key| refuse_foreign(key))?;
        let mut state = self.lock();
        let limit = state.deletes_before_failure.take();
        for key in keys.iter().take(limit.unwrap_or(usize::MAX)) {
            state.versions.entry(key.clone()).or_default().push(None);
        }
        match limit {
            Some(limit) if limit < keys.len() => {
                Err(StorageError::Unavailable(format!("{}: DeleteObjects: SlowDown", keys[limit])))
            }
            _ => Ok(()),
        }
    }

    async fn bring_back(&self, prefix: &str) -> Result<(), StorageError> {
        refuse_foreign(prefix)?;
        let mut state = self.lock();
        for (_, versions) in state.versions.iter_mut().filter(|(key, _)| key.starts_with(prefix)) {
            versions.retain(Option::is_some);
        }
        Ok(())
    }

    async fn purge(&self, prefix: &str) -> Result<(), StorageError> {
        refuse_foreign(prefix)?;
        self.lock().versions.retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }

    async fn download_url(
        &self,
        object: &StoredObject,
        file_name: &str,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        let url = format!(
            "https://backups.invalid/{}?versionId={}&file={file_name}&X-Amz-Expires={}&X-Amz-Signature=fake",
            object.key,
            object.version_id.as_deref().unwrap_or_default(),
            valid.as_secs()
        );
        Ok(SecretString::from(url))
    }

    async fn range_url(
        &self,
        object: &StoredObject,
        range: Range<u64>,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        let (key, version) = (&object.key, object.version_id.as_deref().unwrap_or_default());
        let url = format!(
            "https://backups.invalid/{key}?versionId={version}&X-Amz-Expires={}&X-Amz-SignedHeaders=host%3Brange&X-Amz-Signature=fake-{}-{}",
            valid.as_secs(),
            range.start,
            range.end
        );
        Ok(SecretString::from(url))
    }

    fn check_protection(&self, object: &StoredObject) -> Result<(), StorageError> {
        let wanted = protection();
        if object.storage_class == "STANDARD_IA" && object.encryption == wanted {
            Ok(())
        } else {
            Err(StorageError::Rejected(format!("to protect {} as a backup must be", object.key)))
        }
    }
}

#[async_trait]
impl CatalogBucket for FakeArtifacts {
    async fn children(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let below = self.object_keys().into_iter().filter_map(|key| {
            let rest = key.strip_prefix(prefix)?;
            Some(format!("{prefix}{}", rest.find('/').map_or(rest, |slash| &rest[..=slash])))
        });
        Ok(below.collect::<BTreeSet<_>>().into_iter().collect())
    }
}

impl Upload {
    fn store(&mut self, segment: Segment) -> StoredPart {
        let part = StoredPart {
            number: segment.number,
            size: segment.bytes.len() as u64,
            etag: format!("\"{:016x}\"", segment.crc64nvme.value()),
            crc64nvme: segment.crc64nvme,
        };
        self.parts.insert(segment.number, (segment.bytes, part.clone()));
        part
    }
}

impl State {
    fn count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn upload(&mut self, upload: &OpenUpload) -> Result<&mut Upload, StorageError> {
        let missing = || StorageError::NotFound(format!("upload of {}", upload.key));
        self.uploads.get_mut(&upload.upload_id).ok_or_else(missing)
    }

    fn current(&self, key: &str) -> Option<&Stored> {
        self.versions.get(key)?.last()?.as_ref()
    }

    fn version(&self, key: &str, id: Option<&String>) -> Option<&Stored> {
        self.versions.get(key)?.iter().flatten().find(|stored| stored.object.version_id.as_ref() == id)
    }

    fn store(&mut self, key: &str, content_type: &str, bytes: Bytes) -> StoredObject {
        let crc64nvme = Crc64Nvme::of(&bytes);
        let object = StoredObject {
            key: key.to_owned(),
            size: bytes.len() as u64,
            crc64nvme: crc64nvme.to_string(),
            etag: format!("\"{:016x}\"", crc64nvme.value()),
            version_id: Some(format!("version-{}", self.count())),
            storage_class: "STANDARD_IA".to_owned(),
            encryption: protection(),
        };
        let stored = Stored { bytes, content_type: content_type.to_owned(), object: object.clone() };
        self.versions.entry(key.to_owned()).or_default().push(Some(stored));
        object
    }
}

fn protection() -> Encryption {
    Encryption { algorithm: "aws:kms".to_owned(), key_arn: KEY_ARN.to_owned(), bucket_key: true }
}

fn refuse_foreign(key: &str) -> Result<(), StorageError> {
    if is_within_a_backup(key) {
        Ok(())
    } else {
        Err(StorageError::Rejected(format!("{key:?}: it is not below the prefix of one backup")))
    }
}
