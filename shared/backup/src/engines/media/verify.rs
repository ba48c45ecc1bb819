//! Reads a stored archive again, from its first byte to its last, in as many slices as that takes.

use std::{
    io::{self, BufReader, Read},
    sync::Arc,
    time::Duration,
};

use holdfast_archive::{
    checksum::{Crc64Nvme, Crc64NvmeHasher, Sha256, Sha256Hasher},
    manifest::{self, ManifestLine},
    tar::MANIFEST_NAME,
};
use holdfast_domain::backup::{Contents, StoredObject};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    error::SliceError,
    ports::{ArtifactStore, beside},
    stored_reader::StoredReader,
    verify::{compare, damaged, invalid, looked_at},
};

/// What is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// Bytes of a block of a tar.
const BLOCK: u64 = 512;

/// How far a slice came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verified {
    /// To the end: so many files, folders aside, are what they should be.
    All(u64),
    /// To where this text says, for the next slice to go on.
    Until(String),
}

/// Where a slice goes on: before the header of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The byte of the tar.
    at: u64,
    /// The checksum of all bytes before it.
    crc64nvme: Crc64Nvme,
    /// How many members are before it.
    members: u64,
    /// How many of them are files.
    files: u64,
}

/// Reads the tar `object`, from where an earlier slice has stopped if there is a `cursor`, for about `time`. Each member stands
/// where the manifest beside it says, and has the checksum that it says; the last one is that same manifest.
pub(crate) async fn verify(
    store: &Arc<dyn ArtifactStore>,
    object: &StoredObject,
    cursor: Option<&str>,
    time: Duration,
) -> Result<Verified, SliceError> {
    let beginning = Cursor { at: 0, crc64nvme: Crc64Nvme::EMPTY, members: 0, files: 0 };
    let from = cursor.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(beginning);
    let key = beside(&object.key, Contents::MANIFEST_FILE_NAME);
    let manifest =
        store.describe(&key).await?.ok_or_else(|| damaged(object, &format!("{key} is not there")))?;
    let (lines, lines_reading) = StoredReader::open(store, &manifest, 0);
    let (tar, tar_reading) = StoredReader::open(store, object, from.at);
    let until = Instant::now() + time;
    let (to, is_all) = looked_at(object, &[lines_reading, tar_reading], move || {
        look(lines, tar, from, || Instant::now() >= until)
    })
    .await?;
    if is_all {
        compare(object, to.crc64nvme)?;
        return Ok(Verified::All(to.files));
    }
    let text = serde_json::to_string(&to)
        .map_err(|error| SliceError::permanent("cursor_unwritable", error.to_string()))?;
    Ok(Verified::Until(text))
}

/// Compares the members of `tar` with the `lines` of its manifest, until all are compared or it `is_late`. Returns how far it
/// came, and whether that is all of it.
fn look(
    lines: StoredReader,
    tar: StoredReader,
    from: Cursor,
    mut is_late: impl FnMut() -> bool,
) -> io::Result<(Cursor, bool)> {
    let lines =
        Hashed { from: zstd::stream::read::Decoder::new(lines)?, hasher: Sha256Hasher::new(), bytes: 0 };
    let mut lines = BufReader::with_capacity(READ_BYTES, lines);
    let (_, manifest) = manifest::read(&mut lines).map_err(io::Error::other)?;
    let mut wanted = manifest.filter(|line| !matches!(line, Ok(ManifestLine::Skipped(_))));
    for _ in 0..from.members {
        wanted.next().transpose().map_err(io::Error::other)?;
    }
    let mut to = from;
    let mut archive = tar::Archive::new(tar);
    let mut last = None;
    let mut is_all = true;
    for member in archive.entries()? {
        let mut member = member?;
        if member.header().entry_type() == tar::EntryType::XGlobalHeader {
            continue;
        }
        if let Some(line) = wanted.next().transpose().map_err(io::Error::other)? {
            to.files += u64::from(matches!(line, ManifestLine::File(_)));
            to.members += 1;
            compare_member(&mut member, from.at, &line)?;
            if is_late() {
                is_all = false;
                break;
            }
        } else if last.is_none() && *member.path_bytes() == *MANIFEST_NAME.as_bytes() {
            last = Some(sums(&mut member)?);
        } else {
            let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            return Err(invalid(format!("{name:?} is in it, and not in its manifest")));
        }
    }
    let mut tar = archive.into_inner();
    if is_all {
        if let Some(line) = wanted.next().transpose().map_err(io::Error::other)? {
            return Err(invalid(format!("{:?} is in its manifest, and not in it", line.key())));
        }
        drop(wanted);
        let Hashed { hasher, bytes, .. } = lines.into_inner();
        if last.map(|sums| (sums.bytes, sums.sha256)) != Some((bytes, hasher.finish())) {
            return Err(invalid(format!("{MANIFEST_NAME} in it is not the manifest that is beside it")));
        }
        tar.drain()?;
    } else {
        // The next header begins with a block.
        let padding = tar.position().next_multiple_of(BLOCK) - tar.position();
        io::copy(&mut (&mut tar).take(padding), &mut io::sink())?;
    }
    to.crc64nvme = Crc64Nvme::combine(from.crc64nvme, tar.checksum(), tar.position() - from.at);
    to.at = tar.position();
    Ok((to, is_all))
}

/// Fails unless `member` is what `line` says. The tar is read from byte `at` on.
fn compare_member(member: &mut tar::Entry<'_, impl Read>, at: u64, line: &ManifestLine) -> io::Result<()> {
    let (ManifestLine::File(wanted) | ManifestLine::Directory(wanted)) = line else { return Ok(()) };
    let differs = |what: &str| invalid(format!("{:?} {what}", wanted.key));
    let name = member.path_bytes();
    if name.strip_suffix(b"/").unwrap_or(&name) != wanted.member.trim_end_matches('/').as_bytes() {
        let found = String::from_utf8_lossy(&name).into_owned();
        return Err(differs(&format!("is not where its manifest says: {found:?} is there")));
    }
    drop(name);
    if member.raw_file_position() + at != wanted.offset || member.size() != wanted.size {
        return Err(differs("is not at the bytes that its manifest says"));
    }
    let found = sums(member)?;
    let same = wanted.sha256.is_none_or(|sum| sum == found.sha256)
        && wanted.crc64nvme.is_none_or(|sum| sum == found.crc64nvme)
        && found.bytes == wanted.size;
    if same { Ok(()) } else { Err(differs("has other bytes than its manifest's checksum is of")) }
}

/// What was read, in sum.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    bytes: u64,
    sha256: Sha256,
    crc64nvme: Crc64Nvme,
}

fn sums(from: &mut impl Read) -> io::Result<Sums> {
    let (mut bytes, mut sha256, mut crc64nvme) = (0, Sha256Hasher::new(), Crc64NvmeHasher::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(Sums { bytes, sha256: sha256.finish(), crc64nvme: crc64nvme.finish() }),
            some => {
                bytes += some as u64;
                sha256.update(&buffer[..some]);
                crc64nvme.update(&buffer[..some]);
            }
        }
    }
}

/// Adds up what is read.
struct Hashed<R> {
    from: R,
    hasher: Sha256Hasher,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let some = self.from.read(into)?;
        self.hasher.update(&into[..some]);
        self.bytes += some as u64;
        Ok(some)
    }
}
