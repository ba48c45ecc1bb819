//! What of an archive in the bucket `pg_restore` reads through a pipe: the table of contents of what it is to restore, then
//! the blocks of that in the same order. It looks for each block by reading on, so none is there that it does not need.

use std::{collections::BTreeSet, io, ops::Range, sync::Arc};

use futures::TryStreamExt as _;
use holdfast_archive::pg_custom::{Contents, Offset};
use tokio::{io::AsyncWriteExt as _, process::ChildStdin};

use super::{archive::Archive, object::ArchiveObject, progress::RestoreProgress};
use crate::error::SliceError;

/// Some entries of an archive in the bucket, as an archive of their own.
#[derive(Debug)]
pub(super) struct Excerpt {
    contents: Vec<u8>,
    blocks: Vec<Range<u64>>,
    object: ArchiveObject,
    progress: Arc<RestoreProgress>,
}

impl Excerpt {
    /// What `archive`, which is `object`, has without the data of `left_out`.
    pub(super) fn new(
        archive: &Archive,
        object: &ArchiveObject,
        left_out: &BTreeSet<i32>,
        progress: Arc<RestoreProgress>,
    ) -> Self {
        let mut contents: Contents = archive.contents.clone();
        contents.entries.retain(|entry| !left_out.contains(&entry.dump_id));
        let mut blocks = Vec::new();
        for entry in &mut contents.entries {
            if let Some(block) = archive.blocks.get(&entry.dump_id) {
                blocks.push(block.position..block.position + block.bytes);
                // It is somewhere else here.
                entry.offset = Offset::Unknown(0);
            }
        }
        Self { contents: contents.to_bytes(), blocks, object: object.clone(), progress }
    }

    /// Writes it, unless nobody reads it any more: why that is, the program says.
    pub(super) async fn write_to(&self, mut to: ChildStdin) -> Result<(), SliceError> {
        let written = |outcome: io::Result<()>| match outcome {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                let message = format!("pg_restore could not be given the archive: {error}");
                Err(SliceError::transient("restore_refused", message))
            }
            Ok(()) => Ok(true),
        };
        if !written(to.write_all(&self.contents).await)? {
            return Ok(());
        }
        let mut pieces = std::pin::pin!(self.object.pieces(self.blocks.clone()));
        while let Some(piece) = pieces.try_next().await? {
            if !written(to.write_all(&piece).await)? {
                break;
            }
            self.progress.copied(piece.len() as u64, 0);
        }
        Ok(())
    }
}
