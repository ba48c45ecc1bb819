//! Carrying out retention: the planner decides, this does what it says, and makes no choice of its own.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use futures::{StreamExt, stream};
use holdfast_domain::{
    application::ApplicationSpec,
    audit::Action,
    backup::{Backup, State, Trigger, Undelete, Verification, VerificationState},
    event::Event,
    id::{ApplicationId, BackupId},
    plan::PlanSpec,
    retention::{self, Candidate, Keep, Policies, Relabel},
};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    backups, discard,
    error::RequestError,
    events,
    isolated::leftovers::{self, Sweep},
    marks, overdue, plans,
    ports::{ApplicationRecord, Ports, RecordsError, Versioned},
    sweep, undelete, verify,
};

/// Applications read at a time.
const PAGE: usize = 100;

/// How long bringing a backup back may take before what was begun is taken back.
const UNDELETE_PATIENCE: TimeDelta = TimeDelta::days(1);

/// How long a verification may take before it is given up.
const VERIFY_PATIENCE: TimeDelta = TimeDelta::days(1);

/// How many applications are worked on at a time.
const SIDE_BY_SIDE: usize = 16;

/// What a retention run did, of one application or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RetentionSummary {
    /// Applications it looked at.
    pub applications: usize,
    /// Backups that stay as they are.
    pub kept: usize,
    /// Backups whose label rose.
    pub relabelled: usize,
    /// Backups that were discarded, or whose interrupted discard was finished.
    pub discarded: usize,
    /// Backups that would have been discarded and are being downloaded; a later run takes them.
    pub in_use: usize,
    /// Backups that are being verified from now on, by their plan.
    pub verifying: usize,
    /// Applications of which no scheduled backup has succeeded for too long.
    pub overdue: usize,
    /// Temporary instances, clusters and snapshots that had outlived their backup, and are being deleted.
    pub copies_swept: usize,
    /// Ended backups of which late invocations had left something, which jobs remove from now on.
    pub swept: usize,
    /// Backups or applications that could not be dealt with; the next run tries again.
    pub failed: usize,
}

/// Plans and carries out the retention of one application, registered or removed. A backup that cannot be dealt with never
/// blocks the others.
pub async fn run(ports: &Ports, application: &ApplicationId) -> Result<RetentionSummary, RequestError> {
    let Some(record) = ports.records.application(application).await? else {
        return removed(ports, application).await;
    };
    let plan = plans::get(ports, &record.value.spec.plan).await?.value.spec;
    let backups = unsettled(ports, application).await?;
    let (_, looked) = look(ports, &record, &plan, &backups).await;
    let mut summary = apply(ports, &record.value, &plan, backups).await;
    summary.add(&looked);
    Ok(summary)
}

/// Plans and carries out what the policies of a registered application say.
async fn apply(
    ports: &Ports,
    record: &ApplicationRecord,
    plan: &PlanSpec,
    backups: Vec<Versioned<Backup>>,
) -> RetentionSummary {
    let policies = Policies { scheduled: plan.scheduled, on_demand: plan.on_demand };
    let candidates = candidates(backups.iter().map(|backup| &backup.value), Some(&record.spec));
    let plan = retention::plan(&candidates, &policies, ports.clock.now());
    execute(ports, &record.id, backups, &plan, Some(&policies)).await
}

/// Looks whether an application is overdue, and gives what there is to tell of that.
async fn look(
    ports: &Ports,
    application: &Versioned<ApplicationRecord>,
    plan: &PlanSpec,
    backups: &[Versioned<Backup>],
) -> (Option<Event>, RetentionSummary) {
    let mut summary = RetentionSummary::default();
    let found = overdue::look(ports, application, plan, backups).await.unwrap_or_else(|error| {
        tracing::error!(application = %application.value.id, %error, "whether it is overdue is left to the next run");
        summary.failed += 1;
        None
    });
    summary.overdue += usize::from(found.is_some());
    (found, summary)
}

/// Looks after every application, for as long as that takes.
pub async fn run_all(ports: &Ports) -> RetentionSummary {
    run_all_within(ports, Duration::MAX).await
}

/// Looks after every application: gives it the next run that its plan says, where a change of the plan was interrupted,
/// and runs its retention. Before that temporary copies of databases that have outlived their backup are deleted; of applications that
/// were removed, what was begun is finished, and what carries an expiry goes when that comes. Trouble with one never keeps the others
/// waiting. Once `time` is spent no more applications are begun: each time it begins with another letter, so that what is left is not
/// always the same.
pub async fn run_all_within(ports: &Ports, time: Duration) -> RetentionSummary {
    let began = Instant::now();
    let mut total = RetentionSummary::default();
    match leftovers::sweep(ports).await {
        Ok(Sweep { swept, failed }) => {
            total.copies_swept += swept;
            total.failed += failed;
        }
        Err(error) => {
            tracing::error!(%error, "temporary copies of databases could not be looked for");
            total.failed += 1;
        }
    }
    total.add(&all_removed(ports).await);
    let left = time.saturating_sub(began.elapsed());
    total.add(&all_registered(ports, left).await);
    total
}

async fn all_removed(ports: &Ports) -> RetentionSummary {
    let mut total = RetentionSummary::default();
    let mut after = None;
    loop {
        let page = match ports.records.removed_applications(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(?after, %error, "the removed applications behind this one could not be read");
                total.failed += 1;
                return total;
            }
        };
        let runs = stream::iter(page.items).map(async |id| {
            let outcome = removed(ports, &id).await;
            (id, outcome)
        });
        total.add_all(runs.buffer_unordered(SIDE_BY_SIDE).collect().await);
        match page.next {
            Some(next) => after = Some(next),
            None => return total,
        }
    }
}

/// From the first one of this run on to the last, and from the beginning up to it.
async fn all_registered(ports: &Ports, time: Duration) -> RetentionSummary {
    let began = Instant::now();
    let mut total = RetentionSummary::default();
    let first = first_of(ports.clock.now());
    let mut after = first.clone();
    // Where it ends, once it has begun again.
    let mut last = None;
    loop {
        if began.elapsed() >= time {
            tracing::error!(?after, "there was no time for the applications behind this one");
            total.failed += 1;
            return total;
        }
        let page = match ports.records.applications(after.as_ref(), PAGE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(?after, %error, "the applications behind this one could not be read");
                total.failed += 1;
                return total;
            }
        };
        let is_wanted = |id: &ApplicationId| last.is_none_or(|last| id <= last);
        let runs = stream::iter(page.items.into_iter().filter(|one| is_wanted(&one.value.id))).map(
            async |application| {
                let id = application.value.id.clone();
                (id, registered(ports, application).await)
            },
        );
        total.add_all(runs.buffer_unordered(SIDE_BY_SIDE).collect().await);
        after = page.next.filter(is_wanted);
        if after.is_none() {
            if last.is_some() || first.is_none() {
                return total;
            }
            last = first.as_ref();
        }
    }
}

/// Behind which application a run begins: not where the last night did, nor the try before this one.
fn first_of(now: DateTime<Utc>) -> Option<ApplicationId> {
    let letters = "0123456789abcdefghijklmnopqrstuvwxyz".chars();
    let moment = now.ordinal0() + now.minute();
    letters.cycle().nth(moment as usize).and_then(|letter| letter.to_string().parse().ok())
}

async fn registered(
    ports: &Ports,
    application: Versioned<ApplicationRecord>,
) -> Result<RetentionSummary, RequestError> {
    let id = application.value.id.clone();
    let plan = plans::get(ports, &application.value.spec.plan).await?.value;
    if plans::align(ports, &plan, application).await? {
        tracing::warn!(application = %id, "its next run was not what its plan says, and was put right");
    }
    let Some(record) = ports.records.application(&id).await? else {
        return removed(ports, &id).await;
    };
    let backups = unsettled(ports, &id).await?;
    let plan = plans::get(ports, &record.value.spec.plan).await?.value;
    let (overdue, looked) = look(ports, &record, &plan.spec, &backups).await;
    if let Some(overdue) = overdue {
        tracing::error!(application = %id, event = overdue.detail(), "no scheduled backup has succeeded for too long");
        // Each night anew, until one succeeds.
        events::tell(ports, Some(overdue)).await;
    }
    let ended = ended_lately(&backups, ports.clock.now());
    let verifiable: Vec<Backup> =
        backups.iter().filter(|one| verify::counts(&one.value)).map(|one| one.value.clone()).collect();
    // Right after they were read, since what one backup is let go of for is another.
    let mut summary = apply(ports, &record.value, &plan.spec, backups).await;
    summary.add(&sweep(ports, &id, &ended).await);
    summary.add(&looked);
    if let Some(days) = plan.spec.verify_days {
        // In the night, and not after each backup.
        let level = plan.spec.verify_level.unwrap_or_default();
        match verify::ask_when_due(ports, &record.value, &verifiable, days, level).await {
            Ok(asked) => summary.verifying += usize::from(asked),
            Err(error) => {
                tracing::error!(application = %id, %error, "its verification is left to the next run");
                summary.failed += 1;
            }
        }
    }
    Ok(summary)
}

/// An application that was removed: no policy applies to what it kept.
async fn removed(ports: &Ports, id: &ApplicationId) -> Result<RetentionSummary, RequestError> {
    if ports.records.application(id).await?.is_some() {
        // It was registered again, and is looked after as such.
        ports.records.forget_application(id).await?;
        return Ok(RetentionSummary::default());
    }
    let backups = unsettled(ports, id).await?;
    let now = ports.clock.now();
    let swept = sweep(ports, id, &ended_lately(&backups, now)).await;
    if backups.iter().all(|backup| is_settled(&backup.value, now)) {
        ports.records.forget_application(id).await?;
        return Ok(RetentionSummary::default());
    }
    let plan = retention::plan_removed(&candidates(backups.iter().map(|backup| &backup.value), None), now);
    let mut summary = execute(ports, id, backups, &plan, None).await;
    summary.add(&swept);
    Ok(summary)
}

/// Those backups of an application that anything may still happen to, newest first; and of the others, whose records are kept for good,
/// those by which its schedule and its verifications are judged: the last scheduled one that succeeded, and those that were verified.
async fn unsettled(ports: &Ports, id: &ApplicationId) -> Result<Vec<Versioned<Backup>>, RequestError> {
    let now = ports.clock.now();
    let mut last_slot = None;
    discard::backups_that(ports, id, |backup| {
        let slot = overdue::success_slot(backup);
        let is_wanted = !is_settled(backup, now) || slot > last_slot || backup.verification.is_some();
        if is_wanted {
            last_slot = last_slot.max(slot);
        }
        is_wanted
    })
    .await
}

/// Whether nothing happens to a backup any more. One that can still be brought back has to be looked after.
fn is_settled(backup: &Backup, now: DateTime<Utc>) -> bool {
    backup.state.is_final()
        && backup.undelete.is_none()
        && backup.undelete_until().is_none_or(|until| until <= now)
        && !sweep::is_looked_after(backup, now)
}

fn ended_lately(backups: &[Versioned<Backup>], now: DateTime<Utc>) -> Vec<Backup> {
    let backups = backups.iter().map(|backup| &backup.value);
    backups.filter(|backup| sweep::is_looked_after(backup, now)).cloned().collect()
}

/// Looks for what late invocations have left of backups that ended lately.
async fn sweep(ports: &Ports, application: &ApplicationId, backups: &[Backup]) -> RetentionSummary {
    let mut summary = RetentionSummary::default();
    for backup in backups {
        match sweep::ask_when_needed(ports, backup).await {
            Ok(asked) => summary.swept += usize::from(asked),
            Err(error) => {
                tracing::error!(%application, backup = %backup.id, %error, "what is left of it is left to the next run");
                summary.failed += 1;
            }
        }
    }
    summary
}

/// Does what the plan says. A backup that cannot be dealt with never blocks the others.
async fn execute(
    ports: &Ports,
    application: &ApplicationId,
    backups: Vec<Versioned<Backup>>,
    plan: &retention::Plan,
    policies: Option<&Policies>,
) -> RetentionSummary {
    let mut summary =
        RetentionSummary { applications: 1, kept: plan.kept.len(), ..RetentionSummary::default() };

    // What an earlier run has begun comes first: those backups are past any policy.
    let (expiring, rest): (Vec<_>, Vec<_>) =
        backups.into_iter().partition(|backup| backup.value.state == State::Expiring);
    for backup in expiring {
        let id = backup.value.id;
        let outcome = discard::finish(ports, backup).await;
        count(outcome, &mut summary.discarded, &mut summary.failed, application, id);
    }

    for backup in rest.iter().map(|backup| &backup.value) {
        let forgotten = |asked: &Undelete| ports.clock.now() - asked.at > UNDELETE_PATIENCE;
        if backup.undelete.as_ref().is_some_and(forgotten) {
            let asked_at = backup.undelete.as_ref().map_or_else(|| ports.clock.now(), |asked| asked.at);
            let reason = "the job for it was lost";
            let outcome = undelete::give_up(ports, application, backup.id, asked_at, reason).await;
            let outcome = outcome.map_err(|error| RequestError::Unavailable(error.to_string()));
            count(outcome, &mut 0, &mut summary.failed, application, backup.id);
        }
        let forgotten = |last: &&Verification| {
            last.state == VerificationState::Running && ports.clock.now() - last.at > VERIFY_PATIENCE
        };
        if let Some(last) = backup.verification.as_ref().filter(forgotten) {
            let outcome = verify::forget(ports, application, backup.id, last.at).await;
            let outcome = outcome.map_err(|error| RequestError::Unavailable(error.to_string()));
            count(outcome, &mut 0, &mut summary.failed, application, backup.id);
        }
    }

    let mut by_id: HashMap<BackupId, Versioned<Backup>> =
        rest.into_iter().map(|backup| (backup.value.id, backup)).collect();
    let failed_before = summary.failed;
    for step in &plan.relabelled {
        if let Some(backup) = by_id.remove(&step.id) {
            let outcome = relabel(ports, backup, step, policies).await;
            count(outcome, &mut summary.relabelled, &mut summary.failed, application, step.id);
        }
    }
    let all_relabelled = summary.failed == failed_before;
    if !plan.discarded.is_empty() && !stay(ports, application, &plan.kept, &by_id).await {
        tracing::warn!(%application, "what stays has changed since it was planned; the next run plans anew");
        summary.failed += 1;
        return summary;
    }
    for step in &plan.discarded {
        let Some(backup) = by_id.remove(&step.id) else { continue };
        // Another backup's new label may be what lets this one go: without it, the next run plans anew.
        if !all_relabelled && backup.value.trigger == Trigger::Scheduled {
            summary.failed += 1;
            continue;
        }
        if backups::in_use_until(&backup.value).is_some_and(|until| until > ports.clock.now()) {
            summary.in_use += 1;
            continue;
        }
        let actor = actor(policies, backup.value.trigger);
        let outcome = discard::discard(ports, backup, &actor, Action::Discard, step.reason.to_string()).await;
        count(outcome, &mut summary.discarded, &mut summary.failed, application, step.id);
    }
    summary
}

/// Whether all that stays by the plan is still as good as it was `seen`: what goes, goes because of it.
async fn stay(
    ports: &Ports,
    application: &ApplicationId,
    kept: &[Keep],
    seen: &HashMap<BackupId, Versioned<Backup>>,
) -> bool {
    let looks = stream::iter(kept.iter().filter_map(|step| seen.get(&step.id))).map(async |before| {
        let found = ports.records.backup(application, before.value.id).await;
        found.is_ok_and(|found| {
            found.is_some_and(|now| {
                now.value.state == State::Succeeded && now.value.is_damaged() == before.value.is_damaged()
            })
        })
    });
    looks.buffer_unordered(SIDE_BY_SIDE).all(async |is_good| is_good).await
}

impl RetentionSummary {
    fn add_all(&mut self, runs: Vec<(ApplicationId, Result<Self, RequestError>)>) {
        for (application, outcome) in runs {
            match outcome {
                Ok(one) => self.add(&one),
                Err(error) => {
                    tracing::error!(%application, %error, "retention could not be run; the next run tries again");
                    self.applications += 1;
                    self.failed += 1;
                }
            }
        }
    }

    fn add(&mut self, other: &Self) {
        self.applications += other.applications;
        self.kept += other.kept;
        self.relabelled += other.relabelled;
        self.discarded += other.discarded;
        self.in_use += other.in_use;
        self.verifying += other.verifying;
        self.overdue += other.overdue;
        self.copies_swept += other.copies_swept;
        self.swept += other.swept;
        self.failed += other.failed;
    }
}

/// The succeeded ones as retention sees them; one that lacks a service of `spec` is a partial one.
pub(crate) fn candidates<'a>(
    backups: impl Iterator<Item = &'a Backup>,
    spec: Option<&ApplicationSpec>,
) -> Vec<Candidate> {
    let lacks = |backup| spec.is_some_and(|spec| !has_all(backup, spec));
    backups.filter_map(|backup| Some(Candidate::of(backup)?.with_partial(lacks(backup)))).collect()
}

/// Whether a backup was made of every service that is registered.
pub(crate) fn has_all(backup: &Backup, spec: &ApplicationSpec) -> bool {
    spec.services.iter().all(|service| backup.services.contains(service.name()))
}

async fn relabel(
    ports: &Ports,
    backup: Versioned<Backup>,
    step: &Relabel,
    policies: Option<&Policies>,
) -> Result<(), RequestError> {
    let Versioned { value: mut backup, version } = backup;
    let now = ports.clock.now();
    let reason = step.reason.to_string();
    let audit = ports
        .audit(now, actor(policies, backup.trigger), Action::Relabel)
        .to_backup(backup.id)
        .changing(Some(step.from.as_str().to_owned()), Some(step.to.as_str().to_owned()))
        .because(reason.clone());
    backup.label = Some(step.to);
    backup.retention_reason = Some(reason);
    marks::write(ports, &backup, marks::Of::Label).await?;
    let updated = ports.records.update_backup(&backup, version, &[audit]).await;
    if matches!(updated, Err(RecordsError::Conflict)) {
        // Somebody was faster, and the mark must not stay ahead of what the record says now.
        marks::settle(ports, &backup.application, backup.id, marks::Of::Label).await?;
    }
    updated?;
    Ok(())
}

/// The rule that did it, for the audit trail; none applies to a removed application but a backup's own expiry.
fn actor(policies: Option<&Policies>, trigger: Trigger) -> String {
    match (policies, trigger) {
        (Some(policies), Trigger::Scheduled) => format!("policy {}", policies.scheduled),
        (Some(policies), Trigger::OnDemand) => format!("policy {}", policies.on_demand),
        (None, _) => "expiry".to_owned(),
    }
}

fn count<T>(
    outcome: Result<T, RequestError>,
    done: &mut usize,
    failed: &mut usize,
    application: &ApplicationId,
    backup: BackupId,
) {
    match outcome {
        Ok(_) => *done += 1,
        Err(error) => {
            tracing::error!(%application, %backup, %error, "left to the next retention run");
            *failed += 1;
        }
    }
}
