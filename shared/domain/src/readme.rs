//! `README.txt`: what a backup's prefix says to somebody who has never heard of Holdfast.

use std::fmt::Write as _;

use chrono::SecondsFormat;

use crate::backup::{Artifact, Backup, Contents};

/// Name of the document within a backup's prefix.
pub const FILE_NAME: &str = "README.txt";

/// Its media type.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// How to restore any backup with stock tools.
const GUIDE: &str = include_str!("../../../RESTORING.md");

/// What the guide says for the prefix of a backup.
const ANY_PREFIX: &str = "applications/APPLICATION/BACKUP/";

/// The document of `backup`, whose artifacts are all stored: a list of them, and below it how to restore them, with the
/// backup's own prefix in the commands.
pub fn of(backup: &Backup) -> String {
    let prefix = backup.prefix();
    let title = format!("Backup {} of {}", backup.id, backup.application);
    let mut text = format!("{title}\n{}\n\n", "=".repeat(title.chars().count()));
    if let Some(taken_at) = backup.taken_at {
        let _ = writeln!(text, "Its data are of {}.", taken_at.to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    let _ = writeln!(text, "Its objects begin with {prefix}, and are described by backup.json.\n");
    for artifact in &backup.artifacts {
        let _ = writeln!(text, "{}", item(artifact, &prefix));
    }
    let _ = write!(text, "\n\n{}", GUIDE.replace(ANY_PREFIX, &prefix));
    text
}

fn item(artifact: &Artifact, prefix: &str) -> String {
    let object = &artifact.object;
    let name = object.key.strip_prefix(prefix).unwrap_or(&object.key);
    let contents = match &artifact.contents {
        Contents::PostgresCustom { database, server_version, .. } => {
            format!("the database {database:?} of PostgreSQL {server_version}")
        }
        Contents::MysqlSql { database, server_version, .. } => {
            let family = if server_version.to_ascii_lowercase().contains("mariadb") { "" } else { "MySQL " };
            format!("the database {database:?} of {family}{server_version}")
        }
        Contents::MediaTar { bucket, prefix, files, .. } => {
            format!("{files} {} of s3://{bucket}/{prefix}", if *files == 1 { "file" } else { "files" })
        }
    };
    format!("- {name}: {contents}; {} bytes, CRC64NVME {}", object.size, object.crc64nvme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backup::{Encryption, StoredObject},
        id::ServiceName,
    };

    #[test]
    fn it_names_what_there_is_and_where() {
        let at = "2026-11-24T09:42:57.5Z".parse().unwrap();
        let service: ServiceName = "SHOP".parse().unwrap();
        let id = "01a20cef-dfc8-7129-95e3-2265cf26a470".parse().unwrap();
        let mut backup =
            Backup::queued(id, "shop".parse().unwrap(), vec![service.clone()], String::new(), at);
        backup.taken_at = Some(at);
        backup.artifacts.push(Artifact {
            service,
            object: StoredObject {
                key: format!("{}SHOP/database.sql.zst", backup.prefix()),
                size: 1234,
                crc64nvme: "3Scn4F3vbGo=".to_owned(),
                etag: String::new(),
                version_id: None,
                storage_class: "STANDARD_IA".to_owned(),
                encryption: Encryption {
                    algorithm: "aws:kms".to_owned(),
                    key_arn: String::new(),
                    bucket_key: true,
                },
            },
            contents: Contents::MysqlSql {
                database: "shop".to_owned(),
                server_version: "8.0.44".to_owned(),
                dump_version: String::new(),
                outside_snapshot: Vec::new(),
                outside_snapshot_count: 0,
                tables: None,
                rows: None,
            },
            taken_at: at,
            milliseconds: 1,
        });
        let text = of(&backup);
        let prefix = "applications/shop/01a20cef-dfc8-7129-95e3-2265cf26a470/";
        for words in [
            "Its data are of 2026-11-24T09:42:57Z.",
            "- SHOP/database.sql.zst: the database \"shop\" of MySQL 8.0.44; 1234 bytes, CRC64NVME 3Scn4F3vbGo=",
            &format!("aws s3 cp --recursive s3://BUCKET/{prefix} backup\n"),
        ] {
            assert!(text.contains(words), "{words}");
        }
        assert!(!text.contains(ANY_PREFIX), "the guide's own words for it");
    }
}
