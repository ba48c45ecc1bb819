//! The manifest of contents: JSON Lines, a header and then a line for each object.
//!
//! It is the last member of the tar, and says of each file what a tar cannot: the key, the headers and
//! metadata to restore, the SHA-256 of its bytes and where they lie.

mod buffer;
mod line;
mod reader;

pub use buffer::{ManifestBuffer, ManifestChunks};
pub use line::{
    FORMAT, ManifestCounts, ManifestHeader, ManifestLine, ManifestSource, SkippedObject, StoredObject,
    VERSION,
};
pub use reader::{ManifestLines, read};

/// A manifest that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The lines could not be compressed, or not be read back.
    #[error("the manifest's buffer in memory failed")]
    Buffer(#[source] std::io::Error),
    /// The lines read back are not as long as those written.
    #[error(
        "the manifest's buffer gave {actual} bytes back of {expected}: the archive is not complete, make it again"
    )]
    BufferLength {
        /// The length promised, in bytes.
        expected: u64,
        /// The length given back, in bytes.
        actual: u64,
    },
    /// A line could not be turned into JSON.
    #[error("a manifest line could not be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The source of the manifest failed.
    #[error("line {line} of the manifest could not be read")]
    Read {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// There is not even a header.
    #[error("the manifest is empty: the archive is not complete, fetch it again")]
    Empty,
    /// The first line is not the header of a media manifest.
    #[error("the first line is not the header of a media manifest: expected the format {FORMAT:?}")]
    NotAManifest,
    /// A later version wrote it.
    #[error(
        "the manifest has version {found}, and this program reads versions up to {VERSION}: use a newer Holdfast"
    )]
    Version {
        /// The manifest's version.
        found: u32,
    },
    /// A line is not what its version says.
    #[error("line {line} of the manifest is not valid")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The lines are not those that the header counts.
    #[error(
        "the manifest's header counts {expected:?}, but its lines add up to {actual:?}: it is cut off or was changed"
    )]
    Counts {
        /// What the header says.
        expected: ManifestCounts,
        /// What the lines say.
        actual: ManifestCounts,
    },
}
