//! The restorers: each puts what one artifact holds into one service. The other way round from an [`Engine`](super::Engine).

use std::time::Duration;

use async_trait::async_trait;
use holdfast_domain::{
    application::Service,
    backup::{Artifact, Contents},
    restore::{Mapping, Preflight, Restore, Restored},
};

use super::{
    Clients, credentials, media::MediaRestorer, mysql::MysqlRestorer, postgres::PostgresRestorer,
    postgres_credentials,
};
use crate::{error::SliceError, ports::Ports};

/// Who restores what.
#[async_trait]
pub trait Restorers: Send + Sync {
    /// The restorer that puts what `mapping` names of `artifact` into `target`, which is of the same kind, for `restore`.
    async fn open(
        &self,
        target: &Service,
        artifact: &Artifact,
        mapping: &Mapping,
        restore: &Restore,
    ) -> Result<Box<dyn Restorer>, SliceError>;
}

/// The restorers of databases and storages.
pub struct EngineRestorers {
    ports: Ports,
    clients: Clients,
}

impl EngineRestorers {
    /// Restorers that reach the outside world through `ports`, and databases with `clients`.
    pub fn new(ports: Ports, clients: Clients) -> Self {
        Self { ports, clients }
    }
}

#[async_trait]
impl Restorers for EngineRestorers {
    async fn open(
        &self,
        target: &Service,
        artifact: &Artifact,
        mapping: &Mapping,
        restore: &Restore,
    ) -> Result<Box<dyn Restorer>, SliceError> {
        open(&self.ports, &self.clients, target, artifact, mapping, restore).await
    }
}

/// Puts what one artifact holds into one service. For a rehearsal, it puts it beside that service, compares it with what was written
/// down when it was backed up ([`restored_differs`] if it is something else), and removes it: the service is never changed.
#[async_trait]
pub trait Restorer: Send + Sync {
    /// Looks at the artifact and at the target, and says what would be done and what stands in the way. Changes nothing. What
    /// cannot be looked at for now is a transient error; what stands in the way is a refusal, and no error.
    async fn preflight(&self) -> Result<Preflight, SliceError>;

    /// Restores, from where an earlier slice has stopped if there is a `cursor`, for at most `time`. A restorer that cannot
    /// stop and go on begins anew, whatever the cursor. What has all of its time, and cannot be divided, ends with the permanent error
    /// `slice_too_short`, with the target as it was. So it is after every error, unless the preflight has said that it cannot be; and it
    /// has refused what the preflight refuses. A database is as it was until the end: half of a new one is beside it while it pauses, and
    /// may be after an error that passes.
    async fn restore(
        &self,
        cursor: Option<&str>,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError>;

    /// Whether an earlier slice, which was killed, had come to its end with this `cursor`, and what it has restored then. Asked
    /// before [`clean_up`](Self::clean_up), which may remove what says so; whoever was killed does nothing more once it is answered.
    async fn has_done(&self, _cursor: &str) -> Result<Option<Restored>, SliceError> {
        Ok(None)
    }

    /// Removes what a restore into this target has left that was killed: half a database, open uploads. What this restore can go on
    /// with stays, and so does what another one has left that has paused. Whoever was killed changes nothing more. Harmless when there
    /// is nothing, and when it is repeated.
    async fn clean_up(&self) -> Result<(), SliceError>;

    /// The same, where nobody is going to go on: half a database is removed as well, and of a rehearsal what was restored so far.
    async fn give_up(&self) -> Result<(), SliceError> {
        self.clean_up().await
    }
}

/// The failure of whoever is kept out of a database by another restore.
pub(super) const RUNNING: &str = "restore_running";

/// The failure of a server that has no room, or no memory.
const STRAINED: &str = "server_strained";

/// For how long another restore into a database waits for one that has paused, in seconds since its slice before began or ended: longer
/// than a slice and the state machine's patience with the next one. Whoever is late has to begin anew.
pub(super) const PAUSE_SECONDS: i64 = 60 * 60;

/// Whether a slice that is tried again after `error` goes on with what there is. A server that has no room needs it back first.
pub(super) fn goes_on_after(error: &SliceError) -> bool {
    matches!(error, SliceError::Failed(failure) if failure.transient && failure.code != STRAINED)
}

/// That what was restored to see what comes of it is not what was backed up.
pub fn restored_differs(why: &str) -> SliceError {
    let message = format!("what was restored is not what was backed up: {why}; restore another backup");
    SliceError::permanent("restored_differs", message)
}

/// How far a slice of a restore came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To the end.
    Done(Restored),
    /// To where `cursor` says, which is for the restorer alone to understand.
    Paused {
        /// Where to go on.
        cursor: String,
    },
}

/// How far a restore has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restoring {
    /// Bytes of the artifact that were restored.
    pub bytes: u64,
    /// Bytes there are to restore, where they are known.
    pub of_bytes: Option<u64>,
    /// What it is doing, in a word or two: `schema`, `rows`, `indexes`, `files`.
    pub doing: &'static str,
    /// Where a slice would go on that came after this one, if it was killed now.
    pub cursor: Option<String>,
}

/// Who follows a restore: writes down how far it has come, and can stop it by answering with an error, such as
/// [`SliceError::Cancelled`] or [`SliceError::Fenced`].
#[async_trait]
pub trait RestoreObserver: Send {
    /// The restore has come so far. To be called about every two seconds, and before what cannot be taken back.
    async fn advanced(&mut self, so_far: Restoring) -> Result<(), SliceError>;
}

/// The restorer that puts what `mapping` names of `artifact` into `target`, which must be of its kind, for `restore`. A database's
/// credentials are read here.
pub async fn open(
    ports: &Ports,
    clients: &Clients,
    target: &Service,
    artifact: &Artifact,
    mapping: &Mapping,
    restore: &Restore,
) -> Result<Box<dyn Restorer>, SliceError> {
    let store = ports.artifacts.clone();
    match (target, &artifact.contents) {
        (Service::Postgres(database), Contents::PostgresCustom { .. }) => {
            let secret = database.restore_secret_arn.as_ref().unwrap_or(&database.secret_arn);
            let credentials = postgres_credentials(ports, database, secret).await?;
            let (tools, from) = (clients.postgres.clone(), (store, artifact.object.clone()));
            let tables = mapping.tables.clone();
            Ok(Box::new(PostgresRestorer::new(database.clone(), credentials, tools, from, tables, restore)))
        }
        (Service::Mysql(database), Contents::MysqlSql { .. }) => {
            let secret = database.restore_secret_arn.as_ref().unwrap_or(&database.secret_arn);
            let credentials = credentials(ports, secret).await?;
            let (programs, from) = (clients.mysql.clone(), (store, artifact.clone()));
            Ok(Box::new(MysqlRestorer::new(from, database.clone(), credentials, programs, mapping, restore)))
        }
        (Service::Storage(storage), Contents::MediaTar { .. }) => {
            Ok(Box::new(MediaRestorer::new(ports, storage.clone(), artifact.clone(), mapping, restore)))
        }
        _ => {
            let (service, kind) = (&artifact.service, target.kind());
            let message = format!(
                "service {} is a {kind}, and what the backup has of {service} is of another kind; map services of one kind",
                target.name()
            );
            Err(SliceError::permanent("kind_differs", message))
        }
    }
}
