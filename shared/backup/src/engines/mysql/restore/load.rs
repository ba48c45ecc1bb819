//! The SQL of an artifact goes into a database.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::{
    lines::Lines,
    reading::{Reading, damaged},
    session::{self, Session},
};
use crate::{
    engines::{
        mysql::{
            access::Access,
            dump::is_whole,
            rows::{RowCounter, RowSums},
        },
        restorer::{RestoreObserver, Restoring},
    },
    error::SliceError,
};

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is loaded, and how.
pub(super) struct Load<'a> {
    pub(super) access: &'a Access,
    /// The database it goes into.
    pub(super) database: &'a str,
    /// The key of the artifact.
    pub(super) key: &'a str,
    /// Its size in bytes.
    pub(super) size: u64,
    pub(super) without_definers: bool,
    /// Whether to add up the rows of each table.
    pub(super) adds_up: bool,
}

impl Load<'_> {
    /// Loads all of `reading`. Ok means that the server has taken all of a whole dump; with it comes what its rows add up to, if that
    /// is wanted and was understood. However it ends, the session has ended too, unless the server has not noticed yet.
    pub(super) async fn run(
        &self,
        reading: Reading,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Option<RowSums>, SliceError> {
        let stored = reading.stored();
        let session = Session::open(self.access, Some(self.database)).await?;
        let id = session.id.clone();
        let outcome = {
            let feeding = self.feed(reading, session);
            tokio::pin!(feeding);
            let mut ticks = interval(TELL_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut feeding => break outcome,
                    _ = ticks.tick() => {
                        let bytes = stored.position();
                        let so_far = Restoring { bytes, of_bytes: Some(self.size), doing: "rows", cursor: None };
                        if let Err(error) = observer.advanced(so_far).await {
                            break Err(error);
                        }
                    }
                }
            }
        };
        if outcome.is_err() {
            // The server may be in the middle of a statement, and would hold the database until its end.
            let _ = session::kill(self.access, &id).await;
        }
        outcome
    }

    async fn feed(
        &self,
        mut reading: Reading,
        mut session: Session<'_>,
    ) -> Result<Option<RowSums>, SliceError> {
        let mut lines = Lines::new(self.without_definers);
        let mut counter = self.adds_up.then(RowCounter::adding_up);
        while let Some(piece) = reading.next().await? {
            if let Some(counter) = &mut counter {
                counter.push(&piece);
            }
            session.feed(&lines.push(&piece)).await?;
        }
        let (rest, tail) = lines.finish();
        if !is_whole(&tail) {
            return Err(damaged(self.key, "it does not end as a whole dump does"));
        }
        session.feed(&rest).await?;
        session.finish().await?;
        Ok(counter.and_then(RowCounter::sums))
    }
}
