//! Asking for a restore, looking at restores, cancelling one and taking one back. [`crate::restoring`] does the work.

mod chosen;
mod origin;
mod undo;

use holdfast_domain::{
    audit::{Action, AuditEntry},
    id::{ApplicationId, BackupId, RestoreId},
    invalid::Invalid,
    restore::{Mapping, Origin, Restore, RestoreOptions, RestoreState},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    applications,
    error::RequestError,
    job::Job,
    ports::{IdempotencyKey, NewRestore, Page, Ports, RecordsError, RestoreCreation, Versioned},
};

pub(crate) use chosen::namesakes;
pub(crate) use origin::{agrees, hold_off_policies, refuse_damaged, refuse_unrestorable};
use undo::Undone;
pub use undo::undo;

/// Records read at a time while a filter looks for matches.
const PAGE: usize = 100;

/// How often a cancellation is tried while the running slice writes down how far it has come.
const CANCEL_ATTEMPTS: u32 = 8;

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The backup to restore.
    pub from: RequestedOrigin,
    /// What goes where; without it every service of the backup goes into the one that has its name and kind, if there is one.
    #[serde(default)]
    pub services: Option<Vec<Mapping>>,
    /// How to go about it.
    #[serde(default)]
    pub options: RestoreOptions,
}

/// The backup to restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestedOrigin {
    /// The application it is a backup of; without it, the one that is restored. Another one's registration must name this
    /// one in `restore_into`.
    #[serde(default)]
    pub application: Option<ApplicationId>,
    /// The backup.
    pub backup: BackupId,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub struct Requested {
    /// The restore.
    pub restore: Versioned<Restore>,
    /// Whether the same request had been made before, and this is the restore it made then.
    pub repeated: bool,
}

/// Which restores a list shows; an empty filter shows all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// In one of these states; any state if empty.
    pub states: Vec<RestoreState>,
}

/// Starts a restore into `application`. With an idempotency key, repeating the request gives the same restore.
pub async fn create(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    request: RestoreRequest,
    idempotency: Option<String>,
) -> Result<Requested, RequestError> {
    let fingerprint = serde_json::to_string(&request).map_err(|error| {
        RequestError::Unavailable(format!("the request could not be written down: {error}"))
    })?;
    let idempotency = idempotency.map(|key| IdempotencyKey { key, fingerprint });
    start(ports, actor, application, request, idempotency, None).await
}

/// One restore.
pub async fn get(
    ports: &Ports,
    application: &ApplicationId,
    id: RestoreId,
) -> Result<Versioned<Restore>, RequestError> {
    ports.records.restore(application, id).await?.ok_or_else(|| RequestError::not_found("restore", &id))
}

/// Restores into an application that `filter` shows, newest first.
pub async fn list(
    ports: &Ports,
    application: &ApplicationId,
    filter: &Filter,
    before: Option<RestoreId>,
    limit: usize,
) -> Result<Page<Versioned<Restore>, RestoreId>, RequestError> {
    let mut items: Vec<Versioned<Restore>> = Vec::new();
    let mut cursor = before;
    loop {
        let page = ports.records.restores(application, cursor, PAGE).await?;
        if before.is_none() && cursor.is_none() && page.items.is_empty() {
            // Nothing at all: tell an application without restores from one that does not exist.
            applications::get(ports, application).await?;
        }
        for restore in page.items {
            if !filter.states.is_empty() && !filter.states.contains(&restore.value.state) {
                continue;
            }
            if items.len() == limit {
                let next = items.last().map(|last| last.value.id);
                return Ok(Page { items, next });
            }
            items.push(restore);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(Page { items, next: None }),
        }
    }
}

/// Asks a restore to stop. The running slice notices within seconds, cleans up, and the restore becomes `cancelled`; what is
/// restored by then stays.
pub async fn cancel(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: RestoreId,
) -> Result<Versioned<Restore>, RequestError> {
    let mut attempt = 1;
    loop {
        let Versioned { value: mut restore, version } = get(ports, application, id).await?;
        if !restore.state.is_open() {
            return Err(RequestError::Conflict(format!(
                "the restore {id} is {} and cannot be cancelled any more",
                restore.state.as_str()
            )));
        }
        if restore.cancel_requested_at.is_some() {
            return Ok(Versioned { value: restore, version });
        }
        let now = ports.clock.now();
        restore.cancel_requested_at = Some(now);
        let audit = ports
            .audit(now, actor, Action::Cancel)
            .to_restore(id)
            .changing(Some(restore.state.as_str().to_owned()), None);
        match ports.records.update_restore(&restore, version, &[audit]).await {
            Ok(version) => return Ok(Versioned { value: restore, version }),
            // The running slice writes every few seconds.
            Err(RecordsError::Conflict) if attempt < CANCEL_ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Checks a request, writes its restore down, and starts the job.
async fn start(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    request: RestoreRequest,
    idempotency: Option<IdempotencyKey>,
    undoes: Option<Undone>,
) -> Result<Requested, RequestError> {
    if let Some(IdempotencyKey { key, fingerprint }) = &idempotency
        && let Some((id, used_for)) = ports.records.restore_idempotency(application, key).await?
    {
        return repeated(ports, application, id, used_for == *fingerprint).await;
    }
    let target = applications::get(ports, application).await?.value.spec;
    let from = Origin {
        application: request.from.application.unwrap_or_else(|| application.clone()),
        backup: request.from.backup,
    };
    if let Some(undone) = &undoes {
        undone.check_places(&target, request.services.as_deref().unwrap_or_default())?;
    }
    let backup = origin::keep(ports, &from, application).await?;
    let services = chosen::choose(&backup, application, &target, request.services)?;
    chosen::check_options(&request.options, &services, &target, undoes.is_some())?;

    let now = ports.clock.now();
    let id = ports.entropy.restore_id(now);
    let mut restore =
        Restore::queued(id, application.clone(), from, services, request.options, actor.to_owned(), now);
    restore.undoes = undoes.map(|undone| undone.id);
    let is_elsewhere = restore.from.application != *application;
    let audit = || ports.audit(now, actor, Action::Request).to_restore(id).to_backup(restore.from.backup);
    let new = NewRestore {
        audit: audit().because(purpose(&restore)),
        audit_of_origin: is_elsewhere.then(|| audit().because(format!("to be restored into {application}"))),
        target,
        idempotency: idempotency.clone(),
        restore: restore.clone(),
    };
    match ports.records.create_restore(&new).await? {
        RestoreCreation::Created => {
            let job = Job::Restore { application: application.clone(), id };
            if let Err(error) = ports.executions.start(&job).await {
                // The record is there, and the tick starts what is queued: the request has been taken.
                tracing::warn!(%application, restore = %id, %error, "left to the tick to start");
            }
            Ok(Requested { restore: Versioned { value: restore, version: 1 }, repeated: false })
        }
        RestoreCreation::Repeated { id, fingerprint } => {
            let same = idempotency.is_some_and(|used| used.fingerprint == fingerprint);
            repeated(ports, application, id, same).await
        }
        RestoreCreation::Busy(id) => Err(RequestError::Conflict(format!(
            "the restore {id} into {application} has not ended yet; follow or cancel it, then ask again"
        ))),
    }
}

/// Why it was asked for, as the audit trail has it.
fn purpose(restore: &Restore) -> String {
    let Origin { application, backup } = &restore.from;
    let only = if restore.options.dry_run { ", only to look" } else { "" };
    match restore.undoes {
        Some(undone) => format!("undoes the restore {undone}{only}"),
        None if *application == restore.application => format!("of the backup {backup}{only}"),
        None => format!("of the backup {backup} of {application}{only}"),
    }
}

async fn repeated(
    ports: &Ports,
    application: &ApplicationId,
    id: RestoreId,
    same: bool,
) -> Result<Requested, RequestError> {
    if !same {
        return Err(Invalid::new(
            "Idempotency-Key",
            format!("was used for another request, which made the restore {id}"),
            "use a new key for a new request",
        )
        .into());
    }
    Ok(Requested { restore: get(ports, application, id).await?, repeated: true })
}

/// The entry that a job did `action` to a restore, moving it from one state to the other.
pub(crate) fn audit_of(ports: &Ports, action: Action, restore: &Restore, was: RestoreState) -> AuditEntry {
    ports
        .audit(ports.clock.now(), "job", action)
        .to_restore(restore.id)
        .changing(Some(was.as_str().to_owned()), Some(restore.state.as_str().to_owned()))
}
