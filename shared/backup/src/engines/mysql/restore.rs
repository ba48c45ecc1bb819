//! Restores a dump of `MySQL` or `MariaDB`: the SQL is streamed into the family's own client program.
//!
//! ```text
//! bucket ──▶ ranges ──▶ zstd ──▶ lines ──▶ client program ──▶ new database ──▶ in the place of the target
//! ```
//!
//! Until the new database is whole, the target is as it was. `place.rs` says how it is exchanged, `slice.rs` and `ledger.rs` how a
//! restore goes on in another slice, and `docs/mysql-restore.md` what can be relied on.

mod counted;
mod ending;
mod failure;
mod journal;
mod ledger;
mod lines;
mod load;
mod lock;
mod names;
mod objects;
mod place;
mod preflight;
mod reading;
mod rehearsal;
mod sections;
mod session;
mod slice;
mod survey;
mod values;
mod written;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use holdfast_domain::{
    application::MysqlService,
    backup::{Artifact, Contents},
    id::RestoreId,
    restore::{Mapping, Preflight, Refusal, Restore, RestoreOptions, Restored},
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use self::{
    ending::{patiently, put_away},
    failure::told,
    ledger::{Ledger, Loaded},
    load::Load,
    lock::{Lock, TO_CLEAN_UP, TO_RESTORE},
    names::Names,
    place::{Beside, Place, clear},
    preflight::{Wanted, preflight},
    reading::Reading,
    slice::{Budget, Loads, Slice},
    survey::{Survey, missing_definers, survey},
};
use super::{
    access::Access,
    greeting::{self, Family, Greeting},
    programs::MysqlPrograms,
};
use crate::{
    engines::restorer::{Outcome, RUNNING, RestoreObserver, Restorer, Restoring},
    error::SliceError,
    ports::{ArtifactStore, DatabaseCredentials},
};

/// What a database gets that was not there: no dump says what it had.
const DEFAULT_OPTIONS: &str = "CHARACTER SET utf8mb4";

/// What the record has of a restore from just before the exchange on: with it, the next slice can ask whether it has happened.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    /// The database that gets what is replaced.
    away: String,
    /// Whether the exchange is known to have happened.
    is_done: bool,
    /// How many tables came in, once that is known.
    tables: Option<u64>,
}

/// What the record has of one that has paused. How far it is, the ledger says.
#[derive(Debug, Serialize, Deserialize)]
struct Paused {
    /// The database that is being filled: for people who look for it.
    new_database: String,
}

/// What was not removed.
struct Kept {
    /// How far this restore is, if it goes on.
    own: Option<Ledger>,
    /// A new database of another restore that has paused.
    of_others: Option<String>,
    /// The server's clock, in seconds since 1970.
    now: i64,
}

/// A slice that has begun.
struct Begun<'a> {
    access: &'a Access,
    names: Names,
    lock: Lock<'a>,
    kept: Kept,
    survey: Survey,
}

/// What became of the new database in a slice.
enum Filled {
    /// It has taken the place of the target, with so many tables.
    Exchanged(u64),
    /// Some of it is there.
    Paused,
}

/// Restores one dump into one database.
pub struct MysqlRestorer {
    artifacts: Arc<dyn ArtifactStore>,
    artifact: Artifact,
    target: MysqlService,
    credentials: DatabaseCredentials,
    programs: MysqlPrograms,
    only_tables: bool,
    options: RestoreOptions,
    /// What the restore is known by.
    id: RestoreId,
    /// Whether nothing is to come of it.
    is_rehearsal: bool,
    /// Whether values are compared then.
    compares_values: bool,
    /// After how many tables each slice pauses, if its time has not come before.
    steps: Option<usize>,
    greeting: OnceCell<Greeting>,
    access: OnceCell<Access>,
}

impl MysqlRestorer {
    /// A restorer of an artifact of a store, into `target`, for `restore`. It connects as `credentials` say and has not done
    /// so yet.
    pub fn new(
        (artifacts, artifact): (Arc<dyn ArtifactStore>, Artifact),
        target: MysqlService,
        credentials: DatabaseCredentials,
        programs: MysqlPrograms,
        mapping: &Mapping,
        restore: &Restore,
    ) -> Self {
        Self {
            artifacts,
            artifact,
            target,
            credentials,
            programs,
            only_tables: !mapping.tables.is_empty(),
            options: restore.options.clone(),
            id: restore.id,
            is_rehearsal: restore.rehearsal,
            compares_values: restore.rehearsal && restore.checksums,
            steps: None,
            greeting: OnceCell::new(),
            access: OnceCell::new(),
        }
    }

    /// The same, but each slice pauses when it has loaded so many tables, for tests.
    #[must_use]
    pub fn with_steps(self, steps: usize) -> Self {
        Self { steps: Some(steps), ..self }
    }

    async fn greeting(&self) -> Result<&Greeting, SliceError> {
        self.greeting.get_or_try_init(|| greeting::ask(&self.target)).await
    }

    async fn access(&self) -> Result<&Access, SliceError> {
        self.access
            .get_or_try_init(|| async {
                let pair = self.programs.of_family(self.greeting().await?).await?;
                Access::new(self.target.clone(), &self.credentials, pair)
            })
            .await
    }

    fn dumped_from(&self) -> &str {
        match &self.artifact.contents {
            Contents::MysqlSql { server_version, .. } => server_version,
            _ => "",
        }
    }

    fn found(&self, family: Family, survey: Option<&Survey>) -> Preflight {
        let wanted = Wanted {
            service: &self.target,
            dumped_from: self.dumped_from(),
            bytes: self.artifact.object.size,
            only_tables: self.only_tables,
            overwrite: self.options.overwrite,
            without_definers: self.options.no_owner,
            rehearsal: self.is_rehearsal,
            checksums: self.compares_values,
        };
        preflight(&wanted, family, survey)
    }

    /// Fills a new database, and puts it in the place of the target.
    async fn fill(
        &self,
        place: &Place<'_>,
        slice: &mut Slice<'_>,
        lock: &mut Lock<'_>,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Filled, SliceError> {
        match self.load(place, slice, lock, observer).await? {
            Loads::Some => return Ok(Filled::Paused),
            Loads::Nothing => return Err(self.too_short("a table could not be restored", slice.budget)),
            Loads::All => {}
        }
        // What comes now is done, or has to be begun anew.
        slice.close(lock).await?;
        observer.advanced(self.swapping(&place.away, false, None)).await?;
        lock.keep(place.exchange()).await.map(Filled::Exchanged)
    }

    /// Loads what is left of the dump into the new database, as far as the slice comes.
    async fn load(
        &self,
        place: &Place<'_>,
        slice: &mut Slice<'_>,
        lock: &mut Lock<'_>,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Loads, SliceError> {
        if !slice.has_ledger {
            place.make().await?;
        }
        let read = |spot| Reading::from(&self.artifacts, self.artifact.object.clone(), spot);
        slice.run(read, lock, observer).await
    }

    /// A slice that fills the new database of `place`, and goes on where the ledger says, if there is one.
    fn slice<'a>(&'a self, place: &'a Place<'a>, names: &'a Names, kept: Kept, budget: Budget) -> Slice<'a> {
        let object = &self.artifact.object;
        let load = Load {
            access: place.access,
            database: &place.new,
            key: &object.key,
            size: object.size,
            without_definers: self.options.no_owner,
            adds_up: self.compares_values,
        };
        let has_ledger = kept.own.is_some();
        let ledger = kept.own.unwrap_or_else(|| Ledger {
            restore: self.id.to_string(),
            artifact: self.identity(),
            random: place.random.clone(),
            at: kept.now,
            loaded: Loaded::nothing(),
        });
        Slice { load, names, budget, ledger, has_ledger, written: 0, began_at: kept.now }
    }

    /// The very bytes that are restored.
    fn identity(&self) -> String {
        let object = &self.artifact.object;
        format!("{} {} {}", object.key, object.version_id.as_deref().unwrap_or_default(), object.crc64nvme)
    }

    /// Removes what restores into the target have left that were killed, but for what they can go on with: this one if it `goes_on`, and
    /// others that are awaited.
    async fn clear(&self, access: &Access, names: &Names, goes_on: bool) -> Result<Kept, SliceError> {
        let beside = Beside::find(access, names).await?;
        let now = beside.now;
        let id = self.id.to_string();
        let (own, others): (Vec<Ledger>, Vec<Ledger>) =
            Ledger::all(access, names, &beside).await?.into_iter().partition(|ledger| ledger.restore == id);
        let own = own.into_iter().find(|ledger| goes_on && ledger.artifact == self.identity());
        let others: Vec<Ledger> = others.into_iter().filter(|ledger| ledger.is_awaited(now)).collect();
        let kept = own.iter().chain(&others);
        let kept: Vec<String> =
            kept.flat_map(|ledger| [ledger.database(names), ledger.new_database(names)]).collect();
        clear(access, &self.target.database, beside, &kept, !self.is_rehearsal).await?;
        Ok(Kept { own, of_others: others.first().map(|other| other.new_database(names)), now })
    }

    /// Looks whether anything stands in the way of a slice, keeps others out, and clears the place. Fails if another restore into the
    /// target has paused.
    async fn begin(&self) -> Result<Begun<'_>, SliceError> {
        let family = self.greeting().await?.family;
        self.refused(&self.found(family, None))?;
        let access = self.access().await?;
        let names = Names::of(&self.target.database);
        let lock = Lock::take(access, &names, TO_RESTORE).await?;
        let kept = self.clear(access, &names, true).await?;
        if let Some(other) = &kept.of_others {
            let words = format!(
                "somebody else restores it, over several slices; wait until that has ended, or drop the database {other:?}"
            );
            return Err(told(&self.target, RUNNING, true, &words));
        }
        let survey = survey(access).await?;
        self.refused(&self.found(family, Some(&survey)))?;
        Ok(Begun { access, names, lock, kept, survey })
    }

    /// The same as [`clear`](Self::clear), behind whoever was killed.
    async fn clear_after(&self, goes_on: bool) -> Result<(), SliceError> {
        let access = self.access().await?;
        let names = Names::of(&self.target.database);
        let mut lock = Lock::take(access, &names, TO_CLEAN_UP).await?;
        let cleared = lock.keep(self.clear(access, &names, goes_on)).await;
        lock.give_back().await;
        cleared.map(drop)
    }

    fn too_short(&self, not_done: &str, budget: Budget) -> SliceError {
        let words = format!(
            "{not_done} within the {} seconds that one slice has; restore it by hand, as RESTORING.md says",
            budget.time.as_secs()
        );
        told(&self.target, "slice_too_short", false, &words)
    }

    /// Leaves what is there to the next slice.
    async fn pause(&self, place: &Place<'_>, lock: Lock<'_>) -> Result<Outcome, SliceError> {
        lock.give_back().await;
        let cursor = serde_json::to_string(&Paused { new_database: place.new.clone() });
        let cursor =
            cursor.map_err(|error| told(&self.target, "restore_refused", false, &error.to_string()))?;
        Ok(Outcome::Paused { cursor })
    }

    /// The databases beside the target.
    fn place<'a>(
        &'a self,
        access: &'a Access,
        names: &Names,
        survey: &Survey,
        ledger: Option<&Ledger>,
    ) -> Place<'a> {
        let target = survey.target.as_ref();
        let random = ledger.map_or(&survey.random, |ledger| &ledger.random);
        let options = target.map_or_else(
            || DEFAULT_OPTIONS.to_owned(),
            |target| format!("CHARACTER SET {} COLLATE {}", target.charset, target.collation),
        );
        Place {
            access,
            target: &self.target.database,
            existed: target.is_some(),
            options,
            random: random.clone(),
            new: format!("{}{random}", names.new),
            paused: format!("{}{random}", names.paused),
            away: format!("{}{}", names.away, survey.random),
        }
    }

    /// How far a restore is that is about to make its exchange, or has made it.
    fn swapping(&self, away: &str, is_done: bool, tables: Option<u64>) -> Restoring {
        let bytes = self.artifact.object.size;
        let cursor = Cursor { away: away.to_owned(), is_done, tables };
        Restoring { bytes, of_bytes: Some(bytes), doing: "swap", cursor: serde_json::to_string(&cursor).ok() }
    }

    /// What is told of a restore that has happened.
    async fn restored(&self, access: &Access, tables: Option<u64>) -> Restored {
        let mut notes = Vec::new();
        let missing = missing_definers(access, &self.target.database).await;
        if !missing.is_empty() {
            notes.push(format!(
                "The server has no accounts {}, which are definers: what they define cannot be used until they are made.",
                missing.join(", ")
            ));
        }
        Restored {
            tables,
            rows: None,
            rows_compared: false,
            values_compared: None,
            changes: None,
            files_compared: None,
            notes,
        }
    }

    /// What follows an exchange that has happened: until the record says so, what tells the next slice stays.
    async fn finish(
        &self,
        place: &Place<'_>,
        lock: &mut Lock<'_>,
        tables: Option<u64>,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        match observer.advanced(self.swapping(&place.away, true, tables)).await {
            // It comes too late.
            Ok(()) | Err(SliceError::Cancelled) => {}
            Err(error) => return Err(error),
        }
        let put_away = lock.keep(put_away(place)).await;
        let mut restored = self.restored(place.access, tables).await;
        if let Err(error) = put_away {
            let (new, away) = (&place.new, &place.away);
            restored.notes.push(format!(
                "The databases {new:?} and {away:?} could not be dropped ({error}): drop them."
            ));
        }
        Ok(Outcome::Done(restored))
    }

    /// Why it failed, and what is left of it.
    fn failed(&self, place: &Place<'_>, error: SliceError, cleared: Result<(), SliceError>) -> SliceError {
        match (error, cleared) {
            (SliceError::Failed(failure), Err(left)) => {
                let words = format!(
                    "{}; and what the restore has left could not be removed ({left}), which its clean-up tries again. Until then do \
                     not drop the database {:?}: tables of {:?} may be in it",
                    failure.message, place.away, place.target
                );
                told(&self.target, "database_left", true, &words)
            }
            (error, cleared) => {
                if let Err(left) = cleared {
                    tracing::error!(%left, "what a restore has left could not be removed");
                }
                error
            }
        }
    }

    fn refused(&self, found: &Preflight) -> Result<(), SliceError> {
        let refuse = |refusal: &Refusal| {
            told(&self.target, &refusal.code, false, &format!("{}; {}", refusal.what, refusal.fix))
        };
        found.refusals.first().map_or(Ok(()), |refusal| Err(refuse(refusal)))
    }
}

#[async_trait]
impl Restorer for MysqlRestorer {
    async fn preflight(&self) -> Result<Preflight, SliceError> {
        let family = self.greeting().await?.family;
        if Family::of(self.dumped_from()) != family {
            return Ok(self.found(family, None));
        }
        let survey = survey(self.access().await?).await?;
        Ok(self.found(family, Some(&survey)))
    }

    async fn restore(
        &self,
        _cursor: Option<&str>,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        let budget = Budget::of(time, self.steps);
        if self.is_rehearsal {
            return self.rehearse(budget, observer).await;
        }
        let Begun { access, names, mut lock, kept, survey } = self.begin().await?;
        let place = self.place(access, &names, &survey, kept.own.as_ref());
        let mut slice = self.slice(&place, &names, kept, budget);
        let filled = self.fill(&place, &mut slice, &mut lock, observer).await;
        let outcome = match filled {
            Ok(Filled::Paused) => return self.pause(&place, lock).await,
            Ok(Filled::Exchanged(tables)) => self.finish(&place, &mut lock, Some(tables), observer).await,
            Err(error) if slice.can_go_on(&error, &mut lock).await => Err(error),
            Err(error) => match lock.keep(patiently(|| journal::is_done(access, &place.away))).await {
                Ok(true) => {
                    tracing::warn!(%error, "the restore has happened nevertheless");
                    self.finish(&place, &mut lock, None, observer).await
                }
                Ok(false) => {
                    let put_away = lock.keep(put_away(&place)).await;
                    Err(self.failed(&place, error, put_away))
                }
                Err(unknown) => Err(self.failed(&place, error, Err(unknown))),
            },
        };
        lock.give_back().await;
        outcome
    }

    async fn has_done(&self, cursor: &str) -> Result<Option<Restored>, SliceError> {
        let Ok(cursor) = serde_json::from_str::<Cursor>(cursor) else { return Ok(None) };
        let access = self.access().await?;
        if !cursor.is_done {
            // Whoever was killed may be alive, and go on until it hears that it is not wanted any more.
            let lock = Lock::take(access, &Names::of(&self.target.database), TO_CLEAN_UP).await?;
            let is_done = journal::is_done(access, &cursor.away).await;
            lock.give_back().await;
            if !is_done? {
                return Ok(None);
            }
        }
        Ok(Some(self.restored(access, cursor.tables).await))
    }

    async fn clean_up(&self) -> Result<(), SliceError> {
        self.clear_after(true).await
    }

    async fn give_up(&self) -> Result<(), SliceError> {
        self.clear_after(false).await
    }
}
