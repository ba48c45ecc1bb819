//! Backing up one service: who does it, how far it has come, and what came of it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::Service,
    backup::{Artifact, Backup, Phase},
    id::{ApplicationId, BackupId},
};

use crate::{
    engines,
    error::SliceError,
    ports::{OpenUpload, Ports, RecordsError, ServiceRun, Versioned},
    slice::Worker,
    upload::{self, Advance, Observer},
};

/// Backs up `service` from its beginning, unless it is finished already. What an earlier slice left open is given up.
pub async fn back_up(worker: &Worker, backup: &Backup, service: &Service) -> Result<(), SliceError> {
    let outcome = run(worker, backup, service).await;
    outcome.map_err(|error| error.of(&backup.application, service.name()))
}

async fn run(worker: &Worker, backup: &Backup, service: &Service) -> Result<(), SliceError> {
    let ports = &worker.ports;
    let began = ports.clock.now();
    let Some(mut run) = Run::take_over(ports, backup, service, began).await? else {
        return Ok(());
    };
    let engine = engines::open(ports, &worker.clients, &backup.application, service).await?;
    run.record.progress.estimated_bytes = engine.prepare().await?;

    let key = format!("{}{}/{}", backup.prefix(), service.name(), file_name(service));
    let stored = upload::store(ports.artifacts.as_ref(), engine.as_ref(), &key, &mut run).await?;
    let milliseconds = (ports.clock.now() - began).num_milliseconds();
    run.record.progress.phase = Phase::Done;
    run.record.artifact = Some(Artifact {
        service: service.name().clone(),
        object: stored.object,
        contents: stored.report.contents,
        taken_at: stored.report.taken_at,
        milliseconds: u64::try_from(milliseconds).unwrap_or(0),
    });
    run.write().await
}

fn file_name(service: &Service) -> &'static str {
    match service {
        Service::Postgres(_) => "database.dump",
        Service::Mysql(_) => "database.sql.zst",
        Service::Storage(_) => "media.tar",
    }
}

/// A slice's hold on a service: its record at the version this slice wrote last. Any write by somebody else ends it.
struct Run<'a> {
    ports: &'a Ports,
    application: ApplicationId,
    backup: BackupId,
    record: ServiceRun,
    version: u64,
}

impl<'a> Run<'a> {
    /// Takes the service over from whoever had it. None if it is finished.
    async fn take_over(
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
        record.attempt = before.map_or(0, |run| run.value.attempt) + 1;
        record.progress.phase = Phase::Preparing;
        let version = ports.records.put_service_run(backup.id, &record, expected).await?;
        if again {
            upload::give_up(ports.artifacts.as_ref(), &format!("{}{}/", backup.prefix(), service.name()))
                .await?;
        }
        Ok(Some(Self { ports, application: backup.application.clone(), backup: backup.id, record, version }))
    }

    async fn write(&mut self) -> Result<(), SliceError> {
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

    /// Stops when somebody asked to cancel the backup, or it is being or has been brought to an end meanwhile: a branch
    /// whose record the abort did not see yet is stopped here.
    async fn check_wanted(&self) -> Result<(), SliceError> {
        let backup = self.ports.records.backup(&self.application, self.backup).await?;
        match backup {
            Some(Versioned { value, .. }) if value.state.is_open() && value.aborting_at.is_none() => {
                match value.cancel_requested_at {
                    Some(_) => Err(SliceError::Cancelled),
                    None => Ok(()),
                }
            }
            _ => Err(SliceError::Fenced),
        }
    }
}

#[async_trait]
impl Observer for Run<'_> {
    async fn opened(&mut self, _upload: &OpenUpload) -> Result<(), SliceError> {
        self.record.progress.phase = Phase::Copying;
        self.record.progress.started_at = Some(self.ports.clock.now());
        self.write().await
    }

    async fn advanced(&mut self, so_far: Advance) -> Result<(), SliceError> {
        self.record.progress.phase = so_far.phase;
        self.record.progress.bytes = so_far.bytes;
        self.record.progress.segments = so_far.segments;
        self.write().await?;
        self.check_wanted().await
    }
}
