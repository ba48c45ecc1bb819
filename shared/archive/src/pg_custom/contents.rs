//! Header and table of contents, apart from the data.

use std::io::Read;

use super::{
    entry::Entry,
    fields::{Malformed, write_int},
    header::Header,
    reader::{ArchiveReader, Event},
};

/// What is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// The longest that a table of contents may be, in bytes: a damaged length must not fill the memory. One of a million
/// objects has about as much.
const LONGEST: u64 = 1 << 30;

/// What an archive is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What stands before everything.
    pub header: Header,
    /// The table of contents, in its order.
    pub entries: Vec<Entry>,
    /// Where the first block is, in bytes from the start of the archive.
    pub end: u64,
}

/// Why an archive was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is none, or none that is read here.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its bytes could not be had.
    #[error("the archive cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
}

impl Contents {
    /// Reads them from the start of an archive. Of what follows, some may be read too.
    pub fn read(mut from: impl Read) -> Result<Self, ReadError> {
        let (mut archive, mut buffer) = (ArchiveReader::new(), vec![0; READ_BYTES]);
        let (mut header, mut entries, mut count) = (None, Vec::new(), None);
        let mut read = 0;
        loop {
            while count != Some(entries.len()) {
                match archive.next_event()? {
                    Some((Event::Header(read), _)) => header = Some(read),
                    Some((Event::Entries(read), _)) => count = Some(read),
                    Some((Event::Entry { entry, .. }, _)) => entries.push(*entry),
                    Some(_) => return Err(Malformed::Invalid("a block before its time".to_owned()).into()),
                    None => break,
                }
            }
            if count == Some(entries.len())
                && let Some(header) = header
            {
                return Ok(Self { header, entries, end: archive.position() });
            }
            if read > LONGEST {
                return Err(Malformed::Invalid("its table of contents has no end".to_owned()).into());
            }
            match from.read(&mut buffer)? {
                0 => return Err(Malformed::Incomplete.into()),
                some => {
                    archive.push(&buffer[..some]);
                    read += some as u64;
                }
            }
        }
    }

    /// The bytes that they are read from.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.header.write(&mut out);
        // There are as many as were read, and a count is an integer.
        write_int(&mut out, i32::try_from(self.entries.len()).unwrap_or(i32::MAX));
        for entry in &self.entries {
            entry.write(&mut out);
        }
        out
    }
}
