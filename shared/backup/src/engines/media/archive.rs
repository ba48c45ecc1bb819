//! The tar as it grows: what has been fetched, in its order, in the parts that were planned.

use std::sync::Arc;

use holdfast_archive::{
    assembly::{Entry, Policy, Stretch},
    manifest::{ManifestFrames, ManifestLine, ManifestSource},
    media_tar::{Archived, MediaTar, ObjectEntry},
    multipart::MAX_OBJECT_BYTES,
    tar::MemberNames,
};
use holdfast_domain::backup::{Contents, Skipped};

use super::{
    failure::{of_manifest, of_tar, outgrown_all},
    fetched::Next,
    object::{Head, relative},
    parts::PartWriter,
    staged::{Open, StagedManifest},
};
use crate::{
    engines::{EngineReport, segments::SegmentSender},
    error::SliceError,
    ports::{ArtifactStore, ListedObject},
};

/// Where the frames of the manifest go.
enum Frames {
    /// Into the object beside the tar.
    Staged(StagedManifest),
    /// They are kept until the stretch is whole.
    Held(Vec<u8>),
}

/// A stretch that is stored, but for the object that says so.
pub(super) struct StoredStretch {
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// Its lines of the manifest, in frames. Offsets count from its beginning.
    pub(super) frames: Vec<u8>,
}

/// An archive under way.
pub(super) struct Archive {
    tar: MediaTar,
    parts: PartWriter,
    policy: Policy,
    lines: ManifestFrames,
    frames: Frames,
    source: ManifestSource,
    out: SegmentSender,
    skipped: Vec<Skipped>,
    skipped_count: u64,
}

impl Archive {
    pub(super) fn new(
        store: Arc<dyn ArtifactStore>,
        open: Open,
        policy: Policy,
        source: ManifestSource,
        out: SegmentSender,
    ) -> Self {
        Self {
            tar: MediaTar::new(),
            policy,
            lines: ManifestFrames::new(),
            frames: Frames::Staged(StagedManifest::new(store, out.key(), Contents::MANIFEST_FILE_NAME, open)),
            parts: PartWriter::new(policy, out.clone()),
            source,
            out,
            skipped: Vec::new(),
            skipped_count: 0,
        }
    }

    /// A stretch without members. `policy` ends with its last number.
    pub(super) fn of_stretch(
        policy: Policy,
        stretch: &Stretch,
        source: ManifestSource,
        out: SegmentSender,
    ) -> Self {
        Self {
            tar: MediaTar::continuing(stretch.names.clone(), 0),
            policy,
            lines: ManifestFrames::new(),
            frames: Frames::Held(Vec::new()),
            parts: PartWriter::continuing(policy, out.clone(), stretch.first, 0),
            source,
            out,
            skipped: Vec::new(),
            skipped_count: 0,
        }
    }

    /// The end of an archive whose stretches are stored: `bytes` of them, the next part being `first`.
    pub(super) fn after_stretches(self, first: u32, bytes: u64) -> Self {
        let tar = MediaTar::continuing(MemberNames::new(), bytes);
        let parts = PartWriter::continuing(self.policy, self.out.clone(), first, bytes);
        Self { tar, parts, ..self }
    }

    /// Ends a stretch in parts that others can follow, of all numbers that it has.
    pub(super) async fn finish_stretch(mut self) -> Result<(StoredStretch, EngineReport), SliceError> {
        let last = self.policy.max_parts;
        self.fill(last, 0).await?;
        let bytes = self.parts.finish_at(last).await?;
        if bytes != self.tar.offset() {
            return Err(fault(&format!("a stretch has {bytes} bytes and should have {}", self.tar.offset())));
        }
        let ManifestSource { bucket, prefix, taken_at, .. } = self.source.clone();
        let end = self.lines.finish(self.source).map_err(|error| of_manifest(&error))?;
        let Frames::Held(mut frames) = self.frames else { return Err(fault("its lines are elsewhere")) };
        frames.extend_from_slice(end.last.as_deref().unwrap_or_default());
        let contents = Contents::MediaTar {
            bucket,
            prefix,
            files: end.counts.files,
            bytes: end.counts.bytes,
            skipped: self.skipped,
            skipped_count: self.skipped_count,
        };
        Ok((StoredStretch { bytes, frames }, EngineReport { contents, taken_at }))
    }

    /// Adds a line of a stretch that is stored, with its offset in the whole archive.
    pub(super) async fn stored(&mut self, line: &ManifestLine) -> Result<(), SliceError> {
        if let ManifestLine::Skipped(skipped) = line {
            self.skipped_count += 1;
            if self.skipped.len() < Contents::SKIPPED_SHOWN {
                let key = format!("{}{}", self.source.prefix, skipped.key);
                self.skipped.push(Skipped { key, reason: skipped.reason.clone() });
            }
        }
        self.line(line).await
    }

    /// Whether an object was left out.
    pub(super) fn has_skipped(&self) -> bool {
        self.skipped_count > 0
    }

    /// Adds the next object of the listing.
    pub(super) async fn add(&mut self, planned: &Entry, next: Next) -> Result<(), SliceError> {
        let (Entry::Read { literal_until } | Entry::Copied { literal_until, .. }) = planned;
        self.parts.allow(*literal_until);
        match (next, planned) {
            (Next::Skipped(object, reason), _) => self.skip(&object, &reason).await,
            (Next::Read(object, head, bytes), _) => {
                let archived = self.tar.read(self.entry(&object, head), &bytes);
                let Archived { header, padding, line } = archived.map_err(|error| of_tar(&error))?;
                self.parts.write(&header).await?;
                self.parts.write(&bytes).await?;
                self.parts.write(&padding).await?;
                self.line(&line).await
            }
            (Next::Copied(object, head, first, copied), Entry::Copied { numbers, .. }) => {
                let number = *numbers.start();
                self.fill(number.saturating_sub(1), first.len() as u64).await?;
                let archived = self.tar.copied(self.entry(&object, head), copied.whole);
                let Archived { header, padding, line } = archived.map_err(|error| of_tar(&error))?;
                self.parts.write_copied(&header, &first, number, copied.parts).await?;
                self.parts.write(&padding).await?;
                self.line(&line).await
            }
            (Next::Copied(object, ..), Entry::Read { .. }) => Err(fault(&format!(
                "the object {:?} was copied, for which no numbers were planned",
                object.key
            ))),
        }
    }

    /// Ends the archive with its manifest.
    pub(super) async fn finish(self) -> Result<EngineReport, SliceError> {
        let Self { tar, mut parts, policy, lines, frames, source, out, skipped, skipped_count } = self;
        let Frames::Staged(staged) = frames else { return Err(fault("its manifest is elsewhere")) };
        let ManifestSource { bucket, prefix, taken_at, .. } = source.clone();
        let manifest = lines.finish(source).map_err(|error| of_manifest(&error))?;
        if tar.offset().saturating_add(manifest.total_bytes) > MAX_OBJECT_BYTES {
            // It was not, when it was listed.
            return Err(outgrown_all());
        }
        let mut lines = staged.finish(&manifest, &out).await?;
        let end = tar.finish(manifest.total_bytes, taken_at);
        parts.allow(policy.max_parts);
        parts.write(&end.header).await?;
        parts.write(&manifest.header_line).await?;
        while let Some(lines) = lines.next().await? {
            parts.write(&lines).await?;
        }
        parts.write(&end.trailer).await?;
        let sent = parts.finish().await?;
        if sent != end.archive_bytes {
            return Err(fault(&format!("it has {sent} bytes and should have {}", end.archive_bytes)));
        }
        let (files, bytes) = (manifest.counts.files, manifest.counts.bytes);
        let contents = Contents::MediaTar { bucket, prefix, files, bytes, skipped, skipped_count };
        Ok(EngineReport { contents, taken_at })
    }

    /// Names an object that is left out, in the manifest, and the first few in the record.
    async fn skip(&mut self, object: &ListedObject, reason: &str) -> Result<(), SliceError> {
        self.skipped_count += 1;
        if self.skipped.len() < Contents::SKIPPED_SHOWN {
            self.skipped.push(Skipped { key: object.key.clone(), reason: reason.to_owned() });
        }
        let line = self.tar.skip(relative(&self.source.prefix, &object.key), reason);
        self.line(&line).await
    }

    /// Fills in what says nothing, so that each number up to `last` has a part; `certain` bytes follow anyway. Never more
    /// than there were bytes of what has vanished since it was listed.
    async fn fill(&mut self, last: u32, certain: u64) -> Result<(), SliceError> {
        loop {
            let missing = self.parts.missing(last, certain);
            if missing == 0 {
                return Ok(());
            }
            let filler = self.tar.fill(missing.min(self.policy.head_bytes));
            self.parts.fill(&filler, last).await?;
        }
    }

    async fn line(&mut self, line: &ManifestLine) -> Result<(), SliceError> {
        match self.lines.push(line).map_err(|error| of_manifest(&error))? {
            Some(frame) => match &mut self.frames {
                Frames::Staged(staged) => staged.add(&frame).await,
                Frames::Held(held) => {
                    held.extend_from_slice(&frame);
                    Ok(())
                }
            },
            None => Ok(()),
        }
    }

    fn entry(&self, object: &ListedObject, head: Head) -> ObjectEntry {
        ObjectEntry {
            key: relative(&self.source.prefix, &object.key).to_owned(),
            size: head.size,
            etag: head.etag,
            version_id: head.version_id,
            last_modified: head.last_modified,
            content_type: head.content_type,
            cache_control: head.cache_control,
            content_encoding: head.content_encoding,
            content_disposition: head.content_disposition,
            content_language: head.content_language,
            expires: head.expires,
            website_redirect_location: head.website_redirect_location,
            metadata: head.metadata,
            tags: head.tags,
        }
    }
}

fn fault(what: &str) -> SliceError {
    SliceError::permanent(
        "archive_failed",
        format!(
            "the archive was not laid out as planned: {what}; this is a fault of Holdfast, please report it"
        ),
    )
}
