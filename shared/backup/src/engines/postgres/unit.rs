//! A unit: rows that one session reads with one statement, and the place in the archive where they go.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use holdfast_archive::pg_custom::{Codec, CompressionFailed, Compressor, Piece};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

use super::{relay::Reading, window::Window};

/// How many bytes of rows are compressed at a time. A frame of zstd is this long.
pub(super) const PIECE_BYTES: usize = 1024 * 1024;

/// Shorter pieces are compressed where they are: that takes less than a thread takes to wake up.
const SHORT_BYTES: usize = 16 * 1024;

/// How far back a deflated piece may refer, in bytes.
const BEFORE_BYTES: usize = 32 * 1024;

/// A statement to run, and where its rows go.
pub(super) struct Unit {
    /// Its place in the archive, from 0.
    pub(super) number: u64,
    /// Dump id of the entry, the same for all units of a table.
    pub(super) entry: i32,
    pub(super) sql: Vec<u8>,
    pub(super) reading: Arc<Reading>,
    /// What its rows are compressed by.
    pub(super) press: Press,
    pub(super) out: UnitOut,
}

/// A piece that is compressed, or is about to be.
pub(super) enum Pressing {
    Done(Piece),
    Working(JoinHandle<Result<Piece, CompressionFailed>>),
    Failed(CompressionFailed),
}

/// Where a unit's rows go.
pub(super) struct UnitOut {
    pieces: mpsc::UnboundedSender<Pressing>,
    rows: oneshot::Sender<u64>,
}

/// Where they come out, in order.
pub(super) struct UnitIn {
    pub(super) number: u64,
    /// Ends when all pieces have come, or nobody makes them any more.
    pub(super) pieces: mpsc::UnboundedReceiver<Pressing>,
    /// The number of rows, if they are all there.
    pub(super) rows: oneshot::Receiver<u64>,
}

/// Both ends of the way of unit `number`. How much is on it is bounded by the [`Window`].
pub(super) fn way(number: u64) -> (UnitOut, UnitIn) {
    let (piece_sender, piece_receiver) = mpsc::unbounded_channel();
    let (row_sender, row_receiver) = oneshot::channel();
    (
        UnitOut { pieces: piece_sender, rows: row_sender },
        UnitIn { number, pieces: piece_receiver, rows: row_receiver },
    )
}

impl UnitOut {
    /// All rows have been handed over.
    pub(super) fn finish(self, rows: u64) {
        // Nobody listens any more only when everything is being stopped.
        let _ = self.rows.send(rows);
    }
}

/// Compresses on blocking threads, as many at a time as there are cores.
#[derive(Clone)]
pub(super) struct Press {
    codec: Codec,
    window: Arc<Window>,
    cores: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// What can be used again: making it costs more than using it.
#[derive(Default)]
struct Idle {
    compressors: Mutex<Vec<Compressor>>,
    buffers: Mutex<Vec<Vec<u8>>>,
}

fn take<T>(idle: &Mutex<Vec<T>>) -> Option<T> {
    idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give_back<T>(idle: &Mutex<Vec<T>>, item: T) {
    idle.lock().unwrap_or_else(PoisonError::into_inner).push(item);
}

impl Press {
    /// A press for one archive.
    pub(super) fn new(codec: Codec, window: Arc<Window>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { codec, window, cores: Arc::new(Semaphore::new(cores)), idle: Arc::default() }
    }

    fn buffer(&self) -> Vec<u8> {
        take(&self.idle.buffers).unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4))
    }

    /// Compresses `raw`, or begins to, once the window has room and a core is free.
    async fn start(&self, unit: u64, before: Bytes, raw: Vec<u8>) -> Pressing {
        let charged = raw.len();
        self.window.admit(unit, charged).await;
        if charged <= SHORT_BYTES {
            return match self.compress(unit, &before, raw) {
                Ok(piece) => Pressing::Done(piece),
                Err(error) => Pressing::Failed(error),
            };
        }
        // The semaphore is never closed.
        let core = self.cores.clone().acquire_owned().await.ok();
        let press = self.clone();
        Pressing::Working(tokio::task::spawn_blocking(move || {
            let piece = press.compress(unit, &before, raw);
            drop(core);
            piece
        }))
    }

    fn compress(&self, unit: u64, before: &[u8], mut raw: Vec<u8>) -> Result<Piece, CompressionFailed> {
        let mut compressor = match take(&self.idle.compressors) {
            Some(compressor) => compressor,
            None => Compressor::new(self.codec)?,
        };
        let piece = compressor.piece(before, &raw)?;
        give_back(&self.idle.compressors, compressor);
        // What does not compress is a little longer than it was.
        self.window.recount(unit, raw.len(), piece.chunk.len());
        raw.clear();
        give_back(&self.idle.buffers, raw);
        Ok(piece)
    }
}

/// Collects the rows of one unit into pieces.
pub(super) struct Collector<'a> {
    press: &'a Press,
    unit: u64,
    out: &'a UnitOut,
    before: Bytes,
    filling: Vec<u8>,
    has_given: bool,
}

impl<'a> Collector<'a> {
    pub(super) fn new(unit: &'a Unit) -> Self {
        let Unit { number, press, out, .. } = unit;
        Self { press, unit: *number, out, before: Bytes::new(), filling: press.buffer(), has_given: false }
    }

    /// The piece that is filling: at [`PIECE_BYTES`] or soon after, [`Collector::turn_over`] is due.
    pub(super) fn filling(&mut self) -> &mut Vec<u8> {
        &mut self.filling
    }

    /// Whether rows are on their way already, and cannot be taken back.
    pub(super) fn has_given(&self) -> bool {
        self.has_given
    }

    /// Has what is filled compressed, if there is anything.
    pub(super) async fn turn_over(&mut self) {
        if self.filling.is_empty() {
            return;
        }
        self.has_given = true;
        let next = self.press.buffer();
        let raw = std::mem::replace(&mut self.filling, next);
        let known = match self.press.codec {
            Codec::Zlib { .. } => Bytes::copy_from_slice(&raw[raw.len().saturating_sub(BEFORE_BYTES)..]),
            Codec::None | Codec::Zstd { .. } => Bytes::new(),
        };
        let before = std::mem::replace(&mut self.before, known);
        let piece = self.press.start(self.unit, before, raw).await;
        // Nobody takes pieces any more only when everything is being stopped.
        let _ = self.out.pieces.send(piece);
    }
}

impl Drop for Collector<'_> {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.filling);
        buffer.clear();
        give_back(&self.press.idle.buffers, buffer);
    }
}
