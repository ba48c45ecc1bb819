//! What backups cost where they lie: S3 Standard-IA, with its least size and its least time.
//!
//! An object smaller than 128 KiB is billed as 128 KiB, one that goes before 30 days as 30 days:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>. A GB is 2^30 bytes.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{money::NanoDollars, prices::Tariff};
use crate::backup::{Backup, GRACE_DAYS};

/// Bytes an object is billed as at least.
pub const MINIMUM_BYTES: u64 = 128 * 1024;

/// Hours an object is billed for at least.
pub const MINIMUM_HOURS: u64 = 30 * 24;

/// Hours a discarded object stays in the bucket, to be brought back: the lifecycle rule of the template.
pub const GRACE_HOURS: u64 = GRACE_DAYS.unsigned_abs() * 24;

/// Hours of a month, here: 30 days.
pub const MONTH_HOURS: u64 = 30 * 24;

const GB: u128 = 1 << 30;
const HOUR_SECONDS: u64 = 3_600;

/// A backup as the bucket bills it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes of each of its objects.
    pub objects: Vec<u64>,
    /// Since when they lie there.
    pub stored_at: DateTime<Utc>,
}

/// What backups cost for a month, if all of them stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupsCost {
    /// The region.
    pub region: String,
    /// The day of the prices.
    pub prices_of: NaiveDate,
    /// How many backups.
    pub backups: u64,
    /// Bytes of their objects.
    pub bytes: u64,
    /// Bytes they are billed as: at least 128 KiB for each object.
    pub billed_bytes: u64,
    /// Their storage for a month of 30 days, in billionths of a US dollar.
    pub month_nano_dollars: NanoDollars,
    /// What of it would be paid even if all of them went now: the rest of the 30 days of those that are younger, in
    /// billionths of a US dollar. The days of grace are not in it.
    pub committed_nano_dollars: NanoDollars,
}

impl Stored {
    /// `backup` as the bucket bills it: its artifacts, and the small `backup.json` beside them.
    pub fn of(backup: &Backup) -> Self {
        let artifacts = backup.artifacts.iter().map(|artifact| artifact.object.size);
        Self {
            objects: artifacts.chain([0]).collect(),
            stored_at: backup.finished_at.unwrap_or(backup.created_at),
        }
    }
}

impl Tariff<'_> {
    /// What `backups` cost, as they lie there at `now`.
    pub fn backups(&self, backups: &[Stored], now: DateTime<Utc>) -> BackupsCost {
        let objects = || backups.iter().flat_map(|backup| &backup.objects).copied();
        let owed = backups.iter().map(|backup| {
            let age = (now - backup.stored_at).num_seconds().max(0).unsigned_abs();
            let rest = (MINIMUM_HOURS * HOUR_SECONDS).saturating_sub(age);
            u128::from(billed(backup.objects.iter().copied())) * u128::from(rest)
        });
        let month_seconds = u128::from(MONTH_HOURS * HOUR_SECONDS);
        BackupsCost {
            region: self.region.to_owned(),
            prices_of: self.date,
            backups: backups.len() as u64,
            bytes: objects().fold(0, u64::saturating_add),
            billed_bytes: billed(objects()),
            month_nano_dollars: self.month(billed(objects())),
            committed_nano_dollars: self.prices.standard_ia_gb_month.per(GB * month_seconds, owed.sum()),
        }
    }

    /// The storage of objects of these sizes for a month of 30 days.
    pub fn storage(&self, objects: &[u64]) -> NanoDollars {
        self.month(billed(objects.iter().copied()))
    }

    /// A month of `billed_bytes`.
    fn month(&self, billed_bytes: u64) -> NanoDollars {
        self.byte_hours(u128::from(billed_bytes) * u128::from(MONTH_HOURS), 1)
    }

    /// The month's share, `1/months`, of so many byte-hours.
    pub(super) fn byte_hours(&self, byte_hours: u128, months: u128) -> NanoDollars {
        self.prices.standard_ia_gb_month.per(GB * u128::from(MONTH_HOURS) * months, byte_hours)
    }
}

/// The bytes that objects of these sizes are billed as.
pub(super) fn billed(objects: impl Iterator<Item = u64>) -> u64 {
    objects.fold(0, |sum, bytes| sum.saturating_add(bytes.max(MINIMUM_BYTES)))
}

impl fmt::Display for BackupsCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} for 30 days of {} in {} (US dollars, prices of {}); {} of it are owed even if all went now",
            self.month_nano_dollars,
            if self.backups == 1 { "1 backup".to_owned() } else { format!("{} backups", self.backups) },
            self.region,
            self.prices_of,
            self.committed_nano_dollars
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cost::Prices, region::Region};
    use rstest::rstest;

    const GIB: u64 = 1 << 30;

    fn cost(objects: &[u64], days: i64) -> BackupsCost {
        let now: DateTime<Utc> = "2026-04-06T00:00:00Z".parse().unwrap();
        let stored = Stored { objects: objects.to_vec(), stored_at: now - chrono::TimeDelta::days(days) };
        Prices::bundled().tariff(&Region::new("eu-central-1")).unwrap().backups(&[stored], now)
    }

    #[rstest]
    #[case::a_gib_for_a_month(&[GIB], 100, GIB, 13_500_000, 0)]
    #[case::nothing_is_billed_as_128_kib(&[0], 100, MINIMUM_BYTES, 1_648, 0)]
    #[case::each_object_has_its_minimum(&[1, 1, GIB], 100, GIB + 2 * MINIMUM_BYTES, 13_503_296, 0)]
    #[case::just_stored_owes_all(&[GIB], 0, GIB, 13_500_000, 13_500_000)]
    #[case::a_week_old_owes_23_days(&[GIB], 7, GIB, 13_500_000, 10_350_000)]
    #[case::thirty_days_old_owes_nothing(&[GIB], 30, GIB, 13_500_000, 0)]
    #[case::stored_by_a_clock_ahead(&[GIB], -1, GIB, 13_500_000, 13_500_000)]
    fn standard_ia_bills_a_least_size_and_a_least_time(
        #[case] objects: &[u64],
        #[case] days: i64,
        #[case] billed_bytes: u64,
        #[case] month: u64,
        #[case] committed: u64,
    ) {
        let cost = cost(objects, days);
        assert_eq!(cost.billed_bytes, billed_bytes);
        assert_eq!(cost.month_nano_dollars, NanoDollars(month));
        assert_eq!(cost.committed_nano_dollars, NanoDollars(committed));
    }

    #[test]
    fn it_reads_as_a_sentence() {
        assert_eq!(
            cost(&[100 * GIB], 7).to_string(),
            "$1.35 for 30 days of 1 backup in eu-central-1 (US dollars, prices of 2026-08-07); $1.04 of it are owed even if \
             all went now"
        );
    }
}
