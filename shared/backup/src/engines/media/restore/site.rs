//! Both ends of a restore, and what everything at work on it shares.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_archive::manifest::StoredObject;
use holdfast_domain::backup;
use tokio::sync::Semaphore;

use crate::ports::{ArtifactStore, MediaSource, MediaTarget, MediaUpload, ObjectHeaders};

/// Bytes of the archive that are held at once, in KiB. A file that is larger goes alone.
pub(super) const ROOM_KIB: usize = 64 * 1024;

/// How many files are put at once.
const PUTS: usize = 64;

/// How many ranges the storage copies at once.
const COPIES: usize = 32;

/// An archive, and the place its files go to.
pub(super) struct Site {
    pub(super) media: Arc<dyn MediaSource>,
    pub(super) target: Arc<dyn MediaTarget>,
    pub(super) artifacts: Arc<dyn ArtifactStore>,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) tar: backup::StoredObject,
    /// Whether a file that is there may be replaced.
    pub(super) overwrite: bool,
    pub(super) room: Arc<Semaphore>,
    pub(super) puts: Arc<Semaphore>,
    pub(super) copies: Arc<Semaphore>,
    /// Uploads that are open.
    open: Mutex<Vec<MediaUpload>>,
}

impl Site {
    pub(super) fn new(
        (media, target, artifacts): (Arc<dyn MediaSource>, Arc<dyn MediaTarget>, Arc<dyn ArtifactStore>),
        bucket: String,
        prefix: String,
        tar: backup::StoredObject,
        overwrite: bool,
    ) -> Self {
        Self {
            media,
            target,
            artifacts,
            bucket,
            prefix,
            tar,
            overwrite,
            room: Arc::new(Semaphore::new(ROOM_KIB)),
            puts: Arc::new(Semaphore::new(PUTS)),
            copies: Arc::new(Semaphore::new(COPIES)),
            open: Mutex::default(),
        }
    }

    /// The key of a file in the bucket.
    pub(super) fn key(&self, relative: &str) -> String {
        format!("{}{relative}", self.prefix)
    }

    /// The place, as `s3://bucket/prefix`.
    pub(super) fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Remembers an upload until it is [`closed`](Self::closed).
    pub(super) fn opened(&self, upload: &MediaUpload) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(upload.clone());
    }

    pub(super) fn closed(&self, upload: &MediaUpload) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|open| open != upload);
    }

    /// Gives up the uploads that did not come to their end. Returns whether none is left.
    pub(super) async fn give_up(&self) -> bool {
        let mut is_all = true;
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for upload in open {
            if let Err(left) = self.target.abort(&upload).await {
                tracing::warn!(key = %upload.key, error = %left, "an upload could not be aborted; cleaning up will try again");
                is_all = false;
            }
        }
        is_all
    }
}

/// Everything that a file had beside its bytes.
pub(super) fn headers(object: &StoredObject) -> ObjectHeaders {
    ObjectHeaders {
        content_type: object.content_type.clone(),
        cache_control: object.cache_control.clone(),
        content_encoding: object.content_encoding.clone(),
        content_disposition: object.content_disposition.clone(),
        content_language: object.content_language.clone(),
        expires: object.expires.clone(),
        website_redirect_location: object.website_redirect_location.clone(),
        metadata: object.metadata.clone(),
        tags: object.tags.clone(),
    }
}
