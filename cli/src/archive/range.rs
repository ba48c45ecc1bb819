//! A range of one version of an object, read into a file.

use std::{path::Path, time::Duration};

use futures::StreamExt as _;
use holdfast_archive::checksum::{Crc64Nvme, Crc64NvmeHasher};
use holdfast_backup::ports::{MediaSource, PartCopy, StorageError};
use tokio::{
    fs::File,
    io::{AsyncWriteExt as _, BufWriter},
};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 1024 * 1024;

/// Attempts in a row that may bring nothing before it gives up.
const STALLS: u32 = 4;

/// The pause before a broken range is gone on with; it doubles with each attempt that brought nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads what `copy` names into the new file `path`; returns its checksum. Where the reading breaks off it goes on from
/// there, in the same version.
pub(super) async fn read(
    media: &dyn MediaSource,
    copy: &PartCopy,
    path: &Path,
) -> Result<Crc64Nvme, StorageError> {
    let cannot = |error: std::io::Error| StorageError::Rejected(format!("{}: {error}", path.display()));
    let mut file = BufWriter::with_capacity(WRITE_BYTES, File::create(path).await.map_err(cannot)?);
    let (mut hasher, mut done, mut stalls) = (Crc64NvmeHasher::new(), 0, 0);
    while done < copy.bytes {
        let before = done;
        let (offset, left) = (copy.offset + done, copy.bytes - done);
        let broken = match media.open(&copy.bucket, &copy.key, Some(&copy.etag), offset, Some(left)).await {
            Ok(mut opened) => loop {
                match opened.body.next().await {
                    Some(Ok(bytes)) => {
                        file.write_all(&bytes).await.map_err(cannot)?;
                        hasher.update(&bytes);
                        done += bytes.len() as u64;
                    }
                    Some(Err(error)) => break error,
                    None if done == copy.bytes => break StorageError::Unavailable(String::new()),
                    None => {
                        break StorageError::Unavailable(format!(
                            "object {} in bucket {} ended early",
                            copy.key, copy.bucket
                        ));
                    }
                }
            },
            Err(error @ StorageError::Unavailable(_)) => error,
            Err(error) => return Err(error),
        };
        stalls = if done > before { 0 } else { stalls + 1 };
        if stalls > STALLS {
            return Err(broken);
        }
        if done < copy.bytes {
            tokio::time::sleep(PAUSE * 2_u32.pow(stalls)).await;
        }
    }
    file.flush().await.map_err(cannot)?;
    Ok(hasher.finish())
}
