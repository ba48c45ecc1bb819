//! What it costs to make a backup: requests, Lambda, Step Functions, KMS.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{money::NanoDollars, prices::Tariff};
use crate::backup::{Backup, Contents};

const MIB: u64 = 1024 * 1024;

/// Megabytes of the worker in the template.
const WORKER_MB: u64 = 1_769;

/// What the run of the retention function after a backup takes at most, in MB-milliseconds: 512 MB for a second.
const RETENTION_MB_MILLISECONDS: u64 = 512 * 1_000;

/// Invocations for a backup: two slices, databases and media, and the retention.
const INVOCATIONS: u64 = 3;

/// State transitions for a backup: the first state, for each of two slices the call and the choice, retention and the end.
const TRANSITIONS: u64 = 7;

/// Time of the worker where a backup is not there to be measured: 12.5 MiB a second, on the safe side of what
/// docs/benchmarks.md measured.
const MILLISECONDS_PER_MIB: u64 = 80;

/// Files a LIST request names at most.
const FILES_PER_LIST: u64 = 1_000;

/// The processors the functions run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Architecture {
    /// `x86_64`, the template's default.
    #[default]
    #[serde(rename = "x86_64")]
    X86,
    /// `arm64`.
    #[serde(rename = "arm64")]
    Arm,
}

/// What of a backup its cost depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of each object it writes, `backup.json` among them.
    pub objects: Vec<u64>,
    /// Files it reads from media buckets, taken to be in S3 Standard.
    pub files: u64,
    /// Time of the worker in milliseconds, over all its artifacts.
    pub milliseconds: u64,
    /// What the worker runs on.
    pub architecture: Architecture,
}

/// What it costs to make one backup, in billionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MakingCost {
    /// Requests to S3: files read, parts written, objects read back; and to KMS.
    pub requests_nano_dollars: NanoDollars,
    /// Lambda and Step Functions.
    pub compute_nano_dollars: NanoDollars,
}

impl Shape {
    /// A backup of so many bytes in one artifact, which takes as long as such a backup should at most.
    pub fn of_bytes(bytes: u64) -> Self {
        let milliseconds = u128::from(bytes) * u128::from(MILLISECONDS_PER_MIB) / u128::from(MIB);
        Self {
            objects: vec![bytes, 0],
            files: 0,
            milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            architecture: Architecture::default(),
        }
    }

    /// The shape of a backup that was made, with the time that was measured.
    pub fn of(backup: &Backup, architecture: Architecture) -> Self {
        let files = |contents: &Contents| match contents {
            Contents::MediaTar { files, .. } => *files,
            Contents::PostgresCustom { .. } | Contents::MysqlSql { .. } => 0,
        };
        Self {
            objects: backup.artifacts.iter().map(|artifact| artifact.object.size).chain([0]).collect(),
            files: backup.artifacts.iter().map(|artifact| files(&artifact.contents)).sum(),
            milliseconds: backup.artifacts.iter().map(|artifact| artifact.milliseconds).sum(),
            architecture,
        }
    }
}

/// The parts an upload of so many bytes has: 8 MiB each, 16 MiB from the 2,001st and 32 MiB from the 5,001st.
pub fn parts(bytes: u64) -> u64 {
    const FIRST: u64 = 2_000 * 8 * MIB;
    const SECOND: u64 = FIRST + 3_000 * 16 * MIB;
    let (before, rest, part) = if bytes <= FIRST {
        (0, bytes, 8 * MIB)
    } else if bytes <= SECOND {
        (2_000, bytes - FIRST, 16 * MIB)
    } else {
        (5_000, bytes - SECOND, 32 * MIB)
    };
    (before + rest.div_ceil(part)).max(1)
}

impl Tariff<'_> {
    /// What it costs to make a backup of that shape.
    pub fn making(&self, shape: &Shape) -> MakingCost {
        let prices = self.prices;
        // An upload is begun, written part by part and completed. The parts and the reading back of the small
        // backup.json cost no more than that.
        let puts: u64 = shape.objects.iter().map(|bytes| parts(*bytes) + 2).fold(0, u64::saturating_add);
        let objects = shape.objects.len() as u128;
        let requests = [
            prices.standard_ia_1000_puts.per(1_000, u128::from(puts)),
            prices.standard_ia_1000_gets.per(1_000, objects),
            prices.standard_1000_gets.per(1_000, u128::from(shape.files)),
            prices.standard_1000_puts.per(1_000, u128::from(shape.files.div_ceil(FILES_PER_LIST))),
            // The bucket key spares most of them: one for each object is the most.
            prices.kms_10000_requests.per(10_000, objects),
        ];
        let gb_seconds = match shape.architecture {
            Architecture::X86 => prices.lambda_x86_64_million_gb_seconds,
            Architecture::Arm => prices.lambda_arm64_million_gb_seconds,
        };
        let mb_milliseconds =
            u128::from(shape.milliseconds) * u128::from(WORKER_MB) + u128::from(RETENTION_MB_MILLISECONDS);
        let compute = [
            gb_seconds.per(1_000_000 * 1_024 * 1_000, mb_milliseconds),
            prices.lambda_million_requests.per(1_000_000, u128::from(INVOCATIONS)),
            prices.step_functions_1000_transitions.per(1_000, u128::from(TRANSITIONS)),
        ];
        MakingCost {
            requests_nano_dollars: requests.into_iter().sum(),
            compute_nano_dollars: compute.into_iter().sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backup::{Artifact, Encryption, StoredObject},
        cost::{Prices, Stored},
        region::Region,
    };
    use rstest::rstest;

    #[rstest]
    #[case(0, 1)]
    #[case(1, 1)]
    #[case(8 * MIB, 1)]
    #[case(8 * MIB + 1, 2)]
    #[case(16_000 * MIB, 2_000)]
    #[case(16_000 * MIB + 1, 2_001)]
    #[case(64_000 * MIB, 5_000)]
    #[case(64_000 * MIB + 33 * MIB, 5_002)]
    fn parts_grow_with_the_upload(#[case] bytes: u64, #[case] count: u64) {
        assert_eq!(parts(bytes), count);
    }

    #[test]
    fn a_gibibyte_and_its_requests() {
        let prices = Prices::bundled();
        let tariff = prices.tariff(&Region::new("eu-central-1")).unwrap();
        let cost = tariff.making(&Shape::of_bytes(1 << 30));
        // 128 parts, and begin, complete; backup.json: 133 PUTs. Two objects read back, two requests to KMS.
        assert_eq!(cost.requests_nano_dollars, NanoDollars(133 * 10_000 + 2 * 1_000 + 2 * 3_000));
        // 81.92 s of 1769 MB and 1 s of 512 MB are 142.02 GB-s; three invocations, seven transitions.
        assert_eq!(cost.compute_nano_dollars, NanoDollars(2_367_005 + 600 + 175_000));
    }

    #[test]
    fn files_of_a_media_bucket_are_read_one_by_one() {
        let prices = Prices::bundled();
        let tariff = prices.tariff(&Region::new("eu-central-1")).unwrap();
        let shape = |files| Shape { files, ..Shape::of_bytes(0) };
        let difference = tariff.making(&shape(1_000_000)).requests_nano_dollars.0
            - tariff.making(&shape(0)).requests_nano_dollars.0;
        assert_eq!(difference, 430_000_000 + 5_400_000);
    }

    #[test]
    fn a_backup_that_was_made_is_billed_for_what_it_wrote_read_and_took() {
        let at = "2026-04-06T01:00:00Z".parse().unwrap();
        let artifact = |service: &str, size, contents| Artifact {
            service: service.parse().unwrap(),
            object: StoredObject {
                key: String::new(),
                size,
                crc64nvme: String::new(),
                etag: String::new(),
                version_id: None,
                storage_class: "STANDARD_IA".to_owned(),
                encryption: Encryption {
                    algorithm: "aws:kms".to_owned(),
                    key_arn: String::new(),
                    bucket_key: true,
                },
            },
            contents,
            taken_at: at,
            milliseconds: 1_500,
        };
        let database = Contents::PostgresCustom {
            database: "shop".to_owned(),
            server_version: "15.18".to_owned(),
            pg_dump_version: "15.18".to_owned(),
            tables: Some(2),
            rows: Some(7),
        };
        let media = Contents::MediaTar {
            bucket: "shop-media".to_owned(),
            prefix: String::new(),
            files: 119,
            bytes: 900,
            skipped: Vec::new(),
            skipped_count: 0,
        };
        let id = crate::id::BackupId::new(at, [0; 10]);
        let mut backup = Backup::queued(id, "shop".parse().unwrap(), Vec::new(), "schedule".to_owned(), at);
        backup.artifacts = vec![artifact("DEFAULT", 500, database), artifact("MEDIA", 1_000, media)];
        let shape = Shape::of(&backup, Architecture::Arm);
        let objects = vec![500, 1_000, 0];
        let expected = Shape {
            objects: objects.clone(),
            files: 119,
            milliseconds: 3_000,
            architecture: Architecture::Arm,
        };
        assert_eq!(shape, expected);

        assert_eq!(Stored::of(&backup), Stored { objects: objects.clone(), stored_at: at });
        let finished = at + chrono::TimeDelta::minutes(3);
        backup.finished_at = Some(finished);
        assert_eq!(Stored::of(&backup), Stored { objects, stored_at: finished });
    }

    #[test]
    fn arm_is_cheaper() {
        let prices = Prices::bundled();
        let tariff = prices.tariff(&Region::new("us-east-1")).unwrap();
        let on = |architecture| tariff.making(&Shape { architecture, ..Shape::of_bytes(1 << 30) });
        assert!(on(Architecture::Arm).compute_nano_dollars < on(Architecture::X86).compute_nano_dollars);
    }
}
