//! A file that comes into being whole: until then it has another name, and goes when nobody needs it any more.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart};
use tempfile::NamedTempFile;

use crate::{
    failure::Failure,
    new_file::{self, folder_of},
};

/// A file that is being written.
pub(super) struct PartFile {
    target: PathBuf,
    overwrite: bool,
    file: NamedTempFile,
    handle: Arc<File>,
    written: BTreeMap<u32, (u64, Crc64Nvme)>,
}

impl PartFile {
    /// A file that is to be `target`. It is made beside it, readable by its owner alone.
    pub(super) fn create(target: &Path, overwrite: bool) -> Result<Self, Failure> {
        new_file::check(target, overwrite)?;
        let folder = folder_of(target);
        let cannot =
            |error: io::Error| Failure::new(format!("{} cannot be written: {error}", target.display()));
        let file = tempfile::Builder::new()
            .prefix(".holdfast-")
            .suffix(".part")
            .tempfile_in(folder)
            .map_err(cannot)?;
        let handle = Arc::new(file.as_file().try_clone().map_err(cannot)?);
        Ok(Self { target: target.to_owned(), overwrite, file, handle, written: BTreeMap::new() })
    }

    /// Writes the bytes of part `number` to their place.
    pub(super) async fn write(
        &mut self,
        number: u32,
        bytes: Bytes,
        crc64nvme: Crc64Nvme,
    ) -> Result<(), Failure> {
        let offset = multipart::part_offset(number);
        self.written.insert(number, (bytes.len() as u64, crc64nvme));
        let handle = self.handle.clone();
        let writing = tokio::task::spawn_blocking(move || match offset {
            Some(offset) => handle.write_all_at(&bytes, offset),
            None => Err(io::Error::other("there is no such part")),
        });
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| self.cannot(&error))
    }

    /// Bytes that were written.
    pub(super) fn bytes(&self) -> u64 {
        self.written.values().map(|(bytes, _)| bytes).sum()
    }

    /// Checksum of the whole.
    pub(super) fn crc64nvme(&self) -> Crc64Nvme {
        self.written
            .values()
            .fold(Crc64Nvme::EMPTY, |whole, (bytes, part)| Crc64Nvme::combine(whole, *part, *bytes))
    }

    /// Gives the file its name, once all of it is on the disk.
    pub(super) fn keep(self) -> Result<PathBuf, Failure> {
        let length = self.handle.metadata().map_err(|error| self.cannot(&error))?.len();
        if self.written.keys().zip(1..).any(|(number, expected)| *number != expected)
            || length != self.bytes()
        {
            return Err(Failure::new(
                "a part of the dump is missing; this is a fault of Holdfast, please report it",
            ));
        }
        self.handle.sync_all().map_err(|error| self.cannot(&error))?;
        let Self { target, overwrite, file, .. } = self;
        let kept = if overwrite { file.persist(&target) } else { file.persist_noclobber(&target) };
        kept.map_err(|error| {
            Failure::new(format!("{} cannot be written: {}", target.display(), error.error))
        })?;
        // The name is on the disk when the folder is. Not every file system does that; the file is there all the same.
        let _ = File::open(folder_of(&target)).and_then(|folder| folder.sync_all());
        Ok(target)
    }

    fn cannot(&self, error: &io::Error) -> Failure {
        Failure::new(format!("{} cannot be written: {error}", self.target.display()))
    }
}
