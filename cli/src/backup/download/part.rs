//! A file on its way: `NAME.part`, which becomes `NAME` only once it is whole.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};

use crate::failure::Failure;

/// What has arrived of a file, and its checksum so far.
pub(in crate::backup) struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    hasher: Crc64NvmeHasher,
}

impl Part {
    /// Opens the part of `target`, with what an earlier download left of it. Only one process at a time has it open.
    pub(in crate::backup) fn open(target: &Path) -> Result<Self, Failure> {
        let mut name = OsString::from(target);
        name.push(".part");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // A backup is as private as what it was made of.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(|error| broken(&path, "opened", &error))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(format!(
                    "{} is being downloaded by another process",
                    target.display()
                ))
                .fix("wait for it, or download to another folder with --to"));
            }
            // Some file systems know no locks; then it goes without.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let mut hasher = Crc64NvmeHasher::new();
        let length = checksum(&mut file, &mut hasher).map_err(|error| broken(&path, "read", &error))?;
        Ok(Self { file, path, length, hasher })
    }

    /// Bytes that have arrived.
    pub(in crate::backup) fn length(&self) -> u64 {
        self.length
    }

    /// Where they are.
    pub(in crate::backup) fn path(&self) -> &Path {
        &self.path
    }

    /// The checksum of what has arrived.
    pub(in crate::backup) fn checksum(&self) -> Crc64Nvme {
        self.hasher.finish()
    }

    /// Adds the next bytes.
    pub(in crate::backup) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| broken(&self.path, "written", &error))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what has arrived.
    pub(in crate::backup) fn restart(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(|error| broken(&self.path, "emptied", &error))?;
        self.hasher = Crc64NvmeHasher::new();
        self.length = 0;
        Ok(())
    }

    /// Removes it.
    pub(in crate::backup) fn discard(self) {
        // It is not wanted any more; if it cannot go, the next download looks at it again.
        let _ = fs::remove_file(&self.path);
    }

    /// Makes it the file `target`, safe on the disk. One that is there is replaced only if `overwrite`.
    pub(in crate::backup) fn finish(self, target: &Path, overwrite: bool) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| broken(&self.path, "written", &error))?;
        if !overwrite && target.symlink_metadata().is_ok() {
            return Err(exists(target));
        }
        fs::rename(&self.path, target).map_err(|error| broken(&self.path, "renamed", &error))
    }
}

/// The checksum and length of a file that is there.
pub(in crate::backup) fn measure(path: &Path) -> Result<Option<(u64, Crc64Nvme)>, Failure> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(broken(path, "read", &error)),
    };
    let mut hasher = Crc64NvmeHasher::new();
    let length = checksum(&mut file, &mut hasher).map_err(|error| broken(path, "read", &error))?;
    Ok(Some((length, hasher.finish())))
}

/// The file is there already and is another one.
pub(in crate::backup) fn exists(target: &Path) -> Failure {
    Failure::new(format!("{} is there already, and differs from the backup", target.display()))
        .fix("move it away, choose another folder with --to, or replace it with --overwrite")
}

fn checksum(file: &mut File, hasher: &mut Crc64NvmeHasher) -> io::Result<u64> {
    if !file.metadata()?.is_file() {
        return Ok(0);
    }
    file.rewind()?;
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn broken(path: &Path, verb: &str, error: &io::Error) -> Failure {
    let file = path.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Failure::new(format!("there is no space left for {file}; what has arrived is kept"))
                .fix("make room and run the same command to go on, or choose another folder with --to")
        }
        ErrorKind::FileTooLarge => Failure::new(format!("{file} is too large for its file system"))
            .fix("choose a folder on another file system with --to"),
        _ => Failure::new(format!("{file} cannot be {verb}: {error}")),
    }
}
