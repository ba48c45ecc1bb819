//! What [`MediaTarget`] promises. Each case puts its objects below a prefix of its own.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{
    ArtifactStore, Described, MediaSource, MediaTarget, MediaUpload, ObjectHeaders, StorageError, StoredPart,
};
use holdfast_domain::backup::StoredObject;

use super::artifacts::{PART_BYTES, part, prefix};
use crate::{
    builders,
    fakes::{FakeArtifacts, FakeMedia, FakeMediaTarget},
};

/// Makes a test of each case of the [`MediaTarget`] suite.
#[macro_export]
macro_rules! media_target_contract {
    ($way_back:expr) => {
        $crate::contract_tests! { media_target, $way_back,
            an_object_is_put_with_everything_it_had
            an_object_is_put_whatever_its_key
            an_object_that_is_there_is_replaced_only_if_that_is_wanted
            a_file_is_copied_out_of_an_archive
            an_archive_of_many_versions_is_copied_from_as_it_was
            a_copy_is_not_completed_as_something_else
            a_copy_replaces_an_object_only_if_that_is_wanted
            uploads_that_were_begun_here_are_found_and_given_up
            an_object_is_described_by_size_and_checksum
            objects_are_deleted_whatever_their_keys
            a_missing_bucket_is_not_found
            nothing_goes_into_the_bucket_of_backups
        }
    };
}

/// A way back, and what is at both of its ends.
#[async_trait]
pub trait WayBack: Send + Sync {
    /// What is tested.
    fn target(&self) -> &dyn MediaTarget;

    /// The same buckets, to look at.
    fn media(&self) -> &dyn MediaSource;

    /// The bucket that archives are in.
    fn artifacts(&self) -> &dyn ArtifactStore;

    /// The bucket that files go back to.
    fn bucket(&self) -> &str;
}

/// A way back in memory.
pub struct FakeWayBack {
    media: Arc<FakeMedia>,
    artifacts: Arc<FakeArtifacts>,
    target: FakeMediaTarget,
}

impl FakeWayBack {
    /// An empty bucket to put files into, and an empty one of backups.
    pub fn new() -> Self {
        let media = Arc::new(FakeMedia::new());
        media.make_bucket("contract-media", &builders::region());
        let artifacts = Arc::new(FakeArtifacts::beside(media.clone()));
        Self { target: FakeMediaTarget::new(media.clone(), artifacts.clone()), media, artifacts }
    }
}

impl Default for FakeWayBack {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl WayBack for FakeWayBack {
    fn target(&self) -> &dyn MediaTarget {
        &self.target
    }

    fn media(&self) -> &dyn MediaSource {
        self.media.as_ref()
    }

    fn artifacts(&self) -> &dyn ArtifactStore {
        self.artifacts.as_ref()
    }

    fn bucket(&self) -> &'static str {
        "contract-media"
    }
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Everything that an object can have.
fn everything() -> ObjectHeaders {
    let some = |text: &str| Some(text.to_owned());
    ObjectHeaders {
        content_type: some("text/html"),
        cache_control: some("max-age=60"),
        content_encoding: some("gzip"),
        content_disposition: some("attachment; filename=\"a b.html\""),
        content_language: some("de-CH"),
        expires: some("Wed, 21 Oct 2026 07:28:00 GMT"),
        website_redirect_location: some("/elsewhere"),
        metadata: pairs(&[("by", "Ann"), ("place", "zurich, old town")]),
        tags: pairs(&[("kind", "photo of a cat"), ("a+b", "x/y=z")]),
    }
}

/// An object as it is in the bucket: everything it has, and its bytes.
async fn found(way: &dyn WayBack, key: &str) -> (ObjectHeaders, Bytes) {
    let object = way.media().open(way.bucket(), key, None, 0, None).await.unwrap();
    let headers = ObjectHeaders {
        content_type: object.content_type,
        cache_control: object.cache_control,
        content_encoding: object.content_encoding,
        content_disposition: object.content_disposition,
        content_language: object.content_language,
        expires: object.expires,
        website_redirect_location: object.website_redirect_location,
        metadata: object.metadata,
        tags: way.media().tags(way.bucket(), key).await.unwrap(),
    };
    let bytes: BytesMut = object.body.try_collect().await.unwrap();
    (headers, bytes.freeze())
}

async fn put(way: &dyn WayBack, key: &str, bytes: &'static [u8]) {
    let headers = ObjectHeaders::default();
    way.target().put(way.bucket(), key, &headers, Bytes::from_static(bytes), true).await.unwrap();
}

/// Stores an archive of these bytes, as a backup does.
async fn archive(way: &dyn WayBack, case: &str, bytes: Bytes) -> StoredObject {
    let key = format!("{}MEDIA/media.tar", prefix(case));
    way.artifacts().put(&key, "application/x-tar", bytes).await.unwrap();
    way.artifacts().describe(&key).await.unwrap().unwrap()
}

async fn copy(
    way: &dyn WayBack,
    upload: &MediaUpload,
    number: u32,
    from: &StoredObject,
    offset: usize,
    bytes: usize,
) -> Result<StoredPart, StorageError> {
    way.target().copy_part(upload, number, from, offset as u64..(offset + bytes) as u64).await
}

/// An object comes back with its headers, metadata and tags.
pub async fn an_object_is_put_with_everything_it_had(way: &dyn WayBack) {
    let bytes = Bytes::from_static(b"<p>contents");
    way.target().put(way.bucket(), "put/a.html", &everything(), bytes.clone(), false).await.unwrap();
    assert_eq!(found(way, "put/a.html").await, (everything(), bytes));
    way.target().put(way.bucket(), "put/empty", &everything(), Bytes::new(), false).await.unwrap();
    assert_eq!(found(way, "put/empty").await, (everything(), Bytes::new()));
}

/// Keys of all characters, and such as end in a slash.
pub async fn an_object_is_put_whatever_its_key(way: &dyn WayBack) {
    let names =
        ["", "../up", "/lead", "a b", "a%20b", "a&<>\"'b", "a+b", "a/", "a//b", "line\nbreak", "\u{1f600}?#"];
    for name in names {
        let key = format!("keys/{name}");
        put(way, &key, b"bytes").await;
        assert_eq!(found(way, &key).await.1, "bytes", "{key:?}");
    }
}

/// An object that is there already is in the way, or is replaced with all it had.
pub async fn an_object_that_is_there_is_replaced_only_if_that_is_wanted(way: &dyn WayBack) {
    way.target().put(way.bucket(), "twice", &everything(), Bytes::from_static(b"one"), false).await.unwrap();
    let (plain, two) = (ObjectHeaders::default(), Bytes::from_static(b"two"));
    let refused = way.target().put(way.bucket(), "twice", &plain, two.clone(), false).await;
    assert!(matches!(refused, Err(StorageError::Changed(_))), "{refused:?}");
    assert_eq!(found(way, "twice").await, (everything(), Bytes::from_static(b"one")));
    way.target().put(way.bucket(), "twice", &plain, two, true).await.unwrap();
    let (headers, bytes) = found(way, "twice").await;
    assert_eq!((headers.metadata, headers.tags, headers.expires), (BTreeMap::new(), BTreeMap::new(), None));
    assert_eq!(bytes, "two");
}

/// A range of an archive becomes an object without passing by, in parts, with everything it had.
pub async fn a_file_is_copied_out_of_an_archive(way: &dyn WayBack) {
    let file: Bytes = [part(3), part(4), Bytes::from_static(b"tail")].concat().into();
    let tar = archive(way, "way-back", [&[7; 512][..], &file, &[0; 1024]].concat().into()).await;
    let upload = way.target().begin(way.bucket(), "copied/a b.mp4", &everything()).await.unwrap();
    let first = copy(way, &upload, 1, &tar, 512, PART_BYTES + 7).await.unwrap();
    let last = copy(way, &upload, 2, &tar, 512 + PART_BYTES + 7, file.len() - PART_BYTES - 7).await.unwrap();
    assert_eq!(
        (first.size, first.crc64nvme),
        (PART_BYTES as u64 + 7, Crc64Nvme::of(&file[..PART_BYTES + 7]))
    );
    let whole = Crc64Nvme::combine(first.crc64nvme, last.crc64nvme, last.size);
    assert_eq!(whole, Crc64Nvme::of(&file));
    way.target().complete(&upload, &[first, last], whole, false).await.unwrap();
    let (headers, bytes) = found(way, "copied/a b.mp4").await;
    assert_eq!(headers, everything());
    assert!(bytes == file);
}

/// What is copied is of the version that was named, and nothing if that is not to be had.
pub async fn an_archive_of_many_versions_is_copied_from_as_it_was(way: &dyn WayBack) {
    let tar = archive(way, "way-back-versions", Bytes::from_static(b"what was stored")).await;
    let upload = way.target().begin(way.bucket(), "versions/a", &ObjectHeaders::default()).await.unwrap();
    let missing = StoredObject { key: format!("{}MEDIA/none.tar", prefix("none")), ..tar.clone() };
    let missing = copy(way, &upload, 1, &missing, 0, 4).await;
    assert!(matches!(missing, Err(StorageError::NotFound(_) | StorageError::Changed(_))), "{missing:?}");
    let other = StoredObject { etag: "\"00000000000000000000000000000000\"".to_owned(), ..tar.clone() };
    let other = copy(way, &upload, 1, &other, 0, 4).await;
    assert!(matches!(other, Err(StorageError::Changed(_))), "{other:?}");
    let part = copy(way, &upload, 1, &tar, 5, 3).await.unwrap();
    way.target().complete(&upload, std::slice::from_ref(&part), part.crc64nvme, false).await.unwrap();
    assert_eq!(found(way, "versions/a").await.1, "was");
}

/// An upload whose bytes are others than those expected does not become an object.
pub async fn a_copy_is_not_completed_as_something_else(way: &dyn WayBack) {
    let tar = archive(way, "way-back-checksum", Bytes::from_static(b"what was stored")).await;
    let upload = way.target().begin(way.bucket(), "checksum/a", &ObjectHeaders::default()).await.unwrap();
    let part = copy(way, &upload, 1, &tar, 0, 4).await.unwrap();
    let outcome = way.target().complete(&upload, &[part], Crc64Nvme::of(b"something else"), true).await;
    assert!(outcome.is_err(), "{outcome:?}");
    way.target().abort(&upload).await.unwrap();
    assert_eq!(way.target().describe(way.bucket(), "checksum/a").await.unwrap(), None);
}

/// An upload does not take the place of an object that is there, unless it may.
pub async fn a_copy_replaces_an_object_only_if_that_is_wanted(way: &dyn WayBack) {
    let tar = archive(way, "way-back-twice", Bytes::from_static(b"what was stored")).await;
    put(way, "copied-twice", b"there").await;
    let upload = way.target().begin(way.bucket(), "copied-twice", &ObjectHeaders::default()).await.unwrap();
    let part = copy(way, &upload, 1, &tar, 0, 4).await.unwrap();
    let parts = std::slice::from_ref(&part);
    let refused = way.target().complete(&upload, parts, part.crc64nvme, false).await;
    assert!(matches!(refused, Err(StorageError::Changed(_))), "{refused:?}");
    assert_eq!(found(way, "copied-twice").await.1, "there");
    way.target().complete(&upload, parts, part.crc64nvme, true).await.unwrap();
    assert_eq!(found(way, "copied-twice").await.1, "what");
}

/// Open uploads are found by their prefix; giving one up twice is harmless.
pub async fn uploads_that_were_begun_here_are_found_and_given_up(way: &dyn WayBack) {
    let target = way.target();
    let mut begun = Vec::new();
    for key in ["open/a", "open/b c", "opened/d"] {
        begun.push(target.begin(way.bucket(), key, &ObjectHeaders::default()).await.unwrap());
    }
    let mut found = target.open_uploads(way.bucket(), "open/").await.unwrap();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found, begun[..2]);
    for upload in begun.iter().chain(&begun) {
        target.abort(upload).await.unwrap();
    }
    assert_eq!(target.open_uploads(way.bucket(), "open").await.unwrap(), []);
}

/// An object is described by its size and the checksum it was put with; one that is not there is none.
pub async fn an_object_is_described_by_size_and_checksum(way: &dyn WayBack) {
    put(way, "described", b"bytes").await;
    let expected = Described { size: 5, crc64nvme: Some(Crc64Nvme::of(b"bytes")) };
    assert_eq!(way.target().describe(way.bucket(), "described").await.unwrap(), Some(expected));
    assert_eq!(way.target().describe(way.bucket(), "described-not").await.unwrap(), None);
}

/// Objects are deleted, and no others; absent ones are no error.
pub async fn objects_are_deleted_whatever_their_keys(way: &dyn WayBack) {
    let names = ["a", "a b", "a&<>\"'b", "a/", "../up", "line\nbreak", "Zürich", "\u{1f600}"];
    let mut keys: Vec<String> = names.iter().map(|name| format!("gone/{name}")).collect();
    for key in &keys {
        put(way, key, b"bytes").await;
    }
    put(way, "gone/left", b"bytes").await;
    keys.push("gone/never".to_owned());
    way.target().delete(way.bucket(), &keys).await.unwrap();
    way.target().delete(way.bucket(), &keys).await.unwrap();
    let left = way.media().list(way.bucket(), "gone/", None, None).await.unwrap().objects;
    assert_eq!(left.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["gone/left"]);
}

/// A bucket that is not there is not found.
pub async fn a_missing_bucket_is_not_found(way: &dyn WayBack) {
    let (bucket, headers) = ("contract-no-such-bucket", ObjectHeaders::default());
    let put = way.target().put(bucket, "a", &headers, Bytes::new(), true).await;
    assert!(matches!(put, Err(StorageError::NotFound(_))), "{put:?}");
    let begun = way.target().begin(bucket, "a", &headers).await;
    assert!(matches!(begun, Err(StorageError::NotFound(_))), "{begun:?}");
}

/// The bucket of backups is no place for files, whatever happens.
pub async fn nothing_goes_into_the_bucket_of_backups(way: &dyn WayBack) {
    let (target, headers) = (way.target(), ObjectHeaders::default());
    let bucket = target.backups().to_owned();
    let put = target.put(&bucket, "a", &headers, Bytes::new(), true).await;
    let begun = target.begin(&bucket, "a", &headers).await;
    let deleted = target.delete(&bucket, &["a".to_owned()]).await;
    for outcome in [put, begun.map(drop), deleted] {
        assert!(matches!(outcome, Err(StorageError::Rejected(_))), "{outcome:?}");
    }
}
