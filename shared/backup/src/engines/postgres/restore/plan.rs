//! What a restore is going to do, and what stands in its way. Pure: everything is known by then.

mod notes;
mod refusals;
mod steps;

use std::{collections::BTreeSet, num::NonZeroUsize};

use holdfast_archive::{checksum::Crc64Nvme, pg_custom::Compression};
use holdfast_domain::application::PostgresService;
use serde::Serialize;

use super::{
    archive::Archive,
    facts::{TableRows, Wants, text},
    survey::{Survey, Target},
};

pub(super) use notes::left_out;
pub(super) use refusals::too_new;

/// How a database is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct RestoreOptions {
    /// How many sessions restore.
    pub jobs: NonZeroUsize,
    /// Replace a database that has something in it, and end the sessions on it.
    pub overwrite: bool,
    /// Everything belongs to the role that restores.
    pub no_owner: bool,
    /// Keep the database that is replaced, under another name.
    pub keep_old: bool,
    /// Only try it: the new database is never put in the place of another one. Its rows are counted, and it is dropped.
    pub rehearsal: bool,
    /// Of one that is only tried: compare the values in its tables with those of the archive.
    pub checksums: bool,
    /// What the checksum of the whole archive must be.
    pub checksum: Option<Crc64Nvme>,
}

/// What a restore is going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestorePlan {
    /// The database that is restored.
    pub database: String,
    /// The tables that are restored, if it is not all of the archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Its server: host and port.
    pub server: String,
    /// The server's version, such as `15.18`.
    pub server_version: String,
    /// The archive.
    pub archive: ArchiveSummary,
    /// The database that is replaced; none where there is none of that name.
    pub replaces: Option<Replaced>,
    /// How many sessions restore.
    pub jobs: usize,
    /// What is done, in order.
    pub steps: Vec<String>,
    /// What is good to know.
    pub notes: Vec<String>,
    /// What stands in the way. Nothing is done while there is any.
    pub refusals: Vec<Refusal>,
    #[serde(skip)]
    pub(super) leave_out: LeaveOut,
}

/// What is in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArchiveSummary {
    /// The file, or the key of the object.
    pub source: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The database that was dumped.
    pub database: String,
    /// The version of its server.
    pub server_version: String,
    /// How its data are compressed: `none`, `zlib`, `zstd` or `lz4`.
    pub compression: &'static str,
    /// How many tables have rows in it.
    pub tables: usize,
    /// How many rows they have, where that was written down beside the archive.
    pub rows: Option<u64>,
    /// Bytes of the rows, compressed as they are.
    pub data_bytes: u64,
    /// How many indexes, constraints and triggers it makes.
    pub indexes: usize,
    /// Whether its whole bytes were compared with a checksum.
    pub checksum_matches: bool,
}

/// A database that is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// Its size on disk in bytes.
    pub bytes: u64,
    /// How many objects are in it; none where this role cannot look.
    pub objects: Option<u64>,
    /// How many sessions are on it.
    pub sessions: u64,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// A stable code.
    pub code: &'static str,
    /// What is in the way.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// What of the archive is restored otherwise than it says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LeaveOut {
    /// Nothing is given an owner.
    pub(super) all_owners: bool,
    /// Owners that are not made owners.
    pub(super) owners: BTreeSet<String>,
    /// Roles whose privileges are left out.
    pub(super) grantees: BTreeSet<String>,
    /// Tablespaces in whose place the default is.
    pub(super) tablespaces: BTreeSet<String>,
}

impl LeaveOut {
    /// What a server that was surveyed lacks of what an archive wants.
    pub(super) fn of(wants: &Wants, survey: &Survey, options: &RestoreOptions) -> Self {
        Self {
            all_owners: options.no_owner,
            owners: wants.owners.difference(&survey.own_roles).cloned().collect(),
            grantees: wants.grantees.difference(&survey.roles).cloned().collect(),
            tablespaces: wants.tablespaces.difference(&survey.tablespaces).cloned().collect(),
        }
    }
}

/// Plans a restore of `archive`, which wants `wants`, into the database of `service`, whose server was surveyed.
pub(super) fn plan(
    archive: &Archive,
    wants: &Wants,
    survey: &Survey,
    service: &PostgresService,
    options: &RestoreOptions,
) -> RestorePlan {
    let database = service.database.as_str();
    let leave_out = LeaveOut::of(wants, survey, options);
    // One more makes the database and swaps it in.
    let jobs = usize::try_from(survey.free_connections.saturating_sub(1)).unwrap_or(usize::MAX);
    let jobs = options.jobs.get().min(jobs.max(1));
    let summary = summary(archive, wants);
    RestorePlan {
        database: database.to_owned(),
        tables: Vec::new(),
        server: format!("{}:{}", service.host, service.port),
        server_version: survey.server.version(),
        steps: steps::steps(database, wants, survey, options, jobs),
        notes: notes::notes(archive, wants, survey, options, &summary, &leave_out, jobs),
        refusals: refusals::refusals(archive, wants, survey, database, options),
        archive: summary,
        replaces: replaced(survey),
        jobs,
        leave_out,
    }
}

/// What is known of a restore of `tables` alone before it is planned, which makes what `made` wants.
pub(super) fn of_tables(
    archive: &Archive,
    tables: &[&TableRows],
    made: &Wants,
    (service, survey): (&PostgresService, &Survey),
    leave_out: LeaveOut,
) -> RestorePlan {
    RestorePlan {
        database: service.database.clone(),
        tables: Vec::new(),
        server: format!("{}:{}", service.host, service.port),
        server_version: survey.server.version(),
        archive: ArchiveSummary {
            tables: tables.len(),
            rows: tables.iter().map(|table| table.rows).sum(),
            data_bytes: tables.iter().map(|table| table.bytes).sum(),
            indexes: made.after_data,
            ..summary(archive, made)
        },
        replaces: replaced(survey),
        jobs: 1,
        steps: Vec::new(),
        notes: Vec::new(),
        refusals: Vec::new(),
        leave_out,
    }
}

fn replaced(survey: &Survey) -> Option<Replaced> {
    let Target { bytes, objects, sessions, .. } = survey.target.as_ref()?;
    Some(Replaced { bytes: *bytes, objects: *objects, sessions: *sessions })
}

fn summary(archive: &Archive, wants: &Wants) -> ArchiveSummary {
    let header = &archive.contents.header;
    ArchiveSummary {
        source: archive.source.name(),
        bytes: archive.source.bytes(),
        database: text(header.database.as_ref()),
        server_version: text(header.server_version.as_ref()),
        compression: match header.compression {
            Compression::None => "none",
            Compression::Zlib { .. } => "zlib",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
        },
        tables: wants.tables.len() + wants.other_tables,
        rows: archive.row_counts.as_ref().map(|counts| counts.0.values().sum()),
        data_bytes: archive.blocks.values().map(|block| block.bytes).sum(),
        indexes: wants.after_data,
        checksum_matches: archive.is_checked,
    }
}

/// Names in a sentence.
pub(super) fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
