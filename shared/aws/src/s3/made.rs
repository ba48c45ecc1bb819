use std::sync::{Mutex, PoisonError};

use aws_sdk_s3::types::ObjectIdentifier;
use holdfast_backup::ports::StorageError;

use super::{artifacts::S3Artifacts, storing::Storing};

/// The objects that a store has made, with their versions, in a bucket where nobody else cleans up.
#[derive(Default)]
pub(super) struct Made(Mutex<Vec<(String, Option<String>)>>);

impl Made {
    pub(super) fn add(&self, key: &str, version_id: Option<&str>) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.push((key.to_owned(), version_id.map(str::to_owned)));
    }

    fn take(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl S3Artifacts {
    /// Deletes what this store has made in a bucket of somebody's: just those versions, where the bucket keeps versions, so
    /// that what was there before is there again. In the bucket of backups that is for the abort step.
    pub async fn take_back(&self) -> Result<(), StorageError> {
        if matches!(self.storing, Storing::AsBackup { .. }) {
            return Ok(());
        }
        let object = |(key, version_id): (String, Option<String>)| {
            ObjectIdentifier::builder()
                .key(key)
                .set_version_id(version_id)
                .build()
                .map_err(|error| StorageError::Rejected(error.to_string()))
        };
        self.delete_all(self.made.take().into_iter().map(object).collect::<Result<_, _>>()?).await
    }
}
