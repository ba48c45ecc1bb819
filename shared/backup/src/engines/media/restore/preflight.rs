//! The look at an archive and at the place of its files, before anything is changed.

use std::sync::Arc;

use holdfast_domain::restore::{Preflight, Refusal};

use super::{
    super::listing::belongs,
    MediaRestorer,
    manifest::Manifest,
    site::Site,
    trouble::{Trouble, of_archive},
};
use crate::{
    error::SliceError,
    ports::{ObjectHeaders, PROBE, StorageError},
};

impl MediaRestorer {
    /// Looks at both ends.
    pub(super) async fn look(&self) -> Result<Preflight, SliceError> {
        let mut found = Preflight {
            service: self.service.name.clone(),
            target: self.site.name(),
            is_occupied: false,
            steps: Vec::new(),
            notes: Vec::new(),
            refusals: self.refuse_place(),
            bytes: 0,
            estimated_seconds: 0,
            changes: None,
        };
        if !found.refusals.is_empty() {
            return Ok(found);
        }
        match self.is_occupied().await {
            // What a rehearsal finds in its place is its own.
            Ok(is_occupied) => found.is_occupied = is_occupied && !self.is_rehearsal,
            Err(trouble) => found.refusals.push(refusal(trouble)?),
        }
        if found.refusals.is_empty()
            && let Err(trouble) = self.try_to_write().await
        {
            found.refusals.push(refusal(trouble)?);
        }
        match self.open_archive().await {
            Ok(manifest) if found.refusals.is_empty() => match self.compare(&Arc::new(manifest)).await {
                Ok(seen) => self.describe(seen, &mut found),
                Err(trouble) => found.refusals.push(refusal(trouble)?),
            },
            Ok(_) => {}
            Err(trouble) => found.refusals.push(refusal(trouble)?),
        }
        Ok(found)
    }

    /// What can be refused without asking anybody.
    pub(super) fn refuse_place(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.site.bucket == self.site.target.backups() {
            refusals.push(Refusal::new(
                "bucket_of_backups",
                format!("the bucket {} is the one that backups are kept in", self.site.bucket),
                "restore into another bucket",
            ));
        }
        // Other files of the bucket are not this storage's, and no safety backup has them.
        if !self.is_rehearsal && !self.site.prefix.starts_with(&self.service.prefix) {
            refusals.push(Refusal::new(
                "prefix_outside",
                format!(
                    "the prefix {:?} is not below that of the storage, {:?}",
                    self.site.prefix, self.service.prefix
                ),
                format!("restore into a prefix below it, as `{}restored/`", self.service.prefix),
            ));
        }
        if let Some(prefix) = &self.options.into_prefix
            && !prefix.is_empty()
            && !prefix.ends_with('/')
        {
            refusals.push(Refusal::new(
                "prefix_not_a_folder",
                format!("the prefix {prefix:?} does not end in `/`, so that names would run into it"),
                format!("restore into `{prefix}/`"),
            ));
        }
        refusals
    }

    /// Whether anything is in the place.
    async fn is_occupied(&self) -> Result<bool, Trouble> {
        let Site { media, bucket, prefix, .. } = self.site.as_ref();
        let page = media.list(bucket, prefix, None, None).await;
        let page = page.map_err(|error| of_place(bucket, &error))?;
        Ok(page.objects.iter().any(|object| belongs(prefix, object)))
    }

    /// Begins an upload and gives it up, which tells whether files may be written and leaves nothing.
    async fn try_to_write(&self) -> Result<(), Trouble> {
        let Site { target, bucket, .. } = self.site.as_ref();
        let probe = target.begin(bucket, &self.site.key(PROBE), &ObjectHeaders::default()).await;
        let given_up = match probe {
            Ok(probe) => target.abort(&probe).await,
            Err(error) => Err(error),
        };
        // Also where it failed: of a beginning whose answer was lost, and of an end that did not come about, an upload is left.
        if !matches!(given_up, Err(StorageError::Denied(_))) {
            self.give_up_lost_probes().await;
        }
        given_up.map_err(|error| match error {
            StorageError::Denied(_) => Trouble::Refused(Refusal::new(
                "bucket_not_writable",
                format!("files may not be written to the bucket {bucket}"),
                "let the role of the restore function put objects and their tags there and give uploads up, in the bucket's policy too, \
                 and use the key that the bucket encrypts with",
            )),
            error => of_place(bucket, &error),
        })
    }

    /// Of a probe whose answer was lost an upload is left that nobody knows, in a bucket that is not ours to litter. That it
    /// cannot be given up is no reason not to restore.
    async fn give_up_lost_probes(&self) {
        let Site { target, bucket, .. } = self.site.as_ref();
        let swept = async {
            for lost in target.open_uploads(bucket, &self.site.key(PROBE)).await? {
                target.abort(&lost).await?;
            }
            Ok::<(), StorageError>(())
        };
        if let Err(error) = swept.await {
            tracing::warn!(%bucket, %error, "whether an upload is left open there is not known");
        }
    }

    /// Opens the manifest, and looks whether the end of the archive is there.
    async fn open_archive(&self) -> Result<Manifest, Trouble> {
        let tar = &self.site.tar;
        let end = tar.size.saturating_sub(1024)..tar.size;
        let end = self.site.artifacts.read(tar, end).await.map_err(|error| of_archive(&tar.key, &error))?;
        if end.len() < 1024 || end.iter().any(|byte| *byte != 0) {
            return Err(Trouble::damaged(format!("the archive {} does not end as one does", tar.key)));
        }
        self.manifest().await
    }
}

/// What stands in the way. What can pass by itself is an error; what will not is said like everything in the way.
fn refusal(trouble: Trouble) -> Result<Refusal, SliceError> {
    match trouble {
        Trouble::Refused(refusal) => Ok(refusal),
        Trouble::Failed(SliceError::Failed(failure)) if !failure.transient => {
            Ok(Refusal::new(failure.code, failure.message, "mend that, then restore again"))
        }
        Trouble::Failed(error) => Err(error),
    }
}

/// What an error of the bucket means that files are to go to.
fn of_place(bucket: &str, error: &StorageError) -> Trouble {
    Trouble::Refused(match error {
        StorageError::NotFound(_) => Refusal::new(
            "bucket_missing",
            format!("the bucket {bucket} does not exist"),
            "create it, or register the service with the right bucket",
        ),
        StorageError::Denied(_) => Refusal::new(
            "bucket_denied",
            format!("the bucket {bucket} may not be listed"),
            "let the role of the restore function list it, in the bucket's policy too",
        ),
        StorageError::Rejected(_) | StorageError::Archived(_) => Refusal::new(
            "bucket_refused",
            format!("the bucket {bucket} cannot be used: {error}"),
            "mend that, or register the service with another bucket",
        ),
        StorageError::Changed(_) | StorageError::Unavailable(_) => {
            return Trouble::Failed(SliceError::transient(
                "bucket_unavailable",
                format!("the bucket {bucket} could not be looked at: {error}"),
            ));
        }
    })
}
