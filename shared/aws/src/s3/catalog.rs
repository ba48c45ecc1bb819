use async_trait::async_trait;
use holdfast_backup::ports::{CatalogBucket, StorageError};

use super::{artifacts::S3Artifacts, failure::storage_error};

#[async_trait]
impl CatalogBucket for S3Artifacts {
    async fn children(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let (mut children, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).delimiter("/");
            let page = request.set_continuation_token(token).send().await;
            let bucket = format!("bucket {}", self.bucket);
            let page = page.map_err(|error| storage_error("ListObjectsV2", &bucket, &error))?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let keys = page.contents().iter().filter_map(|object| object.key());
            children.extend(folders.chain(keys).map(str::to_owned));
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(children);
            }
        }
    }
}
