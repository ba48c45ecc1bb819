use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Mutex,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{
    ListedObject, MediaObject, MediaPage, MediaSource, ObjectHeaders, PartCopy, StorageError,
};
use holdfast_domain::region::Region;

/// Bytes of one piece of a body.
const PIECE_BYTES: usize = 64 * 1024;

/// Buckets in memory, with objects that change, vanish or break while they are read.
pub struct FakeMedia {
    state: Mutex<State>,
}

struct State {
    buckets: BTreeMap<String, Bucket>,
    page_size: usize,
    surprises: BTreeMap<(String, String), VecDeque<Surprise>>,
    copy_surprises: BTreeMap<(String, String), VecDeque<Surprise>>,
    opened: Vec<String>,
    read: u64,
}

struct Bucket {
    region: Region,
    denied: bool,
    tags_denied: bool,
    opaque_tags: bool,
    objects: BTreeMap<String, Object>,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    etag: String,
    last_modified: DateTime<Utc>,
    content_type: Option<String>,
    /// The others that are kept with an object, by their names in lower case.
    headers: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    archived: bool,
}

/// What happens to an object just before it is opened the next time.
#[derive(Debug, Clone)]
pub enum Surprise {
    /// Nothing.
    None,
    /// Somebody replaces it.
    Replaced(Bytes),
    /// Somebody deletes it.
    Deleted,
    /// The storage does not answer.
    Unavailable,
    /// The body breaks off after so many bytes.
    BreaksAfter(usize),
    /// The body breaks off after so many bytes, and somebody replaces the object at that moment.
    BreaksAndIsReplaced(usize, Bytes),
}

impl FakeMedia {
    /// No buckets; listings in pages of 1,000 as S3 has them.
    pub fn new() -> Self {
        let state = State {
            buckets: BTreeMap::new(),
            page_size: 1000,
            surprises: BTreeMap::new(),
            copy_surprises: BTreeMap::new(),
            opened: Vec::new(),
            read: 0,
        };
        Self { state: Mutex::new(state) }
    }

    /// Makes a bucket.
    pub fn make_bucket(&self, bucket: &str, region: &Region) {
        let made = Bucket {
            region: region.clone(),
            denied: false,
            tags_denied: false,
            opaque_tags: false,
            objects: BTreeMap::new(),
        };
        self.state.lock().unwrap().buckets.insert(bucket.to_owned(), made);
    }

    /// Denies everything in a bucket.
    pub fn deny(&self, bucket: &str) {
        self.with_bucket(bucket, |bucket| bucket.denied = true);
    }

    /// Denies to read tags in a bucket, and so even how many there are.
    pub fn deny_tags(&self, bucket: &str) {
        self.with_bucket(bucket, |bucket| bucket.tags_denied = true);
    }

    /// Makes pages smaller.
    pub fn page_size(&self, objects: usize) {
        self.state.lock().unwrap().page_size = objects;
    }

    /// Puts an object into a bucket that is there.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        self.put_typed(bucket, key, bytes, None, &[]);
    }

    /// Puts an object with a content type and user metadata.
    pub fn put_typed(
        &self,
        bucket: &str,
        key: &str,
        bytes: impl Into<Bytes>,
        content_type: Option<&str>,
        metadata: &[(&str, &str)],
    ) {
        let headers = ObjectHeaders {
            content_type: content_type.map(str::to_owned),
            metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..ObjectHeaders::default()
        };
        let at = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000);
        let object = Object::new(&headers, bytes.into(), at);
        self.with_bucket(bucket, |bucket| bucket.objects.insert(key.to_owned(), object));
    }

    /// Gives an object that is there headers, such as `cache-control`, by their names in lower case.
    pub fn set_headers(&self, bucket: &str, key: &str, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.with_bucket(bucket, |bucket| bucket.objects.get_mut(key).unwrap().headers = headers);
    }

    /// Tags an object that is there.
    pub fn tag(&self, bucket: &str, key: &str, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.with_bucket(bucket, |bucket| bucket.objects.get_mut(key).unwrap().tags = tags);
    }

    /// Moves an object to cold storage, from where it cannot be read.
    pub fn archive(&self, bucket: &str, key: &str) {
        self.with_bucket(bucket, |bucket| bucket.objects.get_mut(key).unwrap().archived = true);
    }

    /// Deletes an object.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.with_bucket(bucket, |bucket| bucket.objects.remove(key));
    }

    /// Says what happens at the next openings of an object, one after the other.
    pub fn surprise(&self, bucket: &str, key: &str, surprises: impl IntoIterator<Item = Surprise>) {
        let mut state = self.state.lock().unwrap();
        state.surprises.entry((bucket.to_owned(), key.to_owned())).or_default().extend(surprises);
    }

    /// Says what happens at the next copies of an object, one after the other.
    pub fn surprise_copies(&self, bucket: &str, key: &str, surprises: impl IntoIterator<Item = Surprise>) {
        let mut state = self.state.lock().unwrap();
        state.copy_surprises.entry((bucket.to_owned(), key.to_owned())).or_default().extend(surprises);
    }

    /// The bytes that a storage copies of an object by itself.
    pub(super) fn copy(&self, copy: &PartCopy) -> Result<Bytes, StorageError> {
        let PartCopy { bucket, key, etag, offset, bytes, .. } = copy;
        let mut state = self.state.lock().unwrap();
        let what = format!("object {key} in bucket {bucket}");
        let surprises = state.copy_surprises.get_mut(&(bucket.clone(), key.clone()));
        match surprises.and_then(VecDeque::pop_front) {
            Some(Surprise::Replaced(bytes)) => state.replace(bucket, key, bytes),
            Some(Surprise::Deleted) => state.remove(bucket, key),
            Some(Surprise::Unavailable) => return Err(StorageError::Unavailable(what)),
            Some(other) => panic!("a copy cannot be {other:?}"),
            None => {}
        }
        let object = state.bucket(bucket)?.objects.get(key).cloned();
        let object = object.ok_or_else(|| StorageError::NotFound(what.clone()))?;
        if object.etag() != *etag {
            return Err(StorageError::Changed(what));
        }
        if object.archived {
            return Err(StorageError::Archived(what));
        }
        let range = usize::try_from(*offset).unwrap()..usize::try_from(offset + bytes).unwrap();
        if range.end > object.bytes.len() {
            return Err(StorageError::Rejected(format!("{what}: the range is beyond its end")));
        }
        Ok(object.bytes.slice(range))
    }

    /// Stores an object as somebody puts it at `at`. Unless it may `overwrite`, one that is there already is in the way.
    pub(super) fn store(
        &self,
        bucket: &str,
        key: &str,
        headers: &ObjectHeaders,
        bytes: Bytes,
        at: DateTime<Utc>,
        overwrite: bool,
    ) -> Result<(), StorageError> {
        let mut state = self.state.lock().unwrap();
        let what = format!("object {key} in bucket {bucket}");
        let there = state.bucket(bucket)?.objects.contains_key(key);
        if there && !overwrite {
            return Err(StorageError::Changed(what));
        }
        let mut object = Object::new(headers, bytes, at);
        let bucket = state.buckets.get_mut(bucket).ok_or(StorageError::NotFound(what))?;
        if bucket.opaque_tags {
            object.etag = format!("\"opaque-{}\"", object.etag.trim_matches('"'));
        }
        bucket.objects.insert(key.to_owned(), object);
        Ok(())
    }

    /// Fails unless the bucket is there and open.
    pub(super) fn reach(&self, bucket: &str) -> Result<(), StorageError> {
        self.state.lock().unwrap().bucket(bucket).map(drop)
    }

    /// An object's bytes, if it is there.
    pub fn bytes(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let state = self.state.lock().unwrap();
        state.buckets.get(bucket)?.objects.get(key).map(|object| object.bytes.clone())
    }

    /// The keys of all objects of a bucket, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.with_bucket(bucket, |bucket| bucket.objects.keys().cloned().collect())
    }

    /// Lets a bucket give entity tags that say nothing about the bytes, as one does that encrypts with a key, to what is put
    /// from now on.
    pub fn opaque_tags(&self, bucket: &str) {
        self.with_bucket(bucket, |bucket| bucket.opaque_tags = true);
    }

    /// How many bytes of bodies were given out.
    pub fn bytes_read(&self) -> u64 {
        self.state.lock().unwrap().read
    }

    /// The keys that were opened, in order.
    pub fn opened(&self) -> Vec<String> {
        self.state.lock().unwrap().opened.clone()
    }

    fn with_bucket<T>(&self, bucket: &str, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        change(state.buckets.get_mut(bucket).expect("the test has made the bucket"))
    }
}

impl Default for FakeMedia {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl MediaSource for FakeMedia {
    async fn region(&self, bucket: &str) -> Result<Region, StorageError> {
        Ok(self.state.lock().unwrap().bucket(bucket)?.region.clone())
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        let token = token.or(after);
        let state = self.state.lock().unwrap();
        let mut objects: Vec<_> = state
            .bucket(bucket)?
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && token.is_none_or(|token| key.as_str() > token))
            .take(state.page_size + 1)
            .map(|(key, object)| ListedObject {
                key: key.clone(),
                size: object.bytes.len() as u64,
                etag: object.etag(),
                last_modified: object.last_modified,
            })
            .collect();
        let more = objects.len() > state.page_size;
        objects.truncate(state.page_size);
        let next = objects.last().filter(|_| more).map(|object| object.key.clone());
        Ok(MediaPage { objects, next })
    }

    async fn open(
        &self,
        bucket: &str,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        let mut state = self.state.lock().unwrap();
        state.opened.push(key.to_owned());
        let what = format!("object {key} in bucket {bucket}");
        let surprises = state.surprises.get_mut(&(bucket.to_owned(), key.to_owned()));
        let surprise = surprises.and_then(VecDeque::pop_front).unwrap_or(Surprise::None);
        match &surprise {
            Surprise::Replaced(bytes) => state.replace(bucket, key, bytes.clone()),
            Surprise::Deleted => state.remove(bucket, key),
            Surprise::Unavailable => return Err(StorageError::Unavailable(what)),
            Surprise::None | Surprise::BreaksAfter(_) | Surprise::BreaksAndIsReplaced(..) => {}
        }
        let object = state.bucket(bucket)?.objects.get(key).cloned();
        let object = object.ok_or_else(|| StorageError::NotFound(what.clone()))?;
        if let Surprise::BreaksAndIsReplaced(_, bytes) = &surprise {
            state.replace(bucket, key, bytes.clone());
        }
        if etag.is_some_and(|etag| etag != object.etag()) {
            return Err(StorageError::Changed(what));
        }
        if object.archived {
            return Err(StorageError::Archived(what));
        }
        let size = object.bytes.len();
        let ranged = offset > 0 || length.is_some();
        let offset = usize::try_from(offset).ok().filter(|offset| !ranged || *offset < size);
        let offset = offset.ok_or_else(|| StorageError::Changed(what.clone()))?;
        let end =
            length.map_or(size, |length| offset.saturating_add(usize::try_from(length).unwrap()).min(size));
        let breaks = match surprise {
            Surprise::BreaksAfter(bytes) | Surprise::BreaksAndIsReplaced(bytes, _) => Some(bytes),
            _ => None,
        };
        state.read += (end - offset).min(breaks.unwrap_or(usize::MAX)) as u64;
        let mut opened = object.open(&what, offset..end, breaks);
        if state.bucket(bucket)?.tags_denied {
            opened.tag_count = 0;
        }
        Ok(opened)
    }

    async fn tags(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        let state = self.state.lock().unwrap();
        let found = state.bucket(bucket)?;
        if found.tags_denied {
            return Err(StorageError::Denied(format!("tags of object {key} in bucket {bucket}")));
        }
        let object = found.objects.get(key);
        let object =
            object.ok_or_else(|| StorageError::NotFound(format!("object {key} in bucket {bucket}")))?;
        Ok(object.tags.clone())
    }
}

impl State {
    fn bucket(&self, name: &str) -> Result<&Bucket, StorageError> {
        let bucket =
            self.buckets.get(name).ok_or_else(|| StorageError::NotFound(format!("bucket {name}")))?;
        if bucket.denied { Err(StorageError::Denied(format!("bucket {name}"))) } else { Ok(bucket) }
    }

    fn remove(&mut self, bucket: &str, key: &str) {
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.objects.remove(key);
        }
    }

    fn replace(&mut self, bucket: &str, key: &str, bytes: Bytes) {
        if let Some(object) = self.buckets.get_mut(bucket).and_then(|bucket| bucket.objects.get_mut(key)) {
            object.etag = etag_of(&bytes);
            object.bytes = bytes;
            object.last_modified += chrono::TimeDelta::seconds(1);
        }
    }
}

fn etag_of(bytes: &[u8]) -> String {
    format!("\"{:016x}\"", Crc64Nvme::of(bytes).value())
}

impl Object {
    fn new(headers: &ObjectHeaders, bytes: Bytes, at: DateTime<Utc>) -> Self {
        let ObjectHeaders { content_type, metadata, tags, .. } = headers.clone();
        let named = [
            ("cache-control", &headers.cache_control),
            ("content-encoding", &headers.content_encoding),
            ("content-disposition", &headers.content_disposition),
            ("content-language", &headers.content_language),
            ("expires", &headers.expires),
            ("x-amz-website-redirect-location", &headers.website_redirect_location),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        Self {
            etag: etag_of(&bytes),
            bytes,
            last_modified: at,
            content_type,
            headers: named.collect(),
            metadata,
            tags,
            archived: false,
        }
    }

    fn etag(&self) -> String {
        self.etag.clone()
    }

    fn open(self, what: &str, range: Range<usize>, breaks: Option<usize>) -> MediaObject {
        let rest = self.bytes.slice(range);
        let sent = breaks.map_or(rest.clone(), |bytes| rest.slice(..bytes.min(rest.len())));
        let mut pieces = Vec::with_capacity(sent.len() / PIECE_BYTES + 2);
        let mut left = sent;
        while !left.is_empty() {
            pieces.push(Ok(left.split_to(left.len().min(PIECE_BYTES))));
        }
        if breaks.is_some() {
            pieces.push(Err(StorageError::Unavailable(format!("{what} broke off"))));
        }
        let header = |name: &str| self.headers.get(name).cloned();
        MediaObject {
            size: self.bytes.len() as u64,
            etag: self.etag(),
            version_id: None,
            last_modified: self.last_modified,
            content_type: self.content_type,
            cache_control: header("cache-control"),
            content_encoding: header("content-encoding"),
            content_disposition: header("content-disposition"),
            content_language: header("content-language"),
            expires: header("expires"),
            website_redirect_location: header("x-amz-website-redirect-location"),
            metadata: self.metadata,
            tag_count: u32::try_from(self.tags.len()).unwrap(),
            body: stream::iter(pieces).boxed(),
        }
    }
}
