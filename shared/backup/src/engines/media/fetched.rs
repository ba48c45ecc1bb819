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

/// How much an object may have grown since it was listed and still be read ahead.
pub(super) const GROWN_AHEAD_BYTES: u64 = 64 * 1024;

/// What came of reading an object ahead.
#[expect(clippy::large_enum_variant, reason = "it is taken apart as soon as it is there")]
pub(super) enum Fetched {
    Next(Next),
    /// It has become larger than what was set aside for it, and is to be read when its turn comes: then it is the only one.
    Grown(ListedObject),
}

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

/// Reads an object whole, of `room` bytes at the most. One that changes meanwhile is read again, since nothing of it is in
/// the archive yet.
pub(super) async fn read(
    source: Arc<Source>,
    policy: Policy,
    object: ListedObject,
    room: u64,
) -> Result<Fetched, SliceError> {
    for _ in 0..TRIES {
        let opened = match source.open(&object, Some(&object.etag), None).await? {
            Opened::Object(opened) => *opened,
            Opened::Skipped(reason) => return Ok(Fetched::Next(Next::Skipped(object, reason))),
        };
        if opened.size > room {
            return Ok(Fetched::Grown(object));
        }
        match whole(&source, policy, &object, opened).await {
            Ok((head, bytes)) => return Ok(Fetched::Next(Next::Read(object, head, bytes))),
            Err(ReadError::Changed) => {}
            Err(ReadError::Failed(error)) => return Err(error),
        }
    }
    Err(torn(&object.key))
}

/// Reads an object whose turn has come.
pub(super) async fn read_in_turn(
    source: Arc<Source>,
    policy: Policy,
    object: ListedObject,
) -> Result<Next, SliceError> {
    match read(source, policy, object, u64::MAX).await? {
        Fetched::Next(next) => Ok(next),
        // No object is so large.
        Fetched::Grown(object) => Err(outgrown(&object.key)),
    }
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
    head.tags = source.tags(&object.key, tag_count).await?;
    Ok((head, bytes))
}
