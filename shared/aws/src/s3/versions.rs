use std::collections::BTreeSet;

use aws_sdk_s3::{operation::list_object_versions::ListObjectVersionsOutput, types::ObjectIdentifier};
use holdfast_backup::ports::StorageError;

use super::{artifacts::S3Artifacts, deletion::delete_unlocked, failure::storage_error};

/// A key and the version of it.
type Version<'a> = (Option<&'a str>, Option<&'a str>);

/// Where a page of versions begins: behind a key, and a version of it.
type Start = (Option<String>, Option<String>);

impl S3Artifacts {
    /// Deletes every version and every mark of a deletion below `prefix`. Versions that an Object Lock of the bucket keeps are hidden by
    /// such a mark: the bucket's rule takes them when their lock has ended.
    pub(super) async fn delete_versions(&self, prefix: &str) -> Result<(), StorageError> {
        let mut locked = BTreeSet::new();
        let mut next = Some(Start::default());
        while let Some(start) = next {
            let page = self.versions(prefix, start).await?;
            let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
            let versions = self.chosen(versions, prefix)?;
            locked.extend(delete_unlocked(&self.client, &self.bucket, &versions).await?);
            let marks = marks(&page).filter(|(key, _)| !key.is_some_and(|key| locked.contains(key)));
            self.delete_all(self.chosen(marks, prefix)?).await?;
            next = following(page);
        }
        self.delete_all(self.chosen(locked.iter().map(|key| (Some(key.as_str()), None)), prefix)?).await
    }

    /// Deletes every mark of a deletion below `prefix`, which takes the deletion back.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/RemDelMarker.html>
    pub(super) async fn delete_marks(&self, prefix: &str) -> Result<(), StorageError> {
        let mut next = Some(Start::default());
        while let Some(start) = next {
            let page = self.versions(prefix, start).await?;
            self.delete_all(self.chosen(marks(&page), prefix)?).await?;
            next = following(page);
        }
        Ok(())
    }

    async fn versions(&self, prefix: &str, start: Start) -> Result<ListObjectVersionsOutput, StorageError> {
        let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
        let page = request.set_key_marker(start.0).set_version_id_marker(start.1).send().await;
        page.map_err(|error| storage_error("ListObjectVersions", &format!("bucket {}", self.bucket), &error))
    }

    /// What is to be deleted. A listing that answers with anything that is not below `prefix` must not decide that.
    fn chosen<'a>(
        &self,
        versions: impl Iterator<Item = Version<'a>>,
        prefix: &str,
    ) -> Result<Vec<ObjectIdentifier>, StorageError> {
        let chosen = versions.map(|(key, version)| {
            if !key.is_some_and(|key| key.starts_with(prefix)) {
                return Err(StorageError::Rejected(format!(
                    "{key:?}: it was listed below {prefix}, and is not"
                )));
            }
            let object = ObjectIdentifier::builder().set_key(key.map(str::to_owned));
            let object = object.set_version_id(version.map(str::to_owned)).build();
            object.map_err(|error| StorageError::Rejected(format!("bucket {}: {error}", self.bucket)))
        });
        chosen.collect()
    }
}

fn marks(page: &ListObjectVersionsOutput) -> impl Iterator<Item = Version<'_>> {
    page.delete_markers().iter().map(|mark| (mark.key(), mark.version_id()))
}

/// Where the page behind this one begins, if there is one.
fn following(page: ListObjectVersionsOutput) -> Option<Start> {
    (page.is_truncated == Some(true)).then_some((page.next_key_marker, page.next_version_id_marker))
}
