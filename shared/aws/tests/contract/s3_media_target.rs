use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use futures::{StreamExt, stream};
use holdfast_aws::s3::{S3Artifacts, S3Media, S3MediaTarget};
use holdfast_backup::ports::{ArtifactStore, MediaSource, MediaTarget, ObjectHeaders};
use holdfast_testing::contract::media_target::WayBack;

use crate::{
    emulator,
    s3_artifacts::{bucket, make_bucket, store},
};

holdfast_testing::media_target_contract!(way_back());

struct S3WayBack {
    target: S3MediaTarget,
    media: S3Media,
    artifacts: S3Artifacts,
    client: Client,
    bucket: String,
}

async fn way_back() -> S3WayBack {
    let (client, backups) = bucket().await;
    let bucket = emulator::unique("way-back");
    make_bucket(&client, &bucket).await;
    S3WayBack {
        target: S3MediaTarget::new(client.clone(), backups.clone()),
        media: S3Media::new(client.clone()),
        artifacts: store(&client, &backups),
        client,
        bucket,
    }
}

#[async_trait]
impl WayBack for S3WayBack {
    fn target(&self) -> &dyn MediaTarget {
        &self.target
    }

    fn media(&self) -> &dyn MediaSource {
        &self.media
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        &self.artifacts
    }

    fn bucket(&self) -> &str {
        &self.bucket
    }
}

/// More objects than one call deletes are all deleted.
#[tokio::test]
async fn more_than_a_thousand_objects_are_deleted() {
    let way = way_back().await;
    let keys: Vec<String> = (0..1010).map(|number| format!("many/{number:04}")).collect();
    let headers = ObjectHeaders::default();
    let puts = keys.iter().map(|key| way.target.put(&way.bucket, key, &headers, Bytes::new(), true));
    let stored: Vec<_> = stream::iter(puts).buffer_unordered(8).collect().await;
    assert!(stored.iter().all(Result::is_ok));
    way.target.delete(&way.bucket, &keys).await.unwrap();
    let left = way.client.list_objects_v2().bucket(&way.bucket).send().await.unwrap();
    assert!(left.contents().is_empty());
}

/// A header that cannot be sent is refused for good, with the name of the object, and not tried again.
#[tokio::test]
async fn a_header_that_cannot_be_sent_is_refused() {
    let way = way_back().await;
    let metadata = [("by".to_owned(), "line\nbreak".to_owned())].into_iter().collect();
    for headers in [
        ObjectHeaders { metadata, ..ObjectHeaders::default() },
        ObjectHeaders { expires: Some("line\nbreak".to_owned()), ..ObjectHeaders::default() },
    ] {
        let put = way.target.put(&way.bucket, "a.txt", &headers, Bytes::new(), true).await;
        let put = put.unwrap_err().to_string();
        assert!(put.starts_with("the storage refused object a.txt"), "{put}");
    }
}
