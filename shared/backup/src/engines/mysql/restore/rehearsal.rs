//! A restore that only tries: what it fills is counted, compared, and dropped.

use holdfast_domain::{backup::Contents, restore::Restored};
use tokio::time::timeout_at;

use super::{
    Begun, MysqlRestorer,
    counted::count,
    ending::patiently,
    failure::told,
    lock::Lock,
    place::{Place, drop_beside},
    session,
    slice::{Budget, Loads, Slice},
    values::{By, Comparison},
};
use crate::{
    engines::{
        mysql::{
            rows::{RowCounts, RowSums},
            verify,
        },
        restorer::{Outcome, RestoreObserver, Restoring},
    },
    error::SliceError,
};

impl MysqlRestorer {
    /// Fills a new database, counts what is in it, and drops it: the target is left alone.
    pub(super) async fn rehearse(
        &self,
        budget: Budget,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        let Begun { access, names, mut lock, kept, survey } = self.begin().await?;
        let row_counts = verify::told(&self.artifacts, &self.artifact.object).await?;
        let place = self.place(access, &names, &survey, kept.own.as_ref());
        let mut slice = self.slice(&place, &names, kept, budget);
        let tried = match self.try_out(&place, &mut slice, row_counts.as_ref(), &mut lock, observer).await {
            Err(error @ (SliceError::Cancelled | SliceError::Fenced)) => Err(error),
            // Whoever has the lock meanwhile removes what was tried: of that nothing can be said.
            tried => lock.check().await.and(tried),
        };
        let tried = match tried {
            Ok(Some(restored)) => Ok(restored),
            Ok(None) => return self.pause(&place, lock).await,
            Err(error) if slice.can_go_on(&error, &mut lock).await => {
                lock.give_back().await;
                return Err(error);
            }
            Err(error) => Err(error),
        };
        let new = [place.paused.clone(), place.new.clone()];
        let dropped = lock.keep(patiently(|| drop_beside(access, place.target, &new, &[]))).await;
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

    /// What is in the new database, once everything is; nothing if the next slice goes on.
    async fn try_out(
        &self,
        place: &Place<'_>,
        slice: &mut Slice<'_>,
        row_counts: Option<&RowCounts>,
        lock: &mut Lock<'_>,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Option<Restored>, SliceError> {
        let was_loaded = slice.ledger.loaded.rest.is_none();
        let dumped = match self.load(place, slice, lock, observer).await? {
            Loads::All => slice.ledger.loaded.sums.clone(),
            Loads::Some => return Ok(None),
            Loads::Nothing => return Err(self.too_short("a table could not be restored", slice.budget)),
        };
        let budget = slice.budget;
        if !was_loaded && budget.is_over(slice.written) {
            slice.write(lock).await?;
            return Ok(None);
        }
        let comparing = self.compare(place, row_counts, dumped, observer);
        match lock.keep(Box::pin(timeout_at(budget.ends_at, comparing))).await {
            Ok(compared) => compared.map(Some),
            Err(_) if was_loaded => {
                Err(self.too_short("what was restored could not be counted and compared", budget))
            }
            Err(_) => {
                lock.keep(session::kill_in(place.access, &place.new)).await?;
                slice.write(lock).await?;
                Ok(None)
            }
        }
    }

    /// Counts what was restored, and compares that with what was counted when it was dumped; and its values with those that were dumped,
    /// if that is wanted.
    async fn compare(
        &self,
        place: &Place<'_>,
        row_counts: Option<&RowCounts>,
        dumped: Option<RowSums>,
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
        comparison.run(restored, so_far, observer).await
    }
}
