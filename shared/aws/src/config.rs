//! What a function is told by its environment, one type for each concern.

use std::time::Duration;

use holdfast_backup::{
    engines::{Clients, media::Stretches},
    isolated::Placement,
};
use holdfast_domain::{cost::Prices, invalid::Invalid, region::Region};

/// Where `pg_dump` is looked for when nothing else is said: a Lambda layer, then Debian's packages.
const CLIENT_DIRS: &str = "/opt/postgresql/{major}/bin:/usr/lib/postgresql/{major}/bin";

/// Where the programs of `MySQL` and `MariaDB` are looked for when nothing else is said: Lambda layers, then Debian's packages.
const MYSQL_CLIENT_DIRS: &str = "/opt/mariadb/bin:/opt/mysql/bin:/usr/bin";

/// The environment says too little, or something that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A variable is not set, or empty.
    #[error("the environment variable {0} is not set; the template sets it for each function that needs it")]
    Missing(&'static str),
    /// A variable has a value that cannot be used.
    #[error("the environment variable {variable} is {value:?}; it must be {expected}")]
    Malformed {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// Looks a variable up; an empty one counts as not set.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The table that records are kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// Its name, `HOLDFAST_TABLE`.
    pub name: String,
}

impl TableConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        Ok(Self { name: required(lookup, "HOLDFAST_TABLE")? })
    }
}

/// The bucket that backups are kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// Its name, `HOLDFAST_BUCKET`.
    pub name: String,
    /// ARN of the KMS key that every object is encrypted with, `HOLDFAST_KEY_ARN`.
    pub key_arn: String,
    /// Whether the bucket's name goes into the path of a URL and not into its host, as it must when the standard
    /// settings `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` name an endpoint.
    pub path_style: bool,
}

impl BucketConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let key_arn = required(lookup, "HOLDFAST_KEY_ARN")?;
        if !(key_arn.starts_with("arn:") && key_arn.contains(":kms:")) {
            let expected = "the ARN of a KMS key";
            return Err(ConfigError::Malformed { variable: "HOLDFAST_KEY_ARN", value: key_arn, expected });
        }
        let name = required(lookup, "HOLDFAST_BUCKET")?;
        Ok(Self { name, key_arn, path_style: names_s3_endpoint(lookup) })
    }
}

/// Whether the environment names an endpoint of S3. A bucket's name then goes into the path of a URL.
pub fn s3_endpoint_in_env() -> bool {
    names_s3_endpoint(&environment)
}

fn names_s3_endpoint(lookup: Lookup) -> bool {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|name| lookup(name).is_some())
}

/// The state machine that drives jobs. The API and the tick start jobs; the other functions have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMachineConfig {
    /// Its ARN, `HOLDFAST_STATE_MACHINE_ARN`.
    pub arn: Option<String>,
}

impl StateMachineConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let variable = "HOLDFAST_STATE_MACHINE_ARN";
        match lookup(variable) {
            Some(value) if !value.contains(":stateMachine:") => {
                Err(ConfigError::Malformed { variable, value, expected: "the ARN of a state machine" })
            }
            arn => Ok(Self { arn }),
        }
    }
}

/// Who is told what has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventsConfig {
    /// The name of the bus, `HOLDFAST_EVENT_BUS`. Those who end jobs, and retention, tell it; the other functions have none.
    pub bus: Option<String>,
    /// The stack that metrics are of, `HOLDFAST_STACK`; `holdfast` when nothing else is said.
    pub stack: String,
}

impl EventsConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Self {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Self {
        let stack = lookup("HOLDFAST_STACK").unwrap_or_else(|| "holdfast".to_owned());
        Self { bus: lookup("HOLDFAST_EVENT_BUS"), stack }
    }
}

/// How much is asked of a database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpsConfig {
    /// How many of its databases are dumped at a time, `HOLDFAST_DUMPS_PER_SERVER`; 0 for as many as there are.
    pub per_server: usize,
}

impl DumpsConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let variable = "HOLDFAST_DUMPS_PER_SERVER";
        let value = lookup(variable).unwrap_or_else(|| "4".to_owned());
        match value.parse() {
            Ok(per_server) => Ok(Self { per_server }),
            Err(_) => Err(ConfigError::Malformed { variable, value, expected: "a number, 0 for no limit" }),
        }
    }
}

/// Where the stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionConfig {
    /// Its region, `AWS_REGION`, which Lambda sets.
    pub region: Region,
}

impl RegionConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        Ok(Self { region: Region::new(required(lookup, "AWS_REGION")?) })
    }
}

/// The client programs of databases.
#[derive(Debug, Clone)]
pub struct ClientsConfig {
    /// The programs. Those of `PostgreSQL` are found through `HOLDFAST_CLIENT_DIRS`: folders divided by colons, looked through
    /// in this order, each with `{major}` for the major version of the server. Those of `MySQL` and `MariaDB` are found
    /// through `HOLDFAST_MYSQL_CLIENT_DIRS`: folders divided by colons, and the family of the server decides.
    pub clients: Clients,
}

impl ClientsConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let variable = "HOLDFAST_CLIENT_DIRS";
        let value = lookup(variable).unwrap_or_else(|| CLIENT_DIRS.to_owned());
        let expected = "folders with {major} in them, divided by colons";
        let postgres = value.parse().map_err(|_| ConfigError::Malformed { variable, value, expected })?;
        let variable = "HOLDFAST_MYSQL_CLIENT_DIRS";
        let value = lookup(variable).unwrap_or_else(|| MYSQL_CLIENT_DIRS.to_owned());
        let expected = "absolute folders, divided by colons";
        let mysql = value.parse().map_err(|_| ConfigError::Malformed { variable, value, expected })?;
        Ok(Self { clients: Clients { postgres, mysql } })
    }
}

/// How much media one invocation of the worker takes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    /// What takes longer than `HOLDFAST_MEDIA_SECONDS`, at a guess, is divided between invocations: 300 unless told.
    pub stretches: Stretches,
}

impl MediaConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let variable = "HOLDFAST_MEDIA_SECONDS";
        let Some(value) = lookup(variable) else { return Ok(Self { stretches: Stretches::default() }) };
        match value.parse() {
            Ok(seconds @ 0..=800) => Ok(Self { stretches: Stretches::of_seconds(seconds) }),
            _ => Err(ConfigError::Malformed { variable, value, expected: "seconds, from 0 to 800" }),
        }
    }
}

/// Isolated backups of databases on RDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolatedConfig {
    /// The name of the stack, `HOLDFAST_ISOLATED_STACK`, which its temporary instances are tagged with. Without it they are turned off.
    pub stack: Option<String>,
    /// Where temporary instances are put: `HOLDFAST_ISOLATED_SUBNET_GROUP`, `HOLDFAST_ISOLATED_SECURITY_GROUPS` (divided by
    /// commas) and `HOLDFAST_ISOLATED_CLASS`, each as with the source, or as small as can be, when it is not said.
    pub placement: Placement,
}

impl IsolatedConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Self {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Self {
        let groups = lookup("HOLDFAST_ISOLATED_SECURITY_GROUPS").unwrap_or_default();
        let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
        Self {
            stack: lookup("HOLDFAST_ISOLATED_STACK"),
            placement: Placement {
                subnet_group: lookup("HOLDFAST_ISOLATED_SUBNET_GROUP"),
                security_groups: groups.map(str::to_owned).collect(),
                class: lookup("HOLDFAST_ISOLATED_CLASS"),
            },
        }
    }
}

/// What costs are told by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricesConfig {
    /// The prices in `HOLDFAST_PRICES`, a document of the form of `shared/domain/prices`, or without it those that come with
    /// the program. One that cannot be read is kept as that: only costs are then not told.
    pub prices: Result<Prices, Invalid>,
}

impl PricesConfig {
    /// Reads the process's environment.
    pub fn from_env() -> Self {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Self {
        let prices =
            lookup("HOLDFAST_PRICES").map_or_else(|| Ok(Prices::bundled()), |text| Prices::parse(&text));
        Self { prices }
    }
}

/// Signed download URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadConfig {
    /// How long they work, `HOLDFAST_DOWNLOAD_SECONDS`.
    pub valid: Duration,
}

impl DownloadConfig {
    /// The longest that a signature can be valid, 7 days.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html>
    const MOST_SECONDS: u64 = 7 * 24 * 60 * 60;

    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let variable = "HOLDFAST_DOWNLOAD_SECONDS";
        let value = lookup(variable).unwrap_or_else(|| "900".to_owned());
        match value.parse() {
            Ok(seconds) if (1..=Self::MOST_SECONDS).contains(&seconds) => {
                Ok(Self { valid: Duration::from_secs(seconds) })
            }
            _ => Err(ConfigError::Malformed {
                variable,
                value,
                expected: "a number of seconds from 1 to 604800",
            }),
        }
    }
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// The least level that is: `error`, `warn`, `info`, `debug` or `trace`; `HOLDFAST_LOG`.
    pub level: String,
}

impl LogConfig {
    const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::read(&environment)
    }

    fn read(lookup: Lookup) -> Result<Self, ConfigError> {
        let variable = "HOLDFAST_LOG";
        let level = lookup(variable).map_or_else(|| "info".to_owned(), |value| value.to_ascii_lowercase());
        if Self::LEVELS.contains(&level.as_str()) {
            return Ok(Self { level });
        }
        Err(ConfigError::Malformed { variable, value: level, expected: "error, warn, info, debug or trace" })
    }
}

fn required(lookup: Lookup, variable: &'static str) -> Result<String, ConfigError> {
    lookup(variable).ok_or(ConfigError::Missing(variable))
}

#[expect(clippy::disallowed_methods, reason = "this is the one adapter of the environment")]
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/x";

    fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |wanted| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = TableConfig::read(&with(&[])).unwrap_err();
        assert_eq!(error, ConfigError::Missing("HOLDFAST_TABLE"));
        assert!(error.to_string().contains("HOLDFAST_TABLE is not set"));
        let error = BucketConfig::read(&with(&[("HOLDFAST_KEY_ARN", KEY)])).unwrap_err();
        assert_eq!(error, ConfigError::Missing("HOLDFAST_BUCKET"));
    }

    #[rstest]
    #[case(&[], false)]
    #[case(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")], true)]
    #[case(&[("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")], true)]
    fn an_endpoint_of_its_own_has_the_bucket_in_the_path(
        #[case] more: &[(&str, &str)],
        #[case] path_style: bool,
    ) {
        let variables = [&[("HOLDFAST_BUCKET", "backups"), ("HOLDFAST_KEY_ARN", KEY)], more].concat();
        assert_eq!(BucketConfig::read(&with(&variables)).unwrap().path_style, path_style);
    }

    #[test]
    fn prices_are_the_bundled_ones_those_given_or_a_problem() {
        assert_eq!(PricesConfig::read(&with(&[])).prices, Ok(Prices::bundled()));
        let broken = PricesConfig::read(&with(&[("HOLDFAST_PRICES", "{}")])).prices.unwrap_err();
        assert!(broken.to_string().contains("missing field `date`"), "{broken}");
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        assert_eq!(StateMachineConfig::read(&with(&[])), Ok(StateMachineConfig { arn: None }));
        assert_eq!(DumpsConfig::read(&with(&[])), Ok(DumpsConfig { per_server: 4 }));
        assert_eq!(EventsConfig::read(&with(&[])), EventsConfig { bus: None, stack: "holdfast".to_owned() });
        assert_eq!(DownloadConfig::read(&with(&[])), Ok(DownloadConfig { valid: Duration::from_mins(15) }));
        assert_eq!(LogConfig::read(&with(&[])), Ok(LogConfig { level: "info".to_owned() }));
        assert!(ClientsConfig::read(&with(&[])).is_ok());
    }

    #[test]
    fn temporary_instances_are_put_where_it_is_said() {
        let unsaid = IsolatedConfig::read(&with(&[]));
        assert_eq!(unsaid, IsolatedConfig { stack: None, placement: Placement::default() });
        let variables = [
            ("HOLDFAST_ISOLATED_STACK", "holdfast"),
            ("HOLDFAST_ISOLATED_SUBNET_GROUP", "private"),
            ("HOLDFAST_ISOLATED_SECURITY_GROUPS", "sg-1,sg-2"),
            ("HOLDFAST_ISOLATED_CLASS", "db.m7g.large"),
        ];
        let IsolatedConfig { stack, placement } = IsolatedConfig::read(&with(&variables));
        assert_eq!(stack.as_deref(), Some("holdfast"));
        assert_eq!(placement.subnet_group.as_deref(), Some("private"));
        assert_eq!(placement.security_groups, ["sg-1", "sg-2"]);
        assert_eq!(placement.class.as_deref(), Some("db.m7g.large"));
    }

    #[rstest]
    #[case("HOLDFAST_DOWNLOAD_SECONDS", "0")]
    #[case("HOLDFAST_DOWNLOAD_SECONDS", "604801")]
    #[case("HOLDFAST_DOWNLOAD_SECONDS", "15m")]
    #[case("HOLDFAST_LOG", "loud")]
    #[case("HOLDFAST_CLIENT_DIRS", "bin")]
    #[case("HOLDFAST_MYSQL_CLIENT_DIRS", "bin")]
    #[case("HOLDFAST_MEDIA_SECONDS", "900")]
    #[case("HOLDFAST_DUMPS_PER_SERVER", "-1")]
    #[case("HOLDFAST_STATE_MACHINE_ARN", "job")]
    #[case("HOLDFAST_KEY_ARN", "alias/holdfast")]
    fn what_cannot_be_is_named_with_its_value(#[case] variable: &str, #[case] value: &str) {
        let variables = [(variable, value), ("HOLDFAST_BUCKET", "backups")];
        let lookup = with(&variables);
        let errors = [
            DownloadConfig::read(&lookup).err(),
            LogConfig::read(&lookup).err(),
            ClientsConfig::read(&lookup).err(),
            MediaConfig::read(&lookup).err(),
            DumpsConfig::read(&lookup).err(),
            StateMachineConfig::read(&lookup).err(),
            BucketConfig::read(&lookup).err(),
        ];
        let text = format!("{variable} is {value:?}");
        assert_eq!(
            errors.iter().flatten().filter(|error| error.to_string().contains(&text)).count(),
            1,
            "{errors:?}"
        );
    }
}
