//! Registering and removing applications.

use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::{ApplicationSpec, MysqlService, PostgresService, Service},
    audit::Action,
    backup::State,
    id::ApplicationId,
    invalid::Invalid,
    plan::PlanSpec,
    region::Region,
};

use crate::{
    discard,
    error::RequestError,
    hold, marks, plans,
    ports::{ApplicationRecord, Page, Ports, RecordsError, SecretError, StorageError, Versioned},
};

/// Facts about the stack that a registration is checked against.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The region it runs in and keeps backups in.
    pub region: Region,
    /// The bucket it keeps backups in.
    pub bucket: String,
}

/// What became of a registration.
#[derive(Debug, Clone)]
pub struct Registered<T> {
    /// The record as it is now.
    pub record: Versioned<T>,
    /// Whether it is new.
    pub created: bool,
}

/// What becomes of the backups of an application that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// They stay, and stay downloadable, until somebody deletes them or their own expiry comes; no policy applies to them
    /// any more.
    Keep,
    /// They are deleted; within the grace period they can be brought back.
    Delete,
}

/// Registers an application, or changes its registration. `expected` is the version it has, `None` for a new one.
pub async fn register(
    ports: &Ports,
    stack: &Stack,
    actor: &str,
    id: &ApplicationId,
    spec: ApplicationSpec,
    expected: Option<u64>,
) -> Result<Registered<ApplicationRecord>, RequestError> {
    spec.validate(&stack.region, &stack.bucket)?;
    let plan = plans::get(ports, &spec.plan).await.map_err(|error| match error {
        RequestError::NotFound { .. } => Invalid::new(
            "plan",
            format!("names a plan that does not exist: {:?}", spec.plan.as_str()),
            "make the plan first, or use \"default\"",
        )
        .into(),
        other => other,
    })?;
    check_reachable(ports, stack, &spec).await?;

    let now = ports.clock.now();
    let existing = ports.records.application(id).await?;
    let created = existing.is_none();
    let old_plan = existing.as_ref().map(|existing| existing.value.spec.plan.clone());
    let record = match existing.map(|existing| existing.value) {
        None => ApplicationRecord {
            id: id.clone(),
            next_run_at: next_run(&plan.value.spec, id, &spec, now),
            spec,
            created_at: now,
            updated_at: now,
            scheduled_until: now,
            scheduled_since: Some(now),
            overdue_since: None,
        },
        Some(existing) => {
            // A slot that is due already is kept, unless the application now lives by another schedule.
            let same = existing.spec.plan == spec.plan && existing.spec.time_zone == spec.time_zone;
            if same {
                ApplicationRecord { spec, updated_at: now, ..existing }
            } else {
                let next_run_at = next_run(&plan.value.spec, id, &spec, now);
                ApplicationRecord {
                    spec,
                    updated_at: now,
                    next_run_at,
                    scheduled_since: Some(now),
                    overdue_since: None,
                    ..existing
                }
            }
        }
    };
    let mut audit =
        ports.audit(now, actor, if created { Action::Register } else { Action::Update }).changing(
            expected.map(|version| format!("version {version}")),
            Some(format!("version {}", expected.unwrap_or(0) + 1)),
        );
    if let Some(old) = old_plan.filter(|old| *old != record.spec.plan) {
        audit = audit.because(format!("from the plan {old} to the plan {}", record.spec.plan));
    }
    let version = ports.records.put_application(&record, expected, &audit).await?;
    marks::settle_registration(ports, id).await.map_err(|error| {
        RequestError::Unavailable(format!(
            "the registration of {id} was changed, and could not be marked in the bucket: {error}; read it, then put it again"
        ))
    })?;
    Ok(Registered { record: Versioned { value: record, version }, created })
}

/// One application.
pub async fn get(ports: &Ports, id: &ApplicationId) -> Result<Versioned<ApplicationRecord>, RequestError> {
    ports.records.application(id).await?.ok_or_else(|| RequestError::not_found("application", id))
}

/// Applications in the order of their slugs.
pub async fn list(
    ports: &Ports,
    after: Option<&ApplicationId>,
    limit: usize,
) -> Result<Page<Versioned<ApplicationRecord>, ApplicationId>, RequestError> {
    Ok(ports.records.applications(after, limit).await?)
}

/// Removes an application. Its running backups and restores must have ended. Killed in between, repeating it finishes the work: the
/// registration goes last.
pub async fn remove(
    ports: &Ports,
    actor: &str,
    id: &ApplicationId,
    expected: Option<u64>,
    fate: Fate,
) -> Result<(), RequestError> {
    let application = get(ports, id).await?;
    if expected.is_some_and(|expected| expected != application.version) {
        return Err(RequestError::Conflict(format!(
            "the application {id} has been changed since; read it again"
        )));
    }
    let backups = discard::all_backups(ports, id).await?;
    if let Some(open) = backups.iter().find(|backup| backup.value.state.is_open()) {
        return Err(RequestError::Conflict(format!(
            "the backup {} of {id} is still running; cancel it or wait for its end, then remove the application",
            open.value.id
        )));
    }
    refuse_while_restored(ports, id).await?;
    if fate == Fate::Delete {
        // Before the first one goes.
        backups.iter().try_for_each(|backup| hold::refuse_held(&backup.value))?;
        if let Some(coming) = backups.iter().find(|backup| backup.value.undelete.is_some()) {
            return Err(RequestError::Conflict(format!(
                "the backup {} of {id} is being brought back; wait for that, then remove the application",
                coming.value.id
            )));
        }
        for backup in backups {
            match backup.value.state {
                State::Succeeded => {
                    discard::discard(
                        ports,
                        backup,
                        actor,
                        Action::Delete,
                        "the application was removed".to_owned(),
                    )
                    .await?;
                }
                State::Expiring => {
                    discard::finish(ports, backup).await?;
                }
                State::Queued | State::Running | State::Failed | State::Cancelled | State::Expired => {}
            }
        }
    }
    let now = ports.clock.now();
    let audit = ports
        .audit(now, actor, Action::Remove)
        .changing(Some(format!("version {}", application.version)), None)
        .because(match fate {
            Fate::Keep => "backups are kept",
            Fate::Delete => "backups are deleted",
        });
    marks::write_removal(ports, id).await?;
    let removed = ports.records.delete_application(id, application.version, &audit).await;
    if matches!(removed, Err(RecordsError::Conflict)) {
        marks::settle_registration(ports, id).await?;
    }
    Ok(removed?)
}

/// Refuses to remove what a restore goes into. One is open at a time, so it is the newest.
async fn refuse_while_restored(ports: &Ports, id: &ApplicationId) -> Result<(), RequestError> {
    let newest = ports.records.restores(id, None, 1).await?.items;
    match newest.into_iter().find(|restore| restore.value.state.is_open()) {
        Some(open) => Err(RequestError::Conflict(format!(
            "the restore {} into {id} has not ended yet; cancel it or wait for its end, then remove the application",
            open.value.id
        ))),
        None => Ok(()),
    }
}

/// The first slot after `after`, where the plan has a schedule.
pub(crate) fn next_run(
    plan: &PlanSpec,
    id: &ApplicationId,
    spec: &ApplicationSpec,
    after: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    plan.schedule.as_ref()?.next_slot(id, spec.time_zone, after).map(|slot| slot.at)
}

/// Asks the buckets and secrets whether they are there, and in this region.
async fn check_reachable(ports: &Ports, stack: &Stack, spec: &ApplicationSpec) -> Result<(), RequestError> {
    for (index, service) in spec.services.iter().enumerate() {
        match service {
            Service::Storage(storage) => {
                let field = format!("services[{index}].bucket");
                let found = ports.media.region(&storage.bucket).await.map_err(|error| match error {
                    StorageError::NotFound(_) => RequestError::from(Invalid::new(
                        &field,
                        format!("names a bucket that does not exist: {}", storage.bucket),
                        "make the bucket first, or mend the name",
                    )),
                    StorageError::Denied(_) => Invalid::new(
                        &field,
                        format!("names a bucket that this stack may not read: {}", storage.bucket),
                        "let the stack's parameter MediaBucketPattern and the bucket's policy allow it",
                    )
                    .into(),
                    other => other.into(),
                })?;
                if found != stack.region {
                    return Err(Invalid::new(
                        &field,
                        format!("names a bucket in region {found}: {}", storage.bucket),
                        format!(
                            "register the application with the stack of {found}; this one keeps backups of {}",
                            stack.region
                        ),
                    )
                    .into());
                }
            }
            Service::Postgres(PostgresService { secret_arn, .. })
            | Service::Mysql(MysqlService { secret_arn, .. }) => {
                let field = format!("services[{index}].secret_arn");
                match ports.secrets.exists(secret_arn).await {
                    Ok(true) => {}
                    Ok(false) => {
                        let missing = SecretError::NotFound(secret_arn.clone());
                        return Err(Invalid::new(
                            field,
                            missing.to_string(),
                            "the secret holds {\"username\", \"password\"}",
                        )
                        .into());
                    }
                    Err(SecretError::Unavailable(reason)) => return Err(RequestError::Unavailable(reason)),
                    Err(error) => {
                        return Err(Invalid::new(
                            field,
                            error.to_string(),
                            "then register the application again",
                        )
                        .into());
                    }
                }
            }
        }
    }
    Ok(())
}
