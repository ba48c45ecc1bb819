//! What is backed up: an application and its services.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    id::{ApplicationId, PlanId, ServiceName},
    invalid::Invalid,
    region::{self, Region},
};

/// Most services one application can have: each is a branch of the job, and a line in its picture.
const SERVICES_MAX: usize = 20;

/// Most applications that the backups of one may be restored into.
const RESTORE_INTO_MAX: usize = 20;

/// What a person registers: the plan the application subscribes to, the zone its days are counted in, its services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplicationSpec {
    /// The subscription: schedule, retention, limits.
    #[serde(default = "PlanId::default_plan")]
    pub plan: PlanId,
    /// IANA name of the time zone that days, weeks and months are counted in.
    #[schema(value_type = String, example = "Europe/Zurich")]
    #[serde(default = "utc", with = "zone")]
    pub time_zone: Tz,
    /// Databases and storages; a backup takes databases first, so that each file a row names exists.
    pub services: Vec<Service>,
    /// Other applications that its backups may be restored into. Whoever may restore one of those can then have its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore_into: Vec<ApplicationId>,
}

/// One thing to back up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Service {
    /// A `PostgreSQL` database.
    Postgres(PostgresService),
    /// A `MySQL` or `MariaDB` database.
    Mysql(MysqlService),
    /// Files below a prefix of a bucket.
    Storage(StorageService),
}

/// A `PostgreSQL` database and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresService {
    /// The service's name within the application.
    pub name: ServiceName,
    /// Host name or address, as seen from the worker.
    pub host: String,
    /// TCP port.
    #[serde(default = "postgres_port")]
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// ARN of the Secrets Manager secret that holds `{"username", "password"}`.
    pub secret_arn: String,
    /// ARN of the secret with the credentials to restore with; those of `secret_arn` without it. They need more rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_secret_arn: Option<String>,
    /// What the roles of these secrets log in with.
    #[serde(default, skip_serializing_if = "Login::is_password")]
    pub login: Login,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
    /// What of RDS it runs on, to be read from a copy of that; without it, the database itself is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<Isolated>,
}

/// A `MySQL` or `MariaDB` database and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MysqlService {
    /// The service's name within the application.
    pub name: ServiceName,
    /// Host name or address, as seen from the worker.
    pub host: String,
    /// TCP port.
    #[serde(default = "mysql_port")]
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// ARN of the Secrets Manager secret that holds `{"username", "password"}`.
    pub secret_arn: String,
    /// ARN of the secret with the credentials to restore with; those of `secret_arn` without it. They need more rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_secret_arn: Option<String>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
    /// What of RDS it runs on, to be read from a copy of that; without it, the database itself is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<Isolated>,
}

/// What of Amazon RDS a database runs on. A backup then snapshots it and reads a temporary copy that is restored from the
/// snapshot, as it was at that moment, instead of the database itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolated {
    /// A DB instance, by its identifier.
    Instance(String),
    /// A DB cluster (Aurora), by its identifier.
    Cluster(String),
}

/// What a role logs in to a database with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// The password of its secret.
    #[default]
    Password,
    /// A token of IAM, which RDS takes for a quarter of an hour. Only the name of the role is of its secret.
    Iam,
}

impl Login {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    fn is_password(&self) -> bool {
        *self == Self::Password
    }

    fn validate(self, tls: &Tls) -> Result<(), Invalid> {
        if self == Self::Iam && *tls == Tls::Disable {
            return Err(Invalid::new(
                "login",
                "is a token of IAM, which would be readable on its way without TLS",
                "register the service with \"tls\": {\"mode\": \"verify_full\"}",
            ));
        }
        Ok(())
    }
}

/// How a database connection is protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Tls {
    /// Encrypted, and the server's certificate and name are verified.
    VerifyFull {
        /// Certificates of the authorities to trust, PEM; without them, Amazon RDS's and the public ones are trusted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca_pem: Option<String>,
    },
    /// Not encrypted: for a server on the same host or a private tunnel.
    Disable,
}

impl Isolated {
    /// Its identifier within the account and region.
    pub fn identifier(&self) -> &str {
        match self {
            Self::Instance(identifier) | Self::Cluster(identifier) => identifier,
        }
    }

    /// The rules of RDS: <https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html>
    fn validate(&self) -> Result<(), Invalid> {
        let (field, identifier) = match self {
            Self::Instance(identifier) => ("isolated.instance", identifier),
            Self::Cluster(identifier) => ("isolated.cluster", identifier),
        };
        let good = identifier.len() <= 63
            && identifier.starts_with(|first: char| first.is_ascii_alphabetic())
            && identifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !identifier.contains("--")
            && !identifier.ends_with('-');
        if good {
            return Ok(());
        }
        Err(Invalid::new(
            field,
            format!("is not an identifier of RDS: {identifier:?}"),
            "give the DB identifier as RDS lists it, such as \"shop-db\", not an endpoint or an ARN",
        ))
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::VerifyFull { ca_pem: None }
    }
}

/// Files below a prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageService {
    /// The service's name within the application.
    pub name: ServiceName,
    /// The bucket, in the stack's own region.
    pub bucket: String,
    /// Keys start with this; usually it ends in `/`. Empty for the whole bucket.
    #[serde(default)]
    pub prefix: String,
}

impl Service {
    /// The service's name within the application.
    pub fn name(&self) -> &ServiceName {
        match self {
            Self::Postgres(service) => &service.name,
            Self::Mysql(service) => &service.name,
            Self::Storage(service) => &service.name,
        }
    }

    /// What of RDS a copy is read of instead of the service itself.
    pub fn isolated(&self) -> Option<&Isolated> {
        match self {
            Self::Postgres(service) => service.isolated.as_ref(),
            Self::Mysql(service) => service.isolated.as_ref(),
            Self::Storage(_) => None,
        }
    }

    /// The same database on another server; a storage as it is.
    #[must_use]
    pub fn at(mut self, to: &str, at: u16) -> Self {
        match &mut self {
            Self::Postgres(PostgresService { host, port, .. })
            | Self::Mysql(MysqlService { host, port, .. }) => {
                to.clone_into(host);
                *port = at;
            }
            Self::Storage(_) => {}
        }
        self
    }

    /// Databases go first: see [`ApplicationSpec::services`].
    pub fn is_database(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Mysql(_))
    }

    /// The kind as it is written in documents.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Mysql(_) => "mysql",
            Self::Storage(_) => "storage",
        }
    }
}

impl ApplicationSpec {
    /// Checks all that can be known without asking anybody: names, uniqueness, and the regions that names give away.
    /// `backups` is the stack's own backup bucket, which cannot be a service.
    pub fn validate(&self, region: &Region, backups: &str) -> Result<(), Invalid> {
        if self.services.is_empty() {
            return Err(Invalid::new(
                "services",
                "is empty, so there would be nothing to back up",
                "name at least one database or storage",
            ));
        }
        if self.services.len() > SERVICES_MAX {
            return Err(Invalid::new(
                "services",
                format!("has {} entries", self.services.len()),
                format!("register at most {SERVICES_MAX} services for one application"),
            ));
        }
        let mut names = BTreeSet::new();
        for (index, service) in self.services.iter().enumerate() {
            let parent = format!("services[{index}]");
            // Object keys are case-sensitive but folders on many desktops are not, and downloads land there.
            if !names.insert(service.name().as_str().to_ascii_lowercase()) {
                return Err(Invalid::new(
                    format!("{parent}.name"),
                    format!("is a duplicate: another service is called {:?} too", service.name().as_str()),
                    "give each service of an application its own name, letter case aside",
                ));
            }
            match service {
                Service::Postgres(PostgresService {
                    host,
                    port,
                    database,
                    secret_arn,
                    restore_secret_arn,
                    login,
                    tls,
                    ..
                }) => {
                    let secrets = (secret_arn.as_str(), restore_secret_arn.as_deref());
                    validate_database(host, (*port, postgres_port()), database, secrets, region)
                        .and_then(|()| login.validate(tls))
                }
                Service::Mysql(MysqlService {
                    host, port, database, secret_arn, restore_secret_arn, ..
                }) => {
                    let secrets = (secret_arn.as_str(), restore_secret_arn.as_deref());
                    validate_database(host, (*port, mysql_port()), database, secrets, region)
                }
                Service::Storage(storage) => storage.validate(backups),
            }
            .and_then(|()| service.isolated().map_or(Ok(()), Isolated::validate))
            .map_err(|invalid| invalid.within(&parent))?;
        }
        if self.restore_into.len() > RESTORE_INTO_MAX {
            return Err(Invalid::new(
                "restore_into",
                format!("has {} entries", self.restore_into.len()),
                format!("name at most {RESTORE_INTO_MAX} applications"),
            ));
        }
        Ok(())
    }

    /// The service of that name.
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.iter().find(|service| service.name() == name)
    }
}

/// Checks where a database is; `port` comes with the usual one, and the secret to read with with that to restore with.
fn validate_database(
    host: &str,
    port: (u16, u16),
    database: &str,
    (secret_arn, restore_secret_arn): (&str, Option<&str>),
    region: &Region,
) -> Result<(), Invalid> {
    if host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace) {
        return Err(Invalid::new(
            "host",
            format!("is not a host: {host:?}"),
            "give the host name or address of the database server",
        ));
    }
    if let Some(found) = region::of_database_host(host)
        && found != *region
    {
        return Err(Invalid::new(
            "host",
            format!("is a database in region {found}: {host}"),
            format!("register the application with the stack of {found}; this one keeps backups of {region}"),
        ));
    }
    if port.0 == 0 {
        return Err(Invalid::new(
            "port",
            "is 0",
            format!("give the port of the database server, usually {}", port.1),
        ));
    }
    if database.is_empty() || database.contains('\0') {
        return Err(Invalid::new("database", "is empty", "give the name of the database"));
    }
    region::of_secret("secret_arn", secret_arn, region)?;
    restore_secret_arn.map_or(Ok(()), |arn| region::of_secret("restore_secret_arn", arn, region))
}

impl StorageService {
    fn validate(&self, backups: &str) -> Result<(), Invalid> {
        let good = (3..=63).contains(&self.bucket.len())
            && self
                .bucket
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !good {
            return Err(Invalid::new(
                "bucket",
                format!("is not the name of a bucket: {:?}", self.bucket),
                "give the bucket's name alone, without s3:// and without a path",
            ));
        }
        if self.bucket == backups {
            return Err(Invalid::new(
                "bucket",
                "is the bucket that backups are kept in",
                "name the bucket that the application keeps its files in",
            ));
        }
        if self.prefix.starts_with('/') || self.prefix.len() > 1024 {
            return Err(Invalid::new(
                "prefix",
                format!("does not match keys as S3 has them: {:?}", self.prefix),
                "give it without a leading slash, as in \"media/\"; leave it empty for the whole bucket",
            ));
        }
        Ok(())
    }
}

fn utc() -> Tz {
    Tz::UTC
}

fn postgres_port() -> u16 {
    5432
}

fn mysql_port() -> u16 {
    3306
}

/// Time zones as their IANA names, with an error that says so.
mod zone {
    use chrono_tz::Tz;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(zone: &Tz, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(zone.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|_| {
            D::Error::custom(format!(
                "unknown time zone {name:?}; use an IANA name such as \"Europe/Zurich\" or \"UTC\""
            ))
        })
    }
}
