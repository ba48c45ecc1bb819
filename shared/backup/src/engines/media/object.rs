//! One object, read in one version.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream::BoxStream};

use super::failure::{of_object, of_tags, torn};
use crate::{
    error::SliceError,
    ports::{ListedObject, MediaObject, MediaSource, StorageError},
};

/// How often an object is opened again because it changed, or its body resumed because it broke.
pub(super) const TRIES: u32 = 3;

/// How long to wait before a broken body is resumed, doubled each time.
const RESUME_AFTER: Duration = Duration::from_millis(100);

/// Of so many objects that have no tags as far as is told, one is asked for them.
const TAGS_ASKED_EVERY: u64 = 1_000;

/// The bucket the objects are in.
pub(super) struct Source {
    pub(super) media: Arc<dyn MediaSource>,
    pub(super) bucket: String,
    pub(super) prefix: String,
    /// Objects so far of which no tags were told.
    untagged: AtomicU64,
}

/// The key as the archive has it. A listing holds only keys with the prefix.
pub(super) fn relative<'a>(prefix: &str, key: &'a str) -> &'a str {
    key.strip_prefix(prefix).unwrap_or(key)
}

/// What became of opening an object.
pub(super) enum Opened {
    Object(Box<MediaObject>),
    /// It is not to be had, for this reason.
    Skipped(String),
}

impl Source {
    /// What stands below `prefix` in `bucket`.
    pub(super) fn new(media: Arc<dyn MediaSource>, bucket: &str, prefix: &str) -> Self {
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Self { media, bucket, prefix, untagged: AtomicU64::new(0) }
    }

    /// Opens the version with this tag, or the one that has replaced it: its first `length` bytes at the least, where it
    /// has as many.
    pub(super) async fn open(
        &self,
        object: &ListedObject,
        mut etag: Option<&str>,
        length: Option<u64>,
    ) -> Result<Opened, SliceError> {
        for _ in 0..=TRIES {
            // Of a version that was not listed nobody knows whether it has so many bytes, or any.
            let length = length.filter(|_| etag.is_some());
            match self.media.open(&self.bucket, &object.key, etag, 0, length).await {
                Ok(opened) => return Ok(Opened::Object(Box::new(opened))),
                Err(StorageError::Changed(_)) => etag = None,
                Err(StorageError::NotFound(_)) => {
                    return Ok(Opened::Skipped("deleted during the backup".to_owned()));
                }
                // Only this: an object that is refused for another reason would be missing from a backup that succeeded.
                Err(error @ StorageError::Archived(_)) => {
                    return Ok(Opened::Skipped(format!("not readable as it is stored: {error}")));
                }
                Err(error) => return Err(of_object(&object.key, error)),
            }
        }
        Err(torn(&object.key))
    }

    /// The tags of an object that had so many when it was read. Where it is gone since, so that nobody knows what it had,
    /// it has changed.
    ///
    /// S3 tells the number of tags only to who may read them. So that a backup does not lose them without a word, some
    /// objects are asked for theirs although none were told of.
    pub(super) async fn tags(&self, key: &str, count: u32) -> Result<BTreeMap<String, String>, ReadError> {
        if count == 0 && !self.untagged.fetch_add(1, Ordering::Relaxed).is_multiple_of(TAGS_ASKED_EVERY) {
            return Ok(BTreeMap::new());
        }
        match self.media.tags(&self.bucket, key).await {
            Ok(tags) => Ok(tags),
            Err(StorageError::NotFound(_)) => Err(ReadError::Changed),
            Err(error) => Err(ReadError::Failed(of_tags(key, error))),
        }
    }
}

/// What the answer says about the version that its body is of.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) etag: String,
    pub(super) version_id: Option<String>,
    pub(super) last_modified: DateTime<Utc>,
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) expires: Option<String>,
    pub(super) website_redirect_location: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
}

/// The bytes of one version. Where they break off, they are asked for again from there on, of the same version.
pub(super) struct Body<'a> {
    source: &'a Source,
    key: &'a str,
    etag: String,
    size: u64,
    /// Where to stop.
    end: u64,
    offset: u64,
    stream: BoxStream<'static, Result<Bytes, StorageError>>,
    resumed: u32,
}

/// Why a body did not come to its end.
pub(super) enum ReadError {
    /// The version is not there any more.
    Changed,
    Failed(SliceError),
}

impl<'a> Body<'a> {
    /// Takes what was opened from its start apart; the body ends after `end` bytes, of which there may be more.
    pub(super) fn of(source: &'a Source, key: &'a str, opened: MediaObject, end: u64) -> (Head, Self) {
        let MediaObject {
            size,
            etag,
            version_id,
            last_modified,
            content_type,
            cache_control,
            content_encoding,
            content_disposition,
            content_language,
            expires,
            website_redirect_location,
            metadata,
            tag_count: _,
            body,
        } = opened;
        let body = Self { source, key, etag: etag.clone(), size, end, offset: 0, stream: body, resumed: 0 };
        let head = Head {
            size,
            etag,
            version_id,
            last_modified,
            content_type,
            cache_control,
            content_encoding,
            content_disposition,
            content_language,
            expires,
            website_redirect_location,
            metadata,
            tags: BTreeMap::new(),
        };
        (head, body)
    }

    /// The next bytes; none after exactly as many as were wanted.
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            // Of a body that goes on there is no need to hear the end.
            if self.offset == self.end && self.end < self.size {
                return Ok(None);
            }
            let broken = match self.stream.next().await {
                Some(Ok(mut bytes)) => {
                    let left = self.end - self.offset;
                    if bytes.len() as u64 > left {
                        if self.end == self.size {
                            return Err(ReadError::Changed);
                        }
                        // Less than the length of the bytes, so the conversion cannot fail.
                        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    self.offset += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                None if self.offset == self.end => return Ok(None),
                None => StorageError::Unavailable(format!("its body ended after {} bytes", self.offset)),
                Some(Err(error)) => error,
            };
            self.resume(broken).await?;
        }
    }

    /// All of the bytes.
    pub(super) async fn read_whole(&mut self) -> Result<Bytes, ReadError> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        if first.len() as u64 == self.end {
            // Only the end of the body tells that nothing was wrong with it.
            return match self.next().await? {
                None => Ok(first),
                Some(more) => Ok([first, more].concat().into()),
            };
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(self.end).unwrap_or(0));
        bytes.extend_from_slice(&first);
        while let Some(more) = self.next().await? {
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.freeze())
    }

    async fn resume(&mut self, mut broken: StorageError) -> Result<(), ReadError> {
        while self.resumed < TRIES && self.offset < self.end {
            tokio::time::sleep(RESUME_AFTER * 2_u32.pow(self.resumed)).await;
            self.resumed += 1;
            let Source { media, bucket, .. } = self.source;
            let left = Some(self.end - self.offset);
            match media.open(bucket, self.key, Some(&self.etag), self.offset, left).await {
                Ok(again) if again.etag == self.etag && again.size == self.size => {
                    self.stream = again.body;
                    return Ok(());
                }
                Ok(_) | Err(StorageError::Changed(_) | StorageError::NotFound(_)) => {
                    return Err(ReadError::Changed);
                }
                Err(error) => broken = error,
            }
        }
        Err(ReadError::Failed(of_object(self.key, broken)))
    }
}
