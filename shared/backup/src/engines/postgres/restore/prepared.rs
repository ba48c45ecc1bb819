//! A restore that is planned: it makes a new database and everything in it.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use holdfast_archive::pg_custom::Contents;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Stopped,
    after_data::{AfterData, Which},
    archive::Archive,
    broke_down,
    copier::Copier,
    counted::{Counted, count},
    excerpt::Excerpt,
    facts::Wants,
    filled::{FilledRestore, RestoreReport, given_up},
    indexes::{indexes, limited},
    ledger::{Done, Entries},
    outline::outlined,
    place::{Entrance, Place},
    plan::{RestoreOptions, RestorePlan},
    program::{Input, PgRestore, Section},
    progress::{RestorePhase, RestoreProgress},
    rows::RowCopy,
    slice::{Filling, Halt, RestoreSlice, Sliced},
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
        let halt = async {
            stop.await;
            Halt::GiveUp
        };
        match self.fill_in(None, halt).await? {
            Filling::Whole(filled) => Ok(*filled),
            // Only slices pause.
            Filling::Paused(paused) => Err(paused.give_up(SliceError::Cancelled).await),
        }
    }

    /// The same, or as much of it as `slice` comes to: it goes on with what earlier slices have left, if anything, and pauses when `halt`
    /// says so.
    pub(in crate::engines::postgres) async fn fill_slice(
        self,
        slice: RestoreSlice,
        halt: impl Future<Output = Halt>,
    ) -> Result<Filling, SliceError> {
        self.fill_in(Some(Sliced::new(slice)), halt).await
    }

    async fn fill_in(
        self,
        sliced: Option<Sliced>,
        halt: impl Future<Output = Halt>,
    ) -> Result<Filling, SliceError> {
        if let Some(refusal) = self.plan.refusals.first() {
            return Err(SliceError::permanent(refusal.code, format!("{}; {}", refusal.what, refusal.fix)));
        }
        let (upstream, survey) = (self.upstream.clone(), self.survey.clone());
        let (database, restore) = (&self.plan.database, sliced.as_ref().map(Sliced::restore));
        let mut place = Place::choose(upstream, survey, database, self.options.keep_old, restore).await?;
        let (stop_sender, stopped) = watch::channel(false);
        let mut halted = None;
        let made = {
            let mut making = Box::pin(self.make(&mut place, sliced.as_ref(), stopped));
            tokio::select! {
                made = &mut making => made,
                halt = halt => {
                    halted = Some(halt);
                    let is_ending = sliced.as_ref().is_some_and(Sliced::is_ending);
                    if halt == Halt::GiveUp || !is_ending {
                        stop_sender.send_replace(true);
                    }
                    making.await
                }
            }
        };
        match (made, sliced, halted) {
            (Ok(Made::Whole(counted)), _, None | Some(Halt::Pause)) => {
                Ok(Filling::Whole(Box::new(FilledRestore::new(self, place, counted))))
            }
            (Ok(Made::Part), Some(sliced), None | Some(Halt::Pause))
            | (Err(SliceError::Cancelled), Some(sliced), Some(Halt::Pause)) => {
                sliced.pause(&self, place).await
            }
            (Err(error), Some(sliced), None) if sliced.goes_on_after(&error) => {
                place.leave().await;
                Err(error)
            }
            (Ok(_), ..) => Err(given_up(place, SliceError::Cancelled).await),
            (Err(error), ..) => Err(given_up(place, error).await),
        }
    }

    /// Makes the new database and everything in it, and counts that if it is a rehearsal; or what of it is left and a slice does.
    /// However it ends, nobody is on it any more, but for sessions that the server has not noticed to be gone.
    async fn make(
        &self,
        place: &mut Place,
        sliced: Option<&Sliced>,
        mut stopped: Stopped,
    ) -> Result<Made, SliceError> {
        let done = match sliced {
            Some(sliced) => unless(&mut stopped, sliced.find(self, place)).await?,
            None => None,
        };
        if done.is_none() {
            unless(&mut stopped, place.make(self.wants.database_options.as_deref())).await?;
        }
        let entrance = place.entrance();
        let sessions = Arc::new(Sessions::at(self.upstream.clone(), entrance.peer));
        let guard = CancelOnDrop::new(sessions.clone());
        let outcome = self.restore(&sessions, &entrance, sliced, done, stopped).await;
        if outcome.is_err() {
            sessions.cancel().await;
        }
        guard.ended();
        outcome
    }

    async fn restore(
        &self,
        sessions: &Arc<Sessions>,
        entrance: &Entrance,
        sliced: Option<&Sliced>,
        done: Option<Entries>,
        mut stopped: Stopped,
    ) -> Result<Made, SliceError> {
        let database = entrance.database.clone();
        let outline = outlined(&self.archive.contents, &self.plan.leave_out);
        let is_alone = sliced.is_some_and(Sliced::is_alone);
        let pg_restore = PgRestore {
            program: self.program.clone(),
            sessions: sessions.clone(),
            database: database.clone(),
            jobs: if is_alone { 1 } else { self.plan.jobs },
            stopped: stopped.clone(),
        };
        let goes_on = done.is_some();
        let mut done = match done {
            Some(done) => done,
            None => self.restore_schema(&pg_restore, &outline, entrance, sliced).await?,
        };
        let copier = self.copier(sessions, database.clone());
        let rows = self.restore_rows(copier, sliced, &outline, goes_on, &mut done, stopped.clone());
        let Some(steps) = rows.await? else { return Ok(Made::Part) };
        self.archive.check_read()?;
        self.progress.enter(RestorePhase::Indexes);
        if let Some(sliced) = sliced {
            if !sliced.restore_after_data(self, &pg_restore, &outline, &done, entrance, steps).await? {
                return Ok(Made::Part);
            }
        } else {
            let left = AfterData::left(&outline, &done, Which::All);
            if left.len() > 0 {
                pg_restore.restore_contents(Section::PostData, &left.unrecorded()).await?;
            }
        }
        if !self.options.rehearsal {
            return Ok(Made::Whole(None));
        }
        self.progress.enter(RestorePhase::Counting);
        let copier = self.copier(sessions, database);
        let mut counted = unless(&mut stopped, count(&copier, &self.archive)).await?;
        if let Some(sums) = &self.sums {
            let compared = self.compare_values(copier, sums.clone(), stopped).await?;
            counted.values_compared = Some(compared.tables);
            counted.notes.extend(compared.notes);
        }
        Ok(Made::Whole(Some(counted)))
    }

    /// Copies the rows that are left and makes indexes of them, as many as `sliced` may do; what that was is `done` then. Returns how many
    /// steps are left; none where rows are.
    async fn restore_rows(
        &self,
        copier: Copier,
        sliced: Option<&Sliced>,
        outline: &Contents,
        goes_on: bool,
        done: &mut Entries,
        stopped: Stopped,
    ) -> Result<Option<usize>, SliceError> {
        self.progress.enter(RestorePhase::Rows);
        let mut left: Vec<_> =
            self.wants.tables.iter().filter(|table| !done.contains_key(&table.dump_id)).cloned().collect();
        let steps = sliced.map_or(usize::MAX, Sliced::steps);
        let is_part = left.len() > steps;
        left.truncate(steps);
        let steps = steps - left.len();
        let of_tables = if is_part { HashMap::new() } else { indexes(outline, &self.wants.tables, done) };
        let (of_tables, taken) = limited(of_tables, steps);
        let ledger = sliced.map(|sliced| sliced.ledger.clone());
        let is_alone = sliced.is_some_and(Sliced::is_alone);
        let copy = RowCopy::new(copier, left, of_tables, self.plan.jobs, ledger, is_alone);
        let made = copy_rows(copy, goes_on, stopped).await?;
        done.extend(made.into_iter().map(|dump_id| (dump_id, Done::default())));
        Ok((!is_part).then_some(steps - taken))
    }

    fn copier(&self, sessions: &Arc<Sessions>, database: String) -> Copier {
        let progress = self.progress.clone();
        Copier::new(sessions.clone(), self.archive.clone(), database, &self.wants, progress)
            .adding_up(self.sums.clone())
    }

    /// Compares the values of all tables with those that were read, and what else the archive has data of.
    async fn compare_values(
        &self,
        copier: Copier,
        sums: Arc<TableSums>,
        mut stopped: Stopped,
    ) -> Result<Compared, SliceError> {
        let comparison = Arc::new(Comparison::new(copier, sums, &self.wants.tables, self.plan.jobs));
        let mut comparing = JoinSet::new();
        for number in 0..comparison.sessions {
            comparing.spawn(comparison.clone().run(number == 0));
        }
        all(comparing, stopped.clone()).await?;
        unless(&mut stopped, comparison.compared(&self.archive)).await
    }

    /// Restores what rows need, and the data that are no rows; says which entries with blocks are done then.
    async fn restore_schema(
        &self,
        pg_restore: &PgRestore,
        outline: &Contents,
        entrance: &Entrance,
        sliced: Option<&Sliced>,
    ) -> Result<Entries, SliceError> {
        pg_restore.restore_contents(Section::PreData, outline).await?;
        self.progress.enter(RestorePhase::Rows);
        if !self.wants.others.is_empty() {
            self.restore_others(pg_restore).await?;
        }
        let Some(sliced) = sliced else { return Ok(Entries::new()) };
        let copied = self.copied();
        let others = self.archive.blocks.keys().filter(|dump_id| !copied.contains(dump_id));
        let done = others.map(|dump_id| {
            (*dump_id, Done { rows: None, crc64nvme: self.archive.sum_of(*dump_id), sum: None })
        });
        let done = done.collect();
        unless(&mut pg_restore.stopped.clone(), sliced.open(self, entrance, &done)).await?;
        Ok(done)
    }

    /// The entries whose rows are copied here.
    fn copied(&self) -> BTreeSet<i32> {
        self.wants.tables.iter().map(|table| table.dump_id).collect()
    }

    /// Restores the data that are not copied here: sequences, large objects, tables that `pg_restore` alone can read.
    async fn restore_others(&self, pg_restore: &PgRestore) -> Result<(), SliceError> {
        let copied = self.copied();
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
}

/// What has come of making a database.
enum Made {
    /// It is whole; of a rehearsal, this was counted in it.
    Whole(Option<Counted>),
    /// As much of it as there is is done, as the slice was to do.
    Part,
}

/// Copies rows and makes indexes; returns which, by dump id.
async fn copy_rows(copy: RowCopy, goes_on: bool, mut stopped: Stopped) -> Result<Vec<i32>, SliceError> {
    if goes_on {
        unless(&mut stopped, copy.empty_shared()).await?;
    }
    let copy = Arc::new(copy);
    let mut copying = JoinSet::new();
    for number in 0..copy.sessions {
        copying.spawn(copy.clone().run(number == 0));
    }
    all(copying, stopped).await?;
    Ok(copy.made())
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
