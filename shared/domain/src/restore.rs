//! One restore: what of a backup goes into which services of an application, what stood in the way, and what came of it.

mod preflight;
mod state;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    backup::Failure,
    id::{ApplicationId, BackupId, RestoreId, ServiceName},
};

pub use preflight::{MediaChanges, Preflight, Refusal, Restored};
pub use state::{IllegalTransition, RestoreState};

/// One restore of a backup into an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restore {
    /// Its id: time-ordered, and the name of its execution.
    pub id: RestoreId,
    /// The application that is restored.
    pub application: ApplicationId,
    /// The backup it is restored from.
    pub from: Origin,
    /// What goes where.
    pub services: Vec<Mapping>,
    /// How it is restored.
    pub options: RestoreOptions,
    /// Where it is in its life.
    pub state: RestoreState,
    /// The restore that this one takes back.
    pub undoes: Option<RestoreId>,
    /// Whether it is only tried: everything goes beside the services, is compared with what was written down when it was backed
    /// up, and is removed again. Nothing of the application is changed.
    #[serde(default)]
    pub rehearsal: bool,
    /// Of a rehearsal: whether the values in the tables of databases are compared with those of the archive, and not only how many
    /// rows there are.
    #[serde(default)]
    pub checksums: bool,
    /// Who asked for it: an identity's ARN.
    pub requested_by: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its first slice began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it succeeded, failed or was cancelled.
    pub finished_at: Option<DateTime<Utc>>,
    /// When somebody asked to cancel it; the running slice stops soon after.
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// When the clean-up of its failure or cancellation began.
    pub aborting_at: Option<DateTime<Utc>>,
    /// How often a slice has begun: the fencing token. Who finds another number than its own must stop.
    pub attempt: u32,
    /// What was found before anything was changed, one for each service; empty until it was looked.
    pub preflight: Vec<Preflight>,
    /// The backup of what was there before, once it was asked for. It succeeded before anything was changed.
    pub safety_backup: Option<BackupId>,
    /// How far it has come with each service, in the order of `services`.
    pub runs: Vec<RestoreRun>,
    /// Why it failed, and what is as it was and what is not; of one that was cancelled once it had begun, too.
    pub failure: Option<Failure>,
}

/// The backup that is restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The application it is a backup of.
    pub application: ApplicationId,
    /// The backup.
    pub backup: BackupId,
}

/// A service of the backup, and the service it is restored into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The service of the backup.
    pub from: ServiceName,
    /// The service of the application that is restored, of the same kind.
    pub to: ServiceName,
    /// Of a database, only these tables, as `schema.table` or `table`; all of it where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Of a storage, only these files, and what is below those that end in `/`; all of it where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// How a restore goes about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own, by its name in a request")]
pub struct RestoreOptions {
    /// Only look: say what would be done, and what stands in the way.
    pub dry_run: bool,
    /// Replace a database that has something in it, and files that differ.
    pub overwrite: bool,
    /// Back up first what is there, so that the restore can be undone.
    pub safety_backup: bool,
    /// Everything in a `PostgreSQL` database belongs to the role that restores.
    pub no_owner: bool,
    /// What becomes of files that the backup does not have.
    pub media: MediaMode,
    /// Files go below this prefix of the bucket, which is below the storage's own.
    pub into_prefix: Option<String>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            dry_run: false,
            overwrite: false,
            safety_backup: true,
            no_owner: false,
            media: MediaMode::Merge,
            into_prefix: None,
        }
    }
}

/// What becomes of files that the backup does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaMode {
    /// They stay.
    #[default]
    Merge,
    /// They are removed.
    Mirror,
}

/// How far a restore has come with one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoreRun {
    /// The service that is restored.
    pub service: ServiceName,
    /// Bytes of the artifact that were restored so far.
    pub bytes: u64,
    /// Bytes there are to restore, where they are known.
    pub of_bytes: Option<u64>,
    /// What it is doing, in a word or two.
    pub doing: Option<String>,
    /// Where the next slice goes on; for whoever restores to understand.
    pub cursor: Option<String>,
    /// When this was written.
    pub updated_at: DateTime<Utc>,
    /// What came of it, once it is done.
    pub restored: Option<Restored>,
}

impl Restore {
    /// A restore `into` an application that has been asked for and not yet started.
    pub fn queued(
        id: RestoreId,
        into: ApplicationId,
        from: Origin,
        services: Vec<Mapping>,
        options: RestoreOptions,
        requested_by: String,
        created_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            application: into,
            from,
            services,
            options,
            state: RestoreState::Queued,
            undoes: None,
            rehearsal: false,
            checksums: false,
            requested_by,
            created_at,
            started_at: None,
            finished_at: None,
            cancel_requested_at: None,
            aborting_at: None,
            attempt: 0,
            preflight: Vec::new(),
            safety_backup: None,
            runs: Vec::new(),
            failure: None,
        }
    }

    /// Moves to `state`, or says why that cannot be.
    pub fn transition(&mut self, state: RestoreState) -> Result<(), IllegalTransition> {
        self.state = self.state.to(state)?;
        Ok(())
    }

    /// Everything that stands in its way, as far as it was looked.
    pub fn refusals(&self) -> impl Iterator<Item = (&ServiceName, &Refusal)> {
        self.preflight.iter().flat_map(|found| found.refusals.iter().map(|refusal| (&found.service, refusal)))
    }

    /// The services that have something in them, which a safety backup is made of.
    pub fn occupied(&self) -> impl Iterator<Item = &ServiceName> {
        self.preflight.iter().filter(|found| found.is_occupied).map(|found| &found.service)
    }

    /// Whether something of the application may have been changed.
    pub fn has_begun(&self) -> bool {
        !self.rehearsal && self.runs.iter().any(|run| run.doing.is_some() || run.restored.is_some())
    }

    /// Whether it is to change the application's services, and not only to look at them or to try beside them.
    #[must_use]
    pub fn changes_services(&self) -> bool {
        !self.options.dry_run && !self.rehearsal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records are read that were written before there was anything to try, or values to compare.
    #[test]
    fn a_restore_of_before_compares_no_values() {
        let record = r#"{
            "id": "018bcfe5-6800-7707-8707-070707070707", "application": "shop", "services": [], "options": {},
            "from": {"application": "shop", "backup": "018bcfe5-6800-7707-8707-070707070708"}, "state": "queued",
            "requested_by": "anna", "created_at": "2026-11-24T08:00:00Z", "attempt": 0, "preflight": [], "runs": []
        }"#;
        let restore: Restore = serde_json::from_str(record).unwrap();
        assert_eq!((restore.rehearsal, restore.checksums), (false, false));
        let restored: Restored = serde_json::from_str(r#"{"tables": 2, "rows": 30}"#).unwrap();
        assert_eq!(restored.values_compared, None);
    }
}
