//! Single tables: made, or their rows replaced, in one transaction in the database that they are of.

mod choice;
mod looked;
mod plan;
mod script;
mod transaction;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use self::{choice::Chosen, looked::There, plan::Placed};
use super::{
    archive::Archive,
    control::Control,
    facts::Wants,
    plan::{LeaveOut, Refusal, RestoreOptions, RestorePlan},
    progress::RestoreProgress,
    survey::Survey,
};
use crate::{engines::postgres::login::Upstream, error::SliceError};

pub(in crate::engines::postgres) use transaction::FilledTables;

/// A restore of single tables that is planned, and not begun.
pub struct PreparedTables {
    /// What it is going to do.
    pub plan: RestorePlan,
    archive: Arc<Archive>,
    wants: Wants,
    tables: Vec<Placed>,
    upstream: Arc<Upstream>,
    program: PathBuf,
    progress: Arc<RestoreProgress>,
}

impl PreparedTables {
    /// Plans a restore of the tables called `names` of `archive`, into the database of `upstream`. Changes nothing.
    pub(super) async fn plan(
        archive: Archive,
        wants: Wants,
        (upstream, survey, program): (Arc<Upstream>, &Survey, PathBuf),
        names: &[String],
        options: &RestoreOptions,
    ) -> Result<Self, SliceError> {
        let (mut refusals, mut tables) = (Vec::new(), Vec::<Placed>::new());
        let mut inside = match &survey.target {
            None => None,
            Some(_) => Some(Control::open(&upstream, &upstream.service.database, None).await?),
        };
        for name in names {
            match choice::choose(&archive.contents, &wants, name) {
                Err(refusal) => refusals.push(refusal),
                // Twice the same is once.
                Ok(chosen) if tables.iter().any(|table| table.chosen == chosen) => {}
                Ok(chosen) => {
                    let there = match &mut inside {
                        Some(control) => There::of(control, &chosen).await?,
                        None => None,
                    };
                    tables.push(Placed { chosen, there });
                }
            }
        }
        if let Some(control) = &mut inside {
            control.end().await;
        } else {
            refusals.push(Refusal {
                code: "no_such_database",
                what: format!("there is no database {:?} to restore tables into", upstream.service.database),
                fix: "make it, or restore all of the archive".to_owned(),
            });
        }
        refusals.extend(super::plan::too_new(&archive, survey));
        refusals.extend(plan::refusals(&tables, options.overwrite));
        let made = Wants::of_contents(&choice::made_of(&archive.contents, &absent(&tables)));
        let leave_out = LeaveOut::of(&made, survey, options);
        let mut notes = super::plan::left_out(&leave_out, options);
        notes.extend(plan::notes(&tables));
        let (steps, tables) = (plan::steps(&tables), plan::in_order(tables));
        let of_tables = tables.iter().map(|table| &table.chosen.rows).collect::<Vec<_>>();
        let plan = RestorePlan {
            tables: tables.iter().map(|table| table.chosen.name.clone()).collect(),
            steps,
            notes,
            refusals,
            ..super::plan::of_tables(&archive, &of_tables, &made, (&upstream.service, survey), leave_out)
        };
        let (archive, progress) = (Arc::new(archive), Arc::default());
        Ok(Self { plan, archive, wants, tables, upstream, program, progress })
    }

    /// Whether the `transaction` of an earlier restore was committed.
    pub(in crate::engines::postgres) async fn has_committed(
        &self,
        transaction: &str,
    ) -> Result<bool, SliceError> {
        transaction::is_committed(&self.upstream, transaction).await
    }

    /// How far the restore has come, for as long as it runs.
    pub fn progress(&self) -> Arc<RestoreProgress> {
        self.progress.clone()
    }
}

/// The dump ids of the tables that are not there.
fn absent(tables: &[Placed]) -> BTreeSet<i32> {
    let absent = tables.iter().filter(|table| table.there.is_none());
    absent.map(|Placed { chosen: Chosen { dump_id, .. }, .. }| *dump_id).collect()
}
