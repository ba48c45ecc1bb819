use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumType},
};
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_backup::ports::{ArtifactStore, OpenUpload, PartCopy, StorageError, StoredPart};

use super::{
    artifacts::{S3Artifacts, refuse_foreign},
    copy_source,
    failure::storage_error,
    multipart,
};

impl S3Artifacts {
    pub(super) async fn begin_upload(
        &self,
        key: &str,
        content_type: &str,
    ) -> Result<OpenUpload, StorageError> {
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .content_type(content_type)
            .set_storage_class(self.storing.storage_class())
            .set_server_side_encryption(self.storing.encryption())
            .set_ssekms_key_id(self.storing.key())
            .set_bucket_key_enabled(self.storing.bucket_key())
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject);
        let begun = request.send().await;
        let begun =
            begun.map_err(|error| storage_error("CreateMultipartUpload", &self.object(key), &error))?;
        let upload_id = begun.upload_id.ok_or_else(|| {
            StorageError::Unavailable(format!("CreateMultipartUpload gave no id for {}", self.object(key)))
        })?;
        Ok(OpenUpload { key: key.to_owned(), upload_id })
    }

    pub(super) async fn upload_part(
        &self,
        upload: &OpenUpload,
        segment: Segment,
    ) -> Result<StoredPart, StorageError> {
        let Segment { number, bytes, crc64nvme } = segment;
        let size = bytes.len() as u64;
        let what = format!("part {number} of {}", self.upload(upload));
        let part_number = i32::try_from(number).map_err(|_| StorageError::Rejected(what.clone()))?;
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.upload_id)
            .part_number(part_number)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_crc64_nvme(crc64nvme.to_string())
            .body(ByteStream::from(bytes));
        // The checksum is among the signed headers and S3 compares it with what arrives, so that hashing the body a
        // second time, for the signature, would add nothing but time.
        let stored = request.customize().disable_payload_signing().send().await;
        let stored = stored.map_err(|error| storage_error("UploadPart", &what, &error))?;
        let etag = stored
            .e_tag
            .ok_or_else(|| StorageError::Unavailable(format!("UploadPart gave no tag for {what}")))?;
        Ok(StoredPart { number, size, etag, crc64nvme })
    }

    pub(super) async fn upload_part_copy(
        &self,
        upload: &OpenUpload,
        copy: &PartCopy,
    ) -> Result<StoredPart, StorageError> {
        let PartCopy { number, bucket, key, etag, offset, bytes } = copy;
        let into = format!("part {number} of {}", self.upload(upload));
        let from = format!("object {key} in bucket {bucket}");
        let part_number = i32::try_from(*number).map_err(|_| StorageError::Rejected(into.clone()))?;
        let last = (offset + bytes).checked_sub(1).ok_or_else(|| StorageError::Rejected(into.clone()))?;
        let request = self
            .client
            .upload_part_copy()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.upload_id)
            .part_number(part_number)
            .copy_source(copy_source::encode(bucket, key))
            .copy_source_if_match(etag)
            .copy_source_range(format!("bytes={offset}-{last}"));
        let copied = request.send().await;
        // What goes wrong is the object's: it has changed, is gone, or may not be read.
        let copied = copied
            .map_err(|error| storage_error("UploadPartCopy", &format!("{from}, for {into}"), &error))?;
        multipart::copied_part(copied.copy_part_result, *number, *bytes, &into)
    }

    /// Completes an upload. When the answer is lost, or is that there is no such upload (since it was completed already),
    /// the object decides: if it is the one that was uploaded, the upload is complete. So it does when S3 says that there is
    /// an object already, since that is what it says to the second of two equal calls.
    pub(super) async fn complete_upload(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let what = self.upload(upload);
        let completed = multipart::completed(parts)
            .ok_or_else(|| StorageError::Rejected(format!("{what}: a part has no number")))?;
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&upload.key)
            .upload_id(&upload.upload_id)
            .multipart_upload(completed)
            .checksum_crc64_nvme(whole.to_string())
            .checksum_type(ChecksumType::FullObject)
            .set_if_none_match(self.storing.if_none_match())
            .mpu_object_size(i64::try_from(size).map_err(|_| StorageError::Rejected(what.clone()))?);
        match request.send().await {
            Ok(answer) => {
                self.made.add(&upload.key, answer.version_id());
                multipart::compare(answer.checksum_crc64_nvme(), whole, &what)
            }
            Err(error) => {
                let error = storage_error("CompleteMultipartUpload", &what, &error);
                let conditional = self.storing.if_none_match().is_some();
                if !multipart::is_doubtful(&error, conditional)
                    || !self.is_stored(&upload.key, size, whole).await
                {
                    return Err(error);
                }
                if conditional {
                    // If it was somebody else who has stored the same, this upload is still open.
                    self.abort_upload(upload).await?;
                }
                Ok(())
            }
        }
    }

    pub(super) async fn abort_upload(&self, upload: &OpenUpload) -> Result<(), StorageError> {
        let OpenUpload { key, upload_id } = upload;
        multipart::abort(&self.client, &self.bucket, key, upload_id, &self.upload(upload)).await
    }

    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        refuse_foreign(prefix)?;
        let (mut uploads, mut key_marker, mut id_marker) = (Vec::new(), None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(prefix);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = request.send().await;
            let bucket = format!("bucket {}", self.bucket);
            let page = page.map_err(|error| storage_error("ListMultipartUploads", &bucket, &error))?;
            uploads.extend(page.uploads().iter().filter_map(|upload| {
                Some(OpenUpload { key: upload.key()?.to_owned(), upload_id: upload.upload_id()?.to_owned() })
            }));
            if page.is_truncated() != Some(true) {
                return Ok(uploads);
            }
            (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn is_stored(&self, key: &str, size: u64, whole: Crc64Nvme) -> bool {
        let found = self.describe(key).await;
        found.is_ok_and(|object| object.is_some_and(|o| o.size == size && o.crc64nvme == whole.to_string()))
    }

    fn upload(&self, upload: &OpenUpload) -> String {
        format!("upload of {}", self.object(&upload.key))
    }
}
