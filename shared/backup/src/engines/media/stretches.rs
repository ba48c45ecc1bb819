//! An archive in stretches, each of which can be made by another function: what is planned first, one of them, and their end.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_archive::{
    assembly::{Divider, Division, Numbering, Pace, Policy, Stretch},
    manifest::{ManifestLine, parse_lines, unpack},
    tar::MemberNames,
};
use serde::{Deserialize, Serialize};

use super::{
    MediaEngine,
    ahead::Ahead,
    archive::{Archive, StoredStretch},
    failure::{of_listing_order, of_manifest, unsettled},
    listing::{self, Listing, Surveyed},
    staged::Open,
};
use crate::{
    engines::{
        Engine, EngineReport,
        segments::{SegmentSender, Stopped},
    },
    error::SliceError,
    ports::StoredPart,
};

/// When an archive is divided, and into what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretches {
    /// What takes one function longer than this, by [`Pace::FUNCTION`], is divided; in microseconds.
    ///
    /// A third of the 900 seconds that Lambda gives a function: the estimate may be wrong by as much, and the manifest comes
    /// on top.
    pub whole: u64,
    /// How long one stretch is to take, in microseconds: what a worker that is killed loses.
    pub each: u64,
    /// Stretches at the most; longer ones are made instead. Each ends in a part and up to 5 MiB of filling.
    pub most: u64,
}

impl Default for Stretches {
    fn default() -> Self {
        Self::of_seconds(300)
    }
}

impl Stretches {
    /// Divides what takes longer than so many seconds.
    pub const fn of_seconds(seconds: u64) -> Self {
        Self { whole: seconds * 1_000_000, each: seconds * 100_000, most: 400 }
    }
}

/// A plan that several functions work by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The stretches.
    pub division: Division,
    /// When the listing was looked at.
    pub taken_at: DateTime<Utc>,
    /// Bytes of all objects that were listed.
    pub bytes: u64,
}

impl MediaEngine {
    /// A plan in stretches, if there is too much for one function.
    pub async fn divide(&self, limits: Stretches) -> Result<Option<Plan>, SliceError> {
        let taken_at = self.clock.now();
        let surveyed = listing::survey(&self.source).await?;
        if surveyed.microseconds <= limits.whole {
            *self.surveyed.lock().unwrap_or_else(PoisonError::into_inner) = Some(surveyed);
            return Ok(None);
        }
        let Surveyed { policy, listing, microseconds, manifest_bytes } = surveyed;
        let each = limits.each.max(microseconds / limits.most.max(1));
        let mut listing = Some(listing);
        for policy in Policy::LADDER.into_iter().skip_while(|step| *step != policy) {
            let listing = listing.take().unwrap_or_else(|| Listing::between(&self.source, None, None));
            if let Some(division) = self.divided(policy, listing, each, manifest_bytes).await? {
                let bytes = division.stretches.iter().map(|stretch| stretch.bytes).sum();
                return Ok(Some(Plan { division, taken_at, bytes }));
            }
        }
        Err(SliceError::permanent(
            "artifact_too_large",
            "the objects do not fit into the parts of one upload: divide them between several storage services, such as one \
             for each prefix",
        ))
    }

    async fn divided(
        &self,
        policy: Policy,
        mut listing: Listing,
        each: u64,
        manifest_bytes: u64,
    ) -> Result<Option<Division>, SliceError> {
        let mut divider = Divider::new(policy, Pace::FUNCTION, each);
        while let Some(object) = listing.next().await? {
            let key = super::object::relative(&self.source.prefix, &object.key);
            divider.add(key, object.size).map_err(|error| of_listing_order(&error))?;
        }
        Ok(divider.finish(manifest_bytes).ok())
    }
}

/// What is known of a stretch that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAs {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its parts.
    pub parts: Vec<StoredPart>,
}

/// Makes one stretch.
pub struct StretchEngine {
    media: MediaEngine,
    policy: Policy,
    stretch: Stretch,
    taken_at: DateTime<Utc>,
    stored: Mutex<Option<StoredStretch>>,
}

impl StretchEngine {
    /// An engine for one stretch of `plan`; none if it has no such stretch.
    pub fn new(media: MediaEngine, plan: &Plan, number: usize) -> Option<Self> {
        let stretch = plan.division.stretches.get(number)?.clone();
        let policy = Policy { max_parts: stretch.last, ..plan.division.policy };
        Some(Self { media, policy, stretch, taken_at: plan.taken_at, stored: Mutex::new(None) })
    }

    /// Once it has run: its length in bytes, and its lines of the manifest in frames.
    pub fn stored(&self) -> Option<(u64, Bytes)> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner).take();
        stored.map(|StoredStretch { bytes, frames }| (bytes, frames.into()))
    }

    async fn archive(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let Self { media, policy, stretch, .. } = self;
        let source = media.described(self.taken_at);
        let listing = Listing::between(&media.source, stretch.after.as_deref(), stretch.until.as_deref());
        let mut archive = Archive::of_stretch(*policy, stretch, source, out.clone());
        let numbering = Numbering::continuing(*policy, stretch.names.clone(), stretch.first);
        let mut ahead = Ahead::new(media.source.clone(), out, *policy, numbering, listing);
        while let Some((planned, next)) = ahead.next().await? {
            archive.add(&planned, next).await?;
        }
        // It holds on to the upload.
        drop(ahead);
        if archive.has_skipped() {
            media.first_page().await?;
        }
        let (stored, report) = archive.finish_stretch().await?;
        *self.stored.lock().unwrap_or_else(PoisonError::into_inner) = Some(stored);
        Ok(report)
    }
}

#[async_trait]
impl Engine for StretchEngine {
    fn content_type(&self) -> &'static str {
        self.media.content_type()
    }

    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        Ok(Some(self.stretch.bytes))
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let stopped = out.clone();
        tokio::select! {
            biased;
            report = self.archive(out) => report,
            () = stopped.closed() => Err(Stopped.into()),
        }
    }
}

/// Where the lines of a stretch's manifest wait.
#[async_trait]
pub trait StretchLines: Send + Sync {
    /// Those of the stretch of that number, in frames.
    async fn frames(&self, number: usize) -> Result<Bytes, SliceError>;
}

/// Joins the stretches of an archive, and ends it with its manifest.
pub struct JoinEngine {
    media: MediaEngine,
    plan: Plan,
    stored: Vec<StoredAs>,
    lines: Arc<dyn StretchLines>,
}

impl JoinEngine {
    /// An engine for the end of `plan`, whose stretches are all stored.
    pub fn new(media: MediaEngine, plan: Plan, stored: Vec<StoredAs>, lines: Arc<dyn StretchLines>) -> Self {
        Self { media, plan, stored, lines }
    }

    async fn join(&self, open: Open, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let Division { policy, end, .. } = self.plan.division;
        let source = self.media.described(self.plan.taken_at);
        let bytes = self.stored.iter().map(|stretch| stretch.bytes).sum();
        let archive = Archive::new(self.media.artifacts.clone(), open, policy, source, out.clone());
        let mut archive = archive.after_stretches(end, bytes);
        let (mut names, mut base) = (MemberNames::new(), 0);
        for (number, stretch) in self.stored.iter().enumerate() {
            for part in &stretch.parts {
                out.keep(part.clone())?;
            }
            let frames = self.lines.frames(number).await?;
            // All that was listed there may be gone without a trace.
            let text = if frames.is_empty() {
                Vec::new()
            } else {
                unpack(&frames).map_err(|error| of_manifest(&error))?
            };
            for line in parse_lines(&text, 1) {
                let line = moved(line.map_err(|error| of_manifest(&error))?, base, &mut names)?;
                archive.stored(&line).await?;
            }
            base += stretch.bytes;
        }
        archive.finish().await
    }
}

/// The line of a file that stands `base` bytes later than it says.
fn moved(mut line: ManifestLine, base: u64, names: &mut MemberNames) -> Result<ManifestLine, SliceError> {
    if let ManifestLine::File(object) | ManifestLine::Directory(object) = &mut line {
        object.offset += base;
        // A file that was added to an earlier stretch, after this one had been planned, may be in the way of this name.
        let member = names.assign(&object.key, object.size).map_err(|error| of_listing_order(&error))?;
        if member.name != object.member && object.member == object.key {
            return Err(unsettled(&object.key));
        }
    }
    Ok(line)
}

#[async_trait]
impl Engine for JoinEngine {
    fn content_type(&self) -> &'static str {
        self.media.content_type()
    }

    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        Ok(Some(self.plan.bytes))
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let (stopped, open) = (out.clone(), Open::default());
        let outcome = tokio::select! {
            biased;
            report = self.join(open.clone(), out) => report,
            () = stopped.closed() => Err(Stopped.into()),
        };
        if outcome.is_err() {
            open.give_up(self.media.artifacts.as_ref()).await;
        }
        outcome
    }
}
