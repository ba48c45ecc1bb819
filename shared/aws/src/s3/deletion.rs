use aws_sdk_s3::{
    Client,
    types::{Delete, ObjectIdentifier},
};
use holdfast_backup::ports::StorageError;

use super::failure::storage_error;

/// The most keys of one `DeleteObjects`, S3's limit.
const BATCH: usize = 1000;

/// Deletes objects of a bucket, or versions of them, all in as few calls as S3 allows.
pub(super) async fn delete_all(
    client: &Client,
    bucket: &str,
    objects: &[ObjectIdentifier],
) -> Result<(), StorageError> {
    for batch in objects.chunks(BATCH) {
        let what = format!("objects in bucket {bucket}");
        let delete = Delete::builder().set_objects(Some(batch.to_vec())).quiet(true).build();
        let delete = delete.map_err(|error| StorageError::Rejected(format!("{what}: {error}")))?;
        let answer = client.delete_objects().bucket(bucket).delete(delete).send().await;
        let answer = answer.map_err(|error| storage_error("DeleteObjects", &what, &error))?;
        if let Some(error) = answer.errors().first() {
            let what = format!("object {} in bucket {bucket}", error.key().unwrap_or("?"));
            return Err(match error.code() {
                Some("AccessDenied") => StorageError::Denied(what),
                code => {
                    let (code, message) = (code.unwrap_or("?"), error.message().unwrap_or(""));
                    StorageError::Unavailable(format!("{what}: DeleteObjects: {code}: {message}"))
                }
            });
        }
    }
    Ok(())
}
