use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    types::{Tag, Tagging},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use holdfast_aws::{s3::S3Media, wire};
use holdfast_backup::ports::MediaSource;
use holdfast_testing::contract::media::Stage;

use crate::{emulator, s3_artifacts::make_bucket};

holdfast_testing::media_contract!(stage());

struct S3Stage {
    client: Client,
    media: S3Media,
    bucket: String,
}

async fn stage() -> S3Stage {
    let client = wire::s3_client(&emulator::sdk().await, true);
    let bucket = emulator::unique("media");
    make_bucket(&client, &bucket).await;
    S3Stage { media: S3Media::new(client.clone()), client, bucket }
}

#[async_trait]
impl Stage for S3Stage {
    fn media(&self) -> &dyn MediaSource {
        &self.media
    }

    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, bytes: Bytes, content_type: &str, metadata: &[(&str, &str)]) {
        let mut request = self.client.put_object().bucket(&self.bucket).key(key).content_type(content_type);
        for (name, value) in metadata {
            request = request.metadata(*name, *value);
        }
        request.body(bytes.into()).send().await.unwrap();
    }

    async fn put_with_headers(&self, key: &str, bytes: Bytes, headers: &[(&str, &str)]) {
        let headers: Vec<_> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        // As they are: the SDK takes `Expires` as a time only.
        let request = self.client.put_object().bucket(&self.bucket).key(key).body(bytes.into()).customize();
        let request = request.mutate_request(move |request| {
            for (name, value) in headers.clone() {
                request.headers_mut().insert(name, value);
            }
        });
        request.send().await.unwrap();
    }

    async fn tag(&self, key: &str, tags: &[(&str, &str)]) {
        let tag = |(key, value): &(&str, &str)| Tag::builder().key(*key).value(*value).build().unwrap();
        let tags = Tagging::builder().set_tag_set(Some(tags.iter().map(tag).collect())).build().unwrap();
        self.client.put_object_tagging().bucket(&self.bucket).key(key).tagging(tags).send().await.unwrap();
    }

    async fn delete(&self, key: &str) {
        self.client.delete_object().bucket(&self.bucket).key(key).send().await.unwrap();
    }
}

/// A listing of more than a page goes on where it stopped.
#[tokio::test]
async fn a_long_listing_has_every_object_once() {
    let stage = stage().await;
    let keys: Vec<String> = (0..1500).map(|number| format!("long/{number:04}")).collect();
    let puts = keys.iter().map(|key| stage.put(key, Bytes::new(), "text/plain", &[]));
    stream::iter(puts).buffer_unordered(8).collect::<Vec<_>>().await;
    let first = stage.media().list(stage.bucket(), "long/", None, None).await.unwrap();
    assert_eq!(first.objects.len(), 1000);
    let second = stage.media().list(stage.bucket(), "long/", None, first.next.as_deref()).await.unwrap();
    assert_eq!(second.next, None);
    let found: Vec<_> = first.objects.into_iter().chain(second.objects).map(|object| object.key).collect();
    assert_eq!(found, keys);
}
