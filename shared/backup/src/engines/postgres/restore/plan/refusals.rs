//! What stands in the way of a restore.

use std::collections::BTreeSet;

use holdfast_archive::pg_custom::Version;

use super::{Refusal, RestoreOptions, list};
use crate::engines::postgres::restore::{
    archive::Archive,
    facts::{Wants, text},
    source::Source,
    survey::{Survey, Target},
};

/// What stands in the way of a restore of `archive` into `database`.
pub(super) fn refusals(
    archive: &Archive,
    wants: &Wants,
    survey: &Survey,
    database: &str,
    options: &RestoreOptions,
) -> Vec<Refusal> {
    let mut refusals: Vec<Refusal> = too_new(archive, survey).into_iter().collect();
    let mut refuse = |is: bool, code: &'static str, what: String, fix: &str| {
        if is {
            refusals.push(Refusal { code, what, fix: fix.to_owned() });
        }
    };
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
            match archive.source {
                Source::File(_) => "download both again, or remove the row counts",
                Source::Object(_) => "restore another backup",
            },
        );
    }
    refuse(
        !options.rehearsal
            && (["template0", "template1"].contains(&database)
                || survey.target.as_ref().is_some_and(|target| target.is_template)),
        "target_is_template",
        format!("{database:?} is a template for other databases"),
        "restore into another database",
    );
    if let Some(target) = survey.target.as_ref().filter(|_| !options.rehearsal) {
        refusals.extend(of_target(target, database, options.overwrite));
    }
    refusals
}

/// That `archive` is of a newer format than the `pg_restore` of the server's version reads.
pub(in crate::engines::postgres::restore) fn too_new(archive: &Archive, survey: &Survey) -> Option<Refusal> {
    let header = &archive.contents.header;
    (header.version > newest_format(survey.server.major())).then(|| Refusal {
        code: "archive_too_new",
        what: format!(
            "the archive was made by pg_dump {}, and the pg_restore of the server's version {} cannot read it",
            text(header.pg_dump_version.as_ref()),
            survey.server.version()
        ),
        fix: "restore it into a server of that version or a newer one".to_owned(),
    })
}

/// What stands in the way of replacing `target`.
fn of_target(target: &Target, database: &str, overwrite: bool) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut refuse = |is: bool, code: &'static str, what: String, fix: &str| {
        if is {
            refusals.push(Refusal { code, what, fix: fix.to_owned() });
        }
    };
    refuse(
        !target.is_ours,
        "permission_denied",
        format!("{database:?} belongs to {:?}, and this role may not replace it", target.owner),
        "connect as its owner or a superuser",
    );
    refuse(
        !target.beyond.is_empty(),
        "permission_denied",
        format!(
            "{database:?} has settings that this role may not give to the database that replaces it: {}",
            list(&target.beyond)
        ),
        "connect as a superuser, or as a role that may set them (GRANT SET ON PARAMETER, from PostgreSQL 15 on); or take them away with \
         ALTER DATABASE … RESET or ALTER ROLE … IN DATABASE … RESET, and set them again afterwards",
    );
    if !overwrite {
        let words = match target.objects {
            Some(objects) => format!("{database:?} has {objects} objects in it"),
            None => format!("{database:?} cannot be looked into, and may have something in it"),
        };
        refuse(
            target.objects != Some(0),
            "target_not_empty",
            words,
            "restore into a new database, or replace this one with overwrite",
        );
        refuse(
            target.sessions > 0,
            "database_in_use",
            format!("others have {} sessions on {database:?}", target.sessions),
            "end them, or have them ended with overwrite",
        );
    }
    refuse(
        overwrite && target.lasting > 0,
        "database_in_use",
        format!("others have {} sessions on {database:?} that this role may not end", target.lasting),
        "have them ended, or connect as a superuser or as a member of pg_signal_backend",
    );
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
