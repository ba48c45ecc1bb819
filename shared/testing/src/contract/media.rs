//! What [`MediaSource`] promises. Each case puts its objects below a prefix of its own.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use holdfast_backup::ports::{MediaObject, MediaSource, StorageError};

use crate::{builders, fakes::FakeMedia};

/// Makes a test of each case of the [`MediaSource`] suite.
#[macro_export]
macro_rules! media_contract {
    ($stage:expr) => {
        $crate::contract_tests! { media, $stage,
            a_bucket_has_a_region
            a_listing_is_in_byte_order_whatever_the_keys
            a_listing_begins_behind_any_key
            an_object_reads_back_with_its_headers
            an_object_reads_back_with_every_header_that_is_kept
            a_large_object_reads_back_from_any_offset
            a_range_reads_back_and_knows_the_whole
            tags_are_counted_and_read
            an_empty_object_reads_back
            an_object_that_was_replaced_has_changed
            an_object_that_was_deleted_is_not_found
            a_missing_bucket_is_not_found
        }
    };
}

/// A source, and a bucket in it that a test can write to.
#[async_trait]
pub trait Stage: Send + Sync {
    /// What is tested.
    fn media(&self) -> &dyn MediaSource;

    /// The bucket, which is in [`builders::region`].
    fn bucket(&self) -> &str;

    /// Puts an object.
    async fn put(&self, key: &str, bytes: Bytes, content_type: &str, metadata: &[(&str, &str)]);

    /// Puts an object with other headers, by their names in lower case.
    async fn put_with_headers(&self, key: &str, bytes: Bytes, headers: &[(&str, &str)]);

    /// Tags an object.
    async fn tag(&self, key: &str, tags: &[(&str, &str)]);

    /// Deletes an object.
    async fn delete(&self, key: &str);
}

/// A stage in memory, with small pages.
pub struct FakeStage(FakeMedia);

impl FakeStage {
    /// An empty bucket.
    pub fn new() -> Self {
        let media = FakeMedia::new();
        media.make_bucket("contract-media", &builders::region());
        media.page_size(3);
        Self(media)
    }
}

impl Default for FakeStage {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Stage for FakeStage {
    fn media(&self) -> &dyn MediaSource {
        &self.0
    }

    fn bucket(&self) -> &'static str {
        "contract-media"
    }

    async fn put(&self, key: &str, bytes: Bytes, content_type: &str, metadata: &[(&str, &str)]) {
        self.0.put_typed(self.bucket(), key, bytes, Some(content_type), metadata);
    }

    async fn put_with_headers(&self, key: &str, bytes: Bytes, headers: &[(&str, &str)]) {
        self.0.put(self.bucket(), key, bytes);
        self.0.set_headers(self.bucket(), key, headers);
    }

    async fn tag(&self, key: &str, tags: &[(&str, &str)]) {
        self.0.tag(self.bucket(), key, tags);
    }

    async fn delete(&self, key: &str) {
        self.0.delete(self.bucket(), key);
    }
}

async fn put(stage: &dyn Stage, key: &str, bytes: &'static [u8]) {
    stage.put(key, Bytes::from_static(bytes), "application/octet-stream", &[]).await;
}

async fn open(stage: &dyn Stage, key: &str, etag: Option<&str>) -> Result<MediaObject, StorageError> {
    stage.media().open(stage.bucket(), key, etag, 0, None).await
}

async fn read(object: MediaObject) -> Bytes {
    let bytes: BytesMut = object.body.try_collect().await.unwrap();
    bytes.freeze()
}

/// A bucket has a region.
pub async fn a_bucket_has_a_region(stage: &dyn Stage) {
    assert_eq!(stage.media().region(stage.bucket()).await.unwrap(), builders::region());
    let outcome = stage.media().region("contract-no-such-bucket").await;
    assert!(matches!(outcome, Err(StorageError::NotFound(_))), "{outcome:?}");
}

/// A listing has every object below the prefix once, in byte order, whatever characters their keys have.
pub async fn a_listing_is_in_byte_order_whatever_the_keys(stage: &dyn Stage) {
    let names = [
        "",
        "../up",
        "./here",
        "/lead",
        "a b",
        "a%20b",
        "a&<>\"'b",
        "a+b",
        "a/",
        "a/b",
        "a//b",
        "line\nbreak",
        "Zürich.jpg",
        "zu\u{308}rich.jpg",
        "\u{1f600}.png",
        "a=b;c,d",
        "~tilde",
        "back\\slash",
    ];
    let mut keys: Vec<String> = names.iter().map(|name| format!("odd/{name}")).collect();
    for key in &keys {
        put(stage, key, b"bytes").await;
    }
    put(stage, "odds", b"not below the prefix").await;
    keys.sort();
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let page = stage.media().list(stage.bucket(), "odd/", None, token.as_deref()).await.unwrap();
        found.extend(page.objects);
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found.iter().map(|object| &object.key).collect::<Vec<_>>(), keys.iter().collect::<Vec<_>>());
    for listed in found {
        let object = open(stage, &listed.key, Some(&listed.etag)).await.unwrap();
        assert_eq!((listed.size, &listed.etag), (object.size, &object.etag), "{}", listed.key);
        assert_eq!(listed.last_modified.timestamp(), object.last_modified.timestamp());
        assert_eq!(read(object).await, "bytes");
    }
}

/// A listing that begins behind a key has all that follows it, whether there is such a key or not.
pub async fn a_listing_begins_behind_any_key(stage: &dyn Stage) {
    for key in ["behind/a", "behind/b", "behind/b/c", "behind/c"] {
        stage.put(key, Bytes::from_static(b"x"), "text/plain", &[]).await;
    }
    for (after, expected) in [("behind/b", 2), ("behind/a!", 3), ("behind/c", 0), ("", 4)] {
        let page = stage.media().list(stage.bucket(), "behind/", Some(after), None).await.unwrap();
        let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
        let more = page.next.is_some();
        assert!(keys.len() == expected || (more && keys.len() < expected), "{after:?}: {keys:?}");
        assert!(keys.iter().all(|key| *key > after), "{after:?}: {keys:?}");
    }
}

/// An object reads back with its content type and metadata.
pub async fn an_object_reads_back_with_its_headers(stage: &dyn Stage) {
    let metadata = [("camera", "x100"), ("place", "zurich")];
    stage.put("headers/a.jpg", Bytes::from_static(b"jpeg"), "image/jpeg", &metadata).await;
    let object = open(stage, "headers/a.jpg", None).await.unwrap();
    assert_eq!(object.content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(object.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), metadata);
    assert_eq!(read(object).await, "jpeg");
}

/// An object reads back with every other header that a bucket keeps with it, whole or in part.
pub async fn an_object_reads_back_with_every_header_that_is_kept(stage: &dyn Stage) {
    let headers = [
        ("cache-control", "max-age=60"),
        ("content-encoding", "gzip"),
        ("content-disposition", "attachment; filename=\"a b\""),
        ("content-language", "de-CH"),
        ("expires", "Wed, 21 Oct 2065 07:28:00 GMT"),
        ("x-amz-website-redirect-location", "/other/page.html"),
    ];
    stage.put_with_headers("headers/all.html", Bytes::from_static(b"bytes"), &headers).await;
    for length in [None, Some(2)] {
        let object = stage.media().open(stage.bucket(), "headers/all.html", None, 0, length).await.unwrap();
        let found = [
            &object.cache_control,
            &object.content_encoding,
            &object.content_disposition,
            &object.content_language,
            &object.expires,
            &object.website_redirect_location,
        ];
        let expected = headers.map(|(name, value)| (name, Some(value)));
        let found = found.map(|value| value.as_deref());
        assert_eq!(headers.map(|(name, _)| name).into_iter().zip(found).collect::<Vec<_>>(), expected);
    }
    put(stage, "headers/none.txt", b"bytes").await;
    let object = open(stage, "headers/none.txt", None).await.unwrap();
    assert_eq!((object.expires, object.website_redirect_location, object.cache_control), (None, None, None));
}

/// A reading goes on from any offset, and knows the size of the whole.
pub async fn a_large_object_reads_back_from_any_offset(stage: &dyn Stage) {
    let bytes: Bytes = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    stage.put("large/a.mp4", bytes.clone(), "video/mp4", &[]).await;
    let whole = open(stage, "large/a.mp4", None).await.unwrap();
    let etag = whole.etag.clone();
    assert!(read(whole).await == bytes);
    for offset in [1, 1_000_000, 2_999_999] {
        let rest = stage.media();
        let rest = rest.open(stage.bucket(), "large/a.mp4", Some(&etag), offset, None).await.unwrap();
        assert_eq!((rest.size, &rest.etag), (3_000_000, &etag));
        assert!(read(rest).await == bytes.slice(usize::try_from(offset).unwrap()..));
    }
}

/// A range of an object reads back, is cut off at the object's end, and comes with the size of the whole.
pub async fn a_range_reads_back_and_knows_the_whole(stage: &dyn Stage) {
    let bytes: Bytes = (0..200_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
    stage.put("ranges/a.mp4", bytes.clone(), "video/mp4", &[]).await;
    for (offset, length, end) in
        [(0, 1, 1), (0, 70_000, 70_000), (150_000, 10, 150_010), (150_000, 60_000, 200_000)]
    {
        let media = stage.media();
        let part = media.open(stage.bucket(), "ranges/a.mp4", None, offset, Some(length)).await.unwrap();
        assert_eq!(part.size, 200_000);
        assert!(read(part).await == bytes.slice(usize::try_from(offset).unwrap()..end));
    }
    let beyond = stage.media().open(stage.bucket(), "ranges/a.mp4", None, 200_000, Some(1)).await.err();
    assert!(matches!(beyond, Some(StorageError::Changed(_))), "{beyond:?}");
}

/// An object says how many tags it has, and what they are.
pub async fn tags_are_counted_and_read(stage: &dyn Stage) {
    put(stage, "tagged/none.txt", b"bytes").await;
    assert_eq!(open(stage, "tagged/none.txt", None).await.unwrap().tag_count, 0);
    put(stage, "tagged/two.txt", b"bytes").await;
    let tags = [("kind", "photo of a cat"), ("owner", "ann")];
    stage.tag("tagged/two.txt", &tags).await;
    assert_eq!(open(stage, "tagged/two.txt", None).await.unwrap().tag_count, 2);
    let found = stage.media().tags(stage.bucket(), "tagged/two.txt").await.unwrap();
    assert_eq!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), tags);
    let missing = stage.media().tags(stage.bucket(), "tagged/missing.txt").await;
    assert!(matches!(missing, Err(StorageError::NotFound(_))), "{missing:?}");
}

/// An empty object has a body that ends at once.
pub async fn an_empty_object_reads_back(stage: &dyn Stage) {
    put(stage, "empty/a.txt", b"").await;
    let object = open(stage, "empty/a.txt", None).await.unwrap();
    assert_eq!(object.size, 0);
    assert_eq!(read(object).await, "");
}

/// An object that was replaced since it was listed has changed, and can be opened as what it is now.
pub async fn an_object_that_was_replaced_has_changed(stage: &dyn Stage) {
    put(stage, "replaced/a.txt", b"first").await;
    let first = open(stage, "replaced/a.txt", None).await.unwrap().etag;
    put(stage, "replaced/a.txt", b"second").await;
    let outcome = open(stage, "replaced/a.txt", Some(&first)).await.err();
    assert!(matches!(outcome, Some(StorageError::Changed(_))), "{outcome:?}");
    assert_eq!(read(open(stage, "replaced/a.txt", None).await.unwrap()).await, "second");
}

/// An object that was deleted is not found, with or without its entity tag.
pub async fn an_object_that_was_deleted_is_not_found(stage: &dyn Stage) {
    put(stage, "deleted/a.txt", b"first").await;
    let etag = open(stage, "deleted/a.txt", None).await.unwrap().etag;
    stage.delete("deleted/a.txt").await;
    for etag in [None, Some(etag.as_str())] {
        let outcome = open(stage, "deleted/a.txt", etag).await.err();
        assert!(matches!(outcome, Some(StorageError::NotFound(_))), "{outcome:?}");
    }
}

/// A bucket that is not there is not found, and the error names it.
pub async fn a_missing_bucket_is_not_found(stage: &dyn Stage) {
    let bucket = "contract-no-such-bucket";
    let listed = stage.media().list(bucket, "", None, None).await.err().unwrap();
    let opened = stage.media().open(bucket, "a", None, 0, None).await.err().unwrap();
    for error in [listed, opened] {
        assert!(matches!(&error, StorageError::NotFound(what) if what.contains(bucket)), "{error:?}");
    }
}
