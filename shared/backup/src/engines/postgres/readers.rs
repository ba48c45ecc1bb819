//! The sessions that read the rows: each takes the next unit when it is done with one.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_postgres::error::SqlState;

use super::{
    failure::{Fault, failure, of_refusal},
    login::Session,
    relay::Reading,
    session::StatementError,
    sessions::Sessions,
    unit::{Collector, Unit},
    view::{MOMENT, Sizes, View},
    wire::Refusal,
};
use crate::error::SliceError;

/// How long a reader waits for a table that somebody wants for himself alone. The session of `pg_dump` has locked it before
/// and can still read it.
const LOCK_WAIT: &[u8] = b"SET lock_timeout = '1s'";

/// After how many units a reader lets go of its locks, on tables and where these are divided on their indexes too: the server
/// has a table of bounded size for the locks of all sessions. What must not change meanwhile, the session of `pg_dump` has
/// locked.
const UNITS_OF_A_TRANSACTION: usize = 100;

/// Ends a transaction.
const ROLLBACK: &[u8] = b"ROLLBACK";

/// What the readers of one dump share.
pub(super) struct Readers {
    pub(super) sessions: Arc<Sessions>,
    /// What they are to see, once it is known.
    pub(super) view: watch::Receiver<Option<Arc<View>>>,
    /// Where the first of them that has a session says how large the tables are. Dropped when none can.
    pub(super) sizes: std::sync::Mutex<Option<oneshot::Sender<Sizes>>>,
    /// Units that are read with one query, in their order.
    pub(super) batches: Mutex<mpsc::Receiver<Vec<Unit>>>,
    /// To the session that holds the locks.
    pub(super) locked_out: mpsc::Sender<Unit>,
    /// Entries whose tables somebody waits for.
    pub(super) wanted: std::sync::Mutex<BTreeSet<i32>>,
    /// Readers that have not left.
    pub(super) active: AtomicUsize,
}

impl Readers {
    /// Reads units until there are none left. Where the server has no session to give, a reader leaves the work to the
    /// others; the last one has all of it done by the session that is always there.
    pub(super) async fn read(self: Arc<Self>) -> Result<(), SliceError> {
        // Before there is anything to read: to begin a session takes its time, and so does the question for sizes.
        let (mut session, mut trouble) = match self.begin().await {
            Ok(session) => (session, None),
            Err(error) => {
                // Nobody waits for what does not come.
                self.sizes().take();
                (None, Some(error))
            }
        };
        let (mut read, mut is_set_up) = (0, false);
        loop {
            let next = self.batches.lock().await.recv().await;
            let Some(batch) = next else { break };
            let mut batch = VecDeque::from(batch);
            // Only with something to read in hand: without, the snapshot may have gone because all is read.
            match trouble.take() {
                None => {}
                Some(error) if is_crowded(&error) => {
                    tracing::warn!(%error, "one session fewer reads the tables");
                    self.hand_over(mem::take(&mut batch)).await;
                    if self.leave() {
                        return Ok(());
                    }
                }
                Some(error) => return Err(error),
            }
            while let Some(first) = batch.front() {
                let open = match &mut session {
                    Some(open) if !self.is_wanted(first.entry) => open,
                    _ => {
                        self.hand_over(batch.pop_front()).await;
                        continue;
                    }
                };
                let reading = first.reading.clone();
                if !is_set_up {
                    self.catch_up(open, &reading).await?;
                    is_set_up = true;
                }
                if read >= UNITS_OF_A_TRANSACTION {
                    // Only with the next unit in hand: without one the snapshot may be gone by now.
                    self.rejoin(open, &reading.view).await?;
                    read = 0;
                }
                let before = batch.len();
                let outcome = read_batch(open, &mut batch).await;
                read += before - batch.len();
                match outcome {
                    Ok(()) => {}
                    // Long values have a table and indexes of their own, which are locked anew for each of them: it may be
                    // refused after its first rows. Those that are on their way would be read twice.
                    Err(NotRead { error: StatementError::Refused(refusal), has_given: false })
                        if refusal.code == SqlState::LOCK_NOT_AVAILABLE.code() =>
                    {
                        let refused = batch.pop_front();
                        self.wanted().extend(refused.as_ref().map(|unit| unit.entry));
                        self.rejoin(open, &reading.view).await?;
                        read = 0;
                        self.hand_over(refused).await;
                    }
                    Err(NotRead { error, .. }) => {
                        let sql = batch.front().map(|unit| &unit.sql[..]).unwrap_or_default();
                        return Err(self.failed(error, sql));
                    }
                }
            }
        }
        if let Some(mut session) = session {
            // Whether it arrives or not, the session ends.
            let _ = session.wire.send(&super::wire::message(b'X', &[])).await;
        }
        Ok(())
    }

    /// A session that sees what `pg_dump` sees, and as it sees it. None if there will be nothing to see.
    async fn begin(&self) -> Result<Option<Session>, SliceError> {
        let mut view = self.view.clone();
        let Ok(Some(view)) = view.wait_for(Option::is_some).await.map(|view| view.clone()) else {
            return Ok(None);
        };
        let mut session = self.sessions.log_in(&view.startup).await?;
        self.set_up(&mut session, &view.settings).await?;
        self.set_up(&mut session, &[LOCK_WAIT.to_vec()]).await?;
        self.join(&mut session, &view).await?;
        let tell = self.sizes().take();
        if let Some(tell) = tell {
            self.measure(&mut session, &view, tell).await?;
        }
        Ok(Some(session))
    }

    /// Makes the settings that `pg_dump` has made since; out of a transaction, for its end would take them back.
    async fn catch_up(&self, session: &mut Session, reading: &Reading) -> Result<(), SliceError> {
        if reading.late_settings.is_empty() {
            return Ok(());
        }
        session.ask(ROLLBACK).await.map_err(|error| self.failed(error, ROLLBACK))?;
        self.set_up(session, &reading.late_settings).await?;
        self.join(session, &reading.view).await
    }

    async fn set_up(&self, session: &mut Session, settings: &[Vec<u8>]) -> Result<(), SliceError> {
        for setting in settings {
            session.ask(setting).await.map_err(|error| self.failed(error, setting))?;
        }
        Ok(())
    }

    /// Tells how large the tables are, if the server says so.
    async fn measure(
        &self,
        session: &mut Session,
        view: &View,
        tell: oneshot::Sender<Sizes>,
    ) -> Result<(), SliceError> {
        let question = view.sizes_question();
        match session.ask(&question).await {
            Ok(answer) => {
                // It is not wanted any more only when everything is being stopped.
                let _ = tell.send(Sizes::of(answer));
                Ok(())
            }
            // Somebody waits for one of them. The session that has them locked is asked then.
            Err(StatementError::Refused(_)) => {
                drop(tell);
                self.rejoin(session, view).await
            }
            Err(error) => Err(self.failed(error, &question)),
        }
    }

    /// Begins a transaction that sees what `pg_dump` sees.
    async fn join(&self, session: &mut Session, view: &View) -> Result<(), SliceError> {
        const BEGIN: &[u8] = b"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        session.ask(BEGIN).await.map_err(|error| self.failed(error, BEGIN))?;
        // The server's own words for it: digits and hyphens.
        let import = [b"SET TRANSACTION SNAPSHOT '", &view.snapshot[..], b"'"].concat();
        session.ask(&import).await.map_err(|error| match error {
            StatementError::Refused(refusal) if is_without_snapshot(&refusal) => {
                let words = format!("the session that holds the snapshot has ended: {}", refusal.message);
                failure(&self.sessions.upstream.service, Fault::ConnectionLost, &words)
            }
            error => self.failed(error, &import),
        })?;
        // Another server may have a snapshot of the same name, and of another moment.
        let seen = session.ask(MOMENT).await.map_err(|error| self.failed(error, MOMENT))?;
        if seen != [[Some(view.moment.clone())]] {
            let words = "a session sees another moment than that of pg_dump does";
            return Err(failure(&self.sessions.upstream.service, Fault::SeveralServers, words));
        }
        Ok(())
    }

    /// Begins a new transaction, without the locks of the one before; after a refusal that is good for nothing.
    async fn rejoin(&self, session: &mut Session, view: &View) -> Result<(), SliceError> {
        session.ask(ROLLBACK).await.map_err(|error| self.failed(error, ROLLBACK))?;
        self.join(session, view).await
    }

    async fn hand_over(&self, units: impl IntoIterator<Item = Unit>) {
        for unit in units {
            // Nobody takes it any more only when everything is being stopped.
            let _ = self.locked_out.send(unit).await;
        }
    }

    fn failed(&self, error: StatementError, sql: &[u8]) -> SliceError {
        let service = &self.sessions.upstream.service;
        match error {
            StatementError::Refused(mut refusal) => {
                refusal.message = format!("{} ({})", refusal.message, shortened(sql));
                of_refusal(service, &refusal)
            }
            StatementError::Lost(error) => failure(service, Fault::ConnectionLost, &error.to_string()),
        }
    }

    /// Leaves the work to the others, if there are any.
    fn leave(&self) -> bool {
        let others = self
            .active
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |active| (active > 1).then(|| active - 1));
        others.is_ok()
    }

    fn is_wanted(&self, entry: i32) -> bool {
        self.wanted().contains(&entry)
    }

    fn sizes(&self) -> std::sync::MutexGuard<'_, Option<oneshot::Sender<Sizes>>> {
        self.sizes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, BTreeSet<i32>> {
        self.wanted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Why a unit was not read.
struct NotRead {
    error: StatementError,
    /// Whether rows of it are on their way.
    has_given: bool,
}

/// Reads `batch` with one query. Units leave it when they are read, so that after an error the one that was not is its first.
async fn read_batch(session: &mut Session, batch: &mut VecDeque<Unit>) -> Result<(), NotRead> {
    let not_read = |error| NotRead { error, has_given: false };
    session.ask_for_rows(batch.iter().map(|unit| &unit.sql[..])).await.map_err(not_read)?;
    while let Some(unit) = batch.front() {
        let mut collector = Collector::new(unit);
        let rows = match session.next_rows(&mut collector).await {
            Ok(rows) => rows,
            Err(error) => return Err(NotRead { error, has_given: collector.has_given() }),
        };
        collector.turn_over().await;
        drop(collector);
        if let Some(unit) = batch.pop_front() {
            unit.out.finish(rows);
        }
    }
    session.end_of_rows().await.map_err(not_read)
}

fn is_crowded(error: &SliceError) -> bool {
    matches!(error, SliceError::Failed(failure) if failure.code == "too_many_connections")
}

/// Whether a snapshot was refused because nobody holds it any more.
fn is_without_snapshot(refusal: &Refusal) -> bool {
    [
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SqlState::INVALID_PARAMETER_VALUE,
        SqlState::UNDEFINED_OBJECT,
    ]
    .iter()
    .any(|state| state.code() == refusal.code)
}

/// Enough of a statement to recognize it by.
fn shortened(sql: &[u8]) -> String {
    const LONGEST: usize = 200;
    let sql = String::from_utf8_lossy(sql);
    match sql.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rstest::rstest;
    use tokio::net::TcpListener;

    use super::*;
    use crate::engines::postgres::{
        fake_server::{STARTUP, ready, request, serve, upstream},
        wire::message,
    };

    /// What a server answers that sees this moment.
    fn sees(moment: &[u8]) -> Vec<u8> {
        let length = u32::try_from(moment.len()).unwrap().to_be_bytes();
        [message(b'D', &[&[0, 1], &length[..], moment].concat()), ready()].concat()
    }

    fn refuses(code: &str) -> Vec<u8> {
        [message(b'E', format!("SERROR\0C{code}\0Minvalid snapshot\0\0").as_bytes()), ready()].concat()
    }

    #[rstest]
    #[case::the_same(ready(), sees(b"7:9:8"), None)]
    #[case::another_moment(ready(), sees(b"7:9:"), Some("several_servers"))]
    #[case::ended(refuses("55000"), ready(), Some("connection_lost"))]
    #[case::unknown(refuses("22023"), ready(), Some("connection_lost"))]
    #[case::full(refuses("53200"), ready(), Some("server_strained"))]
    #[tokio::test]
    async fn a_reader_sees_what_pg_dump_sees(
        #[case] imported: Vec<u8>,
        #[case] seen: Vec<u8>,
        #[case] code: Option<&str>,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sessions = Sessions::new(Arc::new(upstream("127.0.0.1", listener.local_addr().unwrap().port())));
        let greeting = [request(0, b""), ready()].concat();
        // To the startup, to the time that locks are waited for, to BEGIN, and to the import.
        let serving = tokio::spawn(serve(listener, vec![greeting, ready(), ready(), imported, seen]));
        let view = View {
            startup: Bytes::from_static(&STARTUP),
            settings: Vec::new(),
            snapshot: Bytes::from_static(b"00000003-0000001B-1"),
            moment: Bytes::from_static(b"7:9:8"),
            process: Bytes::from_static(b"42"),
        };
        let readers = Readers {
            sessions: Arc::new(sessions),
            view: watch::channel(Some(Arc::new(view))).1,
            sizes: std::sync::Mutex::default(),
            batches: Mutex::new(mpsc::channel(1).1),
            locked_out: mpsc::channel(1).0,
            wanted: std::sync::Mutex::default(),
            active: AtomicUsize::new(1),
        };
        match (readers.begin().await, code) {
            (Ok(_), None) => {}
            (Err(SliceError::Failed(failure)), Some(code)) => {
                assert_eq!((failure.code.as_str(), failure.transient), (code, true), "{}", failure.message);
            }
            (Ok(_), Some(code)) => panic!("it succeeded, without {code}"),
            (Err(error), _) => panic!("{error}"),
        }
        serving.abort();
    }
}
