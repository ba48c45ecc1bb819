//! Reads a stored dump again, from its first byte to its last.

use std::{io::Read as _, sync::Arc};

use holdfast_domain::backup::StoredObject;

use super::dump;
use crate::{
    error::SliceError,
    ports::ArtifactStore,
    verify::{invalid, read_all},
};

/// What is decompressed at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// How much of the end of the SQL is looked at, in bytes.
const TAIL_BYTES: usize = 256;

/// Reads all of the dump `object`: every frame of it has the checksum that stands in it, and its last line is there.
pub(crate) async fn verify(store: &Arc<dyn ArtifactStore>, object: &StoredObject) -> Result<(), SliceError> {
    read_all(store, object, |reader| {
        let mut sql = zstd::stream::read::Decoder::new(reader)?;
        let (mut tail, mut buffer) = (Vec::new(), vec![0; READ_BYTES]);
        loop {
            let some = match sql.read(&mut buffer)? {
                0 => break,
                some => &buffer[..some],
            };
            tail.extend_from_slice(&some[some.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
        }
        if dump::is_whole(&tail) { Ok(()) } else { Err(invalid("the SQL has no end")) }
    })
    .await
}
