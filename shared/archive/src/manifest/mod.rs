//! The manifest of contents: JSON Lines, a header and then a line for each object.
//!
//! It is the last member of the tar, and says of each file what a tar cannot: the key, the headers and
//! metadata to restore, the SHA-256 of its bytes and where they lie.

//! A second copy stands beside the tar, in frames of Zstandard that can be read one by one ([`ManifestFrames`],
//! [`ManifestIndex`]), so that one file is found without reading the tar.

mod frames;
mod index;
mod line;
mod reader;

pub use frames::{ManifestEnd, ManifestFrames, unpack};
pub use index::{Frame, INDEX_TAIL_BYTES, ManifestIndex};
pub use line::{
    FORMAT, ManifestCounts, ManifestHeader, ManifestLine, ManifestSource, SkippedObject, StoredObject,
    VERSION,
};
pub use reader::{ManifestLines, parse_lines, read};

/// A manifest that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Lines could not be compressed, or not be read back.
    #[error("a frame of the manifest could not be compressed or unpacked")]
    Frame(#[source] std::io::Error),
    /// There is no index at the end of the compressed manifest.
    #[error("the compressed manifest has no index at its end: it is cut off or of another program")]
    NoIndex,
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
