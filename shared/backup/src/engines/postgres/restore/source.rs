//! Where the bytes of an archive come from: a file, or an object in the bucket.

use std::{
    io::{self, Read},
    ops::Range,
};

use holdfast_archive::pg_custom::{Malformed, ReadError};

use super::{file::ArchiveFile, object::ArchiveObject};
use crate::{error::SliceError, ports::StorageError};

/// What an archive is in.
#[derive(Debug)]
pub(super) enum Source {
    File(ArchiveFile),
    Object(ArchiveObject),
}

impl Source {
    /// What people know it by.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(file) => file.path.display().to_string(),
            Self::Object(object) => object.object.key.clone(),
        }
    }

    /// How long it is, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::File(file) => file.bytes(),
            Self::Object(object) => object.object.size,
        }
    }

    /// A range of its bytes, to be read on a thread that may block. Others may read at the same time.
    pub(super) fn read(&self, range: Range<u64>) -> Box<dyn Read + Send> {
        match self {
            Self::File(file) => Box::new(file.read(range)),
            Self::Object(object) => Box::new(object.read(range)),
        }
    }

    /// It is not what it should be.
    pub(super) fn damaged(&self, why: &str) -> SliceError {
        let fix = match self {
            Self::File(_) => "download or copy it again",
            Self::Object(_) => "restore another backup",
        };
        SliceError::permanent("archive_damaged", format!("{} is damaged: {why}; {fix}", self.name()))
    }

    /// What it means that `what` of it could not be read.
    pub(super) fn not_read(&self, what: &str, error: io::Error) -> SliceError {
        match error.downcast::<StorageError>() {
            Ok(error) => error.into(),
            Err(error) if error.raw_os_error().is_some() => {
                let message = format!("{} cannot be read: {error}; name a file that can", self.name());
                SliceError::permanent("archive_unreadable", message)
            }
            Err(error) => self.damaged(&format!("{what}: {error}")),
        }
    }

    /// What it means that its table of contents was not understood.
    pub(super) fn not_understood(&self, error: ReadError) -> SliceError {
        match error {
            ReadError::Malformed(Malformed::Unsupported(unsupported)) => {
                let message = format!(
                    "{}: {unsupported}; restore it with the pg_restore of its own version",
                    self.name()
                );
                SliceError::permanent("archive_unsupported", message)
            }
            ReadError::Malformed(error) => self.damaged(&error.to_string()),
            ReadError::Unreadable(error) => self.not_read("its table of contents", error),
        }
    }
}
