use chrono::{DateTime, Utc};
use holdfast_domain::{
    backup::Trigger,
    cost::{Architecture, PolicyCost, Prices, Shape, Tariff},
    invalid::Invalid,
    region::Region,
    retention::ScheduledPolicy,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{RHYTHM_DAYS, Subject};

/// Most slots a day that a policy is priced for.
const SLOTS_MAX: u64 = 24;

/// What prices are asked for.
#[derive(Debug, Clone)]
pub struct Pricing {
    /// The prices that are known; or why those that the stack was given cannot be read.
    pub prices: Result<Prices, Invalid>,
    /// The stack's region.
    pub region: Region,
    /// What the worker runs on.
    pub architecture: Architecture,
}

/// What a scheduled policy costs, in billionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PolicyEstimate {
    /// A month of 30 days once the policy is full, with backups like the newest one; none where that cannot be told.
    pub policy: Option<PolicyCost>,
    /// What is worth knowing, in words: what goes before what is paid for is over, or why there is no estimate.
    pub notes: Vec<String>,
}

impl Pricing {
    /// The stack's region's prices, or why there are none.
    pub(super) fn tariff(&self) -> Result<Tariff<'_>, String> {
        let prices = self.prices.as_ref().map_err(|invalid| format!("no price known: {invalid}"))?;
        prices.tariff(&self.region).map_err(|unknown| unknown.to_string())
    }
}

impl Subject {
    /// What `policy` costs with backups like the newest scheduled one, as often as the plan makes them.
    pub(super) fn estimate(
        &self,
        policy: ScheduledPolicy,
        pricing: &Pricing,
        now: DateTime<Utc>,
    ) -> PolicyEstimate {
        match self.price(policy, pricing, now) {
            Ok(policy) => {
                let notes = policy.early.iter().map(ToString::to_string).collect();
                PolicyEstimate { policy: Some(policy), notes }
            }
            Err(why) => PolicyEstimate { policy: None, notes: vec![why] },
        }
    }

    fn price(
        &self,
        policy: ScheduledPolicy,
        pricing: &Pricing,
        now: DateTime<Utc>,
    ) -> Result<PolicyCost, String> {
        let tariff = pricing.tariff()?;
        let newest = self.succeeded().find(|backup| backup.trigger == Trigger::Scheduled).ok_or(
            "no scheduled backup has succeeded yet: what the policy costs depends on the size of a backup",
        )?;
        let slots = self.slots_to_come(now) / RHYTHM_DAYS.unsigned_abs();
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(format!(
                "no estimate: it is made for 1 to {SLOTS_MAX} backups a day, and the plan's schedule has {} in {RHYTHM_DAYS} days",
                self.slots_to_come(now)
            ));
        }
        let shape = Shape::of(newest, pricing.architecture);
        Ok(tariff.policy(policy, &shape, u32::try_from(slots).unwrap_or(1)))
    }
}
