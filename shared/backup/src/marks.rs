//! What is written into the bucket beside the records, so that these can be rebuilt: see [`holdfast_domain::mark`].
//!
//! What is done by a job that is tried again (a label, a verification, bringing back) is marked before it is recorded: the next
//! try writes both. What somebody asks for (a hold, a registration, a plan) is recorded first, since that may be refused, and
//! marked before the answer is given: who was told that a backup is held has it held in both places.

use holdfast_domain::{
    backup::{Backup, State},
    id::{ApplicationId, BackupId, PlanId},
    mark::{self, Mark, Registration, Relabelled},
};

use crate::{
    error::RequestError,
    ports::{Ports, RecordsError, StorageError},
};

const JSON: &str = "application/json";

/// How often a mark is written again because its record has changed meanwhile.
const ATTEMPTS: u32 = 5;

/// What is marked of a backup.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// Its hold.
    Hold,
    /// Its label.
    Label,
    /// Its last verification, once that has ended.
    Verification,
}

impl Of {
    fn file_name(self) -> &'static str {
        match self {
            Self::Hold => mark::HOLD,
            Self::Label => mark::LABEL,
            Self::Verification => mark::VERIFICATION,
        }
    }

    fn mark(self, backup: &Backup) -> Option<Mark> {
        match self {
            Self::Hold => Some(Mark::Hold(backup.hold.clone())),
            Self::Label => {
                Some(Mark::Label(Relabelled { label: backup.label, reason: backup.retention_reason.clone() }))
            }
            Self::Verification => backup.verification.clone().map(Mark::Verification),
        }
    }
}

/// Marks `backup` as it is going to be recorded.
pub(crate) async fn write(ports: &Ports, backup: &Backup, of: Of) -> Result<(), StorageError> {
    match of.mark(backup) {
        Some(mark) => put(ports, &format!("{}{}", backup.prefix(), of.file_name()), &mark).await,
        None => Ok(()),
    }
}

/// Marks a backup as it is recorded: whoever comes last leaves what the record says. One that was let go loses the mark; one
/// that runs has none, for its `backup.json` is still to come.
pub(crate) async fn settle(
    ports: &Ports,
    application: &ApplicationId,
    id: BackupId,
    of: Of,
) -> Result<(), RequestError> {
    let mut written = None;
    for _ in 0..=ATTEMPTS {
        let Some(found) = ports.records.backup(application, id).await? else { return Ok(()) };
        match found.value.state {
            State::Succeeded => {}
            State::Expiring | State::Expired => {
                let key = format!("{}{}", found.value.prefix(), of.file_name());
                return Ok(ports.artifacts.delete(&[key]).await?);
            }
            State::Queued | State::Running | State::Failed | State::Cancelled => return Ok(()),
        }
        let mark = of.mark(&found.value);
        if written.is_some() && written == mark {
            return Ok(());
        }
        write(ports, &found.value, of).await?;
        written = mark;
    }
    Err(RecordsError::Conflict.into())
}

/// Marks that an application is going to be removed.
pub(crate) async fn write_removal(ports: &Ports, application: &ApplicationId) -> Result<(), StorageError> {
    put(ports, &mark::registration_key(application), &Mark::Registration(None)).await
}

/// Marks how an application is registered.
pub(crate) async fn settle_registration(
    ports: &Ports,
    application: &ApplicationId,
) -> Result<(), RequestError> {
    let key = mark::registration_key(application);
    let mut written = None;
    for _ in 0..=ATTEMPTS {
        let found = ports
            .records
            .application(application)
            .await?
            .map(|found| Registration { application: found.value.spec, created_at: found.value.created_at });
        let mark = Mark::Registration(found);
        if written.as_ref() == Some(&mark) {
            return Ok(());
        }
        put(ports, &key, &mark).await?;
        written = Some(mark);
    }
    Err(RecordsError::Conflict.into())
}

/// Marks what a plan says.
pub(crate) async fn settle_plan(ports: &Ports, plan: &PlanId) -> Result<(), RequestError> {
    let mut written = None;
    for _ in 0..=ATTEMPTS {
        let Some(found) = ports.records.plan(plan).await? else { return Ok(()) };
        if written.as_ref() == Some(&found.value.spec) {
            return Ok(());
        }
        put(ports, &mark::plan_key(plan), &Mark::Plan(found.value.spec.clone())).await?;
        written = Some(found.value.spec);
    }
    Err(RecordsError::Conflict.into())
}

async fn put(ports: &Ports, key: &str, mark: &Mark) -> Result<(), StorageError> {
    let bytes = mark.to_json();
    let bytes =
        bytes.map_err(|error| StorageError::Rejected(format!("{key}: it cannot be written: {error}")))?;
    ports.artifacts.put(key, JSON, bytes.into()).await
}
