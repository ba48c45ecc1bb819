use holdfast_domain::{
    backup::Backup,
    id::{ApplicationId, BackupId, RestoreId, ServiceName},
    restore::{Mapping, MediaMode, Restore, RestoreOptions},
};

use super::{Requested, RequestedOrigin, RestoreRequest, get, refuse_unrestorable, start};
use crate::{
    backups,
    error::RequestError,
    ports::{IdempotencyKey, Ports},
};

const NOTHING_BEFORE: &str = "there was nothing before it that a safety backup could have kept";

/// Takes a restore back: starts another that restores its safety backup, into the same services and without leaving what
/// came since. What was empty before has no safety backup, and stays as it is.
pub async fn undo(
    ports: &Ports,
    actor: &str,
    application: &ApplicationId,
    id: RestoreId,
    idempotency: Option<String>,
) -> Result<Requested, RequestError> {
    let restore = get(ports, application, id).await?.value;
    let safety = undoable(&restore).map_err(RequestError::Conflict)?;
    let backup = backups::find(ports, application, safety).await?.value;
    refuse_unrestorable(ports, &backup)?;
    let services = touched(&restore, &backup);
    if services.is_empty() {
        return Err(RequestError::Conflict(irreversible(&restore, NOTHING_BEFORE)));
    }
    let request = RestoreRequest {
        from: RequestedOrigin { application: None, backup: safety },
        services: Some(services),
        options: RestoreOptions {
            overwrite: true,
            media: MediaMode::Mirror,
            no_owner: restore.options.no_owner,
            ..RestoreOptions::default()
        },
    };
    let idempotency = idempotency.map(|key| IdempotencyKey { key, fingerprint: format!("undo {id}") });
    start(ports, actor, application, request, idempotency, Some(id)).await
}

/// The safety backup of a restore that can be taken back, or why it cannot be.
fn undoable(restore: &Restore) -> Result<BackupId, String> {
    let Restore { id, application, options, .. } = restore;
    if restore.state.is_open() {
        return Err(format!(
            "the restore {id} into {application} has not ended yet; wait for its end, or cancel it, then undo it"
        ));
    }
    if !restore.has_begun() {
        return Err(format!(
            "the restore {id} into {application} has changed nothing, so there is nothing to undo"
        ));
    }
    let why = if options.safety_backup { NOTHING_BEFORE } else { "it was asked for without a safety backup" };
    restore.safety_backup.ok_or_else(|| irreversible(restore, why))
}

fn irreversible(restore: &Restore, why: &str) -> String {
    let Restore { id, application, .. } = restore;
    format!("the restore {id} into {application} cannot be undone: {why}; restore another backup")
}

/// What the safety backup has of the services that the restore has begun; the others may have changed since and are good.
fn touched(restore: &Restore, safety: &Backup) -> Vec<Mapping> {
    let begun = restore.runs.iter().filter(|run| run.doing.is_some() || run.restored.is_some());
    let begun: Vec<&ServiceName> = begun.map(|run| &run.service).collect();
    let kept = safety.artifacts.iter().map(|artifact| artifact.service.clone());
    kept.filter(|service| begun.contains(&service))
        .map(|service| Mapping { from: service.clone(), to: service, tables: Vec::new(), files: Vec::new() })
        .collect()
}
