use chrono::{DateTime, Utc};
use holdfast_domain::{
    backup::Backup,
    cost::Tariff,
    id::ApplicationId,
    invalid::Invalid,
    retention::{
        Candidate, OnDemandPolicy, Policies, ScheduledPolicy,
        calendar::CalendarDay,
        preview::{Preview, preview},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PolicyEstimate, Pricing, ReportedPolicies, Subject};
use crate::{error::RequestError, ports::Ports};

/// Policies to try out, of today's backups of an application.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The application.
    pub application: ApplicationId,
    /// The policy of scheduled backups; that of the plan without it.
    pub scheduled: Option<ScheduledPolicy>,
    /// The policy of backups on demand; that of the plan without it.
    pub on_demand: Option<OnDemandPolicy>,
}

/// What other policies would keep of today's backups, beside what the plan's keep.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PreviewReport {
    /// The policies of the application's plan.
    pub policies_now: ReportedPolicies,
    /// The policies that were tried out.
    pub policies_then: ReportedPolicies,
    /// Every backup under both, and what is kept in all.
    #[serde(flatten)]
    pub preview: Preview,
    /// The last year's days that have a backup, as the policies that were tried out would leave them.
    pub calendar_then: Vec<CalendarDay>,
    /// What the plan's scheduled policy costs.
    pub cost_now: PolicyEstimate,
    /// What the other would cost.
    pub cost_then: PolicyEstimate,
}

/// What other policies would keep of an application's backups today.
pub async fn try_out(
    ports: &Ports,
    request: &PreviewRequest,
    pricing: &Pricing,
) -> Result<PreviewReport, RequestError> {
    let subject = Subject::read(ports, &request.application).await?;
    let (current, other) = (subject.policies(), subject.other(request)?);
    let now = ports.clock.now();
    let preview = subject.preview(&other, now, pricing.tariff().ok());
    Ok(PreviewReport {
        policies_now: ReportedPolicies::of(&current),
        policies_then: ReportedPolicies::of(&other),
        calendar_then: subject.calendar_under(&preview, now).days(),
        preview,
        cost_now: subject.estimate(current.scheduled, pricing, now),
        cost_then: subject.estimate(other.scheduled, pricing, now),
    })
}

impl Subject {
    /// The policies that somebody wants to try out.
    pub(super) fn other(&self, request: &PreviewRequest) -> Result<Policies, RequestError> {
        if request.scheduled.is_none() && request.on_demand.is_none() {
            return Err(Invalid::new(
                "scheduled",
                "and on_demand are both missing: there is nothing to try out",
                "give one of them, or both",
            )
            .into());
        }
        let current = self.policies();
        let other = Policies {
            scheduled: request.scheduled.unwrap_or(current.scheduled),
            on_demand: request.on_demand.unwrap_or(current.on_demand),
        };
        other.scheduled.validate().map_err(|invalid| invalid.within("scheduled"))?;
        other.on_demand.validate().map_err(|invalid| invalid.within("on_demand"))?;
        Ok(other)
    }

    pub(super) fn preview(
        &self,
        other: &Policies,
        now: DateTime<Utc>,
        tariff: Option<Tariff<'_>>,
    ) -> Preview {
        let candidates = self.candidates().into_iter();
        let bytes = |candidate: &Candidate| {
            let backup = self.succeeded().find(|backup| backup.id == candidate.id);
            backup.map_or(0, Backup::bytes)
        };
        let backups: Vec<(Candidate, u64)> =
            candidates.map(|candidate| (candidate, bytes(&candidate))).collect();
        preview(&backups, &self.policies(), other, now, tariff)
    }
}
