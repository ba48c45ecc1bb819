//! A restore that is planned: it makes a new database and everything in it.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use tokio::{sync::watch, task::JoinSet};

use super::{
    Stopped,
    archive::Archive,
    broke_down,
    copier::Copier,
    counted::{Counted, count},
    excerpt::Excerpt,
    facts::Wants,
    filled::{FilledRestore, RestoreReport, given_up},
    outline::outlined,
    place::Place,
    plan::{RestoreOptions, RestorePlan},
    program::{Input, PgRestore, Section},
    progress::{RestorePhase, RestoreProgress},
    rows::RowCopy,
    source::Source,
    survey::Survey,
    unless,
    values::{Compared, Comparison, TableSums},
};
use crate::{
    engines::{
        postgres::{
            login::Upstream,
            sessions::{CancelOnDrop, Sessions},
        },
        temporary::temporary,
    },
    error::SliceError,
};

/// A restore that is planned, and not begun.
pub struct PreparedRestore {
    /// What it is going to do.
    pub plan: RestorePlan,
    pub(super) archive: Arc<Archive>,
    pub(super) wants: Wants,
    pub(super) survey: Survey,
    pub(super) upstream: Arc<Upstream>,
    pub(super) program: PathBuf,
    pub(super) options: RestoreOptions,
    pub(super) progress: Arc<RestoreProgress>,
    /// What the rows of tables add up to, if that is going to be compared.
    pub(super) sums: Option<Arc<TableSums>>,
}

impl PreparedRestore {
    /// How far the restore has come, for as long as it runs.
    pub fn progress(&self) -> Arc<RestoreProgress> {
        self.progress.clone()
    }

    /// What the server knows the database by that is to be replaced, if there is one.
    pub(in crate::engines::postgres) fn target_oid(&self) -> Option<&String> {
        self.survey.target.as_ref().map(|target| &target.oid)
    }

    /// Restores. Ok means that the restored database is in its place, whole. After an error, or when `stop` resolves, which is
    /// [`SliceError::Cancelled`], the one that was there is as it was, and nothing else is left: no database, session, process
    /// or file. If something could not be removed, the error names it. Once the new database takes its place, `stop` is not
    /// heard any more. This future has to be waited for: dropped, it leaves the new database behind.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<RestoreReport, SliceError> {
        self.fill(stop).await?.swap().await
    }

    /// The same, as far as it can be taken back: the new database is beside the one that it is to replace.
    pub(in crate::engines::postgres) async fn fill(
        self,
        stop: impl Future<Output = ()>,
    ) -> Result<FilledRestore, SliceError> {
        if let Some(refusal) = self.plan.refusals.first() {
            return Err(SliceError::permanent(refusal.code, format!("{}; {}", refusal.what, refusal.fix)));
        }
        let (upstream, survey) = (self.upstream.clone(), self.survey.clone());
        let mut place = Place::choose(upstream, survey, &self.plan.database, self.options.keep_old).await?;
        let (stop_sender, stopped) = watch::channel(false);
        let filled = {
            let mut filling = std::pin::pin!(self.make(&mut place, stopped));
            tokio::select! {
                filled = &mut filling => filled,
                () = stop => {
                    stop_sender.send_replace(true);
                    filling.await.and(Err(SliceError::Cancelled))
                }
            }
        };
        match filled {
            Ok(counted) => Ok(FilledRestore::new(self, place, counted)),
            Err(error) => Err(given_up(place, error).await),
        }
    }

    /// Makes the new database and everything in it, and counts that if it is a rehearsal. However it ends, nobody is on it any
    /// more, but for sessions that the server has not noticed to be gone.
    async fn make(&self, place: &mut Place, mut stopped: Stopped) -> Result<Option<Counted>, SliceError> {
        unless(&mut stopped, place.make(self.wants.database_options.as_deref())).await?;
        let sessions = Arc::new(Sessions::at(self.upstream.clone(), place.peer()));
        let guard = CancelOnDrop::new(sessions.clone());
        let outcome = self.restore(&sessions, place.name.clone(), stopped).await;
        if outcome.is_err() {
            sessions.cancel().await;
        }
        guard.ended();
        outcome
    }

    async fn restore(
        &self,
        sessions: &Arc<Sessions>,
        database: String,
        mut stopped: Stopped,
    ) -> Result<Option<Counted>, SliceError> {
        let outline = outlined(&self.archive.contents, &self.plan.leave_out);
        let outline = temporary(&outline.to_bytes())?;
        let pg_restore = PgRestore {
            program: self.program.clone(),
            sessions: sessions.clone(),
            database: database.clone(),
            jobs: self.plan.jobs,
            stopped: stopped.clone(),
        };
        pg_restore.restore(Section::PreData, Input::File(outline.path())).await?;
        self.progress.enter(RestorePhase::Rows);
        if !self.wants.others.is_empty() {
            self.restore_others(&pg_restore).await?;
        }
        self.copy_rows(sessions, database.clone(), stopped.clone()).await?;
        self.archive.check_read()?;
        self.progress.enter(RestorePhase::Indexes);
        pg_restore.restore(Section::PostData, Input::File(outline.path())).await?;
        if !self.options.rehearsal {
            return Ok(None);
        }
        self.progress.enter(RestorePhase::Counting);
        let copier = self.copier(sessions, database);
        let mut counted = unless(&mut stopped, count(&copier, &self.archive)).await?;
        if let Some(sums) = &self.sums {
            let compared = self.compare_values(copier, sums.clone(), stopped).await?;
            counted.values_compared = Some(compared.tables);
            counted.notes.extend(compared.notes);
        }
        Ok(Some(counted))
    }

    fn copier(&self, sessions: &Arc<Sessions>, database: String) -> Copier {
        let progress = self.progress.clone();
        Copier::new(sessions.clone(), self.archive.clone(), database, &self.wants, progress)
            .adding_up(self.sums.clone())
    }

    /// Compares the values of all tables with those that were read.
    async fn compare_values(
        &self,
        copier: Copier,
        sums: Arc<TableSums>,
        stopped: Stopped,
    ) -> Result<Compared, SliceError> {
        let comparison = Arc::new(Comparison::new(copier, sums, &self.wants.tables, self.plan.jobs));
        let mut comparing = JoinSet::new();
        for number in 0..comparison.sessions {
            comparing.spawn(comparison.clone().run(number == 0));
        }
        all(comparing, stopped).await?;
        comparison.compared(&self.archive)
    }

    /// Restores the data that are not copied here: sequences, large objects, tables that `pg_restore` alone can read.
    async fn restore_others(&self, pg_restore: &PgRestore) -> Result<(), SliceError> {
        let copied: BTreeSet<i32> = self.wants.tables.iter().map(|table| table.dump_id).collect();
        let restored = match &self.archive.source {
            Source::File(file) => {
                let ids = self.archive.contents.entries.iter().map(|entry| entry.dump_id);
                let lines =
                    ids.filter(|id| !copied.contains(id)).flat_map(|id| format!("{id};\n").into_bytes());
                let list = temporary(&lines.collect::<Vec<_>>())?;
                pg_restore.restore(Section::Data, Input::Listed(&file.path, list.path())).await
            }
            Source::Object(object) => {
                let excerpt = Excerpt::new(&self.archive, object, &copied, self.progress.clone());
                pg_restore.restore(Section::Data, Input::Excerpt(&excerpt)).await
            }
        };
        restored.map_err(|error| match error {
            // `could not uncompress data` is what it says of zlib, `could not decompress data` of others.
            SliceError::Failed(failure) if failure.message.contains("compress data") => {
                self.archive.source.damaged(&failure.message)
            }
            error => error,
        })
    }

    async fn copy_rows(
        &self,
        sessions: &Arc<Sessions>,
        database: String,
        stopped: Stopped,
    ) -> Result<(), SliceError> {
        let copier = self.copier(sessions, database);
        let copy = Arc::new(RowCopy::new(copier, self.wants.tables.clone(), self.plan.jobs));
        let mut copying = JoinSet::new();
        for number in 0..copy.sessions {
            copying.spawn(copy.clone().run(number == 0));
        }
        all(copying, stopped).await
    }
}

/// Waits for all of them to end well. After an error, or when somebody wants it to stop, none of them is left.
async fn all(mut sessions: JoinSet<Result<(), SliceError>>, mut stopped: Stopped) -> Result<(), SliceError> {
    let outcome = unless(&mut stopped, async {
        while let Some(ended) = sessions.join_next().await {
            ended.map_err(|error| broke_down(&error))??;
        }
        Ok(())
    })
    .await;
    sessions.shutdown().await;
    outcome
}
