//! The archive, looked through before anything is done with it.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use holdfast_archive::{
    checksum::{Crc64Nvme, Crc64NvmeHasher},
    pg_custom::{Block, BlockKind, Compression, Contents, Malformed, Offset, ReadError, find_blocks},
};

use super::{kind::other_than_archive, row_counts::RowCounts};
use crate::error::SliceError;

/// What is read at once where all of a file is, in bytes.
const READ_BYTES: usize = 1024 * 1024;

/// A custom-format archive in a file.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
    pub(super) contents: Contents,
    /// Blocks by the dump ids of their entries.
    pub(super) blocks: HashMap<i32, Block>,
    /// How many rows each table has, as was written down when it was dumped.
    pub(super) row_counts: Option<RowCounts>,
    /// Whether all of it was compared with a checksum.
    pub(super) is_checked: bool,
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

impl Archive {
    /// Opens the archive at `path` and looks through it: its table of contents, where its blocks are and whether they are
    /// whole, and all of it if its `checksum` is known. Blocks for as long as the disk takes.
    pub(super) fn open(path: &Path, checksum: Option<Crc64Nvme>) -> Result<Self, SliceError> {
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
        let mut file = File::open(&path).map_err(unreadable)?;
        let identity = Identity::of(&file).map_err(unreadable)?;
        let mut beginning = Vec::new();
        (&file).take(512).read_to_end(&mut beginning).map_err(unreadable)?;
        if let Some((what, fix)) = other_than_archive(&beginning) {
            let message = format!("{} is {what}; {fix}", path.display());
            return Err(SliceError::permanent("not_an_archive", message));
        }
        if let Some(expected) = checksum {
            let found = checksum_of(&mut file).map_err(unreadable)?;
            if found != expected {
                return Err(damaged(&path, &format!("its CRC64NVME is {found} and should be {expected}")));
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let not_read = |error: ReadError| match error {
            ReadError::Malformed(Malformed::Unsupported(unsupported)) => {
                let message = format!(
                    "{}: {unsupported}; restore it with the pg_restore of its own version",
                    path.display()
                );
                SliceError::permanent("archive_unsupported", message)
            }
            ReadError::Malformed(error) => damaged(&path, &error.to_string()),
            ReadError::Unreadable(error) => unreadable(error),
        };
        let contents = Contents::read(&file).map_err(not_read)?;
        let found = find_blocks(&file, contents.end, identity.bytes).map_err(not_read)?;
        let blocks = assigned(&contents, found).map_err(|why| damaged(&path, &why))?;
        let row_counts = RowCounts::beside(&path)?;
        let (file, bytes) = (Arc::new(file), identity.bytes);
        Ok(Self { path, file, bytes, contents, blocks, row_counts, is_checked: checksum.is_some(), identity })
    }

    /// Fails if the file is not any more what it was when it was looked through.
    pub(super) fn unchanged(&self) -> Result<(), SliceError> {
        let same = File::open(&self.path).and_then(|file| Identity::of(&file));
        if same.is_ok_and(|identity| identity == self.identity) {
            return Ok(());
        }
        let message = format!("{} was changed while it was restored; restore again", self.path.display());
        Err(SliceError::permanent("archive_changed", message))
    }

    /// Whether the rows of its tables can be read here, and need not be left to `pg_restore`.
    pub(super) fn is_readable(&self) -> bool {
        self.contents.header.compression != Compression::Lz4
    }

    pub(super) fn damaged(&self, why: &str) -> SliceError {
        damaged(&self.path, why)
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

/// A file from a position on; others may read it at the same time.
pub(super) struct FileFrom {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
}

impl io::Read for FileFrom {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.file.read_at(into, self.at)?;
        self.at += some as u64;
        Ok(some)
    }
}

fn damaged(path: &Path, why: &str) -> SliceError {
    let message = format!("{} is damaged: {why}; download or copy it again", path.display());
    SliceError::permanent("archive_damaged", message)
}

fn checksum_of(file: &mut File) -> io::Result<Crc64Nvme> {
    file.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut buffer) = (Crc64NvmeHasher::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            some => hasher.update(&buffer[..some]),
        }
    }
}

/// The blocks by their entries: each entry has the block that it says it has, where it says, and there is no other.
pub(in crate::engines::postgres) fn assigned(
    contents: &Contents,
    found: Vec<Block>,
) -> Result<HashMap<i32, Block>, String> {
    let mut blocks = HashMap::new();
    for block in found {
        if blocks.insert(block.dump_id, block).is_some() {
            return Err(format!("entry {} has two blocks", block.dump_id));
        }
    }
    let mut with_block = 0;
    let mut ids = std::collections::HashSet::new();
    for entry in &contents.entries {
        let id = entry.dump_id;
        if id <= 0 || !ids.insert(id) {
            return Err(format!("there cannot be an entry {id}, or not twice"));
        }
        let block = blocks.get(&id);
        match (entry.offset, block) {
            (Offset::NoData(_), None) => continue,
            (Offset::NoData(_), Some(_)) => {
                return Err(format!("entry {id} has a block, and says it has none"));
            }
            (_, None) => return Err(format!("the block of entry {id} is not there")),
            (Offset::At(position), Some(block)) if block.position != position => {
                return Err(format!("the block of entry {id} is not where it should be"));
            }
            (_, Some(block)) => {
                let is_rows = entry.is_table_data();
                if is_rows != (block.kind == BlockKind::Data) && is_rows {
                    return Err(format!("the block of entry {id} holds no rows"));
                }
            }
        }
        with_block += 1;
    }
    if with_block != blocks.len() {
        return Err("there are blocks that no entry is for".to_owned());
    }
    Ok(blocks)
}
