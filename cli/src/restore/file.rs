//! `holdfast restore FILE`: a database, or single tables, out of an archive in a file. Needs no API and no AWS.

mod prepared;

use holdfast_backup::{
    engines::postgres::{
        ClientTools, PostgresRestore, RestoreAdvance, RestoreOptions, RestorePhase, RestorePlan,
        RestoreProgress, RestoreReport,
    },
    error::SliceError,
    ports::DatabaseCredentials,
};
use indicatif::ProgressBar;
use secrecy::SecretString;
use serde::Serialize;

use self::prepared::Prepared;
use crate::{
    arguments::FileRestore,
    clock,
    failure::Failure,
    interrupts::Interrupts,
    postgres::{connection::Connection, environment, failed},
    table::{plain, size},
    terminal::{DRAW_EVERY, Terminal},
};

/// What was planned and restored.
#[derive(Serialize)]
struct Document<'a> {
    plan: &'a RestorePlan,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<Restored>,
}

#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    report: RestoreReport,
    milliseconds: u64,
}

/// Restores the database that the options and the environment name.
pub(super) async fn run(options: FileRestore, terminal: &Terminal) -> Result<(), Failure> {
    // The command line is not understood without one.
    let archive = options.file.ok_or_else(|| Failure::usage("no FILE is named"))?;
    let connection = Connection::of(options.dsn.as_deref(), &environment::read())?;
    let password = connection.password()?;
    let tools: ClientTools =
        options.clients.parse().map_err(|error| Failure::usage(format!("--clients: {error}")))?;
    let mut interrupts = Interrupts::new()?;
    let credentials =
        DatabaseCredentials { username: connection.user.clone(), password: SecretString::from(password) };
    let restore_options = RestoreOptions {
        jobs: options.jobs,
        overwrite: options.overwrite,
        no_owner: options.no_owner,
        keep_old: options.keep_old,
        rehearsal: false,
        checksums: false,
        checksum: options.checksum,
    };
    let restore = PostgresRestore::new(connection.service()?, credentials, tools, restore_options);

    let began = clock::now();
    let prepared = tokio::select! {
        prepared = Prepared::of(&restore, &archive, &options.tables) => prepared.map_err(|error| failed(&error))?,
        () = interrupts.come() => return Err(interrupted(&connection.database)),
    };
    let plan = prepared.plan().clone();
    if !terminal.is_json() {
        terminal.print(&text(&plan))?;
    }
    if !plan.refusals.is_empty() || options.dry_run {
        if terminal.is_json() {
            terminal.json(&Document { plan: &plan, restored: None })?;
        }
        return if plan.refusals.is_empty() { Ok(()) } else { Err(refused(&plan)) };
    }
    let (progress, bar) = (prepared.progress(), terminal.bar(&plan.database));
    bar.set_length(plan.archive.data_bytes.max(1));
    let drawing = async {
        loop {
            show(&bar, plan.archive.tables, &progress);
            tokio::time::sleep(DRAW_EVERY).await;
        }
    };
    let outcome = tokio::select! {
        outcome = prepared.run(interrupts.come()) => outcome,
        never = drawing => never,
    };
    bar.finish_and_clear();
    let report = outcome.map_err(|error| match error {
        SliceError::Cancelled => interrupted(&connection.database),
        error => failed(&error),
    })?;
    let milliseconds = u64::try_from((clock::now() - began).num_milliseconds()).unwrap_or(0);
    let restored = Restored { report, milliseconds };
    if terminal.is_json() {
        return terminal.json(&Document { plan: &plan, restored: Some(restored) });
    }
    terminal.print(&told(&restored, &plan.tables))
}

fn interrupted(database: &str) -> Failure {
    Failure::interrupted(format!("interrupted; {database:?} is as it was, and nothing else is left"))
}

fn refused(plan: &RestorePlan) -> Failure {
    let what = plan.refusals.iter().map(|refusal| plain(&refusal.what)).collect::<Vec<_>>().join("; ");
    let fix = plan.refusals.iter().map(|refusal| match refusal.code {
        "target_not_empty" => "restore into a new database, or replace this one with --overwrite".to_owned(),
        "database_in_use" => "end them, or have them ended with --overwrite".to_owned(),
        _ => plain(&refusal.fix),
    });
    Failure::new(what).fix(fix.collect::<Vec<_>>().join("; "))
}

/// A plan, for people.
fn text(plan: &RestorePlan) -> String {
    let archive = &plan.archive;
    let rows = archive.rows.map_or("rows not told".to_owned(), |rows| format!("{rows} rows"));
    let mut lines = vec![
        format!(
            "archive:   {}: {:?} of PostgreSQL {}, {} ({}), {} tables ({rows}), {} indexes and the like{}",
            archive.source,
            archive.database,
            archive.server_version,
            size(archive.bytes),
            archive.compression,
            archive.tables,
            archive.indexes,
            if archive.checksum_matches { ", checksum matches" } else { "" },
        ),
        match &plan.replaces {
            _ if !plan.tables.is_empty() => {
                format!("target:    {} of {:?} at {}", plan.tables.join(", "), plan.database, plan.server)
            }
            None => format!("target:    {:?} at {}, which is not there yet", plan.database, plan.server),
            Some(old) => format!(
                "target:    {:?} at {}, {}, {}, {} sessions",
                plan.database,
                plan.server,
                size(old.bytes),
                old.objects.map_or("objects unknown".to_owned(), |objects| format!("{objects} objects")),
                old.sessions
            ),
        },
        format!("server:    PostgreSQL {}", plan.server_version),
    ];
    lines.extend(plan.steps.iter().enumerate().map(|(index, step)| format!("step {}:    {step}", index + 1)));
    lines.extend(plan.notes.iter().map(|note| format!("note:      {note}")));
    lines.iter().flat_map(|line| [plain(line), "\n".to_owned()]).collect()
}

/// What was restored, for people.
fn told(Restored { report, milliseconds }: &Restored, tables: &[String]) -> String {
    let compared = if report.rows_compared { ", as many as when it was dumped" } else { "" };
    let what = if tables.is_empty() {
        format!("{} is restored", report.database)
    } else {
        format!("{} of {} restored", tables.join(", "), report.database)
    };
    let restored = format!(
        "{}: {} rows in {} tables{compared}, in {}.{:01} s\n",
        plain(&what),
        report.rows,
        report.tables,
        milliseconds / 1000,
        milliseconds % 1000 / 100,
    );
    let replaced = match (&report.old_database, &report.old_not_dropped) {
        (Some(old), None) => format!("the database it replaced is kept as {}\n", plain(old)),
        (Some(old), Some(why)) => {
            format!("the database it replaced is still there as {}: {}; drop it\n", plain(old), plain(why))
        }
        _ => String::new(),
    };
    restored + &replaced
}

/// Shows how far a restore of so many tables has come.
fn show(bar: &ProgressBar, of: usize, progress: &RestoreProgress) {
    let RestoreAdvance { phase, tables, raw_bytes, archive_bytes, .. } = progress.advance();
    bar.set_position(archive_bytes);
    bar.set_message(match phase {
        RestorePhase::Schema => "schema".to_owned(),
        RestorePhase::Rows => {
            let seconds = bar.elapsed().as_secs().max(1);
            format!("{}, {}/s, {tables} of {of} tables", size(raw_bytes), size(raw_bytes / seconds))
        }
        RestorePhase::Indexes => "indexes and constraints".to_owned(),
        RestorePhase::Counting => "counting rows".to_owned(),
        RestorePhase::Swap => "swapping in".to_owned(),
    });
}
