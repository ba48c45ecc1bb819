use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    operation::{get_object::GetObjectError, head_object::HeadObjectError},
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, ObjectIdentifier, ServerSideEncryption, StorageClass,
    },
};
use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_backup::ports::{
    self, ArtifactStore, OpenUpload, PartCopy, StorageError, StoredPart, is_within_a_backup,
};
use holdfast_domain::backup::{Encryption, StoredObject};
use secrecy::SecretString;

use super::{deletion, disposition, failure::storage_error, made::Made, storing::Storing};

/// The bucket that backups are kept in, or another that artifacts are stored in.
pub struct S3Artifacts {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) storing: Storing,
    pub(super) made: Made,
}

impl S3Artifacts {
    /// Artifacts in `bucket`, stored as `storing` says.
    pub fn new(client: Client, bucket: String, storing: Storing) -> Self {
        Self { client, bucket, storing, made: Made::default() }
    }

    /// Whether there is an object `key`, whoever has stored it and however.
    pub async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => Ok(false),
            Err(error) => Err(storage_error("HeadObject", &self.object(key), &error)),
        }
    }

    /// The name of an object in errors.
    pub(super) fn object(&self, key: &str) -> String {
        format!("object {key} in bucket {}", self.bucket)
    }

    /// Deletes objects, or versions of them, all in as few calls as S3 allows.
    pub(super) async fn delete_all(&self, objects: Vec<ObjectIdentifier>) -> Result<(), StorageError> {
        deletion::delete_all(&self.client, &self.bucket, &objects).await
    }
}

/// Refuses a prefix or key that is not within one backup's own.
pub(super) fn refuse_foreign(key: &str) -> Result<(), StorageError> {
    if is_within_a_backup(key) {
        return Ok(());
    }
    Err(StorageError::Rejected(format!("{key:?}: it is not below the prefix of one backup")))
}

#[async_trait]
impl ArtifactStore for S3Artifacts {
    async fn begin(&self, key: &str, content_type: &str) -> Result<OpenUpload, StorageError> {
        self.begin_upload(key, content_type).await
    }

    async fn put_part(&self, upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError> {
        self.upload_part(upload, segment).await
    }

    async fn copy_part(&self, upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError> {
        self.upload_part_copy(upload, copy).await
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        self.complete_upload(upload, parts, whole).await
    }

    async fn abort(&self, upload: &OpenUpload) -> Result<(), StorageError> {
        self.abort_upload(upload).await
    }

    async fn open_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        self.list_uploads(prefix).await
    }

    async fn put(&self, key: &str, content_type: &str, bytes: Bytes) -> Result<(), StorageError> {
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_storage_class(self.storing.storage_class())
            .set_server_side_encryption(self.storing.encryption())
            .set_ssekms_key_id(self.storing.key())
            .set_bucket_key_enabled(self.storing.bucket_key())
            .set_if_none_match(self.storing.if_none_match())
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_crc64_nvme(Crc64Nvme::of(&bytes).to_string())
            .body(ByteStream::from(bytes));
        let stored = request.send().await;
        let stored = stored.map_err(|error| storage_error("PutObject", &self.object(key), &error))?;
        self.made.add(key, stored.version_id());
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(object) => {
                let broken = |_| StorageError::Unavailable(format!("{} broke off", self.object(key)));
                Ok(Some(object.body.collect().await.map_err(broken)?.into_bytes()))
            }
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => Ok(None),
            Err(error) => Err(storage_error("GetObject", &self.object(key), &error)),
        }
    }

    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let key = object.key.as_str();
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let request = request.set_version_id(object.version_id.clone());
        let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        let object = request.send().await;
        let object = object.map_err(|error| storage_error("GetObject", &self.object(key), &error))?;
        let broken = |_| StorageError::Unavailable(format!("{} broke off", self.object(key)));
        let bytes = object.body.collect().await.map_err(broken)?.into_bytes();
        if bytes.len() as u64 == range.end - range.start {
            Ok(bytes)
        } else {
            Err(StorageError::Changed(self.object(key)))
        }
    }

    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError> {
        let request =
            self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                return Ok(None);
            }
            Err(error) => return Err(storage_error("HeadObject", &self.object(key), &error)),
        };
        let lacks = |what: &str| StorageError::Rejected(format!("{}: it has no {what}", self.object(key)));
        let crc64nvme = found
            .checksum_crc64_nvme()
            .filter(|_| found.checksum_type().is_none_or(|kind| *kind == ChecksumType::FullObject))
            .filter(|text| text.parse::<Crc64Nvme>().is_ok())
            .ok_or_else(|| lacks("CRC64NVME of its whole contents"))?;
        let size =
            found.content_length().and_then(|size| u64::try_from(size).ok()).ok_or_else(|| lacks("size"))?;
        Ok(Some(StoredObject {
            key: key.to_owned(),
            size,
            crc64nvme: crc64nvme.to_owned(),
            etag: found.e_tag().ok_or_else(|| lacks("entity tag"))?.to_owned(),
            version_id: found.version_id().map(str::to_owned),
            // S3 leaves the standard class unsaid.
            storage_class: found.storage_class().map_or("STANDARD", StorageClass::as_str).to_owned(),
            encryption: Encryption {
                algorithm: found.server_side_encryption().map_or("", ServerSideEncryption::as_str).to_owned(),
                key_arn: found.ssekms_key_id().unwrap_or_default().to_owned(),
                bucket_key: found.bucket_key_enabled().unwrap_or_default(),
            },
        }))
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        refuse_foreign(prefix)?;
        let (mut keys, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
            let page = request.set_continuation_token(token).send().await;
            let page = page.map_err(|error| {
                storage_error("ListObjectsV2", &format!("bucket {}", self.bucket), &error)
            })?;
            keys.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(keys);
            }
        }
    }

    async fn delete(&self, keys: &[String]) -> Result<(), StorageError> {
        let object = |key: &String| {
            refuse_foreign(key)?;
            ObjectIdentifier::builder()
                .key(key)
                .build()
                .map_err(|error| StorageError::Rejected(error.to_string()))
        };
        self.delete_all(keys.iter().map(object).collect::<Result<_, _>>()?).await
    }

    async fn bring_back(&self, prefix: &str) -> Result<(), StorageError> {
        refuse_foreign(prefix)?;
        self.delete_marks(prefix).await
    }

    async fn purge(&self, prefix: &str) -> Result<(), StorageError> {
        refuse_foreign(prefix)?;
        self.delete_versions(prefix).await
    }

    async fn download_url(
        &self,
        object: &StoredObject,
        file_name: &str,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        let refused = |why: &str| {
            StorageError::Rejected(format!("to sign a download of {}: {why}", self.object(&object.key)))
        };
        let signing = PresigningConfig::expires_in(valid).map_err(|error| refused(&error.to_string()))?;
        let request = self.client.get_object().bucket(&self.bucket).key(&object.key);
        let request = request.set_version_id(object.version_id.clone());
        let request =
            request.response_content_disposition(disposition::attachment(file_name)).presigned(signing).await;
        // The error is not quoted, for what it is about is the URL.
        let request = request.map_err(|_| refused("there are no credentials, or they could not be read"))?;
        Ok(SecretString::from(request.uri().to_owned()))
    }

    async fn range_url(
        &self,
        object: &StoredObject,
        range: Range<u64>,
        valid: Duration,
    ) -> Result<SecretString, StorageError> {
        let key = object.key.as_str();
        let refused =
            |why: &str| StorageError::Rejected(format!("to sign a download of {}: {why}", self.object(key)));
        let last = range.end.checked_sub(1).filter(|last| *last >= range.start);
        let last = last.ok_or_else(|| refused("the range is empty"))?;
        let signing = PresigningConfig::expires_in(valid).map_err(|error| refused(&error.to_string()))?;
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let request = request.set_version_id(object.version_id.clone());
        let request = request.range(format!("bytes={}-{last}", range.start)).presigned(signing).await;
        // The error is not quoted, for what it is about is the URL.
        let request = request.map_err(|_| refused("there are no credentials, or they could not be read"))?;
        Ok(SecretString::from(request.uri().to_owned()))
    }

    fn check_protection(&self, object: &StoredObject) -> Result<(), StorageError> {
        let Some(missed) = self.storing.missed_by(object) else { return Ok(()) };
        let (class, found) = (&object.storage_class, &object.encryption);
        Err(StorageError::Rejected(format!(
            "{}: it is stored as {class}, encryption {:?}, key {:?}, bucket key {}; {missed}",
            self.object(&object.key),
            found.algorithm,
            found.key_arn,
            found.bucket_key,
        )))
    }

    fn beside(&self, key: &str, file_name: &str) -> String {
        match self.storing {
            Storing::AsBackup { .. } => ports::beside(key, file_name),
            Storing::AsAsked { .. } => ports::named_after(key, file_name),
        }
    }
}
