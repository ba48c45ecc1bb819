use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_domain::{
    application::Isolated,
    id::{ApplicationId, BackupId, ServiceName},
};
use secrecy::SecretString;

/// Instances, clusters and snapshots of Amazon RDS: those that databases run on, which are only ever described and
/// snapshotted, and the temporary ones that isolated backups make and delete. Temporary ones have names by which they are
/// found again, and tags by which this stack knows its own.
#[async_trait]
pub trait Instances: Send + Sync {
    /// What a database runs on; none if there is nothing of that identifier.
    async fn source(&self, of: &Isolated) -> Result<Option<Source>, InstancesError>;

    /// The instance classes that the source's engine, version and storage can be ordered with.
    async fn classes(&self, source: &Source) -> Result<Vec<String>, InstancesError>;

    /// Asks for a snapshot of `of`. One of that name that is there already is left alone, and that is a success.
    async fn snapshot(&self, of: &Isolated, name: &str, tags: &Tags) -> Result<(), InstancesError>;

    /// Asks for an instance, or for a cluster that has no instance yet, made of the snapshot of the same name. One that is
    /// there already is left alone, and that is a success.
    async fn restore(&self, copy: &NewCopy) -> Result<(), InstancesError>;

    /// Asks for the instance of a cluster that was restored, of the same name. As for [`restore`](Self::restore).
    async fn add_instance(&self, copy: &NewCopy) -> Result<(), InstancesError>;

    /// A temporary thing, by its name; none if there is none of that name. One that is not tagged as this stack's is an error.
    async fn find(&self, kind: Kind, name: &str) -> Result<Option<Temporary>, InstancesError>;

    /// Asks for the deletion of a temporary thing, with everything in it and without a last snapshot. Ok means that it was
    /// accepted, or that there is nothing of that name.
    async fn delete(&self, kind: Kind, name: &str) -> Result<(), InstancesError>;

    /// What `username` logs in to a database at `endpoint` with, instead of a password: good for a quarter of an hour.
    async fn token(&self, endpoint: &Endpoint, username: &str) -> Result<SecretString, InstancesError>;

    /// Every temporary thing of this stack, whatever its state.
    async fn leftovers(&self) -> Result<Vec<Leftover>, InstancesError>;
}

/// What there is in RDS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A DB instance, alone or of a cluster.
    Instance,
    /// A DB cluster.
    Cluster,
    /// A snapshot of an instance.
    Snapshot,
    /// A snapshot of a cluster.
    ClusterSnapshot,
}

impl From<&Isolated> for Kind {
    fn from(of: &Isolated) -> Self {
        match of {
            Isolated::Instance(_) => Self::Instance,
            Isolated::Cluster(_) => Self::Cluster,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Instance => "instance",
            Self::Cluster => "cluster",
            Self::Snapshot => "snapshot",
            Self::ClusterSnapshot => "cluster snapshot",
        })
    }
}

/// What a database runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its state, as RDS names it.
    pub status: String,
    /// Its engine, as RDS names it: `postgres`, `aurora-postgresql`, `mysql`, …
    pub engine: String,
    /// The engine's version.
    pub version: String,
    /// Where it answers.
    pub endpoint: Option<Endpoint>,
    /// The cluster that an instance is part of.
    pub member_of: Option<String>,
    /// Whether its storage is encrypted. A copy's is as the source's.
    pub is_encrypted: bool,
    /// The size of its storage in GiB, where it has a fixed one.
    pub gibibytes: Option<i32>,
    /// The type of its storage.
    pub storage_type: Option<String>,
    /// Its subnet group.
    pub subnet_group: Option<String>,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// Its parameter group; of a cluster, the cluster's.
    pub parameter_group: Option<String>,
    /// The certificate authority that signed its certificate.
    pub certificate_authority: Option<String>,
    /// Whether one can log in to it with a token of IAM.
    pub has_iam_authentication: bool,
}

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its host.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

/// Whose a temporary thing is; the stack is added by the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// The application that is backed up.
    pub application: ApplicationId,
    /// The backup.
    pub backup: BackupId,
    /// The service.
    pub service: ServiceName,
}

/// A copy to make of a snapshot. Never public, never in two zones, never protected from deletion, without backups of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCopy {
    /// Its name, and that of the snapshot.
    pub name: String,
    /// Whether it is a cluster with one instance, or an instance alone.
    pub is_cluster: bool,
    /// Whose it is.
    pub tags: Tags,
    /// What the snapshot is of: the copy is like it, where nothing else is said.
    pub source: Source,
    /// The class of its instance.
    pub class: String,
    /// Its subnet group.
    pub subnet_group: Option<String>,
    /// Its security groups.
    pub security_groups: Vec<String>,
}

/// A temporary thing as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporary {
    /// Its state, as RDS names it.
    pub status: String,
    /// Of a snapshot that is whole, its moment.
    pub taken_at: Option<DateTime<Utc>>,
    /// Of an instance, where it answers.
    pub endpoint: Option<Endpoint>,
}

/// A temporary thing of this stack, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its state, as RDS names it.
    pub status: String,
    /// The application and backup that its tags name; none where they cannot be read.
    pub owner: Option<(ApplicationId, BackupId)>,
}

/// Why RDS did not do something.
#[derive(Debug, thiserror::Error)]
pub enum InstancesError {
    /// It is in a state in which that cannot be done, and will be in another.
    #[error("RDS is not ready for it: {0}")]
    Busy(String),
    /// The function may not.
    #[error(
        "RDS refuses it: {0}; set the stack's parameter IsolatedSourcePattern, and SourceKeyArn where a key of yours encrypts the \
         storage (docs/isolated.md)"
    )]
    Denied(String),
    /// RDS would not do it again.
    #[error("RDS refuses it: {0}")]
    Rejected(String),
    /// RDS did not answer, or has no room just now.
    #[error("RDS could not do it just now: {0}")]
    Unavailable(String),
}
