//! Files that exist in memory only, for a child process to read.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};

/// A file that only the child sees whose standard input it is: what is secret. Nothing of it is on a disk, in an
/// environment or on a command line, and no other child inherits it.
pub(super) struct SecretFile(File);

impl SecretFile {
    /// Where the child finds it. libpq insists on a regular file without access for others, which this is.
    pub(super) const PATH: &'static str = "/proc/self/fd/0";

    pub(super) fn new(contents: &[u8]) -> io::Result<Self> {
        create("holdfast-passfile", contents, MemfdFlags::CLOEXEC).map(Self)
    }

    /// What to start the child with.
    pub(super) fn into_stdin(self) -> std::process::Stdio {
        OwnedFd::from(self.0).into()
    }
}

/// A file that every child started meanwhile inherits: nothing secret.
pub(super) struct InheritedFile(File);

impl InheritedFile {
    pub(super) fn new(contents: &[u8]) -> io::Result<Self> {
        create("holdfast-inherited", contents, MemfdFlags::empty()).map(Self)
    }

    /// Where the child finds it.
    pub(super) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

fn create(name: &str, contents: &[u8], flags: MemfdFlags) -> io::Result<File> {
    let file = memfd_create(name, flags)?;
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    let mut file = File::from(file);
    file.write_all(contents)?;
    Ok(file)
}
