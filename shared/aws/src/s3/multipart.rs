//! What uploads in parts have in common, wherever the object goes.

use aws_sdk_s3::{
    Client,
    operation::abort_multipart_upload::AbortMultipartUploadError,
    types::{CompletedMultipartUpload, CompletedPart, CopyPartResult},
};
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{StorageError, StoredPart};

use super::failure::storage_error;

/// The part `number`, of `size` bytes, as S3 says that it has copied it; `into` names it in errors.
pub(super) fn copied_part(
    result: Option<CopyPartResult>,
    number: u32,
    size: u64,
    into: &str,
) -> Result<StoredPart, StorageError> {
    let lacks = |what: &str| StorageError::Unavailable(format!("UploadPartCopy gave no {what} for {into}"));
    let result = result.ok_or_else(|| lacks("result"))?;
    let etag = result.e_tag.ok_or_else(|| lacks("tag"))?;
    // S3 computes it for each part of an upload that was begun with this checksum.
    let crc64nvme = result.checksum_crc64_nvme.and_then(|text| text.parse().ok());
    let crc64nvme = crc64nvme.ok_or_else(|| {
        StorageError::Rejected(format!("{into}: the storage gave no CRC64NVME of what it copied"))
    })?;
    Ok(StoredPart { number, size, etag, crc64nvme })
}

/// The parts of an upload, as S3 is told of them when it is completed; none if one has a number that cannot be.
pub(super) fn completed(parts: &[StoredPart]) -> Option<CompletedMultipartUpload> {
    let part = |part: &StoredPart| {
        let number = i32::try_from(part.number).ok()?;
        let completed = CompletedPart::builder().part_number(number).e_tag(&part.etag);
        Some(completed.checksum_crc64_nvme(part.crc64nvme.to_string()).build())
    };
    let parts = parts.iter().map(part).collect::<Option<Vec<_>>>()?;
    Some(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
}

/// Fails if S3 has `found` another checksum of what was completed than `whole`.
pub(super) fn compare(found: Option<&str>, whole: Crc64Nvme, what: &str) -> Result<(), StorageError> {
    match found {
        Some(found) if found != whole.to_string() => Err(StorageError::Rejected(format!(
            "{what}: it was stored with the checksum {found}, not {whole}"
        ))),
        _ => Ok(()),
    }
}

/// Whether an upload whose completion ended with `error` may be complete nevertheless; `conditional` if it was only to be if there
/// is no such object.
pub(super) fn is_doubtful(error: &StorageError, conditional: bool) -> bool {
    match error {
        StorageError::NotFound(_) | StorageError::Unavailable(_) => true,
        StorageError::Changed(_) => conditional,
        _ => false,
    }
}

/// Gives an upload up; `what` names it in errors. One that is gone already is a success.
pub(super) async fn abort(
    client: &Client,
    bucket: &str,
    key: &str,
    upload_id: &str,
    what: &str,
) -> Result<(), StorageError> {
    match client.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload_id).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(AbortMultipartUploadError::is_no_such_upload) => {
            Ok(())
        }
        Err(error) => Err(storage_error("AbortMultipartUpload", what, &error)),
    }
}
