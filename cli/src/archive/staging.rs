//! A folder in which an archive comes into being before it and its manifest get their names.
//!
//! Parts come in any order, and where one begins is known only when all before it are there: each waits in a file of its
//! own. At last they are put together, and every byte is compared by its checksum while it is read back for that. What is in
//! the folder goes with it, however this process ends well enough to clean up.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    ops::Range,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_archive::{
    checksum::{Crc64Nvme, Crc64NvmeHasher},
    multipart::Segment,
};
use holdfast_backup::ports::{
    self, ArtifactStore, MediaSource, OpenUpload, PartCopy, StorageError, StoredPart,
};
use holdfast_domain::backup::{Encryption, StoredObject};
use secrecy::SecretString;
use tempfile::{TempDir, TempPath};

use super::range;
use crate::{
    failure::Failure,
    interrupts::Interrupts,
    new_file::{self, folder_of},
};

/// Bytes that are read at once when parts are put together.
const READ_BYTES: usize = 1024 * 1024;

/// A store of files that have no names yet. Keys are the paths they will have.
pub(super) struct Staging {
    folder: TempDir,
    media: Arc<dyn MediaSource>,
    interrupts: Interrupts,
    uploads: AtomicU32,
    whole: Mutex<BTreeMap<String, StoredObject>>,
}

impl Staging {
    /// A folder beside `target`, for its owner alone. What is copied is read from `media`.
    pub(super) fn beside(
        target: &Path,
        media: Arc<dyn MediaSource>,
        interrupts: Interrupts,
    ) -> Result<Self, Failure> {
        let folder =
            tempfile::Builder::new().prefix(".holdfast-").suffix(".parts").tempdir_in(folder_of(target));
        let folder = folder
            .map_err(|error| Failure::new(format!("{} cannot be written: {error}", target.display())))?;
        Ok(Self { folder, media, interrupts, uploads: AtomicU32::new(0), whole: Mutex::default() })
    }

    /// Gives the files of `keys` their names, the last of which is the one that counts. Either all get theirs, or none.
    pub(super) fn keep(&self, keys: &[&str], overwrite: bool) -> Result<(), Failure> {
        let mut kept: Vec<&Path> = Vec::new();
        for key in keys {
            let target = Path::new(*key);
            let named = self.name(target, overwrite);
            if let Err(failure) = named {
                for path in kept {
                    // What cannot be removed is whole, and only superfluous.
                    let _ = fs::remove_file(path);
                }
                return Err(failure);
            }
            kept.push(target);
        }
        Ok(())
    }

    fn name(&self, target: &Path, overwrite: bool) -> Result<(), Failure> {
        let cannot =
            |error: io::Error| Failure::new(format!("{} cannot be written: {error}", target.display()));
        new_file::check(target, overwrite)?;
        let path = self.path_of(&target.to_string_lossy());
        File::open(&path).and_then(|file| file.sync_all()).map_err(cannot)?;
        let path = TempPath::try_from_path(path).map_err(cannot)?;
        let named = if overwrite { path.persist(target) } else { path.persist_noclobber(target) };
        named.map_err(|error| cannot(error.error))?;
        // The name is on the disk when the folder is. Not every file system does that; the file is there all the same.
        let _ = File::open(folder_of(target)).and_then(|folder| folder.sync_all());
        Ok(())
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, StoredObject>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the file waits that is to be `key`.
    fn path_of(&self, key: &str) -> PathBuf {
        self.folder.path().join(format!("{:016x}.whole", Crc64Nvme::of(key.as_bytes()).value()))
    }

    fn part_of(&self, upload: &OpenUpload, number: u32) -> PathBuf {
        self.folder.path().join(format!("{}-{number:05}.part", upload.upload_id))
    }

    fn add(&self, key: &str, size: u64, crc64nvme: Crc64Nvme) {
        let object = StoredObject {
            key: key.to_owned(),
            size,
            crc64nvme: crc64nvme.to_string(),
            etag: String::new(),
            version_id: None,
            storage_class: String::new(),
            encryption: Encryption { algorithm: String::new(), key_arn: String::new(), bucket_key: false },
        };
        self.objects().insert(key.to_owned(), object);
    }
}

#[async_trait]
impl ArtifactStore for Staging {
    async fn begin(&self, key: &str, _content_type: &str) -> Result<OpenUpload, StorageError> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        Ok(OpenUpload { key: key.to_owned(), upload_id: number.to_string() })
    }

    async fn put_part(&self, upload: &OpenUpload, segment: Segment) -> Result<StoredPart, StorageError> {
        let Segment { number, bytes, crc64nvme } = segment;
        let (path, size) = (self.part_of(upload, number), bytes.len() as u64);
        blocking(path, move |path| File::create(path)?.write_all(&bytes)).await?;
        Ok(StoredPart { number, size, etag: String::new(), crc64nvme })
    }

    /// Reads the range: here is nobody else who could copy it.
    async fn copy_part(&self, upload: &OpenUpload, copy: &PartCopy) -> Result<StoredPart, StorageError> {
        let path = self.part_of(upload, copy.number);
        let crc64nvme = range::read(self.media.as_ref(), copy, &path).await?;
        Ok(StoredPart { number: copy.number, size: copy.bytes, etag: String::new(), crc64nvme })
    }

    async fn complete(
        &self,
        upload: &OpenUpload,
        parts: &[StoredPart],
        whole: Crc64Nvme,
    ) -> Result<(), StorageError> {
        let paths: Vec<_> = parts.iter().map(|part| self.part_of(upload, part.number)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let mut joining =
            std::pin::pin!(blocking(self.path_of(&upload.key), move |path| join(&paths, path, &stopping)));
        let mut interrupts = self.interrupts.clone();
        let joined = tokio::select! {
            joined = &mut joining => joined,
            () = interrupts.come() => {
                stop.store(true, Ordering::Relaxed);
                joining.await
            }
        };
        let (size, found) = joined?;
        if (size, found) != (parts.iter().map(|part| part.size).sum(), whole) {
            return Err(StorageError::Rejected(format!(
                "{}: {size} bytes with the CRC64NVME {found} were read back, and not what was written; check the disk",
                upload.key
            )));
        }
        self.add(&upload.key, size, found);
        Ok(())
    }

    /// What is left of it goes with the folder.
    async fn abort(&self, _upload: &OpenUpload) -> Result<(), StorageError> {
        Ok(())
    }

    async fn open_uploads(&self, _prefix: &str) -> Result<Vec<OpenUpload>, StorageError> {
        Ok(Vec::new())
    }

    async fn put(&self, key: &str, _content_type: &str, bytes: Bytes) -> Result<(), StorageError> {
        let (size, crc64nvme) = (bytes.len() as u64, Crc64Nvme::of(&bytes));
        blocking(self.path_of(key), move |path| create(path)?.write_all(&bytes)).await?;
        self.add(key, size, crc64nvme);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StorageError> {
        match self.describe(key).await? {
            Some(object) => self.read(&object, 0..object.size).await.map(Some),
            None => Ok(None),
        }
    }

    async fn read(&self, object: &StoredObject, range: Range<u64>) -> Result<Bytes, StorageError> {
        blocking(self.path_of(&object.key), move |path| {
            let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            File::open(path)?.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn describe(&self, key: &str) -> Result<Option<StoredObject>, StorageError> {
        Ok(self.objects().get(key).cloned())
    }

    async fn keys(&self, _prefix: &str) -> Result<Vec<String>, StorageError> {
        Err(not_of_files())
    }

    async fn delete(&self, _keys: &[String]) -> Result<(), StorageError> {
        Err(not_of_files())
    }

    async fn bring_back(&self, _prefix: &str) -> Result<(), StorageError> {
        Err(not_of_files())
    }

    async fn purge(&self, _prefix: &str) -> Result<(), StorageError> {
        Err(not_of_files())
    }

    async fn download_url(
        &self,
        _object: &StoredObject,
        _file_name: &str,
        _valid: Duration,
    ) -> Result<SecretString, StorageError> {
        Err(not_of_files())
    }

    async fn range_url(
        &self,
        _object: &StoredObject,
        _range: Range<u64>,
        _valid: Duration,
    ) -> Result<SecretString, StorageError> {
        Err(not_of_files())
    }

    /// Nothing is asked of files.
    fn check_protection(&self, _object: &StoredObject) -> Result<(), StorageError> {
        Ok(())
    }

    fn beside(&self, key: &str, file_name: &str) -> String {
        ports::named_after(key, file_name)
    }
}

fn not_of_files() -> StorageError {
    StorageError::Rejected("to do with files what is done with backups; please report this".to_owned())
}

/// Does `work` with the file at `path` where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let name = path.display().to_string();
    let worked = tokio::task::spawn_blocking(move || work(&path)).await;
    worked
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| StorageError::Rejected(format!("{name}: {error}")))
}

/// A new file that only its owner can read.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Puts `parts` together as `path`, and removes each when it has been; returns the bytes and their checksum.
fn join(parts: &[PathBuf], path: &Path, stop: &AtomicBool) -> io::Result<(u64, Crc64Nvme)> {
    let (mut whole, mut hasher, mut size) = (create(path)?, Crc64NvmeHasher::new(), 0);
    let mut buffer = vec![0; READ_BYTES];
    for part in parts {
        let mut from = File::open(part)?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let read = from.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            whole.write_all(&buffer[..read])?;
            hasher.update(&buffer[..read]);
            size += read as u64;
        }
        fs::remove_file(part)?;
    }
    Ok((size, hasher.finish()))
}

#[cfg(test)]
mod tests;
