//! An archive in a file.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};

use super::kind::other_than_archive;
use crate::error::SliceError;

/// What is read at once where all of a file is, in bytes.
const READ_BYTES: usize = 1024 * 1024;

/// A file, as it was when it was opened.
#[derive(Debug)]
pub(super) struct ArchiveFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    identity: Identity,
}

/// What of a file changes when it is written to, or replaced.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl ArchiveFile {
    /// Opens `path`, which must be no other kind of file than an archive.
    pub(super) fn open(path: &Path) -> Result<Self, SliceError> {
        let unreadable = |error: io::Error| {
            let message = format!("{} cannot be read: {error}; name a file that can", path.display());
            SliceError::permanent("archive_unreadable", message)
        };
        let path = path.canonicalize().map_err(unreadable)?;
        if path.is_dir() {
            let message = format!(
                "{} is a folder; restore one that pg_dump -Fd has made with pg_restore",
                path.display()
            );
            return Err(SliceError::permanent("not_an_archive", message));
        }
        let file = File::open(&path).map_err(unreadable)?;
        let identity = Identity::of(&file).map_err(unreadable)?;
        let mut beginning = Vec::new();
        (&file).take(512).read_to_end(&mut beginning).map_err(unreadable)?;
        if let Some((what, fix)) = other_than_archive(&beginning) {
            let message = format!("{} is {what}; {fix}", path.display());
            return Err(SliceError::permanent("not_an_archive", message));
        }
        Ok(Self { path, file: Arc::new(file), identity })
    }

    /// How long it was, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.identity.bytes
    }

    /// A range of it; others may read it at the same time.
    pub(super) fn read(&self, range: Range<u64>) -> io::Take<FileFrom> {
        let length = range.end.saturating_sub(range.start);
        FileFrom { file: self.file.clone(), at: range.start }.take(length)
    }

    /// Fails if the file is not any more what it was when it was opened.
    pub(super) fn unchanged(&self) -> Result<(), SliceError> {
        let same = File::open(&self.path).and_then(|file| Identity::of(&file));
        if same.is_ok_and(|identity| identity == self.identity) {
            return Ok(());
        }
        let message = format!("{} was changed while it was restored; restore again", self.path.display());
        Err(SliceError::permanent("archive_changed", message))
    }

    /// The checksum of all of it.
    pub(super) fn checksum(&self) -> io::Result<Crc64Nvme> {
        let mut file: &File = &self.file;
        file.seek(SeekFrom::Start(0))?;
        let (mut hasher, mut buffer) = (Crc64NvmeHasher::new(), vec![0; READ_BYTES]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finish()),
                some => hasher.update(&buffer[..some]),
            }
        }
    }
}

impl Identity {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A file from a position on.
pub(super) struct FileFrom {
    file: Arc<File>,
    at: u64,
}

impl io::Read for FileFrom {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.file.read_at(into, self.at)?;
        self.at += some as u64;
        Ok(some)
    }
}
