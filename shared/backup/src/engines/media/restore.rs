//! Files of a media archive back into a bucket: with their headers, metadata and tags, and never more public than the bucket is.
//!
//! The manifest beside the tar and the listing of the bucket are gone through side by side, so that what is there already is
//! left alone. What was read when it was backed up is read again, compared with its SHA-256 and put; what S3 has copied into the
//! archive it copies out again, and its checksum is compared. Files are done in the order of their keys, and the last key that
//! is done is all that a slice leaves to the next one.
//!
//! Uploads that are open belong to a file that is not done: a slice gives up its own when it ends. Those of one that was killed
//! are found by who has begun them: the role that restores does nothing else.

mod batch;
mod comparison;
mod copied;
mod files;
mod manifest;
mod preflight;
mod progress;
mod rehearsal;
mod removals;
mod seen;
mod selection;
mod site;
mod there;
mod trouble;
mod verdict;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::StorageService,
    backup::Artifact,
    restore::{Mapping, MediaMode, Preflight, Restore, RestoreOptions},
};

use super::{object::relative, scratch};
use crate::{
    engines::restorer::{Outcome, RestoreObserver, Restorer},
    error::SliceError,
    ports::{PROBE, Ports, StorageError},
};
use comparison::{Comparison, Met};
use manifest::Manifest;
use progress::{Deadlines, Progress, Reporter, Stage};
use selection::Selection;
use site::Site;
use trouble::Trouble;

/// Puts the files of one archive into one storage.
pub struct MediaRestorer {
    site: Arc<Site>,
    artifact: Artifact,
    service: StorageService,
    selection: Selection,
    options: RestoreOptions,
    /// When the restore was asked for: what was written later is in no safety backup.
    since: DateTime<Utc>,
    is_undo: bool,
    /// Whether everything goes to a place of its own, and is removed again.
    is_rehearsal: bool,
}

impl MediaRestorer {
    /// A restorer of `artifact`, an archive of files, into `service`, for `restore`.
    pub fn new(
        ports: &Ports,
        service: StorageService,
        artifact: Artifact,
        mapping: &Mapping,
        restore: &Restore,
    ) -> Self {
        let options = &restore.options;
        let prefix = if restore.rehearsal {
            scratch::prefix_of(restore.id, &service.prefix)
        } else {
            options.into_prefix.clone().unwrap_or_else(|| service.prefix.clone())
        };
        // What is in a place of its own, a slice has put there that was killed.
        let overwrite = options.overwrite || restore.rehearsal;
        let ends = (ports.media.clone(), ports.media_target.clone(), ports.artifacts.clone());
        let tar = artifact.object.clone();
        let site = Site::new(ends, service.bucket.clone(), prefix, tar, overwrite);
        Self {
            site: Arc::new(site),
            artifact,
            service,
            selection: Selection::new(&mapping.files),
            options: options.clone(),
            since: restore.created_at,
            is_undo: restore.undoes.is_some(),
            is_rehearsal: restore.rehearsal,
        }
    }

    async fn manifest(&self) -> Result<Manifest, Trouble> {
        Manifest::open(self.site.artifacts.clone(), &self.artifact).await
    }

    /// Goes on until everything is done, or the time is up. Returns whether everything is.
    async fn go_on(&self, time: Duration, reporter: &mut Reporter<'_>) -> Result<bool, SliceError> {
        let deadlines = Deadlines::within(time);
        let manifest = Arc::new(self.manifest().await.map_err(Trouble::into_error)?);
        if reporter.progress.of_bytes.is_none() {
            let bytes = reporter.during(self.measure(&manifest)).await??;
            reporter.progress.of_bytes = Some(bytes);
            // From here on there is something to go on with: what a slice has put that is killed is not in the next one's way.
            reporter.report().await?;
        }
        if reporter.progress.stage == Stage::Files {
            if !files::put(&self.site, &manifest, &self.selection, deadlines, reporter).await? {
                return Ok(false);
            }
            if self.is_rehearsal {
                reporter.progress.compared = Some(0);
                reporter.progress.stage = Stage::Comparing;
            } else if self.options.media == MediaMode::Merge {
                return Ok(true);
            } else {
                reporter.progress.stage = Stage::Removals;
            }
            reporter.progress.after = None;
        }
        if reporter.progress.stage == Stage::Comparing {
            if !rehearsal::compare(&self.site, &manifest, deadlines, reporter).await? {
                return Ok(false);
            }
            reporter.progress.stage = Stage::Removals;
            reporter.progress.after = None;
        }
        if self.is_rehearsal {
            return rehearsal::remove(&self.site, deadlines, reporter).await;
        }
        removals::remove(&self.site, &manifest, &self.selection, deadlines, reporter).await
    }

    /// The failure, and what was done before it that stays.
    fn explain(&self, progress: &Progress, error: SliceError) -> SliceError {
        if self.is_rehearsal { error } else { progress.explain(error) }
    }

    /// Bytes of the files that were selected, if the backup has all that were named.
    async fn measure(&self, manifest: &Arc<Manifest>) -> Result<u64, SliceError> {
        if self.selection.is_everything() {
            return Ok(manifest.counts.bytes);
        }
        let (mut bytes, mut unseen) = (0, self.selection.unseen());
        let mut comparison = Comparison::new(&self.site, manifest, &self.selection, None);
        while let Some(met) = comparison.next().await.map_err(Trouble::into_error)? {
            if let Met::Archived(object, _) = met {
                bytes += object.size;
                unseen.saw(&object.key);
            }
        }
        let missing: Vec<_> = unseen.left().collect();
        if missing.is_empty() || self.is_undo {
            return Ok(bytes);
        }
        Err(SliceError::permanent(
            "file_missing",
            format!("the archive does not have {missing:?}; name files that are in it"),
        ))
    }
}

#[async_trait]
impl Restorer for MediaRestorer {
    async fn preflight(&self) -> Result<Preflight, SliceError> {
        self.look().await
    }

    async fn restore(
        &self,
        cursor: Option<&str>,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        if let Some(refusal) = self.refuse_place().into_iter().next() {
            return Err(Trouble::Refused(refusal).into_error());
        }
        let progress = match cursor {
            Some(cursor) => Progress::parse(cursor)?,
            None => Progress::begin(self.since),
        };
        let before = (progress.stage, progress.after.clone());
        let mut reporter = Reporter::new(progress, observer);
        let outcome = self.go_on(time, &mut reporter).await;
        if !self.site.give_up().await
            && let Err(left) = self.clean_up().await
        {
            tracing::warn!(place = self.site.name(), error = %left, "uploads are left open there");
        }
        match outcome {
            Ok(true) => Ok(Outcome::Done(reporter.progress.restored())),
            Ok(false) if (reporter.progress.stage, &reporter.progress.after) == (before.0, &before.1) => {
                Err(self.explain(&reporter.progress, too_short(before.1.as_deref())))
            }
            Ok(false) => Ok(Outcome::Paused { cursor: reporter.progress.cursor(true)? }),
            Err(error) => {
                // So that whoever begins again does not begin with what is done. That it could not be written changes nothing.
                if matches!(error, SliceError::Failed(_))
                    && let Err(unsaid) = reporter.report().await
                {
                    tracing::warn!(error = %unsaid, "how far the restore has come could not be written down");
                }
                Err(self.explain(&reporter.progress, error))
            }
        }
    }

    /// Gives up uploads below the prefix that the role which restores has begun, of files that the archive has. An application's
    /// own are somebody else's; a restore of another application into the same prefix would begin its file again.
    async fn clean_up(&self) -> Result<(), SliceError> {
        let Site { target, bucket, prefix, .. } = self.site.as_ref();
        let uploads = match target.open_uploads(bucket, prefix).await {
            Ok(uploads) => uploads,
            // Where nothing may be written, or there is nothing, nothing was left.
            Err(StorageError::Denied(_) | StorageError::NotFound(_) | StorageError::Rejected(_)) => {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        for upload in uploads {
            let key = relative(prefix, &upload.key);
            if key == PROBE || self.selection.scopes(None).any(|scope| scope.holds(key)) {
                target.abort(&upload).await?;
            }
        }
        Ok(())
    }

    /// Whatever is in a place of its own was put there for a rehearsal.
    async fn give_up(&self) -> Result<(), SliceError> {
        self.clean_up().await?;
        if self.is_rehearsal { rehearsal::empty(&self.site).await } else { Ok(()) }
    }
}

/// Nothing was done in a whole slice behind the key `after`.
fn too_short(after: Option<&str>) -> SliceError {
    let file = after.map_or("the first file".to_owned(), |after| format!("the file that follows {after:?}"));
    SliceError::permanent(
        "slice_too_short",
        format!(
            "{file} takes longer to restore than a slice of the job may run; copy it by hand as RESTORING.md says, and restore the \
             others by their names"
        ),
    )
}
