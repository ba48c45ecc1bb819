//! Artifacts in a bucket of somebody's: stored as asked for, not over what is there, and taken back.

use aws_sdk_s3::Client;
use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_aws::s3::{S3Artifacts, Storing};
use holdfast_backup::ports::{ArtifactStore, StorageError};
use rstest::rstest;

use crate::s3_artifacts::bucket;

fn store(client: &Client, bucket: &str, replace: bool) -> S3Artifacts {
    let storing = Storing::AsAsked { storage_class: Some("ONEZONE_IA".to_owned()), kms_key: None, replace };
    S3Artifacts::new(client.clone(), bucket.to_owned(), storing)
}

/// Stores `bytes` in one part; `meanwhile` runs before the upload is completed.
async fn upload(
    store: &S3Artifacts,
    key: &str,
    bytes: &'static [u8],
    meanwhile: impl Future<Output = ()>,
) -> Result<(), StorageError> {
    let (bytes, crc64nvme) = (Bytes::from_static(bytes), Crc64Nvme::of(bytes));
    let upload = store.begin(key, "text/plain").await?;
    let part = store.put_part(&upload, Segment { number: 1, bytes, crc64nvme }).await?;
    meanwhile.await;
    let completed = store.complete(&upload, &[part], crc64nvme).await;
    if completed.is_err() {
        store.abort(&upload).await?;
    }
    completed
}

async fn put(client: &Client, bucket: &str, key: &str, bytes: &'static [u8]) {
    client.put_object().bucket(bucket).key(key).body(Bytes::from_static(bytes).into()).send().await.unwrap();
}

async fn bytes(client: &Client, bucket: &str, key: &str) -> Bytes {
    let object = client.get_object().bucket(bucket).key(key).send().await.unwrap();
    object.body.collect().await.unwrap().into_bytes()
}

async fn open_uploads(client: &Client, bucket: &str) -> usize {
    client.list_multipart_uploads().bucket(bucket).send().await.unwrap().uploads().len()
}

#[tokio::test]
async fn an_object_is_stored_as_asked_for_under_any_key() {
    let (client, name) = bucket().await;
    let store = store(&client, &name, false);
    assert!(!store.exists("a b.tar").await.unwrap());
    upload(&store, "a b.tar", b"bytes", async {}).await.unwrap();
    assert!(store.exists("a b.tar").await.unwrap());
    let object = store.describe("a b.tar").await.unwrap().unwrap();
    assert_eq!(object.storage_class, "ONEZONE_IA");
    store.check_protection(&object).unwrap();
    let other = holdfast_domain::backup::StoredObject { storage_class: "STANDARD".to_owned(), ..object };
    assert!(store.check_protection(&other).unwrap_err().to_string().contains("ONEZONE_IA"));
    assert_eq!(store.beside("x/a b.tar", "media.manifest.jsonl.zst"), "x/a b.tar.manifest.jsonl.zst");
}

#[rstest]
#[case::kept(false)]
#[case::replaced(true)]
#[tokio::test]
async fn what_comes_in_between_is_replaced_only_if_asked_for(#[case] replace: bool) {
    let (client, name) = bucket().await;
    let store = store(&client, &name, replace);
    let outcome = Box::pin(upload(&store, "a", b"ours", put(&client, &name, "a", b"another's"))).await;
    let put_beside = {
        put(&client, &name, "b", b"another's").await;
        store.put("b", "text/plain", Bytes::from_static(b"ours")).await
    };
    for (outcome, key) in [(outcome, "a"), (put_beside, "b")] {
        if replace {
            outcome.unwrap();
            assert_eq!(bytes(&client, &name, key).await, &b"ours"[..]);
        } else {
            assert!(matches!(outcome, Err(StorageError::Changed(_))), "{outcome:?}");
            assert_eq!(bytes(&client, &name, key).await, &b"another's"[..]);
        }
    }
    assert_eq!(open_uploads(&client, &name).await, 0);
}

/// The same bytes are there: whoever has stored them, the artifact is, and no upload stays open.
#[tokio::test]
async fn the_same_object_stored_by_another_is_as_good() {
    let (client, name) = bucket().await;
    let (one, another) = (store(&client, &name, false), store(&client, &name, true));
    upload(&one, "a", b"ours", async { upload(&another, "a", b"ours", async {}).await.unwrap() })
        .await
        .unwrap();
    assert_eq!(open_uploads(&client, &name).await, 0);
    one.take_back().await.unwrap();
    assert_eq!(bytes(&client, &name, "a").await, &b"ours"[..], "it is not this store's to take back");
}

#[tokio::test]
async fn what_was_made_is_taken_back_and_what_was_there_is_there_again() {
    let (client, name) = bucket().await;
    put(&client, &name, "a", b"before").await;
    let store = store(&client, &name, true);
    upload(&store, "a", b"ours", async {}).await.unwrap();
    store.put("a.manifest", "text/plain", Bytes::from_static(b"ours")).await.unwrap();
    store.take_back().await.unwrap();
    assert_eq!(bytes(&client, &name, "a").await, &b"before"[..]);
    let versions = client.list_object_versions().bucket(&name).send().await.unwrap();
    assert_eq!((versions.versions().len(), versions.delete_markers().len()), (1, 0));
}
