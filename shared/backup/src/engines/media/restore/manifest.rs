//! The manifest beside a tar: compared with its checksum, and then read some frames at a time.

use std::{ops::Range, sync::Arc, vec};

use bytes::{Bytes, BytesMut};
use holdfast_archive::{
    checksum::Crc64NvmeHasher,
    manifest::{
        INDEX_TAIL_BYTES, ManifestCounts, ManifestError, ManifestHeader, ManifestIndex, ManifestLine,
        parse_lines, read, unpack,
    },
};
use holdfast_domain::{
    backup::{self, Artifact, Contents},
    restore::Refusal,
};
use tokio::sync::mpsc;

use super::{
    super::task::Task,
    selection::Scope,
    trouble::{Trouble, of_archive},
};
use crate::{
    error::SliceError,
    ports::{ArtifactStore, StorageError},
};

/// A manifest of at most this is held, so that it is not read twice.
const HELD_BYTES: u64 = 16 << 20;

/// How much of one is read at once to see whether it is whole.
const CHECKED_BYTES: u64 = 8 << 20;

/// Compressed bytes that are unpacked at once, at the least; they become some five times as many.
const UNPACK_BYTES: u64 = 512 << 10;

/// The manifest of an archive.
pub(super) struct Manifest {
    artifacts: Arc<dyn ArtifactStore>,
    object: backup::StoredObject,
    index: ManifestIndex,
    held: Option<Bytes>,
    /// What its header counts.
    pub(super) counts: ManifestCounts,
}

impl Manifest {
    /// Opens the manifest of `artifact`, if it is whole and belongs to it.
    pub(super) async fn open(
        artifacts: Arc<dyn ArtifactStore>,
        artifact: &Artifact,
    ) -> Result<Self, Trouble> {
        let key = artifacts.beside(&artifact.object.key, Contents::MANIFEST_FILE_NAME);
        let found = artifacts.describe(&key).await.map_err(|error| of_archive(&key, &error))?;
        let object = found.ok_or_else(|| {
            Trouble::Refused(Refusal::new(
                "manifest_missing",
                format!("the archive has no manifest beside it: there is no object {key}"),
                "restore another backup, or unpack the archive as RESTORING.md says",
            ))
        })?;
        let held = check(artifacts.as_ref(), &object).await?;
        let mut manifest = Self {
            artifacts,
            object,
            index: ManifestIndex::default(),
            held,
            counts: ManifestCounts::default(),
        };
        manifest.index = manifest.read_index().await?;
        let header = manifest.header().await?;
        manifest.belong(&header, &artifact.contents)?;
        manifest.counts = header.counts;
        Ok(manifest)
    }

    async fn read_index(&self) -> Result<ManifestIndex, Trouble> {
        let (size, mut wanted) = (self.object.size, INDEX_TAIL_BYTES);
        loop {
            let tail =
                self.bytes(size - wanted.min(size)..size).await.map_err(|error| self.unread(&error))?;
            match ManifestIndex::from_tail(&tail).map_err(|error| unreadable(&error))? {
                Ok(index) => return Ok(index),
                Err(more) if more <= size && more > wanted => wanted = more,
                Err(_) => return Err(Trouble::damaged("the index of the manifest is longer than itself")),
            }
        }
    }

    async fn header(&self) -> Result<ManifestHeader, Trouble> {
        let end = self.index.header_bytes.min(self.object.size);
        let packed = self.bytes(0..end).await.map_err(|error| self.unread(&error))?;
        let text = unpack(&packed).map_err(|error| unreadable(&error))?;
        let (header, _) = read(&text[..]).map_err(|error| unreadable(&error))?;
        Ok(header)
    }

    /// Fails unless the manifest is that of an archive with these contents, and has as many lines as it says.
    fn belong(&self, header: &ManifestHeader, contents: &Contents) -> Result<(), Trouble> {
        let Contents::MediaTar { files, bytes, .. } = contents else {
            return Err(Trouble::damaged("the artifact is not an archive of files"));
        };
        let counts = header.counts;
        if (counts.files, counts.bytes) != (*files, *bytes) {
            return Err(Trouble::damaged(format!(
                "the manifest beside the archive names {} files of {} bytes, and the archive has {files} of {bytes}: it is that \
                 of another archive",
                counts.files, counts.bytes
            )));
        }
        let lines: u64 = self.index.frames.iter().map(|frame| u64::from(frame.lines)).sum();
        if lines != counts.files + counts.directories + counts.skipped {
            return Err(Trouble::damaged("the manifest has not as many lines as its header counts"));
        }
        Ok(())
    }

    /// The lines of some frames that lie end to end.
    async fn lines(&self, frames: Range<usize>) -> Result<Vec<ManifestLine>, Trouble> {
        if frames.is_empty() {
            return Ok(Vec::new());
        }
        let ends = (self.index.range(frames.start), self.index.range(frames.end.saturating_sub(1)));
        let (Some(first), Some(last)) = ends else { return Ok(Vec::new()) };
        let expected: usize = self.index.frames[frames].iter().map(|frame| frame.lines as usize).sum();
        let packed = self.bytes(first.start..last.end).await.map_err(|error| self.unread(&error))?;
        let lines = tokio::task::spawn_blocking(move || {
            let text = unpack(&packed)?;
            parse_lines(&text, 1).collect::<Result<Vec<_>, _>>()
        });
        let lines = lines.await.map_err(|error| {
            Trouble::Failed(SliceError::transient(
                "task_failed",
                format!("reading the manifest failed: {error}"),
            ))
        })?;
        let lines = lines.map_err(|error| unreadable(&error))?;
        if lines.len() != expected {
            return Err(Trouble::damaged("a frame of the manifest has not as many lines as its index says"));
        }
        Ok(lines)
    }

    /// The frames that lines of `scope` behind the key `after` can be in, in runs that are read at once.
    fn runs(&self, scope: &Scope, after: Option<&str>) -> Vec<Range<usize>> {
        let from = after.map_or(scope.start(), |after| after.max(scope.start()));
        let frames = &self.index.frames;
        let (mut runs, mut begin, mut bytes) = (Vec::new(), self.index.frame_of(from), 0);
        let holds = |first: &str| first <= scope.start() || scope.holds(first);
        let end = frames.iter().skip(begin).position(|frame| !holds(&frame.first));
        let end = end.map_or(frames.len(), |count| begin + count);
        for (number, frame) in frames.iter().enumerate().take(end).skip(begin) {
            bytes += frame.bytes;
            if bytes >= UNPACK_BYTES {
                runs.push(begin..number + 1);
                (begin, bytes) = (number + 1, 0);
            }
        }
        runs.push(begin..end);
        runs
    }

    async fn bytes(&self, range: Range<u64>) -> Result<Bytes, StorageError> {
        match &self.held {
            Some(held) => {
                let place = |at| usize::try_from(at).unwrap_or(usize::MAX).min(held.len());
                Ok(held.slice(place(range.start)..place(range.end)))
            }
            None => self.artifacts.read(&self.object, range).await,
        }
    }

    fn unread(&self, error: &StorageError) -> Trouble {
        of_archive(&self.object.key, error)
    }
}

/// Compares all bytes of the manifest with the checksum it was stored with; returns them if they are few.
async fn check(store: &dyn ArtifactStore, object: &backup::StoredObject) -> Result<Option<Bytes>, Trouble> {
    let (mut sum, mut held) = (Crc64NvmeHasher::new(), BytesMut::new());
    let mut at = 0;
    while at < object.size {
        let end = object.size.min(at + CHECKED_BYTES);
        let bytes = store.read(object, at..end).await.map_err(|error| of_archive(&object.key, &error))?;
        sum.update(&bytes);
        if object.size <= HELD_BYTES {
            held.extend_from_slice(&bytes);
        }
        at = end;
    }
    if sum.finish().to_string() != object.crc64nvme {
        return Err(Trouble::damaged(format!(
            "the bytes of the manifest {} are not those of its checksum",
            object.key
        )));
    }
    Ok((object.size <= HELD_BYTES).then(|| held.freeze()))
}

fn unreadable(error: &ManifestError) -> Trouble {
    Trouble::damaged(format!("the manifest cannot be read: {error}"))
}

/// The lines of a scope, of which the next are read while some are in use.
pub(super) struct Lines {
    /// Runs of lines, and none after the last: a channel that is only closed is not the end.
    runs: mpsc::Receiver<Result<Option<Vec<ManifestLine>>, Trouble>>,
    current: vec::IntoIter<ManifestLine>,
    _reading: Task<()>,
}

impl Lines {
    /// Those of `scope` behind the key `after`.
    pub(super) fn of(manifest: Arc<Manifest>, scope: Scope, after: Option<String>) -> Self {
        let (sender, runs) = mpsc::channel(1);
        let reading = Task::spawn(async move {
            for run in manifest.runs(&scope, after.as_deref()) {
                let lines = manifest.lines(run).await.map(|mut lines| {
                    lines.retain(|line| {
                        scope.holds(line.key()) && after.as_deref().is_none_or(|after| line.key() > after)
                    });
                    Some(lines)
                });
                if sender.send(lines).await.is_err() {
                    return;
                }
            }
            // Nobody waits for it if the restore has stopped.
            let _ = sender.send(Ok(None)).await;
        });
        Self { runs, current: Vec::new().into_iter(), _reading: reading }
    }

    /// The next line; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ManifestLine>, Trouble> {
        loop {
            if let Some(line) = self.current.next() {
                return Ok(Some(line));
            }
            match self.runs.recv().await {
                Some(Ok(Some(lines))) => self.current = lines.into_iter(),
                Some(Ok(None)) => return Ok(None),
                Some(Err(trouble)) => return Err(trouble),
                None => {
                    let stopped = "reading the manifest ended early";
                    return Err(Trouble::Failed(SliceError::transient("task_failed", stopped)));
                }
            }
        }
    }
}
