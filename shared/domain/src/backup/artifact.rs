//! What a backup wrote for one service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::ServiceName;

/// What a backup wrote for one service: one object, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    /// The service it was written for.
    pub service: ServiceName,
    /// The object, as the bucket reported it after the upload.
    pub object: StoredObject,
    /// What is inside.
    pub contents: Contents,
    /// The point in time of its data.
    pub taken_at: DateTime<Utc>,
    /// How long it took, from connecting to the object read back, in milliseconds.
    pub milliseconds: u64,
}

/// An object as the bucket reported it after the upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredObject {
    /// Its key in the backup bucket.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// CRC64NVME of the whole object, base64 of the big-endian value, as S3 gives it.
    pub crc64nvme: String,
    /// Its entity tag.
    pub etag: String,
    /// Its version, where the bucket is versioned.
    pub version_id: Option<String>,
    /// `STANDARD_IA`.
    pub storage_class: String,
    /// How it is encrypted at rest.
    pub encryption: Encryption,
}

/// How an object is encrypted at rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Encryption {
    /// `aws:kms`.
    pub algorithm: String,
    /// ARN of the key.
    pub key_arn: String,
    /// Whether the bucket's own data key saves calls to KMS.
    pub bucket_key: bool,
}

/// What is inside an artifact, and which tools read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum Contents {
    /// A custom-format archive of `pg_dump`, for `pg_restore` of the same major version.
    PostgresCustom {
        /// Name of the database.
        database: String,
        /// The server's version, such as `15.18`.
        server_version: String,
        /// What `pg_dump --version` said.
        pg_dump_version: String,
        /// Tables whose rows are in it. Records of before it was counted do not say; `database.rows.jsonl` names each.
        #[serde(default)]
        tables: Option<u64>,
        /// Rows of all these tables together, as the server counted them.
        #[serde(default)]
        rows: Option<u64>,
    },
    /// SQL as `mariadb-dump` or `mysqldump` writes it, in zstd frames, for the `mariadb` or `mysql` client.
    MysqlSql {
        /// Name of the database. The SQL does not name it, so it goes into whichever database is chosen.
        database: String,
        /// The server's version, such as `10.11.19-MariaDB` or `8.0.44`.
        server_version: String,
        /// What the dump program's `--version` said.
        dump_version: String,
        /// Tables of engines without transactions (`MyISAM`, `Aria`, …), at most [`Contents::OUTSIDE_SHOWN`]: each was read as
        /// it was when its turn came, and not at the moment of the snapshot.
        outside_snapshot: Vec<String>,
        /// How many tables were read outside the snapshot.
        outside_snapshot_count: u64,
        /// Tables whose rows are in it, where they were counted; `database.rows.jsonl` names each.
        #[serde(default)]
        tables: Option<u64>,
        /// Rows of all these tables together.
        #[serde(default)]
        rows: Option<u64>,
    },
    /// A pax tar whose last member is `MANIFEST.jsonl`.
    MediaTar {
        /// The bucket the files came from.
        bucket: String,
        /// The prefix their names are relative to.
        prefix: String,
        /// Files in the archive.
        files: u64,
        /// Bytes of all files.
        bytes: u64,
        /// Files that were listed and are not in the archive, at most [`Contents::SKIPPED_SHOWN`]; the manifest names all.
        skipped: Vec<Skipped>,
        /// How many files were listed and are not in the archive.
        skipped_count: u64,
    },
}

impl Contents {
    /// How many skipped files a record names; the manifest in the archive names all of them.
    /// Few enough that a backup of many services stays within the 400 KB of an item, however long keys and reasons are.
    pub const SKIPPED_SHOWN: usize = 5;

    /// How many tables that were read outside the snapshot a record names.
    pub const OUTSIDE_SHOWN: usize = 5;

    /// The name of the object that stands beside a [`Contents::MediaTar`] and holds its manifest, compressed.
    pub const MANIFEST_FILE_NAME: &str = "media.manifest.jsonl.zst";

    /// How many files were listed and are not in it.
    pub fn skipped(&self) -> u64 {
        match self {
            Self::PostgresCustom { .. } | Self::MysqlSql { .. } => 0,
            Self::MediaTar { skipped_count, .. } => *skipped_count,
        }
    }

    /// The name a download of it is saved under, such as `database.dump`.
    pub fn file_name(&self) -> &'static str {
        match self {
            Self::PostgresCustom { .. } => "database.dump",
            Self::MysqlSql { .. } => "database.sql.zst",
            Self::MediaTar { .. } => "media.tar",
        }
    }
}

/// A file that was listed and is not in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// Its key in its bucket.
    pub key: String,
    /// Why, in words.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_before_rows_were_counted_are_read() {
        let old = r#"{"format":"postgres_custom","database":"shop","server_version":"15.18","pg_dump_version":"15.18"}"#;
        let contents: Contents = serde_json::from_str(old).unwrap();
        assert!(
            matches!(contents, Contents::PostgresCustom { tables: None, rows: None, .. }),
            "{contents:?}"
        );
    }
}
