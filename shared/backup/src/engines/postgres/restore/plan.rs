//! What a restore is going to do, and what stands in its way. Pure: everything is known by then.

use std::{collections::BTreeSet, num::NonZeroUsize, path::PathBuf};

use holdfast_archive::{
    checksum::Crc64Nvme,
    pg_custom::{Compression, Version},
};
use serde::Serialize;

use super::{
    archive::Archive,
    facts::{Wants, text},
    survey::Survey,
};

/// How a database is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreOptions {
    /// How many sessions restore.
    pub jobs: NonZeroUsize,
    /// Replace a database that has something in it, and end the sessions on it.
    pub overwrite: bool,
    /// Everything belongs to the role that restores.
    pub no_owner: bool,
    /// Keep the database that is replaced, under another name.
    pub keep_old: bool,
    /// What the checksum of the whole archive must be.
    pub checksum: Option<Crc64Nvme>,
}

/// What a restore is going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestorePlan {
    /// The database that is restored.
    pub database: String,
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
    /// The file.
    pub file: PathBuf,
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

/// Plans a restore of `archive`, which wants `wants`, into `database` on the server that was surveyed.
pub(super) fn plan(
    archive: &Archive,
    wants: &Wants,
    survey: &Survey,
    (database, server): (&str, String),
    options: &RestoreOptions,
) -> RestorePlan {
    let leave_out = LeaveOut {
        all_owners: options.no_owner,
        owners: wants.owners.difference(&survey.own_roles).cloned().collect(),
        grantees: wants.grantees.difference(&survey.roles).cloned().collect(),
        tablespaces: wants.tablespaces.difference(&survey.tablespaces).cloned().collect(),
    };
    // One more makes the database and swaps it in.
    let jobs = usize::try_from(survey.free_connections.saturating_sub(1)).unwrap_or(usize::MAX);
    let jobs = options.jobs.get().min(jobs.max(1));
    let summary = summary(archive, wants);
    let replaces = survey.target.as_ref().map(|target| Replaced {
        bytes: target.bytes,
        objects: target.objects,
        sessions: target.sessions,
    });
    RestorePlan {
        database: database.to_owned(),
        server,
        server_version: survey.server.version(),
        steps: steps(database, wants, survey, options, jobs),
        notes: notes(wants, survey, options, &summary, &leave_out, jobs),
        refusals: refusals(archive, wants, survey, database, options),
        archive: summary,
        replaces,
        jobs,
        leave_out,
    }
}

fn summary(archive: &Archive, wants: &Wants) -> ArchiveSummary {
    let header = &archive.contents.header;
    ArchiveSummary {
        file: archive.path.clone(),
        bytes: archive.bytes,
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

fn steps(
    database: &str,
    wants: &Wants,
    survey: &Survey,
    options: &RestoreOptions,
    jobs: usize,
) -> Vec<String> {
    let like = if survey.target.is_some() { format!(", set up like {database:?}") } else { String::new() };
    let mut steps = vec![
        format!("make a new database beside {database:?}{like}"),
        "restore the schema".to_owned(),
        format!("copy the rows of {} tables, by up to {jobs} at a time", wants.tables.len()),
        format!("make {} indexes, constraints and triggers, by up to {jobs} at a time", wants.after_data),
    ];
    if !wants.others.is_empty() {
        steps.insert(2, "restore sequences, large objects and what else is not copied".to_owned());
    }
    steps.push(match &survey.target {
        None => format!("name the new database {database:?}"),
        Some(target) => {
            let ending = if options.overwrite && target.sessions > 0 { "end the sessions, and " } else { "" };
            let old =
                if options.keep_old { "keep the old one under another name" } else { "drop the old one" };
            format!("{ending}put it in the place of {database:?} in one transaction, and {old}")
        }
    });
    steps
}

fn notes(
    wants: &Wants,
    survey: &Survey,
    options: &RestoreOptions,
    summary: &ArchiveSummary,
    leave_out: &LeaveOut,
    jobs: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |is: bool, words: String| {
        if is {
            notes.push(words);
        }
    };
    note(
        !options.no_owner && !leave_out.owners.is_empty(),
        format!(
            "what belongs to {} will belong to the role that restores (--no-owner for it): the server has no such role, or \
             this one cannot act as it",
            list(&leave_out.owners)
        ),
    );
    note(
        !leave_out.grantees.is_empty(),
        format!("privileges of {} are left out: the server has no such role", list(&leave_out.grantees)),
    );
    note(
        !leave_out.tablespaces.is_empty(),
        format!(
            "what is in {} goes to the default tablespace: the server has no such one",
            list(&leave_out.tablespaces)
        ),
    );
    note(
        jobs < options.jobs.get(),
        format!(
            "{jobs} sessions restore instead of {}: the server has no more connections to give",
            options.jobs
        ),
    );
    let archived = summary.server_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    note(
        archived.is_some_and(|major| major > survey.server.major()),
        format!(
            "the archive is of PostgreSQL {}, and the server is older ({}): what it does not know fails",
            summary.server_version,
            survey.server.version()
        ),
    );
    if let (Some(encoding), Some(target)) = (&wants.encoding, &survey.target) {
        note(
            *encoding != target.encoding,
            format!(
                "text is converted from {encoding} to {}; what {} does not have fails",
                target.encoding, target.encoding
            ),
        );
    }
    note(
        wants.other_tables > 0,
        format!("{} tables are restored by pg_restore, and their rows are not counted", wants.other_tables),
    );
    note(
        !summary.checksum_matches && ["none", "lz4"].contains(&summary.compression),
        format!(
            "the data have no checksum of their own (compression {}): give that of the file with --checksum, if you know it",
            summary.compression
        ),
    );
    notes
}

fn refusals(
    archive: &Archive,
    wants: &Wants,
    survey: &Survey,
    database: &str,
    options: &RestoreOptions,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |is: bool, code: &'static str, what: String, fix: &str| {
        if is {
            refusals.push(Refusal { code, what, fix: fix.to_owned() });
        }
    };
    let header = &archive.contents.header;
    refuse(
        header.version > newest_format(survey.server.major()),
        "archive_too_new",
        format!(
            "the archive was made by pg_dump {}, and the pg_restore of the server's version {} cannot read it",
            text(header.pg_dump_version.as_ref()),
            survey.server.version()
        ),
        "restore it into a server of that version or a newer one",
    );
    let missing: BTreeSet<_> = wants.extensions.difference(&survey.extensions).cloned().collect();
    refuse(
        !missing.is_empty(),
        "extension_missing",
        format!("the server does not have {}, which the archive makes as extensions", list(&missing)),
        "install them on the server",
    );
    let missing: BTreeSet<_> = wants.needed.difference(&survey.roles).cloned().collect();
    refuse(
        !missing.is_empty(),
        "role_missing",
        format!("the server has no roles {}, which policies or user mappings are for", list(&missing)),
        "make them with CREATE ROLE",
    );
    refuse(
        !survey.can_create,
        "permission_denied",
        "this role may not make databases, and a restore begins in a new one".to_owned(),
        "connect as another role, or let it with ALTER ROLE … CREATEDB",
    );
    refuse(
        survey.free_connections < 2,
        "too_many_connections",
        format!("the server has {} connections to give, and a restore needs 2", survey.free_connections),
        "free connections",
    );
    if let Some(counts) = &archive.row_counts {
        let told: BTreeSet<_> = counts.0.keys().copied().collect();
        let entries = archive.contents.entries.iter().filter(|entry| entry.is_table_data());
        let there: BTreeSet<_> = entries.map(|entry| entry.dump_id).collect();
        refuse(
            told != there,
            "row_counts_differ",
            "the row counts beside the archive are of other tables than it has".to_owned(),
            "download both again, or remove the row counts",
        );
    }
    refuse(
        ["template0", "template1"].contains(&database)
            || survey.target.as_ref().is_some_and(|target| target.is_template),
        "target_is_template",
        format!("{database:?} is a template for other databases"),
        "restore into another database",
    );
    if let Some(target) = &survey.target {
        refuse(
            !target.is_ours,
            "permission_denied",
            format!("{database:?} belongs to {:?}, and this role may not replace it", target.owner),
            "connect as its owner or a superuser",
        );
        if !options.overwrite {
            let words = match target.objects {
                Some(objects) => format!("{database:?} has {objects} objects in it"),
                None => format!("{database:?} cannot be looked into, and may have something in it"),
            };
            refuse(
                target.objects != Some(0),
                "target_not_empty",
                words,
                "restore into a new database, or replace this one with --overwrite",
            );
            refuse(
                target.sessions > 0,
                "database_in_use",
                format!("others have {} sessions on {database:?}", target.sessions),
                "end them, or have them ended with --overwrite",
            );
        }
    }
    refusals
}

/// The newest format that the `pg_restore` of a major version reads.
fn newest_format(major: u32) -> Version {
    match major {
        ..=15 => Version::V1_14,
        16 => Version::V1_15,
        17.. => Version::V1_16,
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
