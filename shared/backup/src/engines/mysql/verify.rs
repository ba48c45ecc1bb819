//! Reads a stored dump again, from its first byte to its last.

use std::{io::Read as _, sync::Arc};

use holdfast_domain::backup::StoredObject;

use super::{
    dump,
    rows::{RowCounter, RowCounts},
};
use crate::{
    engines::row_counts,
    error::SliceError,
    ports::ArtifactStore,
    verify::{damaged, invalid, read_all},
};

/// What is decompressed at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// How much of the end of the SQL is looked at, in bytes.
const TAIL_BYTES: usize = 256;

/// What a dump turned out to hold.
pub(crate) struct Found {
    /// Tables that it makes.
    pub(crate) tables: u64,
    /// Their rows.
    pub(crate) rows: u64,
}

/// Reads all of the dump `object`: every frame of it has the checksum that stands in it, its last line is there, and its tables have
/// the rows that were counted when it was made. Nothing is found of a dump in which rows are written in an unknown way.
pub(crate) async fn verify(
    store: &Arc<dyn ArtifactStore>,
    object: &StoredObject,
) -> Result<Option<Found>, SliceError> {
    let counted = read_all(store, object, |reader| {
        let mut sql = zstd::stream::read::Decoder::new(reader)?;
        let (mut tail, mut buffer, mut counter) = (Vec::new(), vec![0; READ_BYTES], RowCounter::new());
        loop {
            let some = match sql.read(&mut buffer)? {
                0 => break,
                some => &buffer[..some],
            };
            counter.push(some);
            tail.extend_from_slice(&some[some.len().saturating_sub(TAIL_BYTES)..]);
            tail.drain(..tail.len().saturating_sub(TAIL_BYTES));
        }
        if dump::is_whole(&tail) { Ok(counter.finish()) } else { Err(invalid("the SQL has no end")) }
    })
    .await?;
    if let (Some(counted), Some(told)) = (&counted, told(store, object).await?)
        && let Some(difference) = counted.difference(&told)
    {
        return Err(damaged(object, &format!("{difference} by its row counts")));
    }
    Ok(counted.map(|counted| Found { tables: counted.0.len() as u64, rows: counted.rows() }))
}

/// How many rows the tables of the dump `object` had when it was made, where that was written down.
pub(super) async fn told(
    store: &Arc<dyn ArtifactStore>,
    object: &StoredObject,
) -> Result<Option<RowCounts>, SliceError> {
    row_counts::told(store.as_ref(), object, RowCounts::parse).await
}
