use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{
    Described, MediaObject, MediaPage, MediaSource, MediaTarget, MediaUpload, ObjectHeaders, StorageError,
    StoredPart,
};
use holdfast_domain::{backup::StoredObject, region::Region};

use super::Faulty;

#[async_trait]
impl<P: MediaSource + ?Sized> MediaSource for Faulty<P> {
    async fn region(&self, bucket: &str) -> Result<Region, StorageError> {
        self.faults.around("media.region", self.inner.region(bucket)).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        self.faults.around("media.list", self.inner.list(bucket, prefix, after, token)).await
    }

    async fn open(
        &self,
        bucket: &str,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        self.faults.around("media.open", self.inner.open(bucket, key, etag, offset, length)).await
    }

    async fn tags(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        self.faults.around("media.tags", self.inner.tags(bucket, key)).await
    }
}

#[async_trait]
impl<P: MediaTarget + ?Sized> MediaTarget for Faulty<P> {
    fn backups(&self) -> &str {
        self.inner.backups()
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
        bytes: Bytes,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        let effect = self.inner.put(bucket, key, headers, bytes, overwrite);
        self.faults.around("media_target.put", effect).await
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
    ) -> Result<MediaUpload, StorageError> {
        self.faults.around("media_target.begin", self.inner.begin(bucket, key, headers)).await
    }

    async fn copy_part(
        &self,
        upload: &MediaUpload,
        number: u32,
        from: &StoredObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StorageError> {
        let effect = self.inner.copy_part(upload, number, from, range);
        self.faults.around("media_target.copy_part", effect).await
    }

    async fn complete(
        &self,
        upload: &MediaUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        let effect = self.inner.complete(upload, parts, whole, overwrite);
        self.faults.around("media_target.complete", effect).await
    }

    async fn abort(&self, upload: &MediaUpload) -> Result<(), StorageError> {
        self.faults.around("media_target.abort", self.inner.abort(upload)).await
    }

    async fn open_uploads(&self, bucket: &str, prefix: &str) -> Result<Vec<MediaUpload>, StorageError> {
        self.faults.around("media_target.open_uploads", self.inner.open_uploads(bucket, prefix)).await
    }

    async fn describe(&self, bucket: &str, key: &str) -> Result<Option<Described>, StorageError> {
        self.faults.around("media_target.describe", self.inner.describe(bucket, key)).await
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StorageError> {
        self.faults.around("media_target.delete", self.inner.delete(bucket, keys)).await
    }
}
