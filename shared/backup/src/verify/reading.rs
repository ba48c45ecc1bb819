//! Reading an object again, for whoever knows what should be in it.

use std::{io, sync::Arc};

use holdfast_archive::checksum::Crc64Nvme;
use holdfast_domain::backup::StoredObject;

use crate::{
    error::SliceError,
    ports::{ArtifactStore, StorageError},
    stored_reader::{Reading, StoredReader},
};

/// The code of a failure that says that an artifact is not what it should be. No other failure says anything about the backup.
pub(crate) const DAMAGED: &str = "artifact_damaged";

/// Reads `object` from its first byte to its last, with `look` on a blocking thread, and compares its checksum.
pub(crate) async fn read_all<T: Send + 'static>(
    store: &Arc<dyn ArtifactStore>,
    object: &StoredObject,
    look: impl FnOnce(&mut StoredReader) -> io::Result<T> + Send + 'static,
) -> Result<T, SliceError> {
    let (mut reader, reading) = StoredReader::open(store, object, 0);
    let (seen, checksum) = looked_at(object, &[reading], move || {
        let seen = look(&mut reader)?;
        reader.drain()?;
        Ok((seen, reader.checksum()))
    })
    .await?;
    compare(object, checksum)?;
    Ok(seen)
}

/// What `look` sees, on a blocking thread, in the bytes of `object` and others that come by `readings`. An error of it means
/// damage, unless it is that the storage did not answer.
pub(crate) async fn looked_at<T: Send + 'static>(
    object: &StoredObject,
    readings: &[Reading],
    look: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SliceError> {
    let seen = tokio::task::spawn_blocking(look).await.map_err(|error| {
        let words = format!("the reading of {} broke down: {error}", object.key);
        SliceError::transient("verification_broke_down", words)
    })?;
    match (seen, readings.iter().find_map(Reading::fault)) {
        (Ok(seen), None) => Ok(seen),
        (_, Some(StorageError::NotFound(what))) => {
            Err(damaged(object, &format!("there is no {what} any more")))
        }
        (_, Some(fault)) => Err(fault.into()),
        (Err(error), None) => Err(damaged(object, &error.to_string())),
    }
}

/// Fails unless the bytes of `object` have the checksum that they had when they were stored.
pub(crate) fn compare(object: &StoredObject, found: Crc64Nvme) -> Result<(), SliceError> {
    if found.to_string() == object.crc64nvme {
        return Ok(());
    }
    let stored = &object.crc64nvme;
    let words = format!("its bytes have the CRC64NVME {found}, and had {stored} when they were stored");
    Err(damaged(object, &words))
}

/// That `object` is not what it should be.
pub(crate) fn damaged(object: &StoredObject, why: &str) -> SliceError {
    let message = format!("{} is damaged: {why}; rely on another backup, and make a new one", object.key);
    SliceError::permanent(DAMAGED, message)
}

/// What is said of bytes that are not what they should be.
pub(crate) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}
