//! Typed names and ids: an application can never be taken for a plan, nor a backup for an audit entry.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::invalid::Invalid;

/// Longest slug, in bytes: that of a DNS label, so that a slug fits wherever a host name part does.
const SLUG_MAX: usize = 63;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
        #[schema(value_type = String)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Invalid::new($field, format!("is not a valid name: {text:?}"), $rule))
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The slug of an application: lower-case letters, digits and hyphens, as in `shop` or `client-42`.
    ApplicationId,
    "application",
    is_slug,
    "use 1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
);
name!(
    /// The slug of a plan, such as `default`.
    PlanId,
    "plan",
    is_slug,
    "use 1 to 63 lower-case letters, digits and hyphens, starting and ending with a letter or digit"
);
name!(
    /// The name of a service within its application, such as `DEFAULT` or `media`. It is part of object keys.
    ServiceName,
    "name",
    is_service_name,
    "use 1 to 32 letters, digits, hyphens and underscores, starting with a letter"
);

impl PlanId {
    /// The plan that exists from the start.
    pub fn default_plan() -> Self {
        Self("default".to_owned())
    }
}

fn is_slug(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=SLUG_MAX).contains(&text.len())
        && text.bytes().all(|b| inner(b) || b == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

fn is_service_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
}

macro_rules! time_ordered_id {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
        #[schema(value_type = Uuid)]
        #[serde(transparent)]
        pub struct $type(Uuid);

        impl $type {
            /// The id of something made at `at`, with `random` making it unique (`UUIDv7`, RFC 9562).
            pub fn new(at: DateTime<Utc>, random: [u8; 10]) -> Self {
                let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The smallest id that anything made at `at` can have; for ranges.
            pub fn floor(at: DateTime<Utc>) -> Self {
                Self::new(at, [0; 10])
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Uuid::parse_str(text)
                    .ok()
                    .filter(|uuid| uuid.get_version_num() == 7)
                    .map(Self)
                    .ok_or_else(|| Invalid::new($field, format!("is not an id: {text:?}"), "use the id as the API gave it"))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

time_ordered_id!(
    /// The id of a backup; also the name of its execution and of its prefix in the bucket.
    BackupId,
    "id"
);
time_ordered_id!(
    /// The id of a restore; also the name of its execution.
    RestoreId,
    "id"
);
time_ordered_id!(
    /// The id of an audit entry.
    AuditId,
    "id"
);

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("shop", true)]
    #[case("client-42", true)]
    #[case("4", true)]
    #[case("", false)]
    #[case("-shop", false)]
    #[case("shop-", false)]
    #[case("Shop", false)]
    #[case("shop/../x", false)]
    #[case("gîte", false)]
    #[case(&"a".repeat(63), true)]
    #[case(&"a".repeat(64), false)]
    fn a_slug_is_a_dns_label(#[case] text: &str, #[case] good: bool) {
        assert_eq!(text.parse::<ApplicationId>().is_ok(), good);
    }

    #[test]
    fn ids_sort_by_the_moment_they_were_made() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let earlier = BackupId::new(at(1_700_000_000), [255; 10]);
        let later = BackupId::new(at(1_700_000_001), [0; 10]);
        assert!(earlier < later);
        assert!(earlier.to_string() < later.to_string());
        assert!(BackupId::floor(at(1_700_000_001)) <= later);
    }

    #[test]
    fn an_id_reads_back_and_other_uuids_are_refused() {
        let id = BackupId::new(DateTime::from_timestamp(1_700_000_000, 0).unwrap(), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("67e55044-10b1-426f-9247-bb680e5fe0c8".parse::<BackupId>().is_err());
        assert!("latest".parse::<BackupId>().is_err());
    }
}
