//! Where something was written, for reports.

use std::{fmt, path::PathBuf};

use holdfast_domain::backup::StoredObject;
use serde::Serialize;

use crate::address::Address;

/// A file, or an object as its bucket describes it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Place {
    /// A file.
    File {
        /// Its path.
        file: PathBuf,
    },
    /// An object.
    Object {
        /// Its address.
        object: String,
        /// Its version, in a bucket that keeps versions.
        version_id: Option<String>,
        /// Its storage class.
        storage_class: String,
        /// How it is encrypted: `AES256` or `aws:kms`; empty where the storage does not say.
        encryption: String,
    },
}

impl Place {
    /// `object`, which stands at `address`.
    pub(crate) fn of_object(address: &Address, object: StoredObject) -> Self {
        Self::Object {
            object: address.to_string(),
            version_id: object.version_id,
            storage_class: object.storage_class,
            encryption: object.encryption.algorithm,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file } => file.display().fmt(f),
            Self::Object { object, .. } => f.write_str(object),
        }
    }
}
