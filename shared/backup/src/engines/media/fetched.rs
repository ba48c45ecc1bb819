//! An object that is read whole before anything of it stands in the archive.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_archive::{assembly::Policy, checksum::Crc64Nvme};

use super::{
    failure::{outgrown, torn},
    object::{Body, Head, Opened, ReadError, Source, TRIES},
};
use crate::{
    error::SliceError,
    ports::{ListedObject, MediaObject, StoredPart},
};

/// The most bytes of an object that is read whole although it was to be smaller when it was listed.
const GROWN_BYTES: u64 = 64 * 1024 * 1024;

/// The next object of the archive.
pub(super) enum Next {
    /// All of its bytes are here.
    Read(ListedObject, Head, Bytes),
    /// Its first bytes are here, and the others are copied.
    Copied(ListedObject, Head, Bytes, Copied),
    /// It is left out, for this reason.
    Skipped(ListedObject, String),
}

/// What S3 has copied of an object.
pub(super) struct Copied {
    /// The parts.
    pub(super) parts: Vec<StoredPart>,
    /// The checksum of the whole object.
    pub(super) whole: Crc64Nvme,
}

/// Reads an object whole. One that changes meanwhile is read again, since nothing of it is in the archive yet.
pub(super) async fn read(
    source: Arc<Source>,
    policy: Policy,
    object: ListedObject,
) -> Result<Next, SliceError> {
    for _ in 0..TRIES {
        let opened = match source.open(&object, Some(&object.etag), None).await? {
            Opened::Object(opened) => *opened,
            Opened::Skipped(reason) => return Ok(Next::Skipped(object, reason)),
        };
        match whole(&source, policy, &object, opened).await {
            Ok((head, bytes)) => return Ok(Next::Read(object, head, bytes)),
            Err(ReadError::Changed) => {}
            Err(ReadError::Failed(error)) => return Err(error),
        }
    }
    Err(torn(&object.key))
}

/// All bytes of an object that was opened.
pub(super) async fn whole(
    source: &Source,
    policy: Policy,
    object: &ListedObject,
    opened: MediaObject,
) -> Result<(Head, Bytes), ReadError> {
    let size = opened.size;
    if size > GROWN_BYTES.max(policy.copy_from) {
        return Err(ReadError::Failed(outgrown(&object.key)));
    }
    let tag_count = opened.tag_count;
    let (mut head, mut body) = Body::of(source, &object.key, opened, size);
    let bytes = body.read_whole().await?;
    head.tags = source.tags(&object.key, tag_count).await.map_err(ReadError::Failed)?;
    Ok((head, bytes))
}
