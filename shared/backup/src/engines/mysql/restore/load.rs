//! The SQL of an artifact goes into a database.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    ledger::Loaded,
    lines::Lines,
    reading::{Piece, Reading, Spot, damaged},
    sections::Sections,
    session::{self, Session},
};
use crate::{
    engines::{
        mysql::{access::Access, dump::is_whole, rows::RowCounter},
        restorer::{RestoreObserver, Restoring},
    },
    error::SliceError,
    stored_reader,
};

/// How often it is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// What is loaded, and how.
#[derive(Clone, Copy)]
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

/// How far a stretch came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// To a table, before which everything is loaded.
    Table,
    /// To the end of a whole dump.
    End,
}

/// A dump that is being loaded, a stretch at a time.
pub(super) struct Loading<'a> {
    load: Load<'a>,
    reading: Reading,
    stored: Arc<stored_reader::Reading>,
    /// What was read, and is not loaded.
    left: Option<Piece>,
    sections: Sections,
    lines: Lines,
    counter: Option<RowCounter>,
}

impl<'a> Loading<'a> {
    /// Goes on behind what is `loaded`. `read` begins to read the artifact.
    pub(super) fn begin(
        load: Load<'a>,
        loaded: &Loaded,
        spot: Spot,
        read: impl FnOnce(Spot) -> Reading,
    ) -> Self {
        let reading = read(spot);
        let (sections, counter) = if spot == Spot::START {
            (Sections::new(), load.adds_up.then(RowCounter::adding_up))
        } else {
            let sums = loaded.sums.clone().filter(|_| load.adds_up);
            (Sections::within(loaded.settings.as_bytes()), sums.map(RowCounter::going_on))
        };
        let stored = reading.stored();
        Self {
            load,
            reading,
            stored,
            left: None,
            sections,
            lines: Lines::new(load.without_definers),
            counter,
        }
    }

    /// Loads on, up to the first table after `until`. Ok means that the server has taken all up to there. However it ends, the session has
    /// ended too, unless the server has not noticed yet.
    pub(super) async fn stretch(
        &mut self,
        until: Instant,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Reached, SliceError> {
        let (load, stored) = (self.load, self.stored.clone());
        let session = Session::open(load.access, Some(load.database)).await?;
        let id = session.id.clone();
        let outcome = {
            let feeding = self.feed(until, session);
            tokio::pin!(feeding);
            let mut ticks = interval(TELL_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    outcome = &mut feeding => break outcome,
                    _ = ticks.tick() => {
                        let bytes = stored.position();
                        let so_far = Restoring { bytes, of_bytes: Some(load.size), doing: "rows", cursor: None };
                        if let Err(error) = observer.advanced(so_far).await {
                            break Err(error);
                        }
                    }
                }
            }
        };
        if outcome.is_err() {
            // The server may be in the middle of a statement, and would hold the database until its end.
            let _ = session::kill(load.access, &id).await;
        }
        outcome
    }

    async fn feed(&mut self, until: Instant, mut session: Session<'_>) -> Result<Reached, SliceError> {
        // Of a session that begins a dump, they are what comes first.
        session.feed(self.sections.settings()).await?;
        loop {
            let piece = match self.left.take() {
                Some(piece) => piece,
                None => match self.reading.next().await? {
                    Some(piece) => piece,
                    None => break,
                },
            };
            // Table by table: where the next one begins, the server has nearly all that comes before.
            let (mut fed, mut end) = (0, 0);
            while let Some(bytes) = self.sections.next(&piece.sql[end..]) {
                end += bytes;
                self.pass_on(&piece.sql[fed..end], &mut session).await?;
                fed = end;
                if Instant::now() >= until {
                    self.left = Some(piece.behind(end));
                    session.finish().await?;
                    return Ok(Reached::Table);
                }
            }
            self.pass_on(&piece.sql[fed..], &mut session).await?;
        }
        let (rest, tail) = self.lines.finish();
        if !is_whole(&tail) {
            return Err(damaged(self.load.key, "it does not end as a whole dump does"));
        }
        session.feed(&rest).await?;
        session.finish().await?;
        Ok(Reached::End)
    }

    async fn pass_on(&mut self, sql: &[u8], session: &mut Session<'_>) -> Result<(), SliceError> {
        if let Some(counter) = &mut self.counter {
            counter.push(sql);
        }
        session.feed(&self.lines.push(sql)).await
    }

    /// What is loaded where a stretch has ended.
    pub(super) fn loaded(&self) -> Loaded {
        Loaded {
            rest: self.left.as_ref().map(Piece::spot),
            settings: String::from_utf8_lossy(self.sections.settings()).into_owned(),
            sums: self.counter.as_ref().and_then(RowCounter::sums),
        }
    }
}
