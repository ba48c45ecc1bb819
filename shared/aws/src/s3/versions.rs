use aws_sdk_s3::types::ObjectIdentifier;
use holdfast_backup::ports::StorageError;

use super::{artifacts::S3Artifacts, failure::storage_error};

impl S3Artifacts {
    /// Deletes every version and every mark of a deletion below `prefix`, page by page.
    pub(super) async fn delete_versions(&self, prefix: &str) -> Result<(), StorageError> {
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let request = request.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = request.send().await;
            let bucket = format!("bucket {}", self.bucket);
            let page = page.map_err(|error| storage_error("ListObjectVersions", &bucket, &error))?;
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            let marks = page.delete_markers().iter().map(|mark| (mark.key(), mark.version_id()));
            let objects = versions.chain(marks).map(|(key, version)| {
                let object = ObjectIdentifier::builder().set_key(key.map(str::to_owned));
                object.set_version_id(version.map(str::to_owned)).build()
            });
            let objects: Result<Vec<_>, _> = objects.collect();
            self.delete_all(objects.map_err(|error| StorageError::Rejected(format!("{bucket}: {error}")))?)
                .await?;
            if page.is_truncated() != Some(true) {
                return Ok(());
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }
}
