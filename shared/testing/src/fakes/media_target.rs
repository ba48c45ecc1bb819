use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};
use holdfast_archive::{
    checksum::Crc64Nvme,
    multipart::{MAX_PARTS, MIN_PART_BYTES},
};
use holdfast_backup::ports::{
    ArtifactStore, Described, MediaTarget, MediaUpload, ObjectHeaders, StorageError, StoredPart,
};
use holdfast_domain::backup::StoredObject;

use super::{FakeArtifacts, FakeMedia};

/// The name of the bucket that the fake's archives are in.
pub const BACKUPS: &str = "holdfast-backups";

/// When everything was written that was put back: after [`builders::now`](crate::builders::now).
fn written_at() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(21_000)
}

/// The way back into the buckets of a [`FakeMedia`], from archives in a [`FakeArtifacts`]. It refuses what S3 refuses.
pub struct FakeMediaTarget {
    media: Arc<FakeMedia>,
    artifacts: Arc<FakeArtifacts>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counter: u64,
    uploads: BTreeMap<String, Upload>,
    read_only: BTreeSet<String>,
    written: Vec<String>,
}

struct Upload {
    at: MediaUpload,
    headers: ObjectHeaders,
    parts: BTreeMap<u32, (Bytes, StoredPart)>,
    /// Somebody else has begun it.
    is_foreign: bool,
}

impl FakeMediaTarget {
    /// Puts back into `media` what is in `artifacts`.
    pub fn new(media: Arc<FakeMedia>, artifacts: Arc<FakeArtifacts>) -> Self {
        Self { media, artifacts, state: Mutex::default() }
    }

    /// Denies to write into a bucket that may be read.
    pub fn deny(&self, bucket: &str) {
        self.lock().read_only.insert(bucket.to_owned());
    }

    /// Opens an upload as the application does it by itself.
    pub fn begin_foreign(&self, bucket: &str, key: &str) {
        self.lock().begin(bucket, key, &ObjectHeaders::default(), true);
    }

    /// The keys of all uploads that are open.
    pub fn open(&self) -> Vec<String> {
        self.lock().uploads.values().map(|upload| upload.at.key.clone()).collect()
    }

    /// The keys of all objects that were put or deleted, in order.
    pub fn written(&self) -> Vec<String> {
        self.lock().written.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn store(
        &self,
        (bucket, key): (&str, &str),
        headers: &ObjectHeaders,
        bytes: Bytes,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        self.lock().allow(bucket)?;
        if key.is_empty() || key.len() > 1024 {
            return Err(StorageError::Rejected(format!("object {key}: KeyTooLongError")));
        }
        self.media.store(bucket, key, headers, bytes, written_at(), overwrite)?;
        self.lock().written.push(key.to_owned());
        Ok(())
    }
}

#[async_trait]
impl MediaTarget for FakeMediaTarget {
    fn backups(&self) -> &'static str {
        BACKUPS
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
        bytes: Bytes,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        self.store((bucket, key), headers, bytes, overwrite)
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
    ) -> Result<MediaUpload, StorageError> {
        self.lock().allow(bucket)?;
        self.media.reach(bucket)?;
        Ok(self.lock().begin(bucket, key, headers, false))
    }

    async fn copy_part(
        &self,
        upload: &MediaUpload,
        number: u32,
        from: &StoredObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StorageError> {
        self.lock().upload(upload)?;
        let now = self.artifacts.describe(&from.key).await?;
        if now.is_none_or(|now| now.etag != from.etag) {
            return Err(StorageError::Changed(format!("object {} in bucket {BACKUPS}", from.key)));
        }
        if number == 0 || number > MAX_PARTS || range.is_empty() {
            return Err(StorageError::Rejected(format!("part {number} of {}", upload.key)));
        }
        let bytes = self.artifacts.read(from, range).await?;
        let crc64nvme = Crc64Nvme::of(&bytes);
        let etag = format!("\"{:016x}\"", crc64nvme.value());
        let part = StoredPart { number, size: bytes.len() as u64, etag, crc64nvme };
        self.lock().upload(upload)?.parts.insert(number, (bytes, part.clone()));
        Ok(part)
    }

    async fn complete(
        &self,
        upload: &MediaUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        let refuse = |why: &str| Err(StorageError::Rejected(format!("to complete {}: {why}", upload.key)));
        let (mut bytes, headers) = (BytesMut::new(), {
            let mut state = self.lock();
            state.upload(upload)?.headers.clone()
        });
        if parts.is_empty() || !parts.iter().zip(1..).all(|(part, number)| part.number == number) {
            return refuse("the numbers of its parts are not consecutive from 1 on");
        }
        for (index, part) in parts.iter().enumerate() {
            match self.lock().upload(upload)?.parts.get(&part.number) {
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
        self.store((&upload.bucket, &upload.key), &headers, bytes.freeze(), overwrite)?;
        self.lock().uploads.remove(&upload.upload_id);
        Ok(())
    }

    async fn abort(&self, upload: &MediaUpload) -> Result<(), StorageError> {
        self.lock().uploads.remove(&upload.upload_id);
        Ok(())
    }

    async fn open_uploads(&self, bucket: &str, prefix: &str) -> Result<Vec<MediaUpload>, StorageError> {
        let state = self.lock();
        state.allow(bucket)?;
        let own = state.uploads.values().filter(|upload| !upload.is_foreign).map(|upload| upload.at.clone());
        Ok(own.filter(|upload| upload.bucket == bucket && upload.key.starts_with(prefix)).collect())
    }

    async fn describe(&self, bucket: &str, key: &str) -> Result<Option<Described>, StorageError> {
        self.media.reach(bucket)?;
        let bytes = self.media.bytes(bucket, key);
        Ok(bytes.map(|bytes| Described { size: bytes.len() as u64, crc64nvme: Some(Crc64Nvme::of(&bytes)) }))
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StorageError> {
        self.lock().allow(bucket)?;
        self.media.reach(bucket)?;
        for key in keys {
            self.media.delete(bucket, key);
            self.lock().written.push(key.clone());
        }
        Ok(())
    }
}

impl State {
    fn allow(&self, bucket: &str) -> Result<(), StorageError> {
        if bucket == BACKUPS {
            return Err(StorageError::Rejected(format!("bucket {bucket}: it is the one of the backups")));
        }
        if self.read_only.contains(bucket) {
            return Err(StorageError::Denied(format!("bucket {bucket}")));
        }
        Ok(())
    }

    fn begin(&mut self, bucket: &str, key: &str, headers: &ObjectHeaders, is_foreign: bool) -> MediaUpload {
        self.counter += 1;
        let upload_id = format!("media-upload-{}", self.counter);
        let at = MediaUpload { bucket: bucket.to_owned(), key: key.to_owned(), upload_id: upload_id.clone() };
        let upload = Upload { at: at.clone(), headers: headers.clone(), parts: BTreeMap::new(), is_foreign };
        self.uploads.insert(upload_id, upload);
        at
    }

    fn upload(&mut self, upload: &MediaUpload) -> Result<&mut Upload, StorageError> {
        let missing = || StorageError::NotFound(format!("upload of {}", upload.key));
        self.uploads.get_mut(&upload.upload_id).ok_or_else(missing)
    }
}
