//! What is good to know before a restore.

use super::{ArchiveSummary, LeaveOut, RestoreOptions, list};
use crate::engines::postgres::restore::{archive::Archive, facts::Wants, source::Source, survey::Survey};

/// What is restored otherwise than the archive says.
pub(in crate::engines::postgres::restore) fn left_out(
    leave_out: &LeaveOut,
    options: &RestoreOptions,
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
            "what belongs to {} will belong to the role that restores: the server has no such role, or this one cannot act as \
             it",
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
    notes
}

/// The notes of a plan.
pub(super) fn notes(
    archive: &Archive,
    wants: &Wants,
    survey: &Survey,
    options: &RestoreOptions,
    summary: &ArchiveSummary,
    leave_out: &LeaveOut,
    jobs: usize,
) -> Vec<String> {
    let mut notes = left_out(leave_out, options);
    let mut note = |is: bool, words: String| {
        if is {
            notes.push(words);
        }
    };
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
        matches!(archive.source, Source::File(_))
            && !archive.is_checked
            && ["none", "lz4"].contains(&summary.compression),
        format!(
            "the data have no checksum of their own (compression {}), and that of the whole archive was not given",
            summary.compression
        ),
    );
    notes
}
