//! The engines: each reads one kind of service and yields its artifact as segments.
//!
//! An engine never knows where its segments go, and [`crate::upload`] never knows what is in them. Between the two
//! stands [`segments::channel`], which bounds the memory they use together.

mod leg;
pub mod media;
pub mod mysql;
pub mod postgres;
mod process;
pub mod restorer;
mod row_counts;
pub mod segments;
mod temporary;
mod trust;
mod unreached;

use leg::moved;
pub use leg::{Halt, Leg, LegEnd};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::{Login, PostgresService, Service},
    backup::{Contents, StoredObject},
    id::ApplicationId,
};

use crate::{
    engines::{
        media::MediaEngine,
        mysql::{MysqlEngine, MysqlPrograms},
        postgres::{ClientTools, PostgresEngine},
        segments::SegmentSender,
    },
    error::SliceError,
    ports::{ArtifactStore, DatabaseCredentials, Endpoint, Ports, SecretError},
};

/// Reads one service and yields its artifact as segments.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Media type of the artifact.
    fn content_type(&self) -> &'static str;

    /// Looks at what there is to read, so that what cannot work fails before anything is stored. Returns an estimate of
    /// the bytes to read where one is cheap. Calling it is optional, and harmless more than once.
    async fn prepare(&self) -> Result<Option<u64>, SliceError>;

    /// Reads everything once and sends it as segments, each number once, in any order. Ok means that the segments
    /// together are a whole artifact; after an error they are worthless. Ends soon after `out` is closed, and leaves no
    /// process or connection behind, however it ends.
    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError>;

    /// The same in legs, which together send each number once. An engine that reads in one go does so here as well.
    async fn run_leg(&self, out: SegmentSender, leg: Leg) -> Result<LegEnd, SliceError> {
        let _ = leg;
        self.run(out).await.map(LegEnd::Ended)
    }

    /// Compares what is stored as `object` with what the last run has sent, where there is more to compare than size
    /// and checksum.
    async fn read_back(&self, store: &dyn ArtifactStore, object: &StoredObject) -> Result<(), SliceError> {
        let _ = (store, object);
        Ok(())
    }

    /// What the last run has to say about the artifact, to be stored beside it.
    fn beside(&self) -> Option<Beside> {
        None
    }
}

/// A small object that stands beside an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its name, in the folder of the artifact.
    pub file_name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// All of it.
    pub bytes: Bytes,
}

/// What an engine knows about the artifact it has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineReport {
    /// What is inside.
    pub contents: Contents,
    /// The point in time of its data: not later than the snapshot, or the first look at the listing.
    pub taken_at: DateTime<Utc>,
}

/// The client programs that databases are read with.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Those of `PostgreSQL`.
    pub postgres: ClientTools,
    /// Those of `MySQL` and `MariaDB`.
    pub mysql: MysqlPrograms,
}

/// Who reads databases.
#[async_trait]
pub trait Engines: Send + Sync {
    /// The engine for a database of `application`.
    async fn open(
        &self,
        application: &ApplicationId,
        service: &Service,
    ) -> Result<Box<dyn Engine>, SliceError>;

    /// Looks whether a server of `service` that has this version could be read, before there is one to ask.
    fn check_version(&self, service: &Service, version: &str) -> Result<(), SliceError> {
        let _ = (service, version);
        Ok(())
    }
}

/// Engines that read databases with their client programs.
pub struct ClientEngines {
    ports: Ports,
    clients: Clients,
}

impl ClientEngines {
    /// Engines that reach the outside world through `ports`, and databases with `clients`.
    pub fn new(ports: Ports, clients: Clients) -> Self {
        Self { ports, clients }
    }
}

#[async_trait]
impl Engines for ClientEngines {
    async fn open(
        &self,
        application: &ApplicationId,
        service: &Service,
    ) -> Result<Box<dyn Engine>, SliceError> {
        open(&self.ports, &self.clients, application, service).await
    }

    fn check_version(&self, service: &Service, version: &str) -> Result<(), SliceError> {
        match service {
            Service::Postgres(_) => self.clients.postgres.check(version),
            Service::Mysql(_) | Service::Storage(_) => Ok(()),
        }
    }
}

/// The engine for `service`. A database's credentials are read here.
pub async fn open(
    ports: &Ports,
    clients: &Clients,
    application: &ApplicationId,
    service: &Service,
) -> Result<Box<dyn Engine>, SliceError> {
    match service {
        Service::Postgres(database) => {
            let credentials = postgres_credentials(ports, database, &database.secret_arn).await?;
            let (tools, clock) = (clients.postgres.clone(), ports.clock.clone());
            Ok(Box::new(PostgresEngine::new(database.clone(), credentials, tools, clock)))
        }
        Service::Mysql(database) => {
            let credentials = credentials(ports, &database.secret_arn).await?;
            let (programs, clock) = (clients.mysql.clone(), ports.clock.clone());
            Ok(Box::new(MysqlEngine::new(database.clone(), credentials, programs, clock)))
        }
        Service::Storage(storage) => {
            Ok(Box::new(MediaEngine::new(ports, application.clone(), storage.clone())))
        }
    }
}

/// What the role in a secret logs in to `database` with.
async fn postgres_credentials(
    ports: &Ports,
    database: &PostgresService,
    secret_arn: &str,
) -> Result<DatabaseCredentials, SliceError> {
    let found = credentials(ports, secret_arn).await?;
    if database.login == Login::Password {
        return Ok(found);
    }
    let endpoint = Endpoint { host: database.host.clone(), port: database.port };
    let password = ports.instances.token(&endpoint, &found.username).await?;
    Ok(DatabaseCredentials { password, ..found })
}

async fn credentials(ports: &Ports, secret_arn: &str) -> Result<DatabaseCredentials, SliceError> {
    ports.secrets.credentials(secret_arn).await.map_err(|error| secret_failure(&error))
}

fn secret_failure(error: &SecretError) -> SliceError {
    let message = error.to_string();
    match error {
        SecretError::NotFound(_) => SliceError::permanent("secret_missing", message),
        SecretError::Denied(_) => SliceError::permanent("secret_denied", message),
        SecretError::Malformed(_) => SliceError::permanent("secret_malformed", message),
        SecretError::Unavailable(_) => SliceError::transient("secret_unavailable", message),
    }
}
