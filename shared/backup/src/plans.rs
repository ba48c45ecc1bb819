//! Making and changing plans.

use holdfast_domain::{
    audit::{Action, AuditEntry},
    id::PlanId,
    plan::PlanSpec,
};

use crate::{
    applications::{Registered, next_run},
    error::RequestError,
    marks,
    ports::{ApplicationRecord, Page, PlanRecord, Ports, RecordsError, Versioned},
};

/// Applications read at a time while a changed schedule is passed on.
const PAGE: usize = 100;

/// How often an application is read and written again that somebody else keeps changing.
const ATTEMPTS: u32 = 5;

/// Makes or changes a plan. `expected` is the version it has; `None` for a new one, and for `default` until it is
/// changed for the first time. Applications on the plan move to its new schedule at once.
pub async fn put(
    ports: &Ports,
    actor: &str,
    id: &PlanId,
    spec: PlanSpec,
    expected: Option<u64>,
) -> Result<Registered<PlanRecord>, RequestError> {
    spec.validate()?;
    let now = ports.clock.now();
    let before = ports.records.plan(id).await?;
    // What applied so far: `default` does before anybody has written it down.
    let applied = match &before {
        Some(plan) => Some(describe(&plan.value.spec)),
        None if *id == PlanId::default_plan() => Some(describe(&PlanSpec::default_plan())),
        None => None,
    };
    let audit = ports.audit(now, actor, Action::PlanChange).changing(applied, Some(describe(&spec)));
    let record = PlanRecord { id: id.clone(), spec, updated_at: now };
    let version = ports.records.put_plan(&record, expected, &audit).await?;
    marks::settle_plan(ports, id).await.map_err(|error| {
        RequestError::Unavailable(format!(
            "the plan {id} was changed, and could not be marked in the bucket: {error}; put it again"
        ))
    })?;
    reschedule(ports, &record).await?;
    Ok(Registered { record: Versioned { value: record, version }, created: before.is_none() })
}

/// One plan. `default` exists from the start, as version 0.
pub async fn get(ports: &Ports, id: &PlanId) -> Result<Versioned<PlanRecord>, RequestError> {
    match ports.records.plan(id).await? {
        Some(plan) => Ok(plan),
        None if *id == PlanId::default_plan() => Ok(built_in()),
        None => Err(RequestError::not_found("plan", id)),
    }
}

/// All plans in the order of their slugs.
pub async fn list(ports: &Ports) -> Result<Vec<Versioned<PlanRecord>>, RequestError> {
    let mut plans = ports.records.plans().await?;
    if !plans.iter().any(|plan| plan.value.id == PlanId::default_plan()) {
        plans.push(built_in());
        plans.sort_by(|a, b| a.value.id.cmp(&b.value.id));
    }
    Ok(plans)
}

/// A plan's audit trail, newest first. That of a `default` which nobody has changed is empty.
pub async fn events(
    ports: &Ports,
    id: &PlanId,
    before: Option<&str>,
    limit: usize,
) -> Result<Page<AuditEntry, String>, RequestError> {
    get(ports, id).await?;
    Ok(ports.records.plan_audit(id, before, limit).await?)
}

fn built_in() -> Versioned<PlanRecord> {
    let record = PlanRecord {
        id: PlanId::default_plan(),
        spec: PlanSpec::default_plan(),
        updated_at: chrono::DateTime::UNIX_EPOCH,
    };
    Versioned { value: record, version: 0 }
}

/// A plan in a line, for the audit trail.
fn describe(spec: &PlanSpec) -> String {
    let schedule = spec.schedule.as_ref().map_or_else(|| "no schedule".to_owned(), ToString::to_string);
    let limit = spec.limits.on_demand_per_day;
    format!("{schedule}; {}; {}; {limit} on demand a day", spec.scheduled, spec.on_demand)
}

/// Moves the applications on a plan to its schedule, also when the schedule has not just changed, so that repeating a
/// change that was interrupted finishes it.
async fn reschedule(ports: &Ports, plan: &PlanRecord) -> Result<(), RequestError> {
    let mut after = None;
    loop {
        let page = ports.records.applications(after.as_ref(), PAGE).await?;
        for application in page.items.into_iter().filter(|application| application.value.spec.plan == plan.id)
        {
            align(ports, plan, application).await?;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Gives an application the next run that its plan says, and tells whether it had another. One that is due is left to the
/// tick, which goes by the plan as it is. A write of somebody else at the same moment is read, and answered anew.
pub(crate) async fn align(
    ports: &Ports,
    plan: &PlanRecord,
    application: Versioned<ApplicationRecord>,
) -> Result<bool, RequestError> {
    let id = application.value.id.clone();
    let mut found = Some(application);
    for _ in 0..ATTEMPTS {
        let Some(Versioned { value: record, version }) = found else { return Ok(false) };
        if record.spec.plan != plan.id {
            return Ok(false);
        }
        let now = ports.clock.now();
        let next_run_at = next_run(&plan.spec, &id, &record.spec, now);
        let is_due = next_run_at.is_some() && record.next_run_at.is_some_and(|at| at <= now);
        if is_due || next_run_at == record.next_run_at {
            return Ok(false);
        }
        let audit = ports
            .audit(now, format!("plan {}", plan.id), Action::Update)
            .changing(record.next_run_at.map(|at| at.to_rfc3339()), next_run_at.map(|at| at.to_rfc3339()))
            .because("the schedule of its plan");
        let record = ApplicationRecord { next_run_at, scheduled_since: Some(now), ..record };
        match ports.records.put_application(&record, Some(version), &audit).await {
            Ok(_) => return Ok(true),
            Err(RecordsError::Conflict) => found = ports.records.application(&id).await?,
            Err(error) => return Err(error.into()),
        }
    }
    Err(RecordsError::Conflict.into())
}
