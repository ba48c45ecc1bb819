use aws_sdk_s3::{
    Client,
    types::{Delete, Error, ObjectIdentifier},
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
    match delete_unlocked(client, bucket, objects).await?.first() {
        None => Ok(()),
        Some(key) => Err(StorageError::Denied(object(key, bucket))),
    }
}

/// The same; gives the keys of those versions that an Object Lock keeps, and which are still there.
pub(super) async fn delete_unlocked(
    client: &Client,
    bucket: &str,
    objects: &[ObjectIdentifier],
) -> Result<Vec<String>, StorageError> {
    let mut locked = Vec::new();
    for batch in objects.chunks(BATCH) {
        let what = format!("objects in bucket {bucket}");
        let delete = Delete::builder().set_objects(Some(batch.to_vec())).quiet(true).build();
        let delete = delete.map_err(|error| StorageError::Rejected(format!("{what}: {error}")))?;
        let answer = client.delete_objects().bucket(bucket).delete(delete).send().await;
        let answer = answer.map_err(|error| storage_error("DeleteObjects", &what, &error))?;
        for error in answer.errors() {
            let key = error.key().unwrap_or("?");
            if !is_locked(error) {
                return Err(refused(error, object(key, bucket)));
            }
            locked.push(key.to_owned());
        }
    }
    Ok(locked)
}

/// Whether it is an Object Lock that keeps a version, which S3 tells by its words alone.
fn is_locked(error: &Error) -> bool {
    error.code() == Some("AccessDenied")
        && error.message().is_some_and(|message| message.contains("protected by object lock"))
}

fn refused(error: &Error, what: String) -> StorageError {
    match error.code() {
        Some("AccessDenied") => StorageError::Denied(what),
        code => {
            let (code, message) = (code.unwrap_or("?"), error.message().unwrap_or(""));
            StorageError::Unavailable(format!("{what}: DeleteObjects: {code}: {message}"))
        }
    }
}

fn object(key: &str, bucket: &str) -> String {
    format!("object {key} in bucket {bucket}")
}
