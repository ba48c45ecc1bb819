use async_trait::async_trait;
use holdfast_domain::{
    audit::AuditEntry,
    restore::{Mapping, Restore, RestoreRun, RestoreState, Restored},
};

use super::{bounded, load, place::Place};
use crate::{
    engines::restorer::{RestoreObserver, Restoring},
    error::SliceError,
    ports::{Ports, RecordsError, Versioned},
};

/// What a service is doing between two slices: whoever restored it has left nothing half done.
pub(super) const PAUSED: &str = "paused";

/// What a service is doing while it is exchanged, as restorers call it: one that is stopped then is as it was, or restored.
pub(super) const SWAP: &str = "swap";

/// A slice's hold on a restore: its record at the version this slice wrote last. Any write by somebody else ends it.
pub(super) struct Checkpoint<'a> {
    pub(super) ports: &'a Ports,
    pub(super) restore: Restore,
    version: u64,
}

impl<'a> Checkpoint<'a> {
    /// Takes the restore over from whoever had it.
    pub(super) async fn begin(ports: &'a Ports, found: Versioned<Restore>) -> Result<Self, SliceError> {
        let Versioned { value: mut restore, version } = found;
        if restore.state == RestoreState::Queued {
            restore
                .transition(RestoreState::Running)
                .map_err(|error| SliceError::permanent("illegal_transition", error.to_string()))?;
            restore.started_at = Some(ports.clock.now());
        }
        restore.attempt += 1;
        let mut begun = Self { ports, restore, version };
        begun.write().await?;
        Ok(begun)
    }

    /// Writes the record, if it still is as this slice wrote it last.
    pub(super) async fn write(&mut self) -> Result<(), SliceError> {
        self.write_with(&[]).await
    }

    pub(super) async fn write_with(&mut self, audit: &[AuditEntry]) -> Result<(), SliceError> {
        match self.ports.records.update_restore(&self.restore, self.version, audit).await {
            Ok(version) => {
                self.version = version;
                Ok(())
            }
            Err(RecordsError::Conflict) => Err(self.why_it_lost().await?),
            Err(error) => Err(error.into()),
        }
    }

    /// It was cancelled, or another slice or an abort has gone on with it. Of both, the latter counts.
    async fn why_it_lost(&self) -> Result<SliceError, SliceError> {
        let now = load(self.ports, &self.restore.application, self.restore.id).await?.value;
        let is_own = now.attempt == self.restore.attempt && now.aborting_at.is_none();
        let is_cancelled = now.state.is_open() && is_own && now.cancel_requested_at.is_some();
        Ok(if is_cancelled { SliceError::Cancelled } else { SliceError::Fenced })
    }

    /// The place among the services of the next one to restore: databases, then storages, each in the order they were named.
    pub(super) fn next_service(&self, place: &Place) -> Option<usize> {
        let is_done = |index: usize| self.restore.runs.get(index).is_some_and(|run| run.restored.is_some());
        let is_storage = |mapping: &Mapping| {
            let service = place.target.service(&mapping.to);
            service.is_none_or(|service| !service.is_database())
        };
        let services = self.restore.services.iter().enumerate();
        let open = services.filter(|(index, _)| !is_done(*index));
        // Of those that are alike the first one is taken.
        open.min_by_key(|(_, mapping)| is_storage(mapping)).map(|(index, _)| index)
    }

    /// Writes down that from now on something of the service may be changed.
    pub(super) async fn begin_service(&mut self, index: usize) -> Result<(), SliceError> {
        let now = self.ports.clock.now();
        if self.restore.runs.is_empty() {
            let pending = |mapping: &Mapping| RestoreRun {
                service: mapping.to.clone(),
                bytes: 0,
                of_bytes: None,
                doing: None,
                cursor: None,
                updated_at: now,
                restored: None,
            };
            self.restore.runs = self.restore.services.iter().map(pending).collect();
        }
        self.change(index, |run| run.doing = Some("begins".to_owned())).await
    }

    /// Writes down what came of a service, also of a restore that was cancelled meanwhile: it would be told that the service
    /// is as it was.
    pub(super) async fn end_service(&mut self, index: usize, restored: Restored) -> Result<(), SliceError> {
        let restored = bounded::restored(restored, self.restore.services.len());
        let ended = self.change(index, |run| {
            run.restored = Some(restored);
            run.cursor = None;
            run.doing = None;
        });
        match ended.await {
            Err(SliceError::Cancelled) => {
                self.accept_cancellation().await?;
                self.write().await?;
                Err(SliceError::Cancelled)
            }
            ended => ended,
        }
    }

    /// Takes over that somebody has asked to cancel, if nothing else has been written to the record.
    async fn accept_cancellation(&mut self) -> Result<(), SliceError> {
        let now = load(self.ports, &self.restore.application, self.restore.id).await?;
        if now.value.attempt != self.restore.attempt || now.value.aborting_at.is_some() {
            return Err(SliceError::Fenced);
        }
        self.restore.cancel_requested_at = now.value.cancel_requested_at;
        self.version = now.version;
        Ok(())
    }

    /// Writes down where the next slice goes on.
    pub(super) async fn pause_service(&mut self, index: usize, cursor: String) -> Result<(), SliceError> {
        self.change(index, |run| {
            run.cursor = Some(cursor);
            run.doing = Some(PAUSED.to_owned());
        })
        .await
    }

    /// Writes down that whoever exchanged a service has said that it failed: it is as it was. What cannot be written down stays
    /// uncertain.
    pub(super) async fn withdraw_service(&mut self, index: usize) {
        let is_exchanged = self.restore.runs.get(index).is_some_and(|run| run.doing.as_deref() == Some(SWAP));
        if is_exchanged
            && let Err(error) = self.change(index, |run| run.doing = Some("failed".to_owned())).await
        {
            tracing::warn!(restore = %self.restore.id, %error, "that a service could not be exchanged is not written down");
        }
    }

    /// Who writes down how far the service at `index` has come.
    pub(super) fn observer(&mut self, index: usize) -> Progress<'_, 'a> {
        Progress { checkpoint: self, index }
    }

    async fn change(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut RestoreRun) + Send,
    ) -> Result<(), SliceError> {
        let now = self.ports.clock.now();
        if let Some(run) = self.restore.runs.get_mut(index) {
            change(run);
            run.updated_at = now;
        }
        self.write().await
    }
}

/// Writes down how far one service has come, and stops whoever restores it once the record is somebody else's.
pub(super) struct Progress<'a, 'b> {
    checkpoint: &'a mut Checkpoint<'b>,
    index: usize,
}

#[async_trait]
impl RestoreObserver for Progress<'_, '_> {
    async fn advanced(&mut self, so_far: Restoring) -> Result<(), SliceError> {
        self.checkpoint
            .change(self.index, |run| {
                run.bytes = so_far.bytes;
                run.of_bytes = so_far.of_bytes.or(run.of_bytes);
                run.doing = Some(so_far.doing.to_owned());
                run.cursor = so_far.cursor.or_else(|| run.cursor.take());
            })
            .await
    }
}
