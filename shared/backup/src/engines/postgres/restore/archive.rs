//! The archive, looked through before anything is done with it.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use holdfast_archive::{
    checksum::Crc64Nvme,
    pg_custom::{Block, BlockKind, Compression, Contents, Offset, find_blocks},
};
use holdfast_domain::backup::StoredObject;

use super::{file::ArchiveFile, object::ArchiveObject, row_counts::RowCounts, source::Source};
use crate::{engines::row_counts, error::SliceError};

/// The shortest that a block can be, in bytes: its head and its end.
const SHORTEST_BLOCK: u64 = 6 + 5;

/// A custom-format archive.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) source: Source,
    pub(super) contents: Contents,
    /// Blocks by the dump ids of their entries.
    pub(super) blocks: HashMap<i32, Block>,
    /// How many rows each table has, as was written down when it was dumped.
    pub(super) row_counts: Option<RowCounts>,
    /// Whether all of it was compared with a checksum.
    pub(super) is_checked: bool,
}

impl Archive {
    /// Opens the archive at `path` and looks through it: its table of contents, where its blocks are and whether they are
    /// whole, and all of it if its `checksum` is known. Blocks for as long as the disk takes.
    pub(super) fn in_file(path: &Path, checksum: Option<Crc64Nvme>) -> Result<Self, SliceError> {
        let file = ArchiveFile::open(path)?;
        let row_counts = RowCounts::beside(&file.path)?;
        let found = checksum.map(|_| file.checksum());
        let (bytes, everything) = (file.bytes(), file.file.clone());
        let source = Source::File(file);
        if let (Some(expected), Some(found)) = (checksum, found) {
            let found = found.map_err(|error| source.not_read("its bytes", error))?;
            if found != expected {
                return Err(source.damaged(&format!("its CRC64NVME is {found} and should be {expected}")));
            }
        }
        let contents = Contents::read(source.read(0..bytes)).map_err(|error| source.not_understood(error))?;
        let found =
            find_blocks(&*everything, contents.end, bytes).map_err(|error| source.not_understood(error))?;
        let blocks = assigned(&contents, found).map_err(|why| source.damaged(&why))?;
        Ok(Self { source, contents, blocks, row_counts, is_checked: checksum.is_some() })
    }

    /// Reads the table of contents of `object`, which says where all blocks are; that they are there is seen when they are
    /// read. For a thread that may block.
    pub(super) fn in_bucket(object: ArchiveObject) -> Result<Self, SliceError> {
        let (bytes, beginning) = (object.object.size, object.read_beginning());
        let row_counts = object.beside(row_counts::FILE_NAME)?;
        let source = Source::Object(object);
        let contents = Contents::read(beginning).map_err(|error| source.not_understood(error))?;
        let blocks = placed(&contents, bytes).map_err(|why| source.damaged(&why))?;
        let row_counts = row_counts.map(|bytes| {
            RowCounts::parse(&String::from_utf8_lossy(&bytes))
                .map_err(|why| source.damaged(&format!("the row counts beside it cannot be used: {why}")))
        });
        Ok(Self { source, contents, blocks, row_counts: row_counts.transpose()?, is_checked: false })
    }

    /// Fails if what was read of it, which has to be all, is not what was once written: a file must be as it was when it was
    /// looked through, and the checksum of an object must be what the bucket says.
    pub(super) fn check_read(&self) -> Result<(), SliceError> {
        match &self.source {
            Source::File(file) => file.unchanged(),
            Source::Object(object) => {
                object.sums.add(0, &self.contents.to_bytes());
                let (told, bytes) = (&object.object.crc64nvme, object.object.size);
                match object.sums.whole(bytes).map(|found| found.to_string()) {
                    Some(found) if found == *told => Ok(()),
                    Some(found) => {
                        Err(self.source.damaged(&format!("its CRC64NVME is {found} and should be {told}")))
                    }
                    None => Err(self.source.damaged("not all of its bytes were read")),
                }
            }
        }
    }

    /// The checksum of the block of an entry, once all of it was read out of the bucket.
    pub(super) fn sum_of(&self, dump_id: i32) -> Option<Crc64Nvme> {
        let (Source::Object(object), block) = (&self.source, self.blocks.get(&dump_id)?) else { return None };
        object.sums.of(block.position, block.bytes)
    }

    /// The block of an entry was read before, and had this checksum.
    pub(super) fn was_read(&self, dump_id: i32, crc64nvme: Crc64Nvme) {
        if let (Source::Object(object), Some(block)) = (&self.source, self.blocks.get(&dump_id)) {
            object.sums.add_known(block.position, block.bytes, crc64nvme);
        }
    }

    /// What it is known by: no other archive is called the same.
    pub(super) fn identity(&self) -> String {
        match &self.source {
            Source::File(file) => file.path.display().to_string(),
            Source::Object(object) => {
                let StoredObject { key, version_id, crc64nvme, size, .. } = &object.object;
                format!("{key} {} {size} {crc64nvme}", version_id.as_deref().unwrap_or_default())
            }
        }
    }

    /// Whether the rows of its tables can be read here, and need not be left to `pg_restore`.
    pub(super) fn is_readable(&self) -> bool {
        self.contents.header.compression != Compression::Lz4
    }
}

/// The blocks by their entries: each entry has the block that it says it has, where it says, and there is no other.
pub(in crate::engines::postgres) fn assigned(
    contents: &Contents,
    found: Vec<Block>,
) -> Result<HashMap<i32, Block>, String> {
    check_ids(contents)?;
    let mut blocks = HashMap::new();
    for block in found {
        if blocks.insert(block.dump_id, block).is_some() {
            return Err(format!("entry {} has two blocks", block.dump_id));
        }
    }
    let mut with_block = 0;
    for entry in &contents.entries {
        let id = entry.dump_id;
        match (entry.offset, blocks.get(&id)) {
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

/// The blocks by their entries, where these say they are, in an archive of `length` bytes: they follow each other from the end
/// of the table of contents to the end of the archive.
fn placed(contents: &Contents, length: u64) -> Result<HashMap<i32, Block>, String> {
    check_ids(contents)?;
    let mut blocks = Vec::new();
    for entry in &contents.entries {
        let dump_id = entry.dump_id;
        let kind = if entry.description.as_deref() == Some(b"BLOBS") {
            BlockKind::LargeObjects
        } else {
            BlockKind::Data
        };
        match entry.offset {
            Offset::NoData(_) => {}
            Offset::At(position) => blocks.push(Block { kind, dump_id, position, bytes: 0 }),
            Offset::Unknown(_) => {
                return Err(format!("it is not written down where the block of entry {dump_id} is"));
            }
        }
    }
    blocks.sort_by_key(|block| block.position);
    if blocks.first().map_or(length, |block| block.position) != contents.end {
        return Err("its blocks are not where its table of contents ends".to_owned());
    }
    let ends: Vec<u64> =
        blocks.iter().skip(1).map(|block| block.position).chain(std::iter::once(length)).collect();
    for (block, end) in blocks.iter_mut().zip(ends) {
        block.bytes = end.saturating_sub(block.position);
        if block.bytes < SHORTEST_BLOCK {
            return Err(format!("there is no room for the block of entry {}", block.dump_id));
        }
    }
    Ok(blocks.into_iter().map(|block| (block.dump_id, block)).collect())
}

fn check_ids(contents: &Contents) -> Result<(), String> {
    let mut ids = HashSet::new();
    match contents.entries.iter().find(|entry| entry.dump_id <= 0 || !ids.insert(entry.dump_id)) {
        Some(entry) => Err(format!("there cannot be an entry {}, or not twice", entry.dump_id)),
        None => Ok(()),
    }
}
