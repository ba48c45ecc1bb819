//! Media: the objects below a prefix, one after the other, into one tar that S3 itself puts together.
//!
//! The listing is gone through once, to see how much there is and to plan the parts of the upload
//! ([`holdfast_archive::assembly`]). Then small objects are fetched, side by side; of large ones only the first bytes are,
//! while S3 copies the rest. All are written in the order of their keys, and nothing of an object before all of it is here
//! or copied: whatever happens to an object meanwhile, it stands in the archive in one version, or not at all.

mod ahead;
mod archive;
mod copied;
mod failure;
mod fetched;
mod listing;
mod object;
mod parts;
mod restore;
mod scratch;
mod staged;
mod stretches;
mod task;
pub(crate) mod verify;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_archive::{assembly::Numbering, manifest::ManifestSource};
use holdfast_domain::{application::StorageService, id::ApplicationId};

use crate::{
    engines::{
        Engine, EngineReport,
        segments::{SegmentSender, Stopped},
    },
    error::SliceError,
    ports::{ArtifactStore, Clock, MediaSource, Ports},
};
use ahead::Ahead;
use archive::Archive;
use failure::of_listing;
use listing::Surveyed;
use object::Source;
pub use restore::MediaRestorer;
use staged::Open;
pub use stretches::{JoinEngine, Plan, StoredAs, StretchEngine, StretchLines, Stretches};

/// Archives the objects below one prefix of one bucket.
pub struct MediaEngine {
    source: Arc<Source>,
    artifacts: Arc<dyn ArtifactStore>,
    clock: Arc<dyn Clock>,
    application: ApplicationId,
    service: StorageService,
    /// The listing, if it was gone through already.
    surveyed: Mutex<Option<Surveyed>>,
}

impl MediaEngine {
    /// An engine for `service` of `application`, which has not looked at the bucket yet. Beside the object that it is run
    /// for, it stores the manifest as an object of its own.
    pub fn new(ports: &Ports, application: ApplicationId, service: StorageService) -> Self {
        Self::over(ports.media.clone(), ports.artifacts.clone(), ports.clock.clone(), application, service)
    }

    /// The same where there are no other ports.
    pub fn over(
        media: Arc<dyn MediaSource>,
        artifacts: Arc<dyn ArtifactStore>,
        clock: Arc<dyn Clock>,
        application: ApplicationId,
        service: StorageService,
    ) -> Self {
        let source = Arc::new(Source::new(media, &service.bucket, &service.prefix));
        Self { source, artifacts, clock, application, service, surveyed: Mutex::new(None) }
    }

    async fn archive(&self, open: Open, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let source = self.described(self.clock.now());
        let surveyed = self.surveyed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Surveyed { policy, listing, .. } = match surveyed {
            Some(surveyed) => surveyed,
            None => listing::survey(&self.source).await?,
        };
        let mut archive = Archive::new(self.artifacts.clone(), open, policy, source, out.clone());
        let mut ahead = Ahead::new(self.source.clone(), out, policy, Numbering::new(policy), listing);
        while let Some((planned, next)) = ahead.next().await? {
            archive.add(&planned, next).await?;
        }
        // It holds on to the upload.
        drop(ahead);
        if archive.has_skipped() {
            self.first_page().await?;
        }
        archive.finish().await
    }

    fn described(&self, taken_at: DateTime<Utc>) -> ManifestSource {
        let StorageService { name, bucket, prefix } = self.service.clone();
        let (application, service) = (self.application.to_string(), name.to_string());
        ManifestSource { application, service, bucket, prefix, taken_at }
    }

    /// The bytes of all objects, if they are few. Objects that vanish one by one are left out; if it was the bucket that
    /// vanished, that is no backup.
    async fn first_page(&self) -> Result<Option<u64>, SliceError> {
        let StorageService { bucket, prefix, .. } = &self.service;
        let page = self.source.media.list(bucket, prefix, None, None).await;
        let page = page.map_err(|error| of_listing(bucket, &error))?;
        let bytes = page.objects.iter().map(|object| object.size).sum();
        Ok(page.next.is_none().then_some(bytes))
    }
}

#[async_trait]
impl Engine for MediaEngine {
    fn content_type(&self) -> &'static str {
        "application/x-tar"
    }

    /// Lists the first page, so that a bucket that is missing or closed is found early. How much there is only the whole
    /// listing would tell, unless that page is all of it.
    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        self.first_page().await
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let (stopped, open) = (out.clone(), Open::default());
        let outcome = tokio::select! {
            biased;
            report = self.archive(open.clone(), out) => report,
            () = stopped.closed() => Err(Stopped.into()),
        };
        if outcome.is_err() {
            open.give_up(self.artifacts.as_ref()).await;
        }
        outcome
    }
}
