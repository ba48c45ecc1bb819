use aws_sdk_s3::{operation::list_object_versions::ListObjectVersionsOutput, types::ObjectIdentifier};
use holdfast_backup::ports::StorageError;

use super::{artifacts::S3Artifacts, failure::storage_error};

/// A key and the version of it.
type Version<'a> = (Option<&'a str>, Option<&'a str>);

impl S3Artifacts {
    /// Deletes every version and every mark of a deletion below `prefix`.
    pub(super) async fn delete_versions(&self, prefix: &str) -> Result<(), StorageError> {
        self.delete_each(prefix, |page| {
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            versions.chain(marks(page)).collect()
        })
        .await
    }

    /// Deletes every mark of a deletion below `prefix`, which takes the deletion back.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RemDelMarker.html>
    pub(super) async fn delete_marks(&self, prefix: &str) -> Result<(), StorageError> {
        self.delete_each(prefix, |page| marks(page).collect()).await
    }

    /// Deletes what `choose` finds of the versions below `prefix`, page by page.
    async fn delete_each(
        &self,
        prefix: &str,
        choose: impl for<'a> Fn(&'a ListObjectVersionsOutput) -> Vec<Version<'a>> + Send + Sync,
    ) -> Result<(), StorageError> {
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let request = request.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = request.send().await;
            let bucket = format!("bucket {}", self.bucket);
            let page = page.map_err(|error| storage_error("ListObjectVersions", &bucket, &error))?;
            let chosen = choose(&page);
            if let Some((key, _)) =
                chosen.iter().find(|(key, _)| !key.is_some_and(|key| key.starts_with(prefix)))
            {
                // A listing that answers with anything else must not decide what is deleted for good.
                return Err(StorageError::Rejected(format!(
                    "{key:?}: it was listed below {prefix}, and is not"
                )));
            }
            let objects = chosen.into_iter().map(|(key, version)| {
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

fn marks(page: &ListObjectVersionsOutput) -> impl Iterator<Item = Version<'_>> {
    page.delete_markers().iter().map(|mark| (mark.key(), mark.version_id()))
}
