use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
    },
};
use bytes::Bytes;
use futures::StreamExt;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_aws::{
    s3::{S3Artifacts, Storing},
    wire,
};
use holdfast_backup::ports::ArtifactStore;
use holdfast_testing::{builders, contract::copies::Copying};
use secrecy::ExposeSecret;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::emulator;

const KEY_ARN: &str = "arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-4000-8000-000000000000";

holdfast_testing::artifacts_contract!(artifacts());

holdfast_testing::copies_contract!(copying());

holdfast_testing::catalog_bucket_contract!(artifacts());

struct S3Copying {
    client: Client,
    store: S3Artifacts,
    bucket: String,
}

async fn copying() -> S3Copying {
    let (client, name) = bucket().await;
    let from = emulator::unique("copied-from");
    make_bucket(&client, &from).await;
    S3Copying { store: store(&client, &name), client, bucket: from }
}

#[async_trait]
impl Copying for S3Copying {
    fn store(&self) -> &dyn ArtifactStore {
        &self.store
    }

    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, bytes: Bytes) -> String {
        let put = self.client.put_object().bucket(&self.bucket).key(key).body(bytes.into());
        put.send().await.unwrap().e_tag.unwrap()
    }
}

fn key(last: u32) -> String {
    format!("applications/shop/0195d9a2-0000-7000-8000-{last:012}/DEFAULT/database.dump")
}

/// A signed URL downloads the object under the name it was asked for, with nothing but the URL.
#[tokio::test]
async fn a_signed_url_downloads_the_object() {
    let store = artifacts().await;
    store.put(&key(1), "application/octet-stream", Bytes::from_static(b"the bytes")).await.unwrap();
    let object = store.describe(&key(1)).await.unwrap().unwrap();
    let url = store.download_url(&object, "shop 1.dump", Duration::from_mins(1)).await.unwrap();
    let url = url.expose_secret();
    assert!(url.contains("X-Amz-Expires=60") && url.contains("X-Amz-SignedHeaders=host&"), "{url}");
    let answer = get(url).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("attachment; filename=\"shop 1.dump\"; filename*=UTF-8''shop%201.dump"),
        "{answer}"
    );
    assert!(answer.ends_with("the bytes"), "{answer}");
}

/// A URL for a range is signed with the range: it downloads those bytes with that header, and asks for it.
#[tokio::test]
async fn a_signed_url_of_a_range_downloads_just_that() {
    let store = artifacts().await;
    store.put(&key(5), "application/x-tar", Bytes::from_static(b"0123456789")).await.unwrap();
    let object = store.describe(&key(5)).await.unwrap().unwrap();
    store.put(&key(5), "application/x-tar", Bytes::from_static(b"something else")).await.unwrap();
    assert_eq!(store.read(&object, 2..6).await.unwrap(), &b"2345"[..], "of the version that was described");
    let url = store.range_url(&object, 2..6, Duration::from_mins(1)).await.unwrap();
    let url = url.expose_secret();
    assert!(url.contains("X-Amz-SignedHeaders=host%3Brange&"), "{url}");
    let answer = get_with(url, "Range: bytes=2-5\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 206") && answer.ends_with("2345"), "{answer}");
    assert!(store.range_url(&object, 6..6, Duration::from_mins(1)).await.is_err());
}

/// A signed URL is that of the version that was backed up, whatever stands at its key by now.
#[tokio::test]
async fn a_signed_url_is_that_of_one_version() {
    let store = artifacts().await;
    store.put(&key(4), "application/octet-stream", Bytes::from_static(b"what was stored")).await.unwrap();
    let object = store.describe(&key(4)).await.unwrap().unwrap();
    store.put(&key(4), "application/octet-stream", Bytes::from_static(b"another thing")).await.unwrap();
    let url = store.download_url(&object, "a.dump", Duration::from_mins(1)).await.unwrap();
    let answer = get(url.expose_secret()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("what was stored"), "{answer}");
}

/// A URL cannot be signed for longer than signatures last.
#[tokio::test]
async fn a_url_is_not_signed_for_ever() {
    let store = artifacts().await;
    store.put(&key(2), "text/plain", Bytes::from_static(b"x")).await.unwrap();
    let object = store.describe(&key(2)).await.unwrap().unwrap();
    let outcome = store.download_url(&object, "a", Duration::from_hours(8 * 24)).await;
    assert!(outcome.unwrap_err().to_string().starts_with("the storage refused to sign a download"));
}

/// When the upload is gone because it was completed before, the object decides.
#[tokio::test]
async fn an_upload_that_is_gone_is_complete_if_its_object_is_there() {
    let store = artifacts().await;
    let bytes = Bytes::from_static(b"the bytes");
    let crc64nvme = Crc64Nvme::of(&bytes);
    let upload = store.begin(&key(3), "application/octet-stream").await.unwrap();
    let part = store.put_part(&upload, Segment { number: 1, bytes: bytes.clone(), crc64nvme }).await.unwrap();
    store.abort(&upload).await.unwrap();
    store.put(&key(3), "application/octet-stream", bytes).await.unwrap();
    store.complete(&upload, std::slice::from_ref(&part), crc64nvme).await.unwrap();

    store.put(&key(3), "application/octet-stream", Bytes::from_static(b"something")).await.unwrap();
    let outcome = store.complete(&upload, &[part], crc64nvme).await;
    assert!(outcome.is_err(), "another object of the same size is not the upload's");
}

/// More versions than one page of a listing are all purged.
#[tokio::test]
async fn purging_goes_on_page_after_page() {
    let (client, name) = bucket().await;
    let store = store(&client, &name);
    let prefix = "applications/shop/0195d9a2-0000-7000-8000-000000000004/";
    let keys: Vec<String> = (0..1010).map(|number| format!("{prefix}{number}")).collect();
    let puts = keys.iter().map(|key| store.put(key, "text/plain", Bytes::new()));
    let stored: Vec<_> = futures::stream::iter(puts).buffer_unordered(8).collect().await;
    assert!(stored.iter().all(Result::is_ok));
    assert_eq!(store.keys(prefix).await.unwrap().len(), 1010);
    store.delete(&keys[..20]).await.unwrap();
    store.purge(prefix).await.unwrap();
    let left = client.list_object_versions().bucket(&name).prefix(prefix).send().await.unwrap();
    assert!(left.versions().is_empty() && left.delete_markers().is_empty());
}

async fn artifacts() -> S3Artifacts {
    let (client, name) = bucket().await;
    store(&client, &name)
}

pub(crate) fn store(client: &Client, bucket: &str) -> S3Artifacts {
    S3Artifacts::new(client.clone(), bucket.to_owned(), Storing::AsBackup { key_arn: KEY_ARN.to_owned() })
}

pub(crate) async fn bucket() -> (Client, String) {
    let client = wire::s3_client(&emulator::sdk().await, true);
    let name = emulator::unique("backups");
    make_bucket(&client, &name).await;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket(&name).versioning_configuration(enabled).send().await.unwrap();
    (client, name)
}

pub(crate) async fn make_bucket(client: &Client, name: &str) {
    let region = BucketLocationConstraint::from(builders::region().as_str());
    let place = CreateBucketConfiguration::builder().location_constraint(region).build();
    client.create_bucket().bucket(name).create_bucket_configuration(place).send().await.unwrap();
}

/// A plain GET of `url` over HTTP/1.1: the answer as it comes.
async fn get(url: &str) -> String {
    get_with(url, "").await
}

async fn get_with(url: &str, headers: &str) -> String {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
