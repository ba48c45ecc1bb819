//! Retention that explains itself: why each backup is kept and when it goes, what it costs, and what another policy would
//! keep instead. Nothing here changes anything.

mod calendar;
mod preview;
mod pricing;
mod report;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use holdfast_domain::{
    application::ApplicationSpec,
    backup::{Backup, Label, State},
    id::{ApplicationId, BackupId},
    plan::PlanSpec,
    retention::{
        self, Candidate, Policies,
        forecast::{Departure, NextRelabel, Outlook, forecast},
        preview::VerdictAction,
    },
    schedule::{Schedule, Slot, Window},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    applications, backups, discard,
    error::RequestError,
    plans,
    ports::{Ports, Versioned},
    retain,
};

pub use calendar::{calendar, try_out_calendar};
pub use preview::{PreviewReport, PreviewRequest, try_out};
pub use pricing::{PolicyEstimate, Pricing};
pub use report::{ReportLine, ReportedCost, ReportedPolicies, RetentionReport, report};

/// Days over which a plan's slots are counted: whole weeks.
const RHYTHM_DAYS: i64 = 28;

/// Why a backup is kept or goes, and when.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// What the next run does.
    pub action: VerdictAction,
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

    fn succeeded(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|backup| backup.state == State::Succeeded)
    }

    fn candidates(&self) -> Vec<Candidate> {
        retain::candidates(self.backups.iter(), Some(&self.spec))
    }

    /// What the next run does with each succeeded backup, and the last day of the forecast.
    fn explain(&self, now: DateTime<Utc>) -> (NaiveDate, HashMap<BackupId, Explanation>) {
        let (candidates, policies) = (self.candidates(), self.policies());
        let plan = retention::plan(&candidates, &policies, now);
        let mut verdicts = HashMap::new();
        let recorded: HashMap<BackupId, &Backup> =
            self.backups.iter().map(|backup| (backup.id, backup)).collect();
        for keep in &plan.kept {
            let reason = recorded.get(&keep.id).and_then(|backup| backup.retention_reason.as_deref());
            verdicts.insert(keep.id, (VerdictAction::Keep, None, keep.explain(reason)));
        }
        for relabel in &plan.relabelled {
            let verdict = (VerdictAction::Relabel, Some(relabel.to), relabel.reason.to_string());
            verdicts.insert(relabel.id, verdict);
        }
        for discard in &plan.discarded {
            verdicts.insert(discard.id, (VerdictAction::Discard, None, discard.reason.to_string()));
        }
        let forecast = forecast(&candidates, &policies, now, self.spec.time_zone, self.daily_slots(now));
        let explained = forecast.backups.into_iter().filter_map(|Outlook { id, relabel, discard }| {
            let (action, to, reason) = verdicts.remove(&id)?;
            let in_use_until = recorded.get(&id).and_then(|backup| in_use_until(backup, now));
            let explanation =
                Explanation { action, to, reason, next_relabel: relabel, discard, in_use_until };
            Some((id, explanation))
        });
        (forecast.until, explained.collect())
    }

    /// Slots to come, at least one a day: a forecast is one of daily successes, whatever the plan's rhythm.
    fn daily_slots(&self, now: DateTime<Utc>) -> impl Iterator<Item = Slot> + use<> {
        let daily = Schedule::Daily { window: Window { start: "00:00".to_owned(), minutes: 0 } };
        let own =
            self.plan.schedule.clone().filter(|_| self.slots_to_come(now) >= RHYTHM_DAYS.unsigned_abs());
        own.unwrap_or(daily).slots(&self.id, self.spec.time_zone, now)
    }

    /// How many slots the plan has in the days over which its rhythm is counted.
    fn slots_to_come(&self, now: DateTime<Utc>) -> u64 {
        let Some(schedule) = &self.plan.schedule else { return 0 };
        let end = now + TimeDelta::days(RHYTHM_DAYS);
        let slots = schedule.slots(&self.id, self.spec.time_zone, now).take_while(|slot| slot.at <= end);
        slots.fold(0, |count, _| count + 1)
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
        return Some(explanation(VerdictAction::Discard, reason, departure));
    }
    let reason = plan.kept.first()?.reason.to_string();
    let departure = match backup.expires_at.filter(|_| backup.hold.is_none()) {
        Some(at) => {
            Departure::On { on: at.date_naive(), reason: retention::Reason::Expired { at }.to_string() }
        }
        None => Departure::Never { reason: reason.clone() },
    };
    Some(explanation(VerdictAction::Keep, reason, departure))
}

fn in_use_until(backup: &Backup, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    backups::in_use_until(backup).filter(|until| *until > now)
}
