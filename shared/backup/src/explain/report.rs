use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use holdfast_domain::{
    backup::{Hold, Label, Trigger},
    cost::{BackupsCost, Stored},
    id::{ApplicationId, BackupId},
    retention::{
        Policies,
        calendar::{CalendarDay, Mark},
    },
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Explanation, PolicyEstimate, Pricing, Subject};
use crate::{error::RequestError, ports::Ports};

/// What a retention run would do now and why, what comes next, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RetentionReport {
    /// The policies of the application's plan.
    pub policies: ReportedPolicies,
    /// The last day that the forecast looked at, with one scheduled success a day from now on.
    pub forecast_until: NaiveDate,
    /// A line for each succeeded backup, newest first.
    pub backups: Vec<ReportLine>,
    /// The last year's days that have a backup.
    pub calendar: Vec<CalendarDay>,
    /// What it costs.
    pub cost: ReportedCost,
}

/// Both policies, in their short form.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReportedPolicies {
    /// Such as `gfs:7/4/12`.
    pub scheduled: String,
    /// Such as `age_then_count:30/3`.
    pub on_demand: String,
}

/// What a retention run would do with one backup and why, and what comes next.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReportLine {
    /// The backup.
    pub id: BackupId,
    /// Its trigger.
    pub trigger: Trigger,
    /// The day of its slot; scheduled ones only.
    pub slot_date: Option<NaiveDate>,
    /// The point in time of its data.
    pub taken_at: Option<DateTime<Utc>>,
    /// Its label now; scheduled ones only.
    pub label: Option<Label>,
    /// Its bytes.
    pub bytes: u64,
    /// The hold that is on it.
    pub hold: Option<Hold>,
    /// Why it is kept or goes, and when.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// What an application's backups cost, in billionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReportedCost {
    /// The backups above, for a month of 30 days; none where no price is known. What was discarded is still billed for its 7
    /// days of grace and the rest of its first 30, and is not in it.
    pub stored: Option<BackupsCost>,
    /// The scheduled policy.
    #[serde(flatten)]
    pub estimate: PolicyEstimate,
}

/// What a run would do now, what comes after it, and what it costs.
pub async fn report(
    ports: &Ports,
    application: &ApplicationId,
    pricing: &Pricing,
) -> Result<RetentionReport, RequestError> {
    let subject = Subject::read(ports, application).await?;
    let now = ports.clock.now();
    let (until, explanations) = subject.explain(now);
    let stored: Vec<Stored> = subject.succeeded().map(Stored::of).collect();
    Ok(RetentionReport {
        policies: ReportedPolicies::of(&subject.policies()),
        forecast_until: until,
        backups: subject.lines(explanations),
        calendar: subject.calendar(now, |candidate| Some(Mark::of(candidate))).days(),
        cost: ReportedCost {
            stored: pricing.tariff().ok().map(|tariff| tariff.backups(&stored, now)),
            estimate: subject.estimate(subject.plan.scheduled, pricing, now),
        },
    })
}

impl ReportedPolicies {
    pub(super) fn of(policies: &Policies) -> Self {
        Self { scheduled: policies.scheduled.to_string(), on_demand: policies.on_demand.to_string() }
    }
}

impl Subject {
    fn lines(&self, mut explanations: HashMap<BackupId, Explanation>) -> Vec<ReportLine> {
        let lines = self.succeeded().filter_map(|backup| {
            Some(ReportLine {
                id: backup.id,
                trigger: backup.trigger,
                slot_date: backup.slot_date,
                taken_at: backup.taken_at,
                label: backup.label,
                bytes: backup.bytes(),
                hold: backup.hold.clone(),
                explanation: explanations.remove(&backup.id)?,
            })
        });
        lines.collect()
    }
}
