//! `holdfast catalog`: the records compared with the bucket, and made anew from it.

use std::sync::Arc;

use holdfast_aws::entropy::SystemEntropy;
use holdfast_backup::catalog::{self, Catalog, CatalogError, Difference, Rebuild, Rebuilt, Sight};
use serde::Serialize;

use crate::{
    arguments::{Catalog as Command, Connection, Sides},
    buckets::Buckets,
    clock::{self, SystemClock},
    failure::Failure,
    table::plain,
    terminal::Terminal,
};

/// A difference, also in words.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    difference: &'a Difference,
    words: String,
}

/// What `check` prints as JSON.
#[derive(Serialize)]
struct Checked<'a> {
    differences: Vec<Told<'a>>,
}

/// What `rebuild` prints as JSON.
#[derive(Serialize)]
struct Report<'a> {
    /// What is made, or would be.
    planned: Vec<String>,
    /// What was made; none of a dry run.
    rebuilt: Option<Rebuilt>,
    /// Differences that a rebuild does nothing about.
    left: Vec<Told<'a>>,
}

/// Runs one of the commands.
pub(crate) async fn run(
    command: Command,
    connection: &Connection,
    terminal: &Terminal,
) -> Result<(), Failure> {
    match command {
        Command::Check { sides } => {
            let catalog = open(&sides, connection).await?;
            check(&look(&catalog, &sides).await?, terminal)
        }
        Command::Rebuild { sides, dry_run, yes } => {
            let catalog = open(&sides, connection).await?;
            let sight = look(&catalog, &sides).await?;
            let planned = sight.rebuild(clock::now());
            if !(dry_run || yes || planned.is_noop()) {
                let Sides { bucket, table, .. } = &sides;
                let records = planned.lines().count();
                terminal.confirm(&format!(
                    "Make {records} records in the table {table}, of the bucket {bucket}?"
                ))?;
            }
            if dry_run {
                return report(&sight, &planned, None, terminal);
            }
            let rebuilt = catalog::rebuild(&catalog, &planned).await.map_err(|error| {
                failed(&error).fix("mend that and rebuild again: what was made stays, and the rest is made")
            })?;
            report(&sight, &planned, Some(rebuilt), terminal)
        }
    }
}

async fn open(sides: &Sides, connection: &Connection) -> Result<Catalog, Failure> {
    let (bucket, records) = Buckets::reach(connection).await?.catalog(&sides.bucket, &sides.table).await?;
    Ok(Catalog {
        records: Arc::new(records),
        bucket: Arc::new(bucket),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    })
}

async fn look(catalog: &Catalog, sides: &Sides) -> Result<Sight, Failure> {
    let seen = catalog::look(catalog, sides.application.as_ref()).await;
    seen.map_err(|error| {
        failed(&error)
            .fix("check the names, the region (--region) and the rights; see `holdfast catalog --help`")
    })
}

fn failed(error: &CatalogError) -> Failure {
    Failure::new(plain(&error.to_string()))
}

fn check(sight: &Sight, terminal: &Terminal) -> Result<(), Failure> {
    let differences = sight.differences();
    if terminal.is_json() {
        terminal.json(&Checked { differences: told(&differences) })?;
    } else {
        for difference in &differences {
            terminal.line(&plain(&difference.to_string()))?;
        }
    }
    if differences.is_empty() {
        terminal.note("holdfast: the bucket and the records agree");
        return Ok(());
    }
    let count = differences.len();
    let found = Failure::new(format!("{count} {}", if count == 1 { "difference" } else { "differences" }));
    Err(if differences.iter().any(Difference::is_mended_by_rebuild) {
        found.fix("see with `holdfast catalog rebuild --dry-run` which records can be made anew")
    } else {
        found
    })
}

fn report(
    sight: &Sight,
    planned: &Rebuild,
    rebuilt: Option<Rebuilt>,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let differences = sight.differences();
    let left: Vec<Difference> =
        differences.into_iter().filter(|difference| !difference.is_mended_by_rebuild()).collect();
    if terminal.is_json() {
        return terminal.json(&Report { planned: planned.lines().collect(), rebuilt, left: told(&left) });
    }
    let is_dry = rebuilt.is_none();
    for line in planned.lines() {
        terminal.line(&plain(&format!("{} {line}", if is_dry { "would make" } else { "made" })))?;
    }
    for difference in &left {
        terminal.line(&plain(&format!("left: {difference}")))?;
    }
    let words = match rebuilt {
        _ if planned.is_noop() => "every backup in the bucket has its record".to_owned(),
        None => "nothing was made".to_owned(),
        Some(Rebuilt { plans, applications, removed, backups, already_there }) => format!(
            "made the records of {backups} backups, {applications} applications, {removed} removed applications and {plans} \
             plans; {already_there} were there already"
        ),
    };
    terminal.note(&format!("holdfast: {words}"));
    Ok(())
}

fn told(differences: &[Difference]) -> Vec<Told<'_>> {
    differences.iter().map(|difference| Told { difference, words: difference.to_string() }).collect()
}
