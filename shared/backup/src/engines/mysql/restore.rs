//! Restores a dump of `MySQL` or `MariaDB`: the SQL is streamed into the family's own client program.
//!
//! ```text
//! bucket ──▶ ranges ──▶ zstd ──▶ lines ──▶ client program ──▶ new database ──▶ in the place of the target
//! ```
//!
//! Until the new database is whole, the target is as it was. `place.rs` says how it is exchanged, and `docs/mysql-restore.md`
//! what can be relied on.

mod counted;
mod ending;
mod failure;
mod journal;
mod lines;
mod load;
mod lock;
mod names;
mod objects;
mod place;
mod preflight;
mod reading;
mod session;
mod survey;
mod values;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use holdfast_domain::{
    application::MysqlService,
    backup::{Artifact, Contents},
    restore::{Mapping, Preflight, Refusal, Restore, RestoreOptions, Restored},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout, timeout_at},
};

use self::{
    counted::count,
    ending::{patiently, put_away},
    failure::told,
    load::Load,
    lock::{Lock, TO_CLEAN_UP, TO_RESTORE},
    names::Names,
    place::{Place, clear, clear_new, drop_beside},
    preflight::{Wanted, preflight},
    reading::Reading,
    survey::{Survey, missing_definers, survey},
    values::{By, Comparison},
};
use super::{
    access::Access,
    greeting::{self, Family, Greeting},
    programs::MysqlPrograms,
    rows::{RowCounts, RowSums},
    verify,
};
use crate::{
    engines::restorer::{Outcome, RestoreObserver, Restorer, Restoring},
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

/// Restores one dump into one database.
pub struct MysqlRestorer {
    artifacts: Arc<dyn ArtifactStore>,
    artifact: Artifact,
    target: MysqlService,
    credentials: DatabaseCredentials,
    programs: MysqlPrograms,
    only_tables: bool,
    options: RestoreOptions,
    /// Whether nothing is to come of it.
    is_rehearsal: bool,
    /// Whether values are compared then.
    compares_values: bool,
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
            is_rehearsal: restore.rehearsal,
            compares_values: restore.rehearsal && restore.checksums,
            greeting: OnceCell::new(),
            access: OnceCell::new(),
        }
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
        lock: &mut Lock<'_>,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<u64, SliceError> {
        self.load(place, lock, time, observer).await?;
        observer.advanced(self.swapping(&place.away, false, None)).await?;
        lock.keep(place.exchange()).await
    }

    /// Fills a new database; returns what its rows add up to, if that is going to be compared.
    async fn load(
        &self,
        place: &Place<'_>,
        lock: &mut Lock<'_>,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Option<RowSums>, SliceError> {
        place.make().await?;
        let object = &self.artifact.object;
        let load = Load {
            access: place.access,
            database: &place.new,
            key: &object.key,
            size: object.size,
            without_definers: self.options.no_owner,
            adds_up: self.compares_values,
        };
        let reading = Reading::of(&self.artifacts, object.clone());
        let loading = lock.keep(Box::pin(timeout(time, load.run(reading, observer)))).await;
        let sums = loading.unwrap_or_else(|_| Err(self.too_short("restored", time)))?;
        lock.check().await?;
        Ok(sums)
    }

    fn too_short(&self, done: &str, time: Duration) -> SliceError {
        let words = format!(
            "it could not be {done} within the {} seconds that one slice has; restore it by hand, as RESTORING.md says",
            time.as_secs()
        );
        told(&self.target, "slice_too_short", false, &words)
    }

    /// Counts what was restored, and compares that with what was counted when it was dumped; and its values with those that were dumped,
    /// if that is wanted.
    async fn compare(
        &self,
        place: &Place<'_>,
        (row_counts, dumped): (Option<&RowCounts>, Option<RowSums>),
        (time, deadline): (Duration, Instant),
        observer: &mut dyn RestoreObserver,
    ) -> Result<Restored, SliceError> {
        let (access, database) = (place.access, place.new.as_str());
        let bytes = self.artifact.object.size;
        let so_far = Restoring { bytes, of_bytes: Some(bytes), doing: "comparing", cursor: None };
        observer.advanced(so_far.clone()).await?;
        let restored = count(access, database, row_counts).await?;
        if !self.compares_values {
            return Ok(restored);
        }
        let program = match &self.artifact.contents {
            Contents::MysqlSql { dump_version, .. } => dump_version,
            _ => "",
        };
        let then = By { server: self.dumped_from(), program };
        let now = By { server: &self.greeting().await?.version, program: &access.programs.version };
        let comparison = Comparison { access, database, dumped, by: (then, now) };
        let comparing = timeout_at(deadline, comparison.run(restored, so_far, observer)).await;
        comparing.unwrap_or_else(|_| Err(self.too_short("restored and compared", time)))
    }

    /// Fills a new database, counts what is in it, and drops it: the target is left alone.
    async fn rehearse(
        &self,
        time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        let deadline = Instant::now() + time;
        let family = self.greeting().await?.family;
        self.refused(&self.found(family, None))?;
        let access = self.access().await?;
        let names = Names::of(&self.target.database);
        let mut lock = Lock::take(access, &names, TO_RESTORE).await?;
        clear_new(access, &self.target.database, &names).await?;
        let survey = survey(access).await?;
        self.refused(&self.found(family, Some(&survey)))?;
        let row_counts = verify::told(&self.artifacts, &self.artifact.object).await?;
        let place = self.place(access, &names, &survey);
        let tried = match self.load(&place, &mut lock, time, observer).await {
            Ok(dumped) => {
                let dumped = (row_counts.as_ref(), dumped);
                let comparing = self.compare(&place, dumped, (time, deadline), observer);
                lock.keep(Box::pin(comparing)).await
            }
            Err(error) => Err(error),
        };
        // Whoever has the lock meanwhile removes what was tried: of that nothing can be said.
        let tried = match tried {
            Err(error @ (SliceError::Cancelled | SliceError::Fenced)) => Err(error),
            tried => lock.check().await.and(tried),
        };
        let drop = || drop_beside(access, place.target, std::slice::from_ref(&place.new), &[]);
        let dropped = lock.keep(patiently(drop)).await;
        lock.give_back().await;
        match (tried, dropped) {
            (Ok(restored), Ok(())) => Ok(Outcome::Done(restored)),
            (Ok(_), Err(left)) => {
                let words = format!("the database {:?} could not be dropped ({left}); drop it", place.new);
                Err(told(&self.target, "database_left", true, &words))
            }
            (Err(error), dropped) => {
                if let Err(left) = dropped {
                    tracing::error!(%left, "what was tried could not be removed yet");
                }
                Err(error)
            }
        }
    }

    /// The databases beside the target.
    fn place<'a>(&'a self, access: &'a Access, names: &Names, survey: &Survey) -> Place<'a> {
        let target = survey.target.as_ref();
        let options = target.map_or_else(
            || DEFAULT_OPTIONS.to_owned(),
            |target| format!("CHARACTER SET {} COLLATE {}", target.charset, target.collation),
        );
        Place {
            access,
            target: &self.target.database,
            existed: target.is_some(),
            options,
            new: format!("{}{}", names.new, survey.random),
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
        if self.is_rehearsal {
            return self.rehearse(time, observer).await;
        }
        let family = self.greeting().await?.family;
        self.refused(&self.found(family, None))?;
        let access = self.access().await?;
        let names = Names::of(&self.target.database);
        let mut lock = Lock::take(access, &names, TO_RESTORE).await?;
        clear(access, &self.target.database, &names).await?;
        let survey = survey(access).await?;
        self.refused(&self.found(family, Some(&survey)))?;
        let place = self.place(access, &names, &survey);
        let filled = self.fill(&place, &mut lock, time, observer).await;
        let outcome = match filled {
            Ok(tables) => self.finish(&place, &mut lock, Some(tables), observer).await,
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
        let access = self.access().await?;
        let names = Names::of(&self.target.database);
        let mut lock = Lock::take(access, &names, TO_CLEAN_UP).await?;
        let target = &self.target.database;
        let cleared = if self.is_rehearsal {
            lock.keep(clear_new(access, target, &names)).await
        } else {
            lock.keep(clear(access, target, &names)).await
        };
        lock.give_back().await;
        cleared
    }
}
