use holdfast_domain::{
    application::{ApplicationSpec, Service},
    backup::Backup,
    id::{ApplicationId, BackupId, RestoreId},
    restore::{Mapping, MediaMode, Restore, RestoreOptions},
};

use super::{Requested, RequestedOrigin, RestoreRequest, get, refuse_unrestorable, start};
use crate::{
    backups,
    error::RequestError,
    ports::{IdempotencyKey, Ports},
};

const NOTHING_BEFORE: &str = "there was nothing before it that a safety backup could have kept";

/// The restore that another one takes back.
pub(super) struct Undone {
    pub(super) id: RestoreId,
    /// The registration that it was asked for with.
    target: ApplicationSpec,
}

/// Takes a restore back: starts another that restores its safety backup, into the same services and without leaving what
/// came since. What was empty before has no safety backup, and stays as it is; so do files that the restore was not to touch.
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
    let target = ports.records.restore_target(id).await?;
    let target = target.ok_or_else(|| {
        RequestError::Conflict(irreversible(&restore, "where it went is not known any more"))
    })?;
    let services = touched(&restore, &backup, &target);
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
    start(ports, actor, application, request, idempotency, Some(Undone { id, target })).await
}

impl Undone {
    /// Refuses to take a restore back in another place than it was done in: the registration may have changed since.
    pub(super) fn check_places(
        &self,
        now: &ApplicationSpec,
        services: &[Mapping],
    ) -> Result<(), RequestError> {
        for mapping in services {
            let was = self.target.service(&mapping.to).map(place);
            let is = now.service(&mapping.to).map(place);
            if was != is {
                let unknown = || "not registered".to_owned();
                return Err(RequestError::Conflict(format!(
                    "the restore {} went into {} as {}, which is {} now: an undo would replace what it has not touched. \
                     Register the old place again for as long as the undo takes, or restore the safety backup yourself where it \
                     belongs",
                    self.id,
                    mapping.to,
                    was.unwrap_or_else(unknown),
                    is.unwrap_or_else(unknown)
                )));
            }
        }
        Ok(())
    }
}

/// Where the contents of a service are.
fn place(service: &Service) -> String {
    match service {
        Service::Postgres(database) => {
            format!("{:?} at {}:{}", database.database, database.host, database.port)
        }
        Service::Mysql(database) => format!("{:?} at {}:{}", database.database, database.host, database.port),
        Service::Storage(storage) => format!("s3://{}/{}", storage.bucket, storage.prefix),
    }
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
fn touched(restore: &Restore, safety: &Backup, target: &ApplicationSpec) -> Vec<Mapping> {
    let begun = |mapping: &&Mapping| {
        let mut runs = restore.runs.iter().filter(|run| run.service == mapping.to);
        runs.any(|run| run.doing.is_some() || run.restored.is_some())
    };
    let is_kept = |mapping: &&Mapping| safety.artifacts.iter().any(|artifact| artifact.service == mapping.to);
    let back = |mapping: &Mapping| Mapping {
        from: mapping.to.clone(),
        to: mapping.to.clone(),
        tables: Vec::new(),
        files: put(restore, mapping, target),
    };
    restore.services.iter().filter(begun).filter(is_kept).map(back).collect()
}

/// The files that a restore may have put or removed, as the safety backup names them; all where there are none.
fn put(restore: &Restore, mapping: &Mapping, target: &ApplicationSpec) -> Vec<String> {
    let folder = match (target.service(&mapping.to), &restore.options.into_prefix) {
        (Some(Service::Storage(storage)), Some(prefix)) => prefix.strip_prefix(&storage.prefix).unwrap_or(""),
        _ => "",
    };
    if folder.is_empty() {
        return mapping.files.clone();
    }
    if mapping.files.is_empty() {
        return vec![folder.to_owned()];
    }
    mapping.files.iter().map(|file| format!("{folder}{file}")).collect()
}
