//! A restore of a service from its artifact in the bucket, as a slice of a job.

mod stage;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_trait::async_trait;
use holdfast_domain::{
    application::PostgresService,
    backup::StoredObject,
    id::RestoreId,
    restore::{Preflight, Refusal, Restore, Restored},
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use self::stage::{LastStep, Prepared, Stage};
use super::restore::{
    Counted, Halt, PausedRestore, PostgresRestore, RestoreAdvance, RestoreOptions, RestorePhase, RestorePlan,
    RestoreProgress, RestoreReport, RestoreSlice,
};
use crate::{
    engines::restorer::{Outcome, RestoreObserver, Restorer, Restoring},
    error::SliceError,
    ports::{ArtifactStore, DatabaseCredentials},
};

use super::ClientTools;

/// How many sessions restore: as many as dump.
const JOBS: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// How often the observer is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is kept of the time for putting away what was begun.
const TO_CLEAN_UP: Duration = Duration::from_secs(20);

/// Bytes of an archive that are restored in a second, indexes included: a guess that has not been measured, and is
/// told as one.
const BYTES_A_SECOND: u64 = 8 * 1024 * 1024;

/// Seconds that a restore takes for the least of databases.
const LEAST_SECONDS: u64 = 2;

/// Restores a database, or single tables of it, from an archive in the bucket.
pub struct PostgresRestorer {
    service: PostgresService,
    /// All of it where there are none.
    tables: Vec<String>,
    restore: PostgresRestore,
    store: Arc<dyn ArtifactStore>,
    object: StoredObject,
    /// What the restore is known by.
    id: RestoreId,
    /// Whether nothing is to come of it.
    is_rehearsal: bool,
    /// Whether values are compared then.
    compares_values: bool,
    /// After how many tables and entries each slice pauses, if its time has not come before.
    steps: Option<usize>,
}

/// Where a restore is that is about to do what cannot be taken back, and what is restored then.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    last_step: LastStep,
    tables: u64,
    rows: u64,
    rows_compared: bool,
}

/// Where a restore is that has paused. How far it is, its new database says itself.
#[derive(Debug, Serialize, Deserialize)]
struct Paused {
    /// What the server knows the new database by: for people who look for it. It is found by its mark.
    new_database: String,
    /// Whether the slice has finished nothing, so that what comes next gets all sessions of the next one.
    alone: bool,
}

impl PostgresRestorer {
    /// A restore of `object` of `store` into the database of `service`, for `restore`, connecting as `credentials` say: of `tables`,
    /// or of all of it where there are none.
    pub fn new(
        service: PostgresService,
        credentials: DatabaseCredentials,
        tools: ClientTools,
        (store, object): (Arc<dyn ArtifactStore>, StoredObject),
        tables: Vec<String>,
        restore: &Restore,
    ) -> Self {
        let (id, is_rehearsal) = (restore.id, restore.rehearsal);
        let compares_values = is_rehearsal && restore.checksums;
        let options = RestoreOptions {
            jobs: JOBS,
            overwrite: restore.options.overwrite,
            no_owner: restore.options.no_owner,
            keep_old: false,
            rehearsal: is_rehearsal,
            checksums: compares_values,
            checksum: None,
        };
        let restore = PostgresRestore::new(service.clone(), credentials, tools, options);
        Self { service, tables, restore, store, object, id, is_rehearsal, compares_values, steps: None }
    }

    /// The same, but each slice pauses when it has done so many tables and entries, for tests.
    #[must_use]
    pub fn with_steps(self, steps: usize) -> Self {
        Self { steps: Some(steps), ..self }
    }

    async fn prepare(&self) -> Result<Prepared, SliceError> {
        let (store, object) = (self.store.clone(), self.object.clone());
        Ok(if self.tables.is_empty() {
            Prepared::Whole(Box::new(self.restore.prepare_from(store, object).await?))
        } else {
            Prepared::Tables(Box::new(self.restore.prepare_tables_from(store, object, &self.tables).await?))
        })
    }

    fn target(&self) -> String {
        let PostgresService { host, port, database, .. } = &self.service;
        let beside = if self.is_rehearsal { "a new database beside " } else { "" };
        format!("{beside}{database:?} at {host}:{port}")
    }

    /// The preflight where it ended with `refusal`.
    fn refused(&self, refusal: Refusal) -> Preflight {
        Preflight {
            service: self.service.name.clone(),
            target: self.target(),
            is_occupied: false,
            steps: Vec::new(),
            notes: Vec::new(),
            refusals: vec![refusal],
            bytes: self.object.size,
            estimated_seconds: 0,
            changes: None,
        }
    }

    fn planned(&self, plan: &RestorePlan) -> Preflight {
        let bytes = if plan.tables.is_empty() { plan.archive.bytes } else { plan.archive.data_bytes };
        let once = bytes / BYTES_A_SECOND;
        let (comparing, compared) =
            if self.compares_values { (once, ", and as long to compare values") } else { (0, "") };
        let assumed = BYTES_A_SECOND / 1024 / 1024;
        let mut notes = plan.notes.clone();
        notes.push(format!(
            "the time is a guess: {assumed} MiB of the archive a second, indexes included{compared}"
        ));
        let refusals = plan.refusals.iter().map(|refusal| {
            Refusal::new(refusal.code, refusal.what.clone(), with_role(refusal.code, &refusal.fix))
        });
        Preflight {
            service: self.service.name.clone(),
            target: self.target(),
            is_occupied: !self.is_rehearsal
                && plan.replaces.as_ref().is_some_and(|replaced| replaced.objects != Some(0)),
            steps: plan.steps.clone(),
            notes,
            refusals: refusals.collect(),
            bytes,
            estimated_seconds: LEAST_SECONDS + once + comparing,
            changes: None,
        }
    }
}

#[async_trait]
impl Restorer for PostgresRestorer {
    async fn preflight(&self) -> Result<Preflight, SliceError> {
        match self.prepare().await {
            Ok(prepared) => Ok(self.planned(prepared.plan())),
            Err(SliceError::Failed(failure)) if !failure.transient => {
                let (what, fix) =
                    failure.message.rsplit_once("; ").unwrap_or((&failure.message, "mend that"));
                Ok(self.refused(Refusal::new(&failure.code, what, with_role(&failure.code, fix))))
            }
            Err(error) => Err(error),
        }
    }

    async fn restore(
        &self,
        cursor: Option<&str>,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        let time_kept = time.saturating_sub(TO_CLEAN_UP.min(time / 2));
        let deadline = Instant::now() + time_kept;
        let not_prepared = || Err(too_short(time, "what is asked of the archive and the server"));
        let prepared = timeout_at(deadline, self.prepare()).await.unwrap_or_else(|_| not_prepared())?;
        let (progress, plan) = (prepared.progress(), prepared.plan().clone());
        let of_bytes = plan.archive.data_bytes;
        let paused = cursor.and_then(|cursor| serde_json::from_str::<Paused>(cursor).ok());
        let alone = paused.is_some_and(|paused| paused.alone);
        let slice = RestoreSlice { restore: self.id.to_string(), alone, steps: self.steps };
        let (mut why, mut is_late) = (None, false);
        let stage = prepared.fill(slice, async {
            tokio::select! {
                error = watch(observer, &progress, of_bytes) => {
                    why = Some(error);
                    Halt::GiveUp
                }
                () = sleep_until(deadline) => {
                    is_late = true;
                    Halt::Pause
                }
            }
        });
        let stage = stage.await;
        if is_late && !self.tables.is_empty() {
            why = Some(too_short(time, "the restore of single tables, which cannot be divided,"));
        }
        let filled = match (stage, why) {
            (Ok(Stage::Filled(filled)), None) => filled,
            (Ok(Stage::Filled(filled)), Some(why)) => return Err(filled.give_up(why).await),
            (Ok(Stage::Paused(paused)), None) => return pause(*paused, alone, time).await,
            (Ok(Stage::Paused(paused)), Some(why)) => return Err(paused.give_up(why).await),
            // What could not be dropped is dropped by whoever cleans up after us.
            (Err(SliceError::Cancelled), Some(why))
            | (Err(_), Some(why @ (SliceError::Cancelled | SliceError::Fenced))) => return Err(why),
            (Err(error), _) => return Err(error),
        };
        if self.is_rehearsal {
            let counted = filled.discard().await?;
            return Ok(Outcome::Done(tried(counted, plan.notes)));
        }
        let RestoreReport { tables, rows, rows_compared, .. } = filled.report();
        let cursor = Cursor { last_step: filled.last_step(), tables, rows, rows_compared };
        let written = serde_json::to_string(&cursor).ok();
        let so_far = Restoring { cursor: written, doing: "swap", ..told(&progress, of_bytes) };
        if let Err(error) = observer.advanced(so_far).await {
            return Err(filled.give_up(error).await);
        }
        let report = filled.finish().await?;
        let mut restored = cursor.restored(plan.notes);
        if let (Some(old), Some(why)) = (report.old_database, report.old_not_dropped) {
            restored
                .notes
                .push(format!("the database that was replaced is still there as {old}: {why}; drop it"));
        }
        Ok(Outcome::Done(restored))
    }

    async fn has_done(&self, cursor: &str) -> Result<Option<Restored>, SliceError> {
        let Ok(cursor) = serde_json::from_str::<Cursor>(cursor) else { return Ok(None) };
        // Once this has the lock, whoever was killed changes nothing any more. What it has restored is known by the database itself.
        self.clean_up().await?;
        let prepared = self.prepare().await?;
        let has_done = prepared.has_done(&cursor.last_step).await?;
        Ok(has_done.then(|| cursor.restored(prepared.plan().notes.clone())))
    }

    async fn clean_up(&self) -> Result<(), SliceError> {
        self.restore.clean_up(&self.id.to_string()).await
    }

    async fn give_up(&self) -> Result<(), SliceError> {
        self.restore.give_up(&self.id.to_string()).await
    }
}

impl Cursor {
    fn restored(self, notes: Vec<String>) -> Restored {
        let Self { tables, rows, rows_compared, .. } = self;
        Restored {
            tables: Some(tables),
            rows: Some(rows),
            rows_compared,
            values_compared: None,
            changes: None,
            files_compared: None,
            notes,
        }
    }
}

/// What came of a rehearsal.
fn tried(counted: Counted, mut notes: Vec<String>) -> Restored {
    let Counted { tables, rows, is_compared, values_compared, notes: more } = counted;
    notes.extend(more);
    Restored {
        tables: Some(tables),
        rows: Some(rows),
        rows_compared: is_compared,
        values_compared,
        changes: None,
        files_compared: None,
        notes,
    }
}

/// Tells `observer` how far it is, until that wants it to stop; returns why.
async fn watch(observer: &mut dyn RestoreObserver, progress: &RestoreProgress, of_bytes: u64) -> SliceError {
    loop {
        if let Err(error) = observer.advanced(told(progress, of_bytes)).await {
            return error;
        }
        sleep(TELL_EVERY).await;
    }
}

fn told(progress: &RestoreProgress, of_bytes: u64) -> Restoring {
    let RestoreAdvance { phase, archive_bytes, .. } = progress.advance();
    Restoring {
        bytes: archive_bytes,
        of_bytes: Some(of_bytes),
        doing: match phase {
            RestorePhase::Schema => "schema",
            RestorePhase::Rows => "rows",
            RestorePhase::Indexes => "indexes",
            RestorePhase::Counting => "comparing",
            RestorePhase::Swap => "swap",
        },
        cursor: None,
    }
}

/// Leaves what is there to the next slice, unless that would come no further: what gets all of a slice's time, and of the next one
/// all sessions as well, has to be done by then.
async fn pause(paused: PausedRestore, was_alone: bool, time: Duration) -> Result<Outcome, SliceError> {
    if !paused.can_go_on || was_alone && !paused.has_advanced {
        let why = too_short(time, &paused.next);
        return Err(paused.give_up(why).await);
    }
    let cursor = Paused { new_database: paused.oid().to_owned(), alone: !paused.has_advanced };
    paused.leave().await;
    let cursor = serde_json::to_string(&cursor)
        .map_err(|error| SliceError::permanent("restore_refused", error.to_string()))?;
    Ok(Outcome::Paused { cursor })
}

/// `what` did not come to its end.
fn too_short(time: Duration, what: &str) -> SliceError {
    let message = format!(
        "{what} did not come to its end within the {} seconds of a slice; nothing was changed: download the archive and restore it with \
         holdfast restore, which takes as long as it needs",
        time.as_secs()
    );
    SliceError::permanent("slice_too_short", message)
}

/// What to do, with how a role is named here where it may be the wrong one.
fn with_role(code: &str, fix: &str) -> String {
    match code {
        "permission_denied" | "wrong_password" => {
            format!("{fix} (restore_secret_arn of the service names the role to restore as)")
        }
        _ => fix.to_owned(),
    }
}
