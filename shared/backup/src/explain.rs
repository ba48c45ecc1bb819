//! Retention that explains itself: why each backup is kept and when it goes, what it costs, and what another policy would
//! keep instead. Nothing here changes anything.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use holdfast_domain::{
    application::ApplicationSpec,
    backup::{Backup, Hold, Label, State, Trigger},
    cost::{Architecture, BackupsCost, PolicyCost, Prices, Shape, Stored, Tariff},
    id::{ApplicationId, BackupId},
    invalid::Invalid,
    plan::PlanSpec,
    region::Region,
    retention::{
        self, Candidate, OnDemandPolicy, Policies, ScheduledPolicy,
        calendar::{Calendar, Mark},
        forecast::{Departure, NextRelabel, Outlook, forecast},
        preview::{Preview, VerdictAction, preview},
    },
    schedule::{Schedule, Window},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    applications, backups, discard,
    error::RequestError,
    plans,
    ports::{Ports, Versioned},
};

/// Days of a calendar: a year and the rest of its first month.
const CALENDAR_DAYS: i64 = 365;

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

impl Pricing {
    /// The stack's region's prices, or why there are none.
    fn tariff(&self) -> Result<Tariff<'_>, String> {
        let prices = self.prices.as_ref().map_err(|invalid| format!("no price known: {invalid}"))?;
        prices.tariff(&self.region).map_err(|unknown| unknown.to_string())
    }
}

/// What a retention run would do now and why, what comes next, and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RetentionReport {
    /// The policies of the application's plan.
    pub policies: ReportedPolicies,
    /// The last day that the forecast looked at, with one scheduled success a day from now on.
    pub forecast_until: NaiveDate,
    /// A line for each succeeded backup, newest first.
    pub backups: Vec<ReportLine>,
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
    /// What the next run does.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Why a backup is kept or goes, and when.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// What the next run does.
    pub action: ReportedAction,
    /// The label it gets by that.
    pub to: Option<Label>,
    /// Why, in words.
    pub reason: String,
    /// The next time its label rises, given one scheduled success a day from now on.
    pub next_relabel: Option<NextRelabel>,
    /// When it goes, given one scheduled success a day from now on.
    pub discard: Departure,
    /// No run discards it before that moment, since a link to download it works until then.
    pub in_use_until: Option<DateTime<Utc>>,
}

/// What the next run does with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedAction {
    /// It stays as it is.
    Keep,
    /// Its label rises.
    Relabel,
    /// It goes.
    Discard,
}

/// What an application's backups cost, in billionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ReportedCost {
    /// What is stored, for a month of 30 days; none where no price is known.
    pub stored: Option<BackupsCost>,
    /// The scheduled policy for a month of 30 days, once it is full, with backups like the newest one; none where no price is
    /// known, or no scheduled backup has succeeded.
    pub policy: Option<PolicyCost>,
    /// What is worth knowing, in words: what goes before what is paid for is over, or that no price is known.
    pub notes: Vec<String>,
}

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
    /// What the plan's policies cost.
    pub cost_now: PolicyCostNote,
    /// What the others would cost.
    pub cost_then: PolicyCostNote,
}

/// What a scheduled policy costs, in billionths of a US dollar.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PolicyCostNote {
    /// A month of 30 days once the policy is full, with backups like the newest one; none where no price is known, or no
    /// scheduled backup has succeeded.
    pub policy: Option<PolicyCost>,
    /// What is worth knowing, in words.
    pub notes: Vec<String>,
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
    let cost = {
        let stored: Vec<Stored> = subject.succeeded().map(Stored::of).collect();
        let tariff = pricing.tariff().ok();
        let PolicyCostNote { policy, notes } = subject.policy_cost(subject.plan.scheduled, pricing, now);
        ReportedCost { stored: tariff.map(|tariff| tariff.backups(&stored, now)), policy, notes }
    };
    Ok(RetentionReport {
        policies: reported(&subject.policies()),
        forecast_until: until,
        backups: subject.lines(explanations),
        cost,
    })
}

/// Why a succeeded backup is kept or goes, and when; none for one in any other state.
pub async fn explain(ports: &Ports, backup: &Backup) -> Result<Option<Explanation>, RequestError> {
    if backup.state != State::Succeeded {
        return Ok(None);
    }
    let now = ports.clock.now();
    match Subject::read(ports, &backup.application).await {
        Ok(subject) => Ok(subject.explain(now).1.remove(&backup.id)),
        Err(RequestError::NotFound { .. }) => Ok(explain_removed(backup, now)),
        Err(error) => Err(error),
    }
}

/// What other policies would keep of an application's backups today.
pub async fn try_out(
    ports: &Ports,
    request: &PreviewRequest,
    pricing: &Pricing,
) -> Result<PreviewReport, RequestError> {
    let subject = Subject::read(ports, &request.application).await?;
    let other = subject.other(request)?;
    let now = ports.clock.now();
    let tariff = pricing.tariff().ok();
    let current = subject.policies();
    Ok(PreviewReport {
        policies_now: reported(&current),
        policies_then: reported(&other),
        preview: subject.preview(&other, now, tariff),
        cost_now: subject.policy_cost(current.scheduled, pricing, now),
        cost_then: subject.policy_cost(other.scheduled, pricing, now),
    })
}

/// The calendar of an application's last year: what is kept, held, on demand, and what was discarded.
pub async fn calendar(ports: &Ports, application: &ApplicationId) -> Result<Calendar, RequestError> {
    let subject = Subject::read(ports, application).await?;
    Ok(subject.calendar(ports.clock.now(), |candidate| Some(Mark::of(candidate))))
}

/// The calendar of an application's last year as other policies would leave it.
pub async fn try_out_calendar(ports: &Ports, request: &PreviewRequest) -> Result<Calendar, RequestError> {
    let subject = Subject::read(ports, &request.application).await?;
    let other = subject.other(request)?;
    let now = ports.clock.now();
    let verdicts: HashMap<BackupId, _> = subject
        .preview(&other, now, None)
        .backups
        .into_iter()
        .map(|line| (line.id, (line.then.action, line.then.to)))
        .collect();
    Ok(subject.calendar(now, |candidate| match verdicts.get(&candidate.id)? {
        (VerdictAction::Discard, _) => Some(Mark::Discarded),
        (VerdictAction::Relabel, Some(to)) => Some(Mark::Kept(*to)),
        _ => Some(Mark::of(candidate)),
    }))
}

/// An application with its plan and all its backups.
struct Subject {
    id: ApplicationId,
    spec: ApplicationSpec,
    plan: PlanSpec,
    /// Newest first.
    backups: Vec<Backup>,
}

impl Subject {
    async fn read(ports: &Ports, application: &ApplicationId) -> Result<Self, RequestError> {
        let record = applications::get(ports, application).await?.value;
        let plan = plans::get(ports, &record.spec.plan).await?.value.spec;
        let backups = discard::all_backups(ports, application).await?;
        let backups = backups.into_iter().map(|Versioned { value, .. }| value).collect();
        Ok(Self { id: record.id, spec: record.spec, plan, backups })
    }

    fn policies(&self) -> Policies {
        Policies { scheduled: self.plan.scheduled, on_demand: self.plan.on_demand }
    }

    /// The policies that somebody wants to try out.
    fn other(&self, request: &PreviewRequest) -> Result<Policies, RequestError> {
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

    fn succeeded(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|backup| backup.state == State::Succeeded)
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.backups.iter().filter_map(Candidate::of).collect()
    }

    /// What the next run does with each succeeded backup, and the last day of the forecast.
    fn explain(&self, now: DateTime<Utc>) -> (NaiveDate, HashMap<BackupId, Explanation>) {
        let (candidates, policies) = (self.candidates(), self.policies());
        let plan = retention::plan(&candidates, &policies, now);
        let mut verdicts = HashMap::new();
        let recorded: HashMap<BackupId, Option<&str>> =
            self.backups.iter().map(|backup| (backup.id, backup.retention_reason.as_deref())).collect();
        for keep in &plan.kept {
            let reason = keep.explain(recorded.get(&keep.id).copied().flatten());
            verdicts.insert(keep.id, (ReportedAction::Keep, None, reason));
        }
        for relabel in &plan.relabelled {
            let verdict = (ReportedAction::Relabel, Some(relabel.to), relabel.reason.to_string());
            verdicts.insert(relabel.id, verdict);
        }
        for discard in &plan.discarded {
            verdicts.insert(discard.id, (ReportedAction::Discard, None, discard.reason.to_string()));
        }
        let slots = self.slots(now);
        let forecast = forecast(&candidates, &policies, now, self.spec.time_zone, slots);
        let in_use: HashMap<BackupId, Option<DateTime<Utc>>> =
            self.backups.iter().map(|backup| (backup.id, in_use_until(backup, now))).collect();
        let explained = forecast.backups.into_iter().filter_map(|Outlook { id, relabel, discard }| {
            let (action, to, reason) = verdicts.remove(&id)?;
            let in_use_until = in_use.get(&id).copied().flatten();
            let explanation =
                Explanation { action, to, reason, next_relabel: relabel, discard, in_use_until };
            Some((id, explanation))
        });
        (forecast.until, explained.collect())
    }

    /// The slots to come; one a day where the plan has no schedule.
    fn slots(&self, now: DateTime<Utc>) -> impl Iterator<Item = holdfast_domain::schedule::Slot> + use<> {
        let daily = || Schedule::Daily { window: Window { start: "00:00".to_owned(), minutes: 0 } };
        let schedule = self.plan.schedule.clone().unwrap_or_else(daily);
        schedule.slots(&self.id, self.spec.time_zone, now)
    }

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

    fn preview(&self, other: &Policies, now: DateTime<Utc>, tariff: Option<Tariff<'_>>) -> Preview {
        let backups: Vec<(Candidate, u64)> =
            self.succeeded().filter_map(|backup| Some((Candidate::of(backup)?, backup.bytes()))).collect();
        preview(&backups, &self.policies(), other, now, tariff)
    }

    /// What `policy` costs with backups like the newest scheduled one.
    fn policy_cost(&self, policy: ScheduledPolicy, pricing: &Pricing, now: DateTime<Utc>) -> PolicyCostNote {
        let tariff = match pricing.tariff() {
            Ok(tariff) => tariff,
            Err(unknown) => return PolicyCostNote { policy: None, notes: vec![unknown] },
        };
        let Some(newest) = self.succeeded().find(|backup| backup.trigger == Trigger::Scheduled) else {
            let note = "no scheduled backup has succeeded yet: what the policy costs depends on its size";
            return PolicyCostNote { policy: None, notes: vec![note.to_owned()] };
        };
        let day = now + TimeDelta::days(1);
        let slots_per_day = self.slots(now).take_while(|slot| slot.at <= day).take(24).count().max(1);
        let shape = Shape::of(newest, pricing.architecture);
        let cost = tariff.policy(policy, &shape, u32::try_from(slots_per_day).unwrap_or(24));
        let notes = cost.early.iter().map(ToString::to_string).collect();
        PolicyCostNote { policy: Some(cost), notes }
    }

    /// The last year, each succeeded backup with the mark that it is given.
    fn calendar(&self, now: DateTime<Utc>, mark: impl Fn(&Candidate) -> Option<Mark>) -> Calendar {
        let kept = self.backups.iter().filter_map(|backup| {
            let candidate = Candidate::of(backup)?;
            Some((candidate.date(), mark(&candidate)?))
        });
        let gone = self
            .backups
            .iter()
            .filter(|backup| matches!(backup.state, State::Expiring | State::Expired))
            .filter_map(|backup| {
                let day = backup.slot_date.or_else(|| backup.taken_at.map(|at| at.date_naive()))?;
                Some((day, Mark::Discarded))
            });
        let today = now.with_timezone(&self.spec.time_zone).date_naive();
        Calendar::new(kept.chain(gone)).between(today - TimeDelta::days(CALENDAR_DAYS), today)
    }
}

/// One that an application kept when it was removed: its own expiry takes it, or somebody.
fn explain_removed(backup: &Backup, now: DateTime<Utc>) -> Option<Explanation> {
    let candidate = Candidate::of(backup)?;
    let plan = retention::plan_removed(&[candidate], now);
    let in_use_until = in_use_until(backup, now);
    let explanation = |action, reason: String, discard| Explanation {
        action,
        to: None,
        reason,
        next_relabel: None,
        discard,
        in_use_until,
    };
    if let Some(gone) = plan.discarded.first() {
        let reason = gone.reason.to_string();
        let departure = Departure::On { on: now.date_naive(), reason: reason.clone() };
        return Some(explanation(ReportedAction::Discard, reason, departure));
    }
    let reason = plan.kept.first()?.reason.to_string();
    let departure = match backup.expires_at.filter(|_| backup.hold.is_none()) {
        Some(at) => {
            Departure::On { on: at.date_naive(), reason: retention::Reason::Expired { at }.to_string() }
        }
        None => Departure::Never { reason: reason.clone() },
    };
    Some(explanation(ReportedAction::Keep, reason, departure))
}

fn in_use_until(backup: &Backup, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    backups::in_use_until(backup).filter(|until| *until > now)
}

fn reported(policies: &Policies) -> ReportedPolicies {
    ReportedPolicies { scheduled: policies.scheduled.to_string(), on_demand: policies.on_demand.to_string() }
}
