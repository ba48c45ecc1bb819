//! Looking whether an application's scheduled backups succeed as its plan promises, and writing down since when they do not.

use chrono::{DateTime, Utc};
use holdfast_domain::{
    audit::Action,
    backup::{Backup, State, Trigger},
    event::{Event, What},
    plan::PlanSpec,
};

use crate::{
    error::RequestError,
    ports::{ApplicationRecord, Ports, RecordsError, Versioned},
};

/// Looks at all backups of an application. Its record says afterwards since when it is overdue; what there is to tell others of it
/// as long as it is, is returned.
pub(crate) async fn look(
    ports: &Ports,
    application: &Versioned<ApplicationRecord>,
    plan: &PlanSpec,
    backups: &[Versioned<Backup>],
) -> Result<Option<Event>, RequestError> {
    let Versioned { value: record, version } = application;
    let now = ports.clock.now();
    let last = last_success_slot(backups);
    let schedule_began = record.scheduled_since.unwrap_or(record.created_at);
    let since = last.map_or(schedule_began, |slot| slot.max(schedule_began));
    let overdue = plan
        .schedule
        .as_ref()
        .and_then(|schedule| schedule.overdue_since(&record.id, record.spec.time_zone, since, now));
    if overdue != record.overdue_since {
        write_down(ports, record, *version, overdue, now).await?;
    }
    Ok(overdue.map(|overdue_since| Event {
        application: record.id.clone(),
        at: now,
        what: What::Overdue { overdue_since, last_success_slot: last, plan: record.spec.plan.clone() },
    }))
}

fn last_success_slot(backups: &[Versioned<Backup>]) -> Option<DateTime<Utc>> {
    backups.iter().filter_map(|backup| success_slot(&backup.value)).max()
}

/// The slot of a backup that succeeded and, as far as is known, could be restored: whether it was let go of since does not matter.
pub(crate) fn success_slot(backup: &Backup) -> Option<DateTime<Utc>> {
    let has_succeeded = backup.trigger == Trigger::Scheduled
        && matches!(backup.state, State::Succeeded | State::Expiring | State::Expired)
        && !backup.is_damaged();
    backup.slot_at.filter(|_| has_succeeded)
}

async fn write_down(
    ports: &Ports,
    record: &ApplicationRecord,
    version: u64,
    overdue_since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), RequestError> {
    let words = |at: Option<DateTime<Utc>>| at.map(|at| format!("overdue since {}", at.to_rfc3339()));
    let audit = ports
        .audit(now, "schedule", Action::Update)
        .changing(words(record.overdue_since), words(overdue_since))
        .because(match overdue_since {
            Some(_) => "no scheduled backup has succeeded for too long",
            None => "its scheduled backups are as its plan says",
        });
    let record = ApplicationRecord { overdue_since, ..record.clone() };
    match ports.records.put_application(&record, Some(version), &audit).await {
        // Whoever was faster has left it as it was: the next run looks again.
        Ok(_) | Err(RecordsError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
