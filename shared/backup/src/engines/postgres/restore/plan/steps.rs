//! What a restore does, in order.

use super::RestoreOptions;
use crate::engines::postgres::restore::{facts::Wants, survey::Survey};

/// The steps of a restore into `database`, by `jobs` sessions.
pub(super) fn steps(
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
    if options.rehearsal {
        steps.push("count the rows that are in it, and compare them with those that were dumped".to_owned());
        if options.checksums {
            steps.push("compare the values that are in it with those of the archive".to_owned());
        }
        steps.push("drop it".to_owned());
        return steps;
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
