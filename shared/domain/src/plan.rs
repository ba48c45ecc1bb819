//! The subscription: when an application is backed up, and what is kept.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    backup::VerificationLevel,
    invalid::Invalid,
    retention::{OnDemandPolicy, ScheduledPolicy},
    schedule::Schedule,
};

/// Most days between two verifications.
const VERIFY_DAYS_MAX: u32 = 366;

/// A plan: schedule, the two retention policies, limits. Every part has a default, and the default plan has them all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSpec {
    /// When scheduled backups are due; `null` for a plan with backups on demand only.
    pub schedule: Option<Schedule>,
    /// Which scheduled backups are kept.
    pub scheduled: ScheduledPolicy,
    /// Which on-demand backups are kept.
    pub on_demand: OnDemandPolicy,
    /// How much a subscriber may ask for.
    pub limits: Limits,
    /// After so many days the newest good backup is read again, from its first byte to its last, in the night; never without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_days: Option<u32>,
    /// How far that verification goes: 1, which is the default, reads it; 2 restores it as well, beside the services; 3 compares
    /// the values in its tables besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 3)]
    pub verify_level: Option<VerificationLevel>,
}

/// How much a subscriber may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// On-demand backups an application may start within 24 hours.
    pub on_demand_per_day: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { on_demand_per_day: 24 }
    }
}

impl PlanSpec {
    /// The plan that exists from the start: once a day between 01:00 and 05:00, 7/4/12, and 30 days / 3.
    pub fn default_plan() -> Self {
        Self { schedule: Some(Schedule::default()), ..Self::default() }
    }

    /// Refuses a schedule that never fires and policies that keep nothing.
    pub fn validate(&self) -> Result<(), Invalid> {
        if let Some(schedule) = &self.schedule {
            schedule.validate().map_err(|invalid| invalid.within("schedule"))?;
        }
        self.scheduled.validate().map_err(|invalid| invalid.within("scheduled"))?;
        self.on_demand.validate().map_err(|invalid| invalid.within("on_demand"))?;
        if self.verify_days.is_some_and(|days| !(1..=VERIFY_DAYS_MAX).contains(&days)) {
            return Err(Invalid::new(
                "verify_days",
                format!("is not a number from 1 to {VERIFY_DAYS_MAX}"),
                "give the days between two verifications, or leave it out for none",
            ));
        }
        if self.verify_days.is_none() && self.verify_level.is_some() {
            return Err(Invalid::new(
                "verify_level",
                "says how far verifications go, and the plan has none made",
                "say with `verify_days` how often, or leave it out",
            ));
        }
        if self.limits.on_demand_per_day == 0 {
            return Err(Invalid::new(
                "limits.on_demand_per_day",
                "is 0, so nobody could ever ask for a backup",
                "allow at least one a day",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{application::ApplicationSpec, region::Region};

    #[test]
    fn the_manuals_documents_are_good() {
        let manual = include_str!("../../../docs/registration.md");
        let documents: Vec<&str> =
            manual.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let application: ApplicationSpec = serde_json::from_str(documents[0]).unwrap();
        application.validate(&Region::new("eu-central-1"), "backups").unwrap();
        assert_eq!(application.services.len(), 3, "one of each kind");
        let plan: PlanSpec = serde_json::from_str(documents[1]).unwrap();
        plan.validate().unwrap();
        assert_eq!(PlanSpec { verify_days: None, verify_level: None, ..plan }, PlanSpec::default_plan());
    }

    #[test]
    fn how_far_verifications_go_is_said_with_how_often() {
        let level = Some(VerificationLevel::Restore);
        let plan = |verify_days| PlanSpec { verify_days, verify_level: level, ..PlanSpec::default_plan() };
        assert_eq!(plan(None).validate().unwrap_err().field, "verify_level");
        let written = serde_json::to_value(plan(Some(30))).unwrap();
        assert_eq!((&written["verify_days"], &written["verify_level"]), (&30.into(), &2.into()));
        assert_eq!(serde_json::from_value::<PlanSpec>(written).unwrap(), plan(Some(30)));
        plan(Some(30)).validate().unwrap();
    }
}
