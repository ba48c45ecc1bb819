//! The sessions that read the rows: each takes the next unit when it is done with one.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Mutex, mpsc};
use tokio_postgres::error::SqlState;

use super::{
    failure::{Fault, failure, of_refusal},
    login::Session,
    relay::{MOMENT, Reading},
    session::StatementError,
    sessions::Sessions,
    unit::{Collector, Unit},
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

/// What the readers of one dump share.
pub(super) struct Readers {
    pub(super) sessions: Arc<Sessions>,
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
        let mut session: Option<Session> = None;
        let (mut crowded, mut read) = (false, 0);
        loop {
            let next = self.batches.lock().await.recv().await;
            let Some(batch) = next else { break };
            let mut batch = VecDeque::from(batch);
            while let Some(first) = batch.front() {
                if crowded || self.is_wanted(first.entry) {
                    self.hand_over(batch.pop_front()).await;
                    continue;
                }
                let reading = first.reading.clone();
                let open = match &mut session {
                    Some(open) => open,
                    none => match self.begin(&reading).await {
                        Ok(begun) => none.insert(begun),
                        Err(error) if is_crowded(&error) => {
                            tracing::warn!(%error, "one session fewer reads the tables");
                            self.hand_over(mem::take(&mut batch)).await;
                            if self.leave() {
                                return Ok(());
                            }
                            crowded = true;
                            continue;
                        }
                        Err(error) => return Err(error),
                    },
                };
                if read >= UNITS_OF_A_TRANSACTION {
                    // Only with the next unit in hand: without one the snapshot may be gone by now.
                    self.rejoin(open, &reading).await?;
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
                        self.rejoin(open, &reading).await?;
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

    /// A session that sees what `pg_dump` sees, and as it sees it.
    async fn begin(&self, reading: &Reading) -> Result<Session, SliceError> {
        let mut session = self.sessions.log_in(&reading.startup).await?;
        for setting in reading.settings.iter().map(Vec::as_slice).chain([LOCK_WAIT]) {
            session.ask(setting).await.map_err(|error| self.failed(error, setting))?;
        }
        self.join(&mut session, reading).await?;
        Ok(session)
    }

    /// Begins a transaction that sees what `pg_dump` sees.
    async fn join(&self, session: &mut Session, reading: &Reading) -> Result<(), SliceError> {
        const BEGIN: &[u8] = b"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        session.ask(BEGIN).await.map_err(|error| self.failed(error, BEGIN))?;
        // The server's own words for it: digits and hyphens.
        let import = [b"SET TRANSACTION SNAPSHOT '", &reading.snapshot[..], b"'"].concat();
        session.ask(&import).await.map_err(|error| match error {
            StatementError::Refused(refusal) if is_without_snapshot(&refusal) => {
                let words = format!("the session that holds the snapshot has ended: {}", refusal.message);
                failure(&self.sessions.upstream.service, Fault::ConnectionLost, &words)
            }
            error => self.failed(error, &import),
        })?;
        // Another server may have a snapshot of the same name, and of another moment.
        let seen = session.ask(MOMENT).await.map_err(|error| self.failed(error, MOMENT))?;
        if seen != reading.moment {
            let words = "a session sees another moment than that of pg_dump does";
            return Err(failure(&self.sessions.upstream.service, Fault::SeveralServers, words));
        }
        Ok(())
    }

    /// Begins a new transaction, without the locks of the one before; after a refusal that is good for nothing.
    async fn rejoin(&self, session: &mut Session, reading: &Reading) -> Result<(), SliceError> {
        session.ask(b"ROLLBACK").await.map_err(|error| self.failed(error, b"ROLLBACK"))?;
        self.join(session, reading).await
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
    use std::collections::HashMap;

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
        let readers = Readers {
            sessions: Arc::new(sessions),
            batches: Mutex::new(mpsc::channel(1).1),
            locked_out: mpsc::channel(1).0,
            wanted: std::sync::Mutex::default(),
            active: AtomicUsize::new(1),
        };
        let reading = Reading {
            startup: Bytes::from_static(&STARTUP),
            settings: Vec::new(),
            snapshot: Bytes::from_static(b"00000003-0000001B-1"),
            moment: vec![vec![Some(Bytes::from_static(b"7:9:8"))]],
            sizes: HashMap::new(),
            table_bytes: 0,
        };
        match (readers.begin(&reading).await, code) {
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
