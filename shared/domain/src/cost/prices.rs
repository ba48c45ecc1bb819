//! Prices as data: a dated file with its source, for each region it is known for.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::money::NanoDollars;
use crate::{invalid::Invalid, region::Region};

/// The prices that come with this crate.
const BUNDLED: &str = include_str!("../../prices/2026-08-07.json");

/// Prices of a day, by region.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The day they are of.
    pub date: NaiveDate,
    /// Where they come from.
    pub source: String,
    /// By the region's name.
    pub regions: BTreeMap<String, RegionPrices>,
}

/// The prices of one region in US dollars, each for the quantity its name says. A file has them as text: `"0.0135"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionPrices {
    /// 1 GiB stored in S3 Standard-IA for a month.
    #[serde(deserialize_with = "dollars")]
    pub standard_ia_gb_month: NanoDollars,
    /// 1,000 writing requests (PUT, POST, each part of an upload) to Standard-IA.
    #[serde(deserialize_with = "dollars")]
    pub standard_ia_1000_puts: NanoDollars,
    /// 1,000 reading requests (GET, HEAD) to Standard-IA.
    #[serde(deserialize_with = "dollars")]
    pub standard_ia_1000_gets: NanoDollars,
    /// 1,000 LIST requests to S3 Standard, which cost as much as PUT.
    #[serde(deserialize_with = "dollars")]
    pub standard_1000_puts: NanoDollars,
    /// 1,000 reading requests to S3 Standard.
    #[serde(deserialize_with = "dollars")]
    pub standard_1000_gets: NanoDollars,
    /// A million GB-seconds of Lambda on `x86_64`.
    #[serde(deserialize_with = "dollars")]
    pub lambda_x86_64_million_gb_seconds: NanoDollars,
    /// A million GB-seconds of Lambda on `arm64`.
    #[serde(deserialize_with = "dollars")]
    pub lambda_arm64_million_gb_seconds: NanoDollars,
    /// A million invocations of Lambda.
    #[serde(deserialize_with = "dollars")]
    pub lambda_million_requests: NanoDollars,
    /// 1,000 state transitions of a standard workflow of Step Functions.
    #[serde(deserialize_with = "dollars")]
    pub step_functions_1000_transitions: NanoDollars,
    /// 10,000 requests to KMS with a symmetric key.
    #[serde(deserialize_with = "dollars")]
    pub kms_10000_requests: NanoDollars,
}

/// The prices of one region, with the name and the day that a cost names.
#[derive(Debug, Clone, Copy)]
pub struct Tariff<'a> {
    pub(super) region: &'a str,
    pub(super) date: NaiveDate,
    pub(super) prices: &'a RegionPrices,
}

/// A region whose prices are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no price known for region {region}: the prices of {date} are those of {known}")]
pub struct NoPrice {
    /// The region.
    pub region: String,
    /// The day of the prices.
    pub date: NaiveDate,
    /// The regions there are prices of.
    pub known: String,
}

impl Prices {
    /// The prices that come with this crate.
    pub fn bundled() -> Self {
        Self::parse(BUNDLED).expect("a test reads this file, and it is part of the program")
    }

    /// Prices from a file of the form of `shared/domain/prices`. Refuses unknown fields, missing ones and amounts that
    /// are not written in digits, and says where.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let prices: Self = serde_json::from_str(text).map_err(|error| {
            Invalid::new(
                "prices",
                format!("cannot be read: {error}"),
                "write them in the form of shared/domain/prices: date, source, and for each region an amount in \
                 dollars for every price",
            )
        })?;
        if prices.regions.is_empty() {
            return Err(Invalid::new("prices.regions", "is empty", "give the prices of at least one region"));
        }
        Ok(prices)
    }

    /// The prices of `region`.
    pub fn tariff(&self, region: &Region) -> Result<Tariff<'_>, NoPrice> {
        match self.regions.get_key_value(region.as_str()) {
            Some((region, prices)) => Ok(Tariff { region, date: self.date, prices }),
            None => Err(NoPrice {
                region: region.to_string(),
                date: self.date,
                known: self.regions.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

fn dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NanoDollars, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn the_bundled_prices_are_dated_and_say_their_source() {
        let prices = Prices::bundled();
        assert_eq!(prices.date.to_string(), "2026-08-07");
        assert!(prices.source.contains("AWS Price List"));
        for region in ["eu-central-1", "eu-west-1", "us-east-1"] {
            assert!(prices.tariff(&Region::new(region)).is_ok(), "{region}");
        }
        let frankfurt = &prices.regions["eu-central-1"];
        assert_eq!(frankfurt.standard_ia_gb_month, NanoDollars(13_500_000));
    }

    #[test]
    fn an_unknown_region_has_no_price_and_no_guess() {
        let refusal = Prices::bundled().tariff(&Region::new("ap-south-2")).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "no price known for region ap-south-2: the prices of 2026-08-07 are those of eu-central-1, eu-west-1, us-east-1"
        );
    }

    #[rstest]
    #[case::another_amount("\"0.0135\"", "\"0.02\"", None)]
    #[case::number_instead_of_text("\"0.0135\"", "0.0135", Some("expected a string at line 6"))]
    #[case::no_amount("\"0.0135\"", "\"cheap\"", Some("\"cheap\" is no amount in dollars"))]
    #[case::unknown_field(
        "standard_ia_1000_puts",
        "standard_ia_puts",
        Some("unknown field `standard_ia_puts`")
    )]
    #[case::no_date("\"date\": \"2026-08-07\",", "", Some("missing field `date`"))]
    #[case::no_day("2026-08-07\",", "2026-08-32\",", Some("at line 2"))]
    fn another_file_of_the_same_form_is_read_strictly(
        #[case] from: &str,
        #[case] to: &str,
        #[case] problem: Option<&str>,
    ) {
        let outcome = Prices::parse(&BUNDLED.replacen(from, to, 1));
        match problem {
            None => {
                assert_eq!(
                    outcome.unwrap().regions["eu-central-1"].standard_ia_gb_month,
                    NanoDollars(20_000_000)
                );
            }
            Some(problem) => {
                let refusal = outcome.unwrap_err().to_string();
                assert!(refusal.contains(problem), "{refusal}");
            }
        }
    }

    #[test]
    fn a_file_without_regions_is_refused() {
        assert!(Prices::parse(r#"{"date":"2026-01-01","source":"x","regions":{}}"#).is_err());
    }
}
