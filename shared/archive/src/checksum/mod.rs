//! Checksums: S3's CRC64NVME for uploads, SHA-256 for the files of an archive, sums of SHA-256 for the rows of tables.

mod crc64nvme;
mod multiset;
mod sha256;

pub use crc64nvme::{Crc64Nvme, Crc64NvmeHasher};
pub use multiset::{InvalidMultisetSum, MultisetHasher, MultisetSum};
pub use sha256::{Sha256, Sha256Hasher};

/// A checksum that could not be read from text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// The text is not the base64 of eight bytes.
    #[error("{0:?} is not a CRC64NVME checksum: expected eight bytes in base64, such as \"rosUhgp5mIg=\"")]
    Crc64Nvme(String),
    /// The text is not 64 lower-case hexadecimal digits.
    #[error("{0:?} is not a SHA-256 checksum: expected 64 lower-case hexadecimal digits")]
    Sha256(String),
}
