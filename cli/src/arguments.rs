//! The command line.

mod catalog;
mod restore;

use std::{num::NonZeroUsize, path::PathBuf};

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use clap_complete::Shell;
use holdfast_backup::engines::postgres::DumpCompression;
use holdfast_domain::{
    id::{ApplicationId, BackupId, PlanId, ServiceName},
    retention::{OnDemandPolicy, ScheduledPolicy, simulate::DayRange},
};

use crate::{
    address::{self, Address, Target},
    failure::Failure,
    moment::{self, Expiry},
    retention::size,
};

const EXIT_CODES: &str =
    "Exit codes: 0 done · 1 failed, also when the backup failed · 2 wrong usage · 130 interrupted";

pub(crate) use catalog::{Catalog, Sides};
pub(crate) use restore::{CreateRestore, FileRestore, Restore, Restores, Undo};

/// Backups of applications: their databases and their files.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// What to print on standard output: text for people, or one JSON document.
    #[arg(long, short, global = true, default_value = "text", value_parser = ["text", "json"])]
    output: String,
    /// No colours.
    #[arg(long, global = true, env = "NO_COLOR", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) no_color: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Arguments {
    /// What standard output gets. A dump and an archive have an option of their own, for their
    /// `--output` is a file, as people expect of it.
    pub(crate) fn format(&self) -> Output {
        let json = match &self.command {
            Command::Dump(dump) => dump.json,
            Command::Archive(archive) => archive.json,
            _ => self.output == "json",
        };
        if json { Output::Json } else { Output::Text }
    }
}

/// Which API to talk to, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// Address of the API: the output `ApiUrl` of the stack.
    #[arg(long, global = true, env = "HOLDFAST_API", value_name = "URL")]
    pub(crate) api: Option<String>,
    /// Region of the API [default: the one its address names, else that of the AWS configuration], or of buckets.
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// Profile of the AWS configuration to take credentials from.
    #[arg(long, global = true)]
    pub(crate) profile: Option<String>,
}

/// What standard output gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Applications: what is backed up.
    #[command(subcommand)]
    Apps(Apps),
    /// Plans: when, and what is kept.
    #[command(subcommand)]
    Plans(Plans),
    /// Backups: make, look at, download, delete.
    #[command(subcommand)]
    Backup(Backup),
    /// Retention: what is kept, and why.
    #[command(subcommand)]
    Retention(Retention),
    /// The catalogue: the records, compared with the bucket and made anew from it. Needs no API.
    #[command(subcommand)]
    Catalog(Catalog),
    /// Archive the files below a prefix of a bucket as one tar with a manifest. Needs no API.
    Archive(Archive),
    /// Dump a database into one archive for the stock `pg_restore`. Needs no API, and to a file no AWS.
    Dump(Dump),
    /// Restores: of backups into applications; or, without a command, of a database from an archive that `holdfast dump`, a
    /// backup or `pg_dump -Fc` has made, all or nothing, which needs no API and no AWS.
    Restore(Restore),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Apps {
    /// List the applications.
    List,
    /// Show an application.
    Get { app: ApplicationId },
    /// Register an application, or change its registration.
    Put {
        app: ApplicationId,
        #[command(flatten)]
        document: Document,
    },
    /// Remove an application.
    Delete {
        app: ApplicationId,
        /// What becomes of its backups.
        #[arg(long, value_enum)]
        backups: Fate,
        /// Only if it is still in this version.
        #[arg(long)]
        version: Option<u64>,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plans {
    /// List the plans.
    List,
    /// Show a plan.
    Get { plan: PlanId },
    /// Make or change a plan.
    Put {
        plan: PlanId,
        #[command(flatten)]
        document: Document,
    },
    /// Show who changed a plan, and how, newest first.
    Events {
        plan: PlanId,
        /// Show at most so many.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
}

/// A document to send, and what it may replace.
#[derive(Debug, Args)]
pub(crate) struct Document {
    /// File with the JSON document; `-` for standard input.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Change what is there, if it is still in this version.
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) version: Option<u64>,
    /// Change what is there, whatever its version.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

/// What becomes of the backups of an application that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fate {
    /// They stay until somebody deletes them or their own expiry comes. Registered again, the application has them again.
    Keep,
    /// They are deleted.
    Delete,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Backup {
    /// Make a backup now, and follow it until it ends.
    Create(Create),
    /// List an application's backups, newest first.
    List(List),
    /// Show a backup.
    Show {
        app: ApplicationId,
        /// Its id, or `latest` for the newest that succeeded.
        #[arg(value_name = "ID|latest")]
        backup: Which,
    },
    /// Follow a running backup until it ends.
    Follow { app: ApplicationId, id: BackupId },
    /// Cancel a running backup.
    Cancel { app: ApplicationId, id: BackupId },
    /// Delete a backup.
    Delete {
        app: ApplicationId,
        id: BackupId,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Keep a backup whatever the policy says: it is neither relabelled, discarded nor deleted until it is released.
    Hold {
        app: ApplicationId,
        /// Its id, or `latest` for the newest that succeeded.
        #[arg(value_name = "ID|latest")]
        backup: Which,
        /// Why it must stay.
        #[arg(long)]
        reason: String,
    },
    /// Release a held backup: the policy decides again.
    Release { app: ApplicationId, id: BackupId },
    /// Bring a deleted or discarded backup back, within 7 days; it comes back held.
    Undelete { app: ApplicationId, id: BackupId },
    /// Read a backup again, from its first byte to its last, and wait for what is found.
    Verify {
        app: ApplicationId,
        /// Its id, or `latest` for the newest that succeeded.
        #[arg(value_name = "ID|latest")]
        backup: Which,
        /// Then restore it beside the application's services, compare that with what was backed up, and remove it again.
        #[arg(long)]
        restore: bool,
        /// And compare the values that are in its tables then with those of the backup, by checksums of their rows.
        #[arg(long, requires = "restore")]
        checksums: bool,
    },
    /// Download what a backup holds; a broken download goes on where it broke off.
    Download(Download),
    /// List the files of a media archive, in the order of their keys.
    Files(Files),
    /// Write one file of a media archive to standard output.
    Cat {
        #[command(flatten)]
        file: ArchivedFile,
    },
    /// Take one file out of a media archive.
    Get {
        #[command(flatten)]
        file: ArchivedFile,
        /// File to write; it appears once it is whole [default: the last part of KEY, in this folder].
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Replace a file that is there.
        #[arg(long)]
        overwrite: bool,
    },
    /// Show who did what to an application's backups, newest first.
    Events {
        app: ApplicationId,
        /// Show at most so many.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    pub(crate) app: ApplicationId,
    /// Back up this service; may be given several times [default: all].
    #[arg(long = "service", value_name = "NAME")]
    pub(crate) services: Vec<ServiceName>,
    /// What to remember about it.
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// Discard it then whatever the policy: an RFC 3339 time, or a while from now such as `14d`, `12h`, `2w`.
    #[arg(long, value_name = "TIME|DURATION", value_parser = moment::parse_expiry)]
    pub(crate) expires: Option<Expiry>,
    /// Repeating a request with the same key never makes a second backup [default: a random one].
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Do not follow it: return as soon as it is accepted.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    pub(crate) app: ApplicationId,
    /// Only in this state; may be given several times.
    #[arg(long = "state", value_name = "STATE", value_parser = STATES)]
    pub(crate) states: Vec<String>,
    /// Only with this trigger.
    #[arg(long, value_parser = ["scheduled", "on_demand"])]
    pub(crate) trigger: Option<String>,
    /// Only with this label.
    #[arg(long, value_parser = ["daily", "weekly", "monthly"])]
    pub(crate) label: Option<String>,
    /// Only created then or later: an RFC 3339 time, or a day in UTC.
    #[arg(long, value_name = "TIME", value_parser = moment::parse_time)]
    pub(crate) since: Option<DateTime<Utc>>,
    /// Only created before: an RFC 3339 time, or a day in UTC.
    #[arg(long, value_name = "TIME", value_parser = moment::parse_time)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// Show at most so many.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: usize,
}

const STATES: [&str; 7] = ["queued", "running", "succeeded", "failed", "cancelled", "expiring", "expired"];

#[derive(Debug, Args)]
pub(crate) struct Download {
    pub(crate) app: ApplicationId,
    /// The backup's id, or `latest` for the newest that succeeded.
    #[arg(value_name = "ID|latest")]
    pub(crate) backup: Which,
    /// Download this service; may be given several times [default: all].
    #[arg(long = "service", value_name = "NAME")]
    pub(crate) services: Vec<ServiceName>,
    /// Folder to download to; it is made if need be.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) to: PathBuf,
    /// Replace files that are there and differ.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    pub(crate) app: ApplicationId,
    /// The backup's id, or `latest` for the newest that succeeded.
    #[arg(value_name = "ID|latest")]
    pub(crate) backup: Which,
    /// The storage service [default: the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<ServiceName>,
    /// Only files whose keys begin with this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Show at most so many.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) limit: usize,
}

/// A file in a media archive.
#[derive(Debug, Args)]
pub(crate) struct ArchivedFile {
    pub(crate) app: ApplicationId,
    /// The backup's id, or `latest` for the newest that succeeded.
    #[arg(value_name = "ID|latest")]
    pub(crate) backup: Which,
    /// The file's key, as `holdfast backup files` shows it.
    pub(crate) key: String,
    /// The storage service [default: the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<ServiceName>,
}

const DUMP_HELP: &str =
    "The database is found by --dsn, then by PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE and
PGSSLROOTCERT; a password also in ~/.pgpass. A server that is not on this machine must be verified
(sslmode=verify-full) unless sslmode=disable. Other variables that choose the server or the role, such as PGSERVICE,
PGHOSTADDR and PGOPTIONS, are not supported, and refused.

An s3:// address is reached with the usual AWS settings (--profile, --region, AWS_PROFILE, AWS_ENDPOINT_URL and so on).
--region is that of the bucket where it cannot be found out.";

#[derive(Debug, Args)]
#[command(after_help = DUMP_HELP)]
pub(crate) struct Dump {
    /// The database: `postgresql://user@host:5432/name`, or `host=… port=… dbname=… user=…`.
    #[arg(long, value_name = "DSN")]
    pub(crate) dsn: Option<String>,
    /// File or object to dump to. It appears when it is whole.
    #[arg(long, short, value_name = "FILE|s3://BUCKET/KEY", value_parser = address::checked_target)]
    pub(crate) output: String,
    /// Print one JSON document about it.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) stored: Stored,
    /// How many sessions read, beside the one that holds the snapshot.
    #[arg(long, short, value_name = "N", default_value = "4")]
    pub(crate) jobs: NonZeroUsize,
    /// How to compress: `auto`, `zstd[:LEVEL]` (servers from 16 on), `gzip[:LEVEL]` or `none`.
    #[arg(long, value_name = "METHOD", default_value = "auto")]
    pub(crate) compress: DumpCompression,
    /// Folders of the database's client programs, separated by colons, with `{major}` for the major version.
    #[arg(long, value_name = "DIRS", env = "HOLDFAST_CLIENT_DIRS", default_value = CLIENT_DIRS)]
    pub(crate) clients: String,
}

/// How a file or an object is stored.
#[derive(Debug, Clone, Args)]
pub(crate) struct Stored {
    /// Replace what is there under that name.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Storage class of an object [default: STANDARD].
    #[arg(long, value_name = "CLASS", value_parser = STORAGE_CLASSES)]
    pub(crate) storage_class: Option<String>,
    /// KMS key that an object is encrypted with: ARN, id or alias [default: the bucket's own encryption].
    #[arg(long, value_name = "KEY")]
    pub(crate) sse_kms_key_id: Option<String>,
}

impl Stored {
    /// Refuses what says nothing about a file, where `target` is one.
    pub(crate) fn check(&self, target: &Target) -> Result<(), Failure> {
        let given = [("--storage-class", &self.storage_class), ("--sse-kms-key-id", &self.sse_kms_key_id)];
        match (target, given.iter().find(|(_, value)| value.is_some())) {
            (Target::File(_), Some((option, _))) => {
                Err(Failure::usage(format!("{option} is for objects, and --output is a file"))
                    .fix(format!("leave {option} out, or give an address such as s3://bucket/key")))
            }
            _ => Ok(()),
        }
    }
}

/// Those of which an object can be read back at once.
const STORAGE_CLASSES: [&str; 5] =
    ["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];

const ARCHIVE_HELP: &str =
    "Beside NAME stands NAME.manifest.jsonl.zst, the manifest that the tar ends with. To s3:// the bucket copies files of
10 MiB and more itself. Buckets are reached with the usual AWS settings (--profile, --region, AWS_PROFILE,
AWS_ENDPOINT_URL and so on); --region is theirs where it cannot be found out.";

#[derive(Debug, Args)]
#[command(after_help = ARCHIVE_HELP)]
pub(crate) struct Archive {
    /// The files: a bucket, and what their keys begin with.
    #[arg(value_name = "s3://BUCKET/PREFIX")]
    pub(crate) source: Address,
    /// File or object to write the tar to. It appears when it is whole.
    #[arg(long, short, value_name = "FILE|s3://BUCKET/KEY", value_parser = address::checked_target)]
    pub(crate) output: String,
    /// Print one JSON document about it.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) stored: Stored,
}

/// Where the client programs are on Debian, on Red Hat, and in a layer.
const CLIENT_DIRS: &str =
    "/usr/lib/postgresql/{major}/bin:/usr/pgsql-{major}/bin:/opt/postgresql/{major}/bin";

/// Which backup is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest that succeeded.
    Latest,
    /// This one.
    Id(BackupId),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        text.parse()
            .map(Self::Id)
            .map_err(|_| "use an id as `holdfast backup list` shows it, or `latest`".to_owned())
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Id(id) => id.fmt(f),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Show what the next run would keep, relabel and discard, and why, what comes after it, and what it costs. Changes
    /// nothing.
    Show {
        app: ApplicationId,
        /// Draw the last year into this file instead; `-` for standard output.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Show what other policies would keep of an application's backups, beside what its plan keeps. Changes nothing.
    Preview(Preview),
    /// Try a policy out on a calendar: one success a day. Needs no API, no AWS and no network.
    Simulate(Simulate),
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    pub(crate) app: ApplicationId,
    /// The policy of scheduled backups to try out: `gfs:DAILIES/WEEKLIES/MONTHLIES` [default: the plan's].
    #[arg(long, required_unless_present = "on_demand")]
    pub(crate) policy: Option<ScheduledPolicy>,
    /// The policy of backups on demand to try out: `age_then_count:DAYS/KEEP` [default: the plan's].
    #[arg(long, value_name = "POLICY")]
    pub(crate) on_demand: Option<OnDemandPolicy>,
    /// Draw what they would leave of the last year into this file instead; `-` for standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The policy: `gfs:DAILIES/WEEKLIES/MONTHLIES`.
    #[arg(long, default_value = "gfs:7/4/12")]
    pub(crate) policy: ScheduledPolicy,
    /// The first day.
    #[arg(long, value_name = "DATE")]
    pub(crate) from: NaiveDate,
    /// How many days.
    #[arg(long, value_name = "N")]
    pub(crate) days: u32,
    /// Days without a success, first and last included; may be given several times.
    #[arg(long = "skip", value_name = "DATE..DATE")]
    pub(crate) skipped: Vec<DayRange>,
    /// How many successes on each day.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) slots_per_day: u32,
    /// Also draw the calendar as SVG into this file; `-` prints it, and nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Also say what the policy costs in the region of --region, for backups of this size, such as `2GiB`.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(crate) bytes: Option<u64>,
    /// Take the prices from this file instead of those that come with holdfast.
    #[arg(long, value_name = "FILE", requires = "bytes")]
    pub(crate) prices: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
