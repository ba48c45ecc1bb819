//! A slice's hold on a service of a backup.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::Service,
    backup::{self, Artifact, Backup, Phase},
    id::{ApplicationId, BackupId},
};

use super::check_wanted;
use crate::{
    error::SliceError,
    ports::{Divided, Isolation, OpenUpload, Ports, RecordsError, ServiceRun, Versioned},
    share,
    upload::{self, Advance, Observer},
};

/// How often a storage that changes meanwhile is planned in stretches, before it is said that it changes too much.
const MAX_PLANS: u32 = 3;

/// A slice's hold on a service: its record at the version this slice wrote last. Any write by somebody else ends it.
pub(super) struct Run<'a> {
    pub(super) ports: &'a Ports,
    pub(super) application: ApplicationId,
    backup: BackupId,
    pub(super) record: ServiceRun,
    version: u64,
    /// How often the service was planned in stretches before.
    pub(super) plans: u32,
}

impl<'a> Run<'a> {
    /// Takes the service over from whoever had it. None if it is finished.
    pub(super) async fn take_over(
        ports: &'a Ports,
        backup: &Backup,
        service: &Service,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, SliceError> {
        let runs = ports.records.service_runs(backup.id).await?;
        let before = runs.into_iter().find(|run| run.value.service == *service.name());
        if before.as_ref().is_some_and(|run| run.value.artifact.is_some()) {
            return Ok(None);
        }
        let expected = before.as_ref().map(|run| run.version);
        let again = before.is_some();
        let mut record = ServiceRun::pending(service.name().clone(), now);
        let (attempt, divided, progress) = match before {
            Some(Versioned {
                value: ServiceRun { attempt, divided, progress, isolation, legs, .. }, ..
            }) => {
                (record.isolation, record.legs) = (isolation, legs);
                (attempt, divided, progress)
            }
            None => (0, None, record.progress.clone()),
        };
        record.attempt = attempt + 1;
        if record.legs.is_some() {
            record.progress = progress.clone();
        }
        record.progress.phase = Phase::Preparing;
        let plans = divided.as_ref().map_or(0, |divided| divided.plans);
        match divided {
            Some(Divided { void: Some(reason), plans, .. }) if plans >= MAX_PLANS => {
                return Err(SliceError::permanent(
                    "storage_unsettled",
                    format!(
                        "it changed too much during each of {plans} attempts, at last since {reason}; back up when less is \
                             written to it, or divide it between several storage services"
                    ),
                ));
            }
            Some(divided) if divided.void.is_none() => {
                record.progress = progress;
                record.divided = Some(divided);
            }
            _ => {}
        }
        let goes_on = record.divided.is_some() || record.legs.is_some();
        let version = ports.records.put_service_run(backup.id, &record, expected).await?;
        let run = Self {
            ports,
            application: backup.application.clone(),
            backup: backup.id,
            record,
            version,
            plans,
        };
        if again && !goes_on {
            run.give_up().await?;
        }
        Ok(Some(run))
    }

    /// Gives up whatever earlier slices have staged or left open.
    pub(super) async fn give_up(&self) -> Result<(), SliceError> {
        let artifacts = self.ports.artifacts.as_ref();
        artifacts.purge(&self.all_staged()).await?;
        let prefix = backup::prefix(&self.application, self.backup);
        Ok(upload::give_up(artifacts, &format!("{prefix}{}/", self.record.service)).await?)
    }

    /// Writes down how far the copy of the service has come.
    pub(super) async fn isolate(&mut self, isolation: &Isolation) -> Result<(), SliceError> {
        self.record.progress.phase = Phase::Isolating;
        self.record.isolation = Some(isolation.clone());
        self.write().await
    }

    /// Writes down that the service is done.
    pub(super) async fn finish(&mut self, artifact: Artifact) -> Result<(), SliceError> {
        self.record.progress.phase = Phase::Done;
        self.record.artifact = Some(artifact);
        self.write().await
    }

    /// Where the plan of this attempt, and what belongs to it, is staged.
    pub(super) fn staged(&self, attempt: u32) -> String {
        share::staged(&self.application, self.backup, &self.record.service, attempt)
    }

    pub(super) fn all_staged(&self) -> String {
        share::all_staged(&self.application, self.backup, &self.record.service)
    }

    /// Writes down that what was planned does not hold.
    pub(super) async fn void(&mut self, reason: &str) -> Result<(), SliceError> {
        tracing::warn!(service = %self.record.service, reason, "a plan does not hold; the service begins again");
        if let Some(divided) = &mut self.record.divided {
            divided.void = Some(reason.to_owned());
        }
        self.write().await
    }

    pub(super) async fn write(&mut self) -> Result<(), SliceError> {
        self.record.progress.updated_at = self.ports.clock.now();
        match self.ports.records.put_service_run(self.backup, &self.record, Some(self.version)).await {
            Ok(version) => {
                self.version = version;
                Ok(())
            }
            Err(RecordsError::Conflict) => Err(SliceError::Fenced),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn check_wanted(&self) -> Result<(), SliceError> {
        check_wanted(self.ports, &self.application, self.backup).await
    }
}

#[async_trait]
impl Observer for Run<'_> {
    async fn opened(&mut self, _upload: &OpenUpload) -> Result<(), SliceError> {
        self.record.progress.phase = Phase::Copying;
        let now = self.ports.clock.now();
        self.record.progress.started_at.get_or_insert(now);
        self.write().await
    }

    async fn advanced(&mut self, so_far: Advance) -> Result<(), SliceError> {
        self.record.progress.phase = so_far.phase;
        // Of an archive in stretches most is stored already.
        self.record.progress.bytes = self.record.progress.bytes.max(so_far.bytes);
        self.record.progress.segments = self.record.progress.segments.max(so_far.segments);
        self.write().await?;
        self.check_wanted().await
    }
}
