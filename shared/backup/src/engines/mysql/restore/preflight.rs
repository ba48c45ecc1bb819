//! What would be done, what is good to know, and what stands in the way.

use holdfast_domain::{
    application::MysqlService,
    restore::{Preflight, Refusal},
};

use super::{
    names::OURS,
    survey::{Survey, Target},
};
use crate::engines::mysql::{
    grants::{has_globally, lacking, reads_routines},
    greeting::Family,
};

/// What it takes in the target and in the databases beside it. What is in a dump may need more.
const NEEDED: [&str; 14] = [
    "SELECT",
    "INSERT",
    "CREATE",
    "DROP",
    "ALTER",
    "INDEX",
    "REFERENCES",
    "LOCK TABLES",
    "TRIGGER",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "EVENT",
];

/// Any of these lets an account make what has other definers.
const SETS_DEFINERS: [&str; 4] = ["SUPER", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER"];

/// Databases of the server's own.
const SYSTEM: [&str; 4] = ["mysql", "information_schema", "performance_schema", "sys"];

/// A guess of how many bytes of an artifact are restored in a second.
const BYTES_A_SECOND: u64 = 5_000_000;

/// What is to be restored.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub(super) struct Wanted<'a> {
    pub(super) service: &'a MysqlService,
    /// The version of the server that it is of.
    pub(super) dumped_from: &'a str,
    /// Bytes of the artifact.
    pub(super) bytes: u64,
    /// Whether only some tables are wanted.
    pub(super) only_tables: bool,
    pub(super) overwrite: bool,
    pub(super) without_definers: bool,
    /// Whether it is only tried, beside the target.
    pub(super) rehearsal: bool,
    /// Whether its values are compared then.
    pub(super) checksums: bool,
}

/// What was found. There is no survey of a server of another family.
pub(super) fn preflight(wanted: &Wanted, family: Family, survey: Option<&Survey>) -> Preflight {
    let MysqlService { host, port, database, name, .. } = wanted.service;
    let target = survey.and_then(|survey| survey.target.as_ref());
    let mut refusals = refusals_of_dump(wanted, family);
    if let Some(survey) = survey {
        refusals.extend(refusals_of_server(wanted, survey));
    }
    let is_occupied = !wanted.rehearsal && target.is_some_and(Target::is_occupied);
    let mut steps = vec![
        format!("make a new database {OURS}restore_… beside it"),
        "restore the whole dump into that".to_owned(),
    ];
    if wanted.rehearsal {
        steps.push("count its tables and their rows".to_owned());
        if wanted.checksums {
            steps.push("compare the values in its tables with those of the dump".to_owned());
        }
        steps.push("drop it".to_owned());
    } else if is_occupied {
        steps.push(format!("put its tables in the place of those of {database:?}, in one statement"));
        steps.push("make triggers, routines, events and views anew".to_owned());
        steps.push("drop what was replaced".to_owned());
    } else {
        steps.push(format!("move it to {database:?}"));
    }
    Preflight {
        service: name.clone(),
        target: if wanted.rehearsal {
            format!("a new database beside {database:?} at {host}:{port}")
        } else {
            format!("{database:?} at {host}:{port}")
        },
        is_occupied,
        steps,
        notes: notes(wanted, survey, target),
        refusals,
        bytes: wanted.bytes,
        // To compare values is to dump the database once more.
        estimated_seconds: wanted.bytes / BYTES_A_SECOND * (1 + u64::from(wanted.checksums)) + 5,
        changes: None,
    }
}

fn refusals_of_dump(wanted: &Wanted, family: Family) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let dumped = Family::of(wanted.dumped_from);
    if dumped != family {
        refusals.push(Refusal::new(
            "other_family",
            format!("the dump is of {}, and the server is {}", dumped.name(), family.name()),
            format!("restore it into a {} server: the other one does not take all of it", dumped.name()),
        ));
    }
    if wanted.only_tables {
        refusals.push(Refusal::new(
            "tables_not_restorable",
            "tables of MySQL and MariaDB are not restored one by one",
            "restore all of it, into another database if need be; or take the table out of the dump as RESTORING.md says",
        ));
    }
    if SYSTEM.contains(&wanted.service.database.to_ascii_lowercase().as_str())
        || wanted.service.database.starts_with(OURS)
    {
        refusals.push(Refusal::new(
            "system_database",
            format!("{:?} is no database of an application", wanted.service.database),
            "restore into another one",
        ));
    }
    refusals
}

fn refusals_of_server(wanted: &Wanted, survey: &Survey) -> Vec<Refusal> {
    let database = &wanted.service.database;
    let mut refusals = Vec::new();
    if survey.is_read_only {
        refusals.push(Refusal::new(
            "server_read_only",
            "the server is read-only",
            "restore into the primary, or set read_only to 0",
        ));
    }
    let places = [(database.as_str(), database.as_str()), ("holdfast_restore_x", "holdfast\\_%")];
    for (place, shown) in &places[usize::from(wanted.rehearsal)..] {
        let lacking = lacking(place, &survey.grants, &NEEDED);
        if !lacking.is_empty() {
            refusals.push(Refusal::new(
                "permission_denied",
                format!("the account {} lacks {} on {shown}", survey.account, lacking.join(", ")),
                format!("GRANT ALL PRIVILEGES ON `{shown}`.* to it, or register another one's secret as restore_secret_arn"),
            ));
        }
    }
    let Some(target) = survey.target.as_ref().filter(|_| !wanted.rehearsal) else { return refusals };
    if target.is_occupied() && !wanted.overwrite {
        let Target { tables, views, routines, events, .. } = target;
        refusals.push(Refusal::new(
            "target_not_empty",
            format!("{database:?} has {tables} tables, {views} views, {routines} routines and {events} events in it"),
            "restore into an empty database, or replace this one with overwrite",
        ));
    }
    if target.routines > 0 && !reads_routines(database, &survey.grants) {
        refusals.push(Refusal::new(
            "permission_denied",
            format!("the account {} does not see the text of the routines of {database:?}, and could not put them back", survey.account),
            "grant it SELECT on mysql.proc (MariaDB) or SHOW_ROUTINE (MySQL)",
        ));
    }
    let others = target.definers.iter().filter(|definer| **definer != survey.account).collect::<Vec<_>>();
    if let Some(first) = others.first()
        && !has_globally(&survey.grants, &SETS_DEFINERS)
    {
        refusals.push(Refusal::new(
            "permission_denied",
            format!(
                "things in {database:?} have definers other than {}, such as {first}, and it could not put them back",
                survey.account
            ),
            "grant it SET USER (MariaDB), or SET_ANY_DEFINER or SET_USER_ID (MySQL)",
        ));
    }
    if let Some(first) = survey.referrers.first() {
        refusals.push(Refusal::new(
            "referenced_elsewhere",
            format!("a foreign key of the table {first} refers to a table of {database:?}, and would go on to refer to the old one"),
            "drop that foreign key, and make it again after the restore",
        ));
    }
    refusals
}

fn notes(wanted: &Wanted, survey: Option<&Survey>, target: Option<&Target>) -> Vec<String> {
    let mut notes = vec![
        "The server needs room for both until the end; how much it has, it does not say.".to_owned(),
        "Rows are not counted: a dump does not say how many there were.".to_owned(),
    ];
    match target {
        _ if wanted.rehearsal => {}
        Some(target) if target.is_occupied() => {
            notes.push(
                "Tables are replaced all at once. Triggers, views, routines and events cannot be: for a moment they are missing, so \
                 let nobody write meanwhile. If that moment is interrupted, everything is put back as it was, by the restore \
                 itself or by its clean-up."
                    .to_owned(),
            );
            if target.routines > 0 {
                notes.push("Privileges that were granted on single routines are gone with them.".to_owned());
            }
        }
        Some(_) => {}
        None => notes.push(format!(
            "There is no {:?} yet: it gets the character set utf8mb4. Tables have their own.",
            wanted.service.database
        )),
    }
    notes.push(if wanted.without_definers {
        "The account that restores becomes the definer of everything that has one.".to_owned()
    } else {
        "Accounts are not in a backup: definers that this server does not have are told at the end."
            .to_owned()
    });
    if let Some(survey) = survey
        && major(&survey.version) < major(wanted.dumped_from)
    {
        notes.push(format!(
            "The dump is of {}, and the server is {}: it may not know everything in it. Then it is as it was.",
            wanted.dumped_from, survey.version
        ));
    }
    notes
}

/// The first two numbers of a version.
fn major(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-']).map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(major("10.6.22-MariaDB") < major("10.11.4-MariaDB"));
        assert!(major("8.0.44") < major("8.4.7"));
        assert!(major("10.11.4-MariaDB") >= major("10.11.20-MariaDB"));
    }
}
