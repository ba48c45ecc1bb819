//! `backup.json`: what a backup's prefix says about itself, from which its record can be rebuilt.

use serde::{Deserialize, Serialize};

use crate::{application::ApplicationSpec, backup::Backup, plan::PlanSpec};

/// Name of the document within a backup's prefix.
pub const FILE_NAME: &str = "backup.json";

/// The value of `format` in every such document.
pub const FORMAT: &str = "holdfast-backup";

/// The version of the document that this code writes; it reads this one only.
pub const VERSION: u32 = 1;

/// A complete description of one backup, written before the backup counts as succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDocument {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The Holdfast that wrote it.
    pub written_by: String,
    /// The backup as its record has it once it has succeeded, with its label at the time.
    pub backup: Backup,
    /// The application as it was registered at the time.
    pub application: ApplicationSpec,
    /// The plan it had at the time.
    pub plan: PlanSpec,
}

/// Why a document of the bucket cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not of this shape.
    #[error("not a document of Holdfast's")]
    Malformed(#[from] serde_json::Error),
    /// JSON of another kind or version.
    #[error("of format {format:?} version {version}, which this version of Holdfast does not read")]
    Foreign {
        /// The format it names.
        format: String,
        /// The version it names.
        version: u32,
    },
}

impl BackupDocument {
    /// The document of `backup`.
    pub fn new(backup: Backup, application: ApplicationSpec, plan: PlanSpec) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            written_by: concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned(),
            backup,
            application,
            plan,
        }
    }

    /// The document as it is stored: indented, since people read it too.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Reads a stored document.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Unreadable> {
        check_head(bytes, FORMAT, VERSION)?;
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Refuses a document that names another format or version than these.
pub(crate) fn check_head(bytes: &[u8], expected: &str, readable: u32) -> Result<(), Unreadable> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let Head { format, version } = serde_json::from_slice(bytes)?;
    if (format.as_str(), version) == (expected, readable) {
        Ok(())
    } else {
        Err(Unreadable::Foreign { format, version })
    }
}
