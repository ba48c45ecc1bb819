//! A picture as a file: there whole, or not at all.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// Writes `text` to `path`. A file that is there stays as it is until the new one is complete.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    replace(path, text).map_err(|error| {
        Failure::new(format!("{} cannot be written: {error}", path.display()))
            .fix("name a file in a folder that is there and that you may write to")
    })
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Only a file can be replaced: a pipe or a terminal is written to.
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return fs::write(path, text);
    }
    let partial = partial(path)?;
    let written = fs::File::create(&partial)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // What was begun is of no use to anyone; if it is not there, so much the better.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Where the file grows: beside its place, so that moving it there is one step.
fn partial(path: &Path) -> io::Result<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", std::process::id()));
    Ok(path.with_file_name(partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("year.svg");
        write(&path, "old, and longer").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["year.svg"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = write(&folder.path().join("no/year.svg"), "x").unwrap_err().to_string();
        assert!(
            refusal.contains("no/year.svg cannot be written") && refusal.contains("what to do"),
            "{refusal}"
        );
    }

    #[test]
    fn a_folder_in_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("year.svg");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, "x").is_err());
        assert!(path.is_dir());
        assert_eq!(names(folder.path()), ["year.svg"]);
    }

    #[test]
    fn something_that_is_no_file_is_written_to() {
        write(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
