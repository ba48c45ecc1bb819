//! Media: the objects below a prefix, one after the other, into one tar.
//!
//! Small objects are fetched ahead, side by side, and written in the order of their keys; larger ones are streamed
//! when it is their turn. Every object is read in one version, whatever happens to it meanwhile.

mod ahead;
mod failure;
mod listing;
mod object;
mod task;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_archive::{
    manifest::ManifestSource,
    media_tar::{MediaTar, ObjectEntry},
};
use holdfast_domain::{
    application::StorageService,
    backup::{Contents, Skipped},
    id::ApplicationId,
};

use crate::{
    engines::{
        Engine, EngineReport,
        segments::{SegmentSender, SegmentWriter, Stopped},
    },
    error::SliceError,
    ports::{Clock, ListedObject, MediaSource},
};
use ahead::{Ahead, Next};
use failure::{of_listing, of_tar};
use listing::Listing;
use object::{Body, Head, Opened, Source};

/// Archives the objects below one prefix of one bucket.
pub struct MediaEngine {
    source: Arc<Source>,
    clock: Arc<dyn Clock>,
    application: ApplicationId,
    service: StorageService,
}

impl MediaEngine {
    /// An engine for `service` of `application`, which has not looked at the bucket yet.
    pub fn new(
        media: Arc<dyn MediaSource>,
        clock: Arc<dyn Clock>,
        application: ApplicationId,
        service: StorageService,
    ) -> Self {
        let source = Arc::new(Source { media, bucket: service.bucket.clone() });
        Self { source, clock, application, service }
    }

    async fn archive(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let taken_at = self.clock.now();
        let mut archive = Archive::new(self, taken_at, out)?;
        let mut ahead = Ahead::new(self.source.clone(), Listing::new(&self.source, &self.service.prefix));
        while let Some(next) = ahead.next().await? {
            match next {
                Next::Whole(object, head, bytes) => archive.whole(&object, head, bytes).await?,
                Next::Streamed(object) => archive.streamed(&self.source, &object).await?,
                Next::Skipped(object, reason) => archive.skip(&object, &reason)?,
            }
        }
        if archive.skipped_count > 0 {
            self.check_bucket().await?;
        }
        archive.finish().await
    }

    /// Objects that vanish one by one are left out; if it was the bucket that vanished, that is no backup.
    async fn check_bucket(&self) -> Result<(), SliceError> {
        let StorageService { bucket, prefix, .. } = &self.service;
        let listed = self.source.media.list(bucket, prefix, None).await;
        listed.map(drop).map_err(|error| of_listing(bucket, &error))
    }
}

#[async_trait]
impl Engine for MediaEngine {
    fn content_type(&self) -> &'static str {
        "application/x-tar"
    }

    /// Lists the first page, so that a bucket that is missing or closed is found early. How much there is only the whole
    /// listing would tell.
    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        self.check_bucket().await?;
        Ok(None)
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let stopped = out.clone();
        tokio::select! {
            report = self.archive(out) => report,
            () = stopped.closed() => Err(Stopped.into()),
        }
    }
}

/// The tar as it grows.
struct Archive {
    tar: MediaTar,
    writer: SegmentWriter,
    bucket: String,
    prefix: String,
    taken_at: DateTime<Utc>,
    skipped: Vec<Skipped>,
    skipped_count: u64,
}

impl Archive {
    fn new(engine: &MediaEngine, taken_at: DateTime<Utc>, out: SegmentSender) -> Result<Self, SliceError> {
        let StorageService { name, bucket, prefix } = engine.service.clone();
        let source = ManifestSource {
            application: engine.application.to_string(),
            service: name.to_string(),
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            taken_at,
        };
        Ok(Self {
            tar: MediaTar::new(source).map_err(|error| of_tar(&error))?,
            writer: SegmentWriter::new(out),
            bucket,
            prefix,
            taken_at,
            skipped: Vec::new(),
            skipped_count: 0,
        })
    }

    /// Adds an object whose bytes are here already.
    async fn whole(&mut self, object: &ListedObject, head: Head, bytes: Bytes) -> Result<(), SliceError> {
        self.begin(object, head).await?;
        self.data(bytes).await?;
        self.end().await
    }

    /// Adds an object as its bytes come. Once its header is written there is no way back: an object that changes from
    /// then on fails the run, since half of it is no backup.
    async fn streamed(&mut self, source: &Source, object: &ListedObject) -> Result<(), SliceError> {
        let opened = match source.open(object).await? {
            Opened::Object(opened) => opened,
            Opened::Skipped(reason) => return self.skip(object, &reason),
        };
        let (head, mut body) = Body::of(source, &object.key, opened);
        self.begin(object, head).await?;
        while let Some(bytes) = body.next().await.map_err(|error| error.torn(&object.key))? {
            self.data(bytes).await?;
        }
        self.end().await
    }

    /// Names an object that is left out, in the manifest, and the first few in the record.
    fn skip(&mut self, object: &ListedObject, reason: &str) -> Result<(), SliceError> {
        self.tar.skip(self.relative(object), reason).map_err(|error| of_tar(&error))?;
        self.skipped_count += 1;
        if self.skipped.len() < Contents::SKIPPED_SHOWN {
            self.skipped.push(Skipped { key: object.key.clone(), reason: reason.to_owned() });
        }
        Ok(())
    }

    async fn begin(&mut self, object: &ListedObject, head: Head) -> Result<(), SliceError> {
        let entry = ObjectEntry {
            key: self.relative(object).to_owned(),
            size: head.size,
            etag: head.etag,
            last_modified: head.last_modified,
            content_type: head.content_type,
            cache_control: head.cache_control,
            content_encoding: head.content_encoding,
            content_disposition: head.content_disposition,
            content_language: head.content_language,
            metadata: head.metadata,
        };
        let header = self.tar.begin_file(entry).map_err(|error| of_tar(&error))?;
        self.writer.write_bytes(header).await
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), SliceError> {
        self.tar.data(&bytes).map_err(|error| of_tar(&error))?;
        self.writer.write_bytes(bytes).await
    }

    async fn end(&mut self) -> Result<(), SliceError> {
        let padding = self.tar.end_file().map_err(|error| of_tar(&error))?;
        self.writer.write_bytes(padding).await
    }

    async fn finish(mut self) -> Result<EngineReport, SliceError> {
        let end = self.tar.finish().map_err(|error| of_tar(&error))?;
        for chunk in end.chunks {
            self.writer.write_bytes(chunk.map_err(|error| of_tar(&error.into()))?).await?;
        }
        self.writer.finish().await?;
        let counts = end.summary.counts;
        Ok(EngineReport {
            contents: Contents::MediaTar {
                bucket: self.bucket,
                prefix: self.prefix,
                files: counts.files,
                bytes: counts.bytes,
                skipped: self.skipped,
                skipped_count: self.skipped_count,
            },
            taken_at: self.taken_at,
        })
    }

    /// The key as the archive has it. A listing holds only keys with the prefix.
    fn relative<'a>(&self, object: &'a ListedObject) -> &'a str {
        object.key.strip_prefix(&self.prefix).unwrap_or(&object.key)
    }
}
