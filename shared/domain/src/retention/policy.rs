//! The two policies, as data.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{backup::Label, invalid::Invalid};

/// Most backups a tier may hold: more than thirteen years of days.
const TIER_MAX: u32 = 5_000;

/// Most days an age may have: a century.
const DAYS_MAX: u32 = 36_525;

/// Which scheduled backups are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduledPolicy {
    /// Grandfather-father-son: so many days, then so many weeks, then so many months. Written `gfs:7/4/12`.
    Gfs {
        /// Days, each counted once however many backups it has; 0 skips the tier.
        daily: u32,
        /// Weeklies; 0 skips the tier.
        weekly: u32,
        /// Monthlies; 0 skips the tier.
        monthly: u32,
    },
}

/// Which backups on demand are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OnDemandPolicy {
    /// All younger than an age, and of the older ones the most recent. Written `age_then_count:30/3`.
    AgeThenCount {
        /// Age in days of 24 hours up to which all are kept.
        days: u32,
        /// How many of the older ones are kept, indefinitely.
        keep: u32,
    },
}

/// Both policies of a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policies {
    /// For scheduled backups.
    pub scheduled: ScheduledPolicy,
    /// For backups on demand.
    pub on_demand: OnDemandPolicy,
}

impl ScheduledPolicy {
    /// How many the tier of `label` holds.
    pub fn capacity(self, label: Label) -> u32 {
        let Self::Gfs { daily, weekly, monthly } = self;
        match label {
            Label::Daily => daily,
            Label::Weekly => weekly,
            Label::Monthly => monthly,
        }
    }

    /// The next tier above `label` that holds any.
    pub fn above(self, label: Label) -> Option<Label> {
        [Label::Weekly, Label::Monthly].into_iter().find(|above| *above > label && self.capacity(*above) > 0)
    }

    /// Refuses a policy that keeps nothing, and one that keeps absurdly many.
    pub fn validate(self) -> Result<(), Invalid> {
        let Self::Gfs { daily, weekly, monthly } = self;
        if daily == 0 && weekly == 0 && monthly == 0 {
            return Err(Invalid::new(
                "",
                format!("keeps nothing: {self}"),
                "give at least one of daily, weekly and monthly a number above 0",
            ));
        }
        [("daily", daily), ("weekly", weekly), ("monthly", monthly)]
            .into_iter()
            .try_for_each(|(tier, count)| at_most(tier, count, TIER_MAX))
    }
}

impl OnDemandPolicy {
    /// Refuses a policy that keeps nothing, and one that keeps absurdly many.
    pub fn validate(self) -> Result<(), Invalid> {
        let Self::AgeThenCount { days, keep } = self;
        if days == 0 && keep == 0 {
            return Err(Invalid::new(
                "",
                format!("keeps nothing: {self}"),
                "give at least one of days and keep a number above 0",
            ));
        }
        at_most("days", days, DAYS_MAX)?;
        at_most("keep", keep, TIER_MAX)
    }
}

impl Default for ScheduledPolicy {
    fn default() -> Self {
        Self::Gfs { daily: 7, weekly: 4, monthly: 12 }
    }
}

impl Default for OnDemandPolicy {
    fn default() -> Self {
        Self::AgeThenCount { days: 30, keep: 3 }
    }
}

impl fmt::Display for ScheduledPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Gfs { daily, weekly, monthly } = self;
        write!(f, "gfs:{daily}/{weekly}/{monthly}")
    }
}

impl fmt::Display for OnDemandPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::AgeThenCount { days, keep } = self;
        write!(f, "age_then_count:{days}/{keep}")
    }
}

impl FromStr for ScheduledPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let [daily, weekly, monthly] = numbers(text, "gfs:").ok_or_else(|| {
            let problem = format!("is not a policy for scheduled backups: {text:?}");
            Invalid::new("policy", problem, "write it as gfs:DAILY/WEEKLY/MONTHLY, such as gfs:7/4/12")
        })?;
        let policy = Self::Gfs { daily, weekly, monthly };
        policy.validate().map_err(|invalid| invalid.within("policy"))?;
        Ok(policy)
    }
}

impl FromStr for OnDemandPolicy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let [days, keep] = numbers(text, "age_then_count:").ok_or_else(|| {
            let problem = format!("is not a policy for backups on demand: {text:?}");
            Invalid::new(
                "policy",
                problem,
                "write it as age_then_count:DAYS/KEEP, such as age_then_count:30/3",
            )
        })?;
        let policy = Self::AgeThenCount { days, keep };
        policy.validate().map_err(|invalid| invalid.within("policy"))?;
        Ok(policy)
    }
}

fn numbers<const N: usize>(text: &str, kind: &str) -> Option<[u32; N]> {
    let numbers: Vec<u32> = text
        .strip_prefix(kind)?
        .split('/')
        // `parse` alone would also take `+7`.
        .map(|number| number.bytes().all(|b| b.is_ascii_digit()).then(|| number.parse().ok()).flatten())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

fn at_most(field: &str, count: u32, max: u32) -> Result<(), Invalid> {
    if count <= max {
        return Ok(());
    }
    Err(Invalid::new(field, format!("is {count}, more than anyone could want"), format!("use 0 to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("gfs:0/0/0", "keeps nothing")]
    #[case("gfs:7/4", "is not a policy")]
    #[case("gfs:7/4/12/1", "is not a policy")]
    #[case("gfs:7/-4/12", "is not a policy")]
    #[case("gfs:+7/4/12", "is not a policy")]
    #[case("gfs:7//12", "is not a policy")]
    #[case("gfs:7/4/99999999999", "is not a policy")]
    #[case("gfs:7/4/5001", "`policy.monthly` is 5001")]
    #[case("age_then_count:30/3", "is not a policy for scheduled")]
    #[case("7/4/12", "is not a policy")]
    fn a_bad_scheduled_policy_is_refused(#[case] text: &str, #[case] problem: &str) {
        let refusal = text.parse::<ScheduledPolicy>().unwrap_err().to_string();
        assert!(refusal.contains(problem), "{refusal}");
    }

    #[rstest]
    #[case("age_then_count:0/0", "keeps nothing")]
    #[case("age_then_count:30", "is not a policy")]
    #[case("age_then_count:40000/3", "`policy.days` is 40000")]
    #[case("gfs:7/4/12", "is not a policy for backups on demand")]
    fn a_bad_on_demand_policy_is_refused(#[case] text: &str, #[case] problem: &str) {
        let refusal = text.parse::<OnDemandPolicy>().unwrap_err().to_string();
        assert!(refusal.contains(problem), "{refusal}");
    }

    #[test]
    fn the_defaults_are_7_4_12_and_30_days_3() {
        assert_eq!(ScheduledPolicy::default().to_string(), "gfs:7/4/12");
        assert_eq!(OnDemandPolicy::default().to_string(), "age_then_count:30/3");
    }

    #[rstest]
    #[case(r#"{"kind":"gfs","daily":7,"weekly":4,"monthly":12}"#, true)]
    #[case(r#"{"kind":"gfs","daily":7,"weekly":4}"#, false)]
    #[case(r#"{"kind":"gfs","daily":7,"weekly":4,"monthly":12,"yearly":5}"#, false)]
    #[case(r#"{"kind":"gfs","daily":-7,"weekly":4,"monthly":12}"#, false)]
    #[case(r#"{"kind":"none"}"#, false)]
    fn documents_are_read_strictly(#[case] json: &str, #[case] good: bool) {
        assert_eq!(serde_json::from_str::<ScheduledPolicy>(json).is_ok(), good);
    }

    proptest! {
        #[test]
        fn policies_round_trip_as_text_and_as_documents(
            (daily, weekly, monthly) in (1..=TIER_MAX, 0..=TIER_MAX, 0..=TIER_MAX), days in 1..=DAYS_MAX
        ) {
            let scheduled = ScheduledPolicy::Gfs { daily, weekly, monthly };
            prop_assert_eq!(scheduled.to_string().parse(), Ok(scheduled));
            let json = serde_json::to_string(&scheduled).unwrap();
            prop_assert_eq!(serde_json::from_str::<ScheduledPolicy>(&json).unwrap(), scheduled);
            let on_demand = OnDemandPolicy::AgeThenCount { days, keep: weekly };
            prop_assert_eq!(on_demand.to_string().parse(), Ok(on_demand));
            let json = serde_json::to_string(&on_demand).unwrap();
            prop_assert_eq!(serde_json::from_str::<OnDemandPolicy>(&json).unwrap(), on_demand);
        }
    }
}
