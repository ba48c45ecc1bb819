//! The relay: `pg_dump` talks to the server through it, and reads no rows.
//!
//! It passes every message on, with one exception. A `COPY … TO stdout` is written down, and answered as if the table were
//! empty. So `pg_dump` decides what is dumped, in which order and with which statements, and other sessions read the rows.
//! Its session stays open as long as rows are read: it holds the snapshot that they all see, and the locks that keep the
//! tables as they are.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
};
use tokio_postgres::error::SqlState;

use super::{
    failure::{Fault, failure, of_refusal},
    login::{SSL_REQUEST, Session, Upstream},
    session::{Rows, StatementError},
    sessions::Sessions,
    statement::{CopyStatement, Statement},
    unit::{Collector, Unit},
    view::{Sizes, VIEW, View},
    window::Window,
    wire::{Message, Refusal, Wire, head, message},
};
use crate::error::SliceError;

/// The port in the name of the socket.
pub(super) const PORT: u16 = 5432;

/// Asks for GSSAPI encryption (`NEGOTIATE_GSS_CODE`).
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// How long this session waits for a lock when it reads by itself, as long as `pg_dump` does: it has the tables, and not
/// their indexes, nor those of their long values.
const LOCK_WAIT: &[u8] = b"SET LOCAL lock_timeout = '120s'";

/// Locks that are asked for before the first of them is answered, at most: their statements and the answers fit between two
/// sockets, so that neither side waits for the other to read.
const LOCKS_AHEAD: usize = 64;

/// What is known when rows are about to be read.
#[derive(Debug)]
pub(super) struct Reading {
    /// What to see.
    pub(super) view: Arc<View>,
    /// The statements by which `pg_dump` has changed its session since.
    pub(super) late_settings: Vec<Vec<u8>>,
    /// How large the tables are.
    pub(super) sizes: Sizes,
}

/// What `pg_dump` has asked for, in its order.
#[derive(Debug)]
pub(super) enum Recorded {
    /// It is about to read its first table.
    Reading(Arc<Reading>),
    /// It has read a table, or so it believes.
    Copy(CopyStatement),
}

/// A socket that only this user can reach.
pub(super) struct Relay {
    folder: TempDir,
    listener: UnixListener,
}

/// What the relay works with.
pub(super) struct Wiring {
    pub(super) sessions: Arc<Sessions>,
    pub(super) window: Arc<Window>,
    /// Where it is said what there is to see.
    pub(super) view: watch::Sender<Option<Arc<View>>>,
    /// What another session has found out; closed if none can.
    pub(super) sizes: oneshot::Receiver<Sizes>,
    /// Where what is written down goes.
    pub(super) recorded: mpsc::UnboundedSender<Recorded>,
    /// Units that only this session can read, since somebody waits to have their table for himself.
    pub(super) locked_out: mpsc::Receiver<Unit>,
    /// Resolves when no rows are read any more.
    pub(super) released: oneshot::Receiver<()>,
}

impl Relay {
    /// Makes the socket.
    pub(super) fn open() -> io::Result<Self> {
        // Made with mode 0700.
        let folder = tempfile::Builder::new().prefix("holdfast-").tempdir()?;
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}")))?;
        Ok(Self { folder, listener })
    }

    /// What a program takes for the server's host.
    pub(super) fn host(&self) -> &Path {
        self.folder.path()
    }

    /// Serves one `pg_dump`, and then holds its session until it is released.
    pub(super) async fn serve(self, wiring: Wiring) -> Result<(), SliceError> {
        let upstream = wiring.sessions.upstream.clone();
        let broken = |error: io::Error| {
            SliceError::transient("dump_failed", format!("the local connection with pg_dump broke: {error}"))
        };
        let (mut client, startup) = self.accept().await.map_err(broken)?;
        // There is one pg_dump, and from now on nothing on the disk.
        drop(self);
        let server = match wiring.sessions.log_in(&startup).await {
            Ok(server) => server,
            Err(error) => {
                // It ends then; what it says of that is not heard.
                let _ = client.send(&error_response(&error.to_string())).await;
                return Err(error);
            }
        };
        let mut conversation = Conversation {
            server,
            upstream,
            startup,
            settings: Vec::new(),
            view: None,
            reading: None,
            last_refusal: None,
            locked_out: BTreeMap::new(),
            has_locked: false,
            locks_ahead: 0,
            wiring,
        };
        if client.send(&conversation.server.greeting).await.is_ok() {
            conversation.relay(&mut client).await?;
        }
        // pg_dump has ended or is about to, and who waits for it knows how.
        drop(client);
        conversation.hold().await
    }

    /// The next who begins a session, and how.
    pub(super) async fn accept(&self) -> io::Result<(Wire, Bytes)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let mut client = Wire::new(stream);
            loop {
                let first = client.first_message().await?;
                if first[..] == SSL_REQUEST || first[..] == GSS_REQUEST {
                    client.send(b"N").await?;
                    continue;
                }
                // Protocol 3.x; a request to cancel is something else, and we cancel ourselves.
                if first[4..6] == [0, 3] {
                    return Ok((client, first));
                }
                break;
            }
        }
    }
}

/// The session that `pg_dump` has.
struct Conversation {
    server: Session,
    upstream: Arc<Upstream>,
    startup: Bytes,
    /// The statements that have set it up, and that the view does not have.
    settings: Vec<Vec<u8>>,
    view: Option<Arc<View>>,
    reading: Option<Arc<Reading>>,
    last_refusal: Option<Refusal>,
    /// Units to read under the locks of this session, by number.
    locked_out: BTreeMap<u64, Unit>,
    /// Whether it has asked for locks.
    has_locked: bool,
    /// Locks that the server has been asked for and has not answered.
    locks_ahead: usize,
    wiring: Wiring,
}

/// Who spoke, or what is due.
enum Heard {
    Client(io::Result<Message>),
    Server(io::Result<Message>),
    LockedOut(Unit),
    Turn,
}

impl Conversation {
    /// Passes messages on until `pg_dump` takes its leave.
    async fn relay(&mut self, client: &mut Wire) -> Result<(), SliceError> {
        loop {
            let heard = tokio::select! {
                message = client.message() => Heard::Client(message),
                message = self.server.wire.message() => Heard::Server(message),
                Some(unit) = self.wiring.locked_out.recv() => Heard::LockedOut(unit),
                () = turn_of_first(&self.locked_out, &self.wiring.window) => Heard::Turn,
            };
            match heard {
                Heard::Client(Err(_)) => return Ok(()),
                Heard::Client(Ok(message)) if message.tag == b'X' => return Ok(()),
                Heard::Client(Ok(message)) => {
                    if self.answer(client, &message).await? == Left::Yes {
                        return Ok(());
                    }
                }
                Heard::Server(message) => {
                    if let Some(message) = self.unasked(message)?
                        && client.send(&message.bytes).await.is_err()
                    {
                        return Ok(());
                    }
                }
                Heard::LockedOut(unit) => {
                    self.locked_out.insert(unit.number, unit);
                }
                Heard::Turn => self.read_first_locked_out().await?,
            }
        }
    }

    /// Keeps the session while others read under its locks.
    async fn hold(mut self) -> Result<(), SliceError> {
        loop {
            let heard = tokio::select! {
                _ = &mut self.wiring.released => break,
                message = self.server.wire.message() => Heard::Server(message),
                Some(unit) = self.wiring.locked_out.recv() => Heard::LockedOut(unit),
                () = turn_of_first(&self.locked_out, &self.wiring.window) => Heard::Turn,
            };
            match heard {
                Heard::Server(message) => {
                    self.unasked(message)?;
                }
                Heard::LockedOut(unit) => {
                    self.locked_out.insert(unit.number, unit);
                }
                Heard::Turn => self.read_first_locked_out().await?,
                Heard::Client(_) => {}
            }
        }
        // Whether it arrives or not, the session ends.
        let _ = self.server.wire.send(&message(b'X', &[])).await;
        Ok(())
    }

    /// Answers one message of `pg_dump`, or has the server answer it.
    async fn answer(&mut self, client: &mut Wire, asked: &Message) -> Result<Left, SliceError> {
        if asked.tag == b'Q' {
            let body = asked.body();
            let sql = body.strip_suffix(b"\0").unwrap_or(&body);
            match Statement::of(sql) {
                Ok(Statement::Lock) => return self.lock(client, asked).await,
                Ok(Statement::Copy(statement)) => {
                    if self.reading.is_none() {
                        let reading = Arc::new(self.begin_reading().await?);
                        self.reading = Some(reading.clone());
                        self.record(Recorded::Reading(reading));
                    }
                    self.record(Recorded::Copy(statement));
                    return Ok(Left::when(client.send(&empty_copy()).await.is_err()));
                }
                Ok(Statement::Setting) if self.reading.is_some() => {
                    let sql = String::from_utf8_lossy(sql);
                    let words = format!("pg_dump changes a setting while it reads tables: {sql}");
                    return Err(failure(&self.upstream.service, Fault::DumpFailed, &words));
                }
                Ok(Statement::Setting) => self.settings.push(sql.to_owned()),
                // Once it has its tables it has long to do with them.
                Ok(Statement::Other) if self.has_locked => {
                    self.view().await?;
                }
                Ok(Statement::Other) => {}
                Err(unknown) => {
                    return Err(failure(&self.upstream.service, Fault::DumpFailed, &unknown.to_string()));
                }
            }
        }
        self.settle(0).await?;
        let sent = self.server.wire.send(&asked.bytes).await;
        self.upstream.lost(sent)?;
        // A query, a function call and a Sync each end with ReadyForQuery; other messages have no answer of their own.
        if matches!(asked.tag, b'Q' | b'F' | b'S') { self.pass_on_answer(client).await } else { Ok(Left::No) }
    }

    /// Has a table locked. Before version 16 `pg_dump` asks for each lock in a statement of its own, and waits for each: it is
    /// answered at once, and the server soon after. Whatever `pg_dump` asks next comes after the locks, and a lock that is
    /// refused ends the dump, as it would have ended `pg_dump`.
    async fn lock(&mut self, client: &mut Wire, asked: &Message) -> Result<Left, SliceError> {
        self.settle(LOCKS_AHEAD - 1).await?;
        let sent = self.server.wire.send(&asked.bytes).await;
        self.upstream.lost(sent)?;
        self.has_locked = true;
        self.locks_ahead += 1;
        Ok(Left::when(client.send(&locked()).await.is_err()))
    }

    /// Waits until no more than `most` locks are not answered.
    async fn settle(&mut self, most: usize) -> Result<(), SliceError> {
        while self.locks_ahead > most {
            let message = self.server.wire.message().await;
            self.unasked(message)?;
        }
        Ok(())
    }

    /// Passes on what the server says until it is ready for the next query. Nothing of it is kept.
    async fn pass_on_answer(&mut self, client: &mut Wire) -> Result<Left, SliceError> {
        let (mut left, mut is_last) = (0, false);
        loop {
            let unread = self.server.wire.unread();
            let mut end = 0;
            let complete = loop {
                let some = left.min(unread.len() - end);
                (left, end) = (left - some, end + some);
                if left == 0 && is_last {
                    break true;
                }
                let next = if left == 0 { head(&unread[end..]) } else { Ok(None) };
                let Some(next) = self.upstream.lost(next)? else { break false };
                if next.tag == b'E' {
                    let body = &unread[end + 5..];
                    self.last_refusal = Some(Refusal::read(body.get(..next.body).unwrap_or(body)));
                }
                (left, end, is_last) = (next.body, end + 5, next.tag == b'Z');
            };
            let passed = unread.split_to(end);
            if !passed.is_empty() && client.send(&passed).await.is_err() {
                return Ok(Left::Yes);
            }
            if complete {
                return Ok(Left::No);
            }
            let filled = self.server.wire.fill().await;
            if let Err(error) = filled {
                return Err(self.gone(&error));
            }
        }
    }

    /// A message that `pg_dump` does not wait for: none once it is known to answer a lock. The last one may be why the server
    /// ends the session.
    fn unasked(&mut self, message: io::Result<Message>) -> Result<Option<Message>, SliceError> {
        let message = message.map_err(|error| self.gone(&error))?;
        let service = &self.upstream.service;
        match message.tag {
            b'E' => {
                let refusal = Refusal::read(&message.body());
                // `pg_dump` has the server cancel a lock that takes too long.
                if self.locks_ahead > 0 && refusal.code == SqlState::QUERY_CANCELED.code() {
                    return Err(failure(service, Fault::TablesLocked, &refusal.message));
                }
                Err(of_refusal(service, &refusal))
            }
            b'C' if self.locks_ahead > 0 => Ok(None),
            b'Z' if self.locks_ahead > 0 => {
                self.locks_ahead -= 1;
                Ok(None)
            }
            _ => Ok(Some(message)),
        }
    }

    fn gone(&self, error: &io::Error) -> SliceError {
        match &self.last_refusal {
            Some(refusal) => of_refusal(&self.upstream.service, refusal),
            None => failure(&self.upstream.service, Fault::ConnectionLost, &error.to_string()),
        }
    }

    fn record(&self, recorded: Recorded) {
        // Nobody reads it any more only when everything is being stopped.
        let _ = self.wiring.recorded.send(recorded);
    }

    /// Exports the snapshot, once, in `pg_dump`'s transaction: the server waits for its next query.
    async fn view(&mut self) -> Result<Arc<View>, SliceError> {
        if let Some(view) = &self.view {
            return Ok(view.clone());
        }
        let answer = self.ask(VIEW).await?;
        let settings = std::mem::take(&mut self.settings);
        let Some(view) = View::of(self.startup.clone(), settings, answer).map(Arc::new) else {
            let words = "the server exported no snapshot";
            return Err(failure(&self.upstream.service, Fault::Refused, words));
        };
        self.view = Some(view.clone());
        self.wiring.view.send_replace(Some(view.clone()));
        Ok(view)
    }

    /// What is needed to read. Where no other session could say how large the tables are, since somebody waits for one or
    /// the server has no session to give, this one can: it has them locked.
    async fn begin_reading(&mut self) -> Result<Reading, SliceError> {
        let view = self.view().await?;
        let sizes = match (&mut self.wiring.sizes).await {
            Ok(sizes) => sizes,
            Err(_) => Sizes::of(self.ask(&view.sizes_question()).await?),
        };
        Ok(Reading { view, late_settings: std::mem::take(&mut self.settings), sizes })
    }

    async fn ask(&mut self, sql: &[u8]) -> Result<Rows, SliceError> {
        self.settle(0).await?;
        let answer = self.server.ask(sql).await;
        answer.map_err(|error| self.of_statement(error))
    }

    /// Reads a unit under the locks that this session has.
    async fn read_first_locked_out(&mut self) -> Result<(), SliceError> {
        let Some((_, unit)) = self.locked_out.pop_first() else { return Ok(()) };
        self.ask(LOCK_WAIT).await?;
        let mut collector = Collector::new(&unit);
        let copied = self.server.copy(&unit.sql, &mut collector).await;
        let rows = copied.map_err(|error| self.of_statement(error))?;
        collector.turn_over().await;
        drop(collector);
        unit.out.finish(rows);
        Ok(())
    }

    fn of_statement(&self, error: StatementError) -> SliceError {
        match error {
            StatementError::Refused(refusal) => of_refusal(&self.upstream.service, &refusal),
            StatementError::Lost(error) => self.gone(&error),
        }
    }
}

/// Waits for the turn of the first unit, if there is one. Only then it is read: were this session busy with a later one, which
/// may have to wait for its turn, nobody could read the one that is due.
async fn turn_of_first(locked_out: &BTreeMap<u64, Unit>, window: &Window) {
    match locked_out.keys().next() {
        Some(number) => window.turn_of(*number).await,
        None => std::future::pending().await,
    }
}

/// Whether `pg_dump` has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Yes,
    No,
}

impl Left {
    fn when(gone: bool) -> Self {
        if gone { Self::Yes } else { Self::No }
    }
}

/// The answer to a `COPY` of an empty table, in a transaction: `CopyOutResponse` (text, no columns), `CopyDone`,
/// `CommandComplete`, `ReadyForQuery`.
fn empty_copy() -> Vec<u8> {
    [message(b'H', &[0, 0, 0]), message(b'c', &[]), message(b'C', b"COPY 0\0"), message(b'Z', b"T")].concat()
}

/// The answer to a `LOCK TABLE`, in a transaction.
fn locked() -> Vec<u8> {
    [message(b'C', b"LOCK TABLE\0"), message(b'Z', b"T")].concat()
}

/// An error that ends the session before it begins.
pub(super) fn error_response(words: &str) -> Vec<u8> {
    let words = words.replace('\0', " ");
    message(b'E', format!("SFATAL\0VFATAL\0C08006\0M{words}\0\0").as_bytes())
}
