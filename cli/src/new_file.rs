//! Whether a file can come into being, and where.

use std::path::Path;

use crate::failure::Failure;

/// Fails unless there can be a new file `target`, as far as can be told without making one.
pub(crate) fn check(target: &Path, overwrite: bool) -> Result<(), Failure> {
    if target.is_dir() || target.file_name().is_none() {
        return Err(Failure::usage(format!("{} is a folder", target.display())).fix("name a file in it"));
    }
    if target.exists() && !overwrite {
        return Err(Failure::new(format!("{} is there already", target.display()))
            .fix("choose another name, or replace it with --overwrite"));
    }
    let folder = folder_of(target);
    if !folder.is_dir() {
        return Err(Failure::new(format!("{} is no folder", folder.display())).fix("make it first"));
    }
    Ok(())
}

/// The folder that `target` is in, or is to be in.
pub(crate) fn folder_of(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
