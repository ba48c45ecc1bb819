//! `holdfast restore`.

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_domain::id::{ApplicationId, RestoreId, ServiceName};

use super::{CLIENT_DIRS, DUMP_HELP, Which};

// Without a command, a file is restored.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = DUMP_HELP
)]
pub(crate) struct Restore {
    #[command(subcommand)]
    pub(crate) command: Option<Restores>,
    #[command(flatten)]
    pub(crate) file: FileRestore,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct FileRestore {
    /// The archive. One that is called like a command: `./create`.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Option<PathBuf>,
    /// The database, which need not be there: `postgresql://user@host:5432/name`, or `host=… port=… dbname=… user=…`.
    #[arg(long, value_name = "DSN")]
    pub(crate) dsn: Option<String>,
    /// Only say what would be done, and what stands in the way.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only this table, as `schema.table` or `table`, into the database that is there; to be given more than once for several.
    #[arg(long = "table", value_name = "TABLE", conflicts_with = "keep_old")]
    pub(crate) tables: Vec<String>,
    /// Replace a database that has something in it, and end the sessions on it; or the rows of tables that are there.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Keep the database that is replaced, under a name that is told.
    #[arg(long)]
    pub(crate) keep_old: bool,
    /// Give everything to the role that restores, whoever owned it.
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// How many sessions restore, beside the one that swaps the database in.
    #[arg(long, short, value_name = "N", default_value = "4")]
    pub(crate) jobs: NonZeroUsize,
    /// What the CRC64NVME of FILE must be, as `holdfast dump`, `holdfast backup show` and S3 tell it.
    #[arg(long, value_name = "BASE64")]
    pub(crate) checksum: Option<Crc64Nvme>,
    /// Folders of the database's client programs, separated by colons, with `{major}` for the major version.
    #[arg(long, value_name = "DIRS", env = "HOLDFAST_CLIENT_DIRS", default_value = CLIENT_DIRS)]
    pub(crate) clients: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Restores {
    /// Restore a backup into an application, and follow it until it ends.
    Create(CreateRestore),
    /// List an application's restores, newest first.
    List {
        app: ApplicationId,
        /// Only in this state; may be given several times.
        #[arg(long = "state", value_name = "STATE", value_parser = STATES)]
        states: Vec<String>,
        /// Show at most so many.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
    /// Show a restore: what was found before, how far it has come, and what came of it.
    Show { app: ApplicationId, id: RestoreId },
    /// Follow a running restore until it ends.
    Follow { app: ApplicationId, id: RestoreId },
    /// Stop a running restore.
    Cancel { app: ApplicationId, id: RestoreId },
    /// Take a restore back: what was there before it, as it was backed up then, is restored.
    Undo(Undo),
}

const STATES: [&str; 5] = ["queued", "running", "succeeded", "failed", "cancelled"];

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct CreateRestore {
    /// The application that is restored.
    pub(crate) app: ApplicationId,
    /// The backup to restore: its id, or `latest` for the newest that succeeded.
    #[arg(long, value_name = "ID|latest")]
    pub(crate) from: Which,
    /// The application it is a backup of, which must allow it by `restore_into` [default: APP].
    #[arg(long, value_name = "APP")]
    pub(crate) from_application: Option<ApplicationId>,
    /// Restore this service, into the one of that name, or into TO; may be given several times [default: all that both have].
    #[arg(long = "service", value_name = "FROM[=TO]")]
    pub(crate) services: Vec<FromTo>,
    /// Of the one database that --service names, only this table: `schema.table` or `table`; may be given several times.
    #[arg(long = "table", value_name = "TABLE", requires = "services", conflicts_with = "files")]
    pub(crate) tables: Vec<String>,
    /// Of the one storage that --service names, only this file, or all below a name that ends in `/`; may be given several
    /// times.
    #[arg(long = "file", value_name = "KEY", requires = "services")]
    pub(crate) files: Vec<String>,
    /// Replace a database that has something in it, and files that differ.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Give everything in a `PostgreSQL` database to the role that restores, whoever owned it.
    #[arg(long)]
    pub(crate) no_owner: bool,
    /// Remove files that the backup does not have.
    #[arg(long)]
    pub(crate) mirror: bool,
    /// Restore files below this prefix of the bucket, which must be below the storage's own.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) into_prefix: Option<String>,
    /// Do not back up first what is there: the restore cannot be undone then.
    #[arg(long)]
    pub(crate) no_safety_backup: bool,
    /// Only say what would be done, and what stands in the way.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Repeating a request with the same key never makes a second restore [default: a random one].
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Do not follow it: return as soon as it is accepted.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    pub(crate) app: ApplicationId,
    pub(crate) id: RestoreId,
    /// Do not ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Do not follow it: return as soon as it is accepted.
    #[arg(long)]
    pub(crate) detach: bool,
}

/// A service of the backup, and the service it is restored into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FromTo {
    /// The service of the backup.
    pub(crate) from: ServiceName,
    /// The service that is restored.
    pub(crate) to: ServiceName,
}

impl FromStr for FromTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once('=').unwrap_or((text, text));
        let read = |name: &str| {
            name.parse::<ServiceName>().map_err(|error| format!("{}; {}", error.problem, error.fix))
        };
        Ok(Self { from: read(from)?, to: read(to)? })
    }
}
