//! A source of media that counts what is listed and read, for whoever looks.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use holdfast_backup::ports::{MediaObject, MediaPage, MediaSource, StorageError};
use holdfast_domain::region::Region;

/// A source, and what was asked of it.
pub(super) struct Counted<S> {
    inner: S,
    files: AtomicU64,
    bytes: AtomicU64,
    opened: AtomicU64,
    listed_all: AtomicBool,
}

/// What was asked of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// Files that were listed.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files that reading has begun of.
    pub(super) opened: u64,
    /// Whether the listing has come to its end once; what is listed again does not count.
    pub(super) listed_all: bool,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S) -> Self {
        let (files, bytes, opened) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { inner, files, bytes, opened, listed_all: AtomicBool::new(false) }
    }

    pub(super) fn count(&self) -> Count {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            files: get(&self.files),
            bytes: get(&self.bytes),
            opened: get(&self.opened),
            listed_all: self.listed_all.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl<S: MediaSource> MediaSource for Counted<S> {
    async fn region(&self, bucket: &str) -> Result<Region, StorageError> {
        self.inner.region(bucket).await
    }

    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        let page = self.inner.list(bucket, prefix, after, token).await?;
        if !self.listed_all.load(Ordering::Relaxed) {
            if after.is_none() && token.is_none() {
                // The first page is listed by itself before, to see that it can be.
                self.files.store(0, Ordering::Relaxed);
                self.bytes.store(0, Ordering::Relaxed);
            }
            let bytes: u64 = page.objects.iter().map(|object| object.size).sum();
            self.files.fetch_add(page.objects.len() as u64, Ordering::Relaxed);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.listed_all.store(page.next.is_none(), Ordering::Relaxed);
        }
        Ok(page)
    }

    async fn open(
        &self,
        bucket: &str,
        key: &str,
        etag: Option<&str>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        if offset == 0 {
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.open(bucket, key, etag, offset, length).await
    }

    async fn tags(&self, bucket: &str, key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        self.inner.tags(bucket, key).await
    }
}
