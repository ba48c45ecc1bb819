use holdfast_domain::{
    application::{ApplicationSpec, Service},
    backup::{Artifact, Backup},
    restore::{Mapping, Restore},
};

use crate::{
    engines::restorer::Restorer,
    error::{RequestError, SliceError},
    ports::Ports,
    restores,
    slice::Worker,
};

/// Where a restore comes from and where it goes: the backup, and the application as it was registered when the restore was
/// asked for. A change made since does not turn half of it to another database.
pub(super) struct Place {
    pub(super) backup: Backup,
    pub(super) target: ApplicationSpec,
}

impl Place {
    /// Finds both, and makes sure that the backup still may be restored here and stays meanwhile.
    pub(super) async fn find(ports: &Ports, restore: &Restore) -> Result<Self, SliceError> {
        let (from, into) = (&restore.from, &restore.application);
        if !restores::agrees(ports, from, into).await? {
            return Err(SliceError::permanent(
                "not_agreed",
                format!(
                    "the registration of {} does not name {into} in `restore_into` any more",
                    from.application
                ),
            ));
        }
        let Self { backup, target } = Self::recall(ports, restore).await?;
        restores::refuse_unrestorable(ports, &backup).map_err(gone)?;
        // Once something is changed, to stop halfway makes nothing better: whoever restores looks at every byte itself.
        if !restore.has_begun() {
            restores::refuse_damaged(&backup)
                .map_err(|error| SliceError::permanent("backup_damaged", error.to_string()))?;
        }
        restores::hold_off_policies(ports, from).await.map_err(|error| match error {
            RequestError::NotFound { .. } => gone(error),
            // Somebody has written it at the same moment.
            RequestError::Conflict(reason) => SliceError::transient("backup_busy", reason),
            other => other.into(),
        })?;
        Ok(Self { backup, target })
    }

    /// Finds both, whatever has become of the backup.
    pub(super) async fn recall(ports: &Ports, restore: &Restore) -> Result<Self, SliceError> {
        let from = &restore.from;
        let backup = ports.records.backup(&from.application, from.backup).await?;
        let backup = backup.ok_or_else(|| gone(RequestError::not_found("backup", &from.backup)))?.value;
        let target = ports.records.restore_target(restore.id).await?.ok_or_else(|| {
            SliceError::permanent(
                "target_missing",
                format!("what the restore {} goes into is not known any more; ask for it again", restore.id),
            )
        })?;
        Ok(Self { backup, target })
    }

    /// Who restores what `mapping` says.
    pub(super) async fn restorer(
        &self,
        worker: &Worker,
        restore: &Restore,
        mapping: &Mapping,
    ) -> Result<Box<dyn Restorer>, SliceError> {
        let (service, artifact) = self.ends(restore, mapping)?;
        worker.restorers.open(service, artifact, mapping, restore).await
    }

    fn ends(&self, restore: &Restore, mapping: &Mapping) -> Result<(&Service, &Artifact), SliceError> {
        let artifact = self.backup.artifacts.iter().find(|artifact| artifact.service == mapping.from);
        let found = self.target.service(&mapping.to).zip(artifact);
        found.ok_or_else(|| {
            SliceError::permanent(
                "no_such_service",
                format!(
                    "{}: {} of the backup {} cannot go into {}; ask for the restore again",
                    restore.application, mapping.from, self.backup.id, mapping.to
                ),
            )
        })
    }
}

/// The backup was there when the restore was asked for.
fn gone(error: RequestError) -> SliceError {
    match error {
        RequestError::Conflict(_) | RequestError::NotFound { .. } => {
            SliceError::permanent("backup_gone", error.to_string())
        }
        other => other.into(),
    }
}
