//! Temporary things that outlived their backup: found by their tags, and deleted.

use crate::{
    error::RequestError,
    ports::{InstancesError, Leftover, Ports},
};

use super::status;

/// What a sweep did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// Things whose deletion RDS has accepted.
    pub(crate) swept: usize,
    /// Things that could not be dealt with.
    pub(crate) failed: usize,
}

/// Deletes what this stack has made and whose backup is not open any more. What cannot be deleted yet is for the next night.
pub(crate) async fn sweep(ports: &Ports) -> Result<Sweep, RequestError> {
    let mut found =
        ports.instances.leftovers().await.map_err(|error| RequestError::Unavailable(error.to_string()))?;
    // An instance goes before the cluster that it is in.
    found.sort_by_key(|leftover| leftover.kind);
    let mut sweep = Sweep::default();
    for leftover in found.iter().filter(|leftover| !status::is_going(&leftover.status)) {
        match sweep_one(ports, leftover).await {
            Ok(true) => sweep.swept += 1,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(kind = %leftover.kind, name = leftover.name, %error, "left to the next retention run");
                sweep.failed += 1;
            }
        }
    }
    Ok(sweep)
}

async fn sweep_one(ports: &Ports, leftover: &Leftover) -> Result<bool, RequestError> {
    let Leftover { kind, name, owner, .. } = leftover;
    let Some((application, backup)) = owner else {
        tracing::warn!(%kind, name, "it is tagged as this stack's and not with a backup; it is left alone");
        return Ok(false);
    };
    if let Some(record) = ports.records.backup(application, *backup).await?
        && record.value.state.is_open()
    {
        return Ok(false);
    }
    match ports.instances.delete(*kind, name).await {
        Ok(()) => {
            tracing::warn!(%kind, name, %application, %backup, "it has outlived its backup, and is being deleted");
            Ok(true)
        }
        Err(InstancesError::Busy(reason)) => {
            tracing::warn!(%kind, name, reason, "it has outlived its backup, and cannot be deleted yet");
            Ok(false)
        }
        Err(error) => Err(RequestError::Unavailable(error.to_string())),
    }
}
