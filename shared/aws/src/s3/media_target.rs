use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::{head_object::HeadObjectError, list_multipart_uploads::ListMultipartUploadsOutput},
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, EncodingType, MultipartUpload, ObjectIdentifier},
};
use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{
    Described, MediaTarget, MediaUpload, ObjectHeaders, PROBE, StorageError, StoredPart,
};
use holdfast_domain::backup::StoredObject;

use super::{copy_source, deletion, failure::storage_error, listed_key, multipart, object_headers};

/// The buckets that applications keep their files in, to put files back.
pub struct S3MediaTarget {
    client: Client,
    backups: String,
}

impl S3MediaTarget {
    /// An adapter over `client`, which copies out of the bucket `backups`.
    pub fn new(client: Client, backups: String) -> Self {
        Self { client, backups }
    }

    fn refuse_backups(&self, bucket: &str) -> Result<(), StorageError> {
        if bucket == self.backups {
            return Err(StorageError::Rejected(format!("bucket {bucket}: it is the one of the backups")));
        }
        Ok(())
    }

    /// Every upload that is open below `prefix`, and who has begun it.
    async fn uploads(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<Vec<(MediaUpload, Option<String>)>, StorageError> {
        let (mut uploads, mut key_marker, mut id_marker) = (Vec::new(), None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(bucket).prefix(prefix);
            // XML cannot hold every character of a key.
            let request = request.encoding_type(EncodingType::Url);
            let page = request.set_key_marker(key_marker).set_upload_id_marker(id_marker).send().await;
            let what = format!("bucket {bucket}");
            let page = page.map_err(|error| storage_error("ListMultipartUploads", &what, &error))?;
            let encoded = page.encoding_type() == Some(&EncodingType::Url);
            uploads.extend(page.uploads().iter().filter_map(|upload| begun(bucket, upload, encoded)));
            if page.is_truncated() != Some(true) {
                return Ok(uploads);
            }
            (key_marker, id_marker) = next_markers(page, encoded);
        }
    }
}

#[async_trait]
impl MediaTarget for S3MediaTarget {
    fn backups(&self) -> &str {
        &self.backups
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
        bytes: Bytes,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        self.refuse_backups(bucket)?;
        let what = named(bucket, key);
        let request = object_headers::of_put(self.client.put_object(), headers);
        let request = request
            .bucket(bucket)
            .key(key)
            .set_if_none_match(unless(overwrite))
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_crc64_nvme(Crc64Nvme::of(&bytes).to_string())
            .body(ByteStream::from(bytes));
        // The checksum is among the signed headers and S3 compares it with what arrives.
        let request = request.customize().disable_payload_signing();
        let stored = object_headers::with_expires(request, &what, headers)?.send().await;
        stored.map(drop).map_err(|error| refused("PutObject", &what, &error))
    }

    async fn begin(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
    ) -> Result<MediaUpload, StorageError> {
        self.refuse_backups(bucket)?;
        let what = named(bucket, key);
        let request = object_headers::of_upload(self.client.create_multipart_upload(), headers);
        let request = request
            .bucket(bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
            .checksum_type(ChecksumType::FullObject);
        let begun = object_headers::with_expires(request.customize(), &what, headers)?.send().await;
        let begun = begun.map_err(|error| refused("CreateMultipartUpload", &what, &error))?;
        let upload_id = begun.upload_id.ok_or_else(|| {
            StorageError::Unavailable(format!("CreateMultipartUpload gave no id for {what}"))
        })?;
        Ok(MediaUpload { bucket: bucket.to_owned(), key: key.to_owned(), upload_id })
    }

    async fn copy_part(
        &self,
        upload: &MediaUpload,
        number: u32,
        from: &StoredObject,
        range: Range<u64>,
    ) -> Result<StoredPart, StorageError> {
        let into = format!("part {number} of {}", named(&upload.bucket, &upload.key));
        let rejected = || StorageError::Rejected(into.clone());
        let part_number = i32::try_from(number).map_err(|_| rejected())?;
        let last = range.end.checked_sub(1).filter(|last| *last >= range.start).ok_or_else(rejected)?;
        let request = self
            .client
            .upload_part_copy()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.upload_id)
            .part_number(part_number)
            .copy_source(copy_source::of_version(&self.backups, &from.key, from.version_id.as_deref()))
            .copy_source_if_match(&from.etag)
            .copy_source_range(format!("bytes={}-{last}", range.start));
        let what = format!("{}, for {into}", named(&self.backups, &from.key));
        let copied = request.send().await;
        let copied = copied.map_err(|error| storage_error("UploadPartCopy", &what, &error))?;
        multipart::copied_part(copied.copy_part_result, number, range.end - range.start, &into)
    }

    /// When the answer is lost, or is that there is no such upload (since it was completed already), the object decides. So it
    /// does when S3 says that there is an object already, since that is what it says to the second of two equal calls.
    async fn complete(
        &self,
        upload: &MediaUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        let what = format!("upload of {}", named(&upload.bucket, &upload.key));
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let rejected = || StorageError::Rejected(what.clone());
        let completed = multipart::completed(parts).ok_or_else(rejected)?;
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.upload_id)
            .multipart_upload(completed)
            .checksum_crc64_nvme(whole.to_string())
            .checksum_type(ChecksumType::FullObject)
            .set_if_none_match(unless(overwrite))
            .mpu_object_size(i64::try_from(size).map_err(|_| rejected())?);
        let error = match request.send().await {
            Ok(answer) => return multipart::compare(answer.checksum_crc64_nvme(), whole, &what),
            Err(error) => storage_error("CompleteMultipartUpload", &what, &error),
        };
        let doubtful = multipart::is_doubtful(&error, !overwrite);
        let same = Some(Described { size, crc64nvme: Some(whole) });
        if doubtful && self.describe(&upload.bucket, &upload.key).await.is_ok_and(|found| found == same) {
            // If it was somebody else who has stored the same, this upload is still open.
            return self.abort(upload).await;
        }
        Err(error)
    }

    async fn abort(&self, upload: &MediaUpload) -> Result<(), StorageError> {
        let MediaUpload { bucket, key, upload_id } = upload;
        let what = format!("upload of {}", named(bucket, key));
        multipart::abort(&self.client, bucket, key, upload_id, &what).await
    }

    /// S3 says of each open upload who has begun it. Who that is here, an upload tells that is begun to see it and given up.
    async fn open_uploads(&self, bucket: &str, prefix: &str) -> Result<Vec<MediaUpload>, StorageError> {
        let probe = self.begin(bucket, &format!("{prefix}{PROBE}"), &ObjectHeaders::default()).await?;
        let uploads = self.uploads(bucket, prefix).await;
        self.abort(&probe).await?;
        let uploads = uploads?;
        let own = uploads.iter().find(|(upload, _)| upload.upload_id == probe.upload_id);
        let Some(own) = own.and_then(|(_, initiator)| initiator.clone()) else { return Ok(Vec::new()) };
        let begun_here = uploads.into_iter().filter(|(upload, initiator)| {
            upload.upload_id != probe.upload_id && initiator.as_ref() == Some(&own)
        });
        Ok(begun_here.map(|(upload, _)| upload).collect())
    }

    async fn describe(&self, bucket: &str, key: &str) -> Result<Option<Described>, StorageError> {
        let request = self.client.head_object().bucket(bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        let what = named(bucket, key);
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                return Ok(None);
            }
            Err(error) => return Err(storage_error("HeadObject", &what, &error)),
        };
        let size = found.content_length().and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| StorageError::Rejected(format!("{what}: it has no size")))?;
        let whole = found.checksum_type().is_none_or(|kind| *kind == ChecksumType::FullObject);
        let crc64nvme = found.checksum_crc64_nvme().filter(|_| whole).and_then(|text| text.parse().ok());
        Ok(Some(Described { size, crc64nvme }))
    }

    async fn delete(&self, bucket: &str, keys: &[String]) -> Result<(), StorageError> {
        self.refuse_backups(bucket)?;
        // The XML of a batch cannot hold every character of a key; a URL can.
        let (odd, plain): (Vec<_>, Vec<_>) = keys.iter().partition(|key| !is_xml(key));
        let object = |key: &&String| {
            let object = ObjectIdentifier::builder().key(*key).build();
            object.map_err(|error| StorageError::Rejected(format!("{}: {error}", named(bucket, key))))
        };
        let plain: Vec<_> = plain.iter().map(object).collect::<Result<_, _>>()?;
        deletion::delete_all(&self.client, bucket, &plain).await?;
        for key in odd {
            let deleted = self.client.delete_object().bucket(bucket).key(key).send().await;
            deleted.map_err(|error| storage_error("DeleteObject", &named(bucket, key), &error))?;
        }
        Ok(())
    }
}

/// The name of an object in errors.
fn named(bucket: &str, key: &str) -> String {
    format!("object {key} in bucket {bucket}")
}

/// The condition that there is no such object yet.
fn unless(overwrite: bool) -> Option<String> {
    (!overwrite).then(|| "*".to_owned())
}

/// What it means that an object was not put. A request that cannot be made, for what is in a header, never can.
fn refused<E: ProvideErrorMetadata>(
    operation: &str,
    what: &str,
    error: &SdkError<E, HttpResponse>,
) -> StorageError {
    match error {
        SdkError::ConstructionFailure(_) => {
            StorageError::Rejected(format!("{what}: a header of it cannot be sent"))
        }
        _ => storage_error(operation, what, error),
    }
}

fn begun(bucket: &str, upload: &MultipartUpload, encoded: bool) -> Option<(MediaUpload, Option<String>)> {
    let key = upload.key()?;
    let key = if encoded { listed_key::decode(key)? } else { key.to_owned() };
    let upload_id = upload.upload_id()?.to_owned();
    let initiator = upload.initiator().and_then(|initiator| initiator.id()).map(str::to_owned);
    Some((MediaUpload { bucket: bucket.to_owned(), key, upload_id }, initiator))
}

/// Where the next page of a listing of uploads begins.
fn next_markers(page: ListMultipartUploadsOutput, encoded: bool) -> (Option<String>, Option<String>) {
    let key = page.next_key_marker;
    let key = if encoded { key.and_then(|key| listed_key::decode(&key)) } else { key };
    (key, page.next_upload_id_marker)
}

/// Whether XML 1.0 can hold all characters of a key as they are. <https://www.w3.org/TR/xml/#charsets>
fn is_xml(key: &str) -> bool {
    key.chars().all(|character| !character.is_control() && !matches!(character, '\u{FFFE}' | '\u{FFFF}'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a b&c<d>/Zürich\u{1f600}", true)]
    #[case("line\nbreak", false)]
    #[case("bell\u{7}", false)]
    fn keys_that_xml_cannot_hold_are_known(#[case] key: &str, #[case] is_held: bool) {
        assert_eq!(is_xml(key), is_held);
    }
}
