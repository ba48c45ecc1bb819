//! Files that a client program reads and that nobody needs afterwards.

use std::io::{self, Write as _};

use tempfile::NamedTempFile;

use crate::error::SliceError;

/// A file with these bytes, which only this user can read, and which is gone when it is dropped.
///
/// # Errors
/// `no_temporary_file`, transient: another worker has a folder of its own.
pub(super) fn temporary(bytes: &[u8]) -> Result<NamedTempFile, SliceError> {
    let written = || -> io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().prefix("holdfast-").tempfile()?;
        file.write_all(bytes)?;
        Ok(file)
    };
    written().map_err(|error| no_temporary_file(&error))
}

/// What it means that the folder for temporary files takes nothing.
pub(super) fn no_temporary_file(error: &io::Error) -> SliceError {
    SliceError::transient(
        "no_temporary_file",
        format!("the folder for temporary files cannot be written to: {error}; make room in it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_as_long_as_it_is_needed() {
        let file = temporary(b"bytes").unwrap();
        let path = file.path().to_owned();
        assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_full_folder_is_said_to_be_so() {
        let SliceError::Failed(failure) = no_temporary_file(&io::Error::from(io::ErrorKind::StorageFull))
        else {
            panic!()
        };
        assert_eq!((failure.code.as_str(), failure.transient), ("no_temporary_file", true));
        assert!(failure.message.ends_with("make room in it"), "{}", failure.message);
    }
}
