//! One dump: `pg_dump` says what, several sessions read it, and one archive comes of it.
//!
//! ```text
//!           ┌─ relay ◀──── pg_dump ────▶ outline ─┬─▶ assembly ─▶ segments
//! server ◀──┤    (writes statements down)         │      ▲
//!           └─ readers ◀───────────── units ──────┘      │
//!                 └──────▶ press (compresses) ───────────┘
//! ```

use std::{
    io,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    process::Child,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    assembly::{Assembled, Assembler, Assembly},
    compression::Chosen,
    failure::{Fault, failure, of_dump},
    halt::HaltedArchive,
    login::Upstream,
    outline::{Outline, OutlineError, Pending},
    process,
    progress::DumpProgress,
    readers::Readers,
    relay::{Relay, Wiring},
    sessions::{CancelOnDrop, Sessions},
    tools::PgDump,
    window::Window,
    written::Written,
};
use crate::{
    engines::segments::{SegmentSender, Stopped},
    error::SliceError,
};
use holdfast_archive::pg_custom::{Codec, Malformed};

/// What waits to be written, at most: tables and pieces of `pg_dump`'s own archive.
const ITEMS: usize = 256;

/// How long a task may take to end that has failed: whoever it has left alone may be quicker to say so.
const CAUSE_WITHIN: Duration = Duration::from_millis(500);

/// A dump to make.
pub(super) struct Run<'a> {
    pub(super) upstream: Arc<Upstream>,
    pub(super) program: &'a PgDump,
    /// The server's major version.
    pub(super) major: u32,
    pub(super) compression: Chosen,
    /// How many sessions read, beside that of `pg_dump`.
    pub(super) sessions: usize,
    pub(super) progress: Arc<DumpProgress>,
    /// Where another leg has halted, with the bytes of its stream.
    pub(super) from: Option<(HaltedArchive, Bytes)>,
    /// When to halt, if ever.
    pub(super) until: Option<Instant>,
}

/// How far a dump came.
pub(super) enum Dumped {
    /// To its end.
    Whole(Written),
    /// To where another leg goes on, with the bytes of its stream.
    Halted(Box<HaltedArchive>, Bytes),
}

/// Why a dump ends before its end.
enum Broken {
    Failed(SliceError),
    Halted(Box<HaltedArchive>, Bytes),
}

impl From<SliceError> for Broken {
    fn from(error: SliceError) -> Self {
        Self::Failed(error)
    }
}

impl Run<'_> {
    /// Dumps the database into `out`. Whole means: `pg_dump` has ended well, every row that it would have read has been sent,
    /// and so has the archive's beginning, with all positions, last of all. However it ends, `pg_dump` and all sessions have
    /// ended too; should this future be dropped, they are ended.
    pub(super) async fn to_segments(&self, out: SegmentSender) -> Result<Dumped, SliceError> {
        let service = &self.upstream.service;
        let not_started = |error: io::Error| {
            failure(
                service,
                Fault::DumpFailed,
                &format!("{} could not be started: {error}", self.program.path.display()),
            )
        };
        self.progress.restart();
        let relay = Relay::open().map_err(not_started)?;
        let mut child = process::start(&self.upstream, self.program, relay.host(), &self.compression.option)
            .map_err(not_started)?;
        let sessions = Arc::new(Sessions::new(self.upstream.clone()));
        let guard = CancelOnDrop::new(sessions.clone());
        let mut tasks = JoinSet::new();
        let outcome = tokio::select! {
            outcome = Box::pin(self.assemble(relay, &mut child, &sessions, &mut tasks, &out)) => outcome,
            () = out.closed() => Err(SliceError::from(Stopped).into()),
        };
        if outcome.is_err() {
            tokio::join!(process::end(&mut child), sessions.cancel());
            tasks.shutdown().await;
        }
        guard.ended();
        match outcome {
            Ok(written) => Ok(Dumped::Whole(written)),
            Err(Broken::Halted(archive, bytes)) => Ok(Dumped::Halted(archive, bytes)),
            Err(Broken::Failed(error)) => Err(error),
        }
    }

    async fn assemble(
        &self,
        relay: Relay,
        child: &mut Child,
        sessions: &Arc<Sessions>,
        tasks: &mut JoinSet<Result<(), SliceError>>,
        out: &SegmentSender,
    ) -> Result<Written, Broken> {
        let (recorded_sender, recorded) = mpsc::unbounded_channel();
        let (locked_out_sender, locked_out) = mpsc::channel(1);
        let (batches_sender, batches) = mpsc::channel(self.sessions);
        let (items_sender, items) = mpsc::channel(ITEMS);
        let (release, released) = oneshot::channel::<()>();
        let (view_sender, view) = watch::channel(None);
        let (sizes_sender, sizes) = oneshot::channel();
        let (codec_sender, codec) = watch::channel(Codec::None);
        let (window, progress) = (Arc::new(Window::default()), &self.progress);

        let wiring = Wiring {
            sessions: sessions.clone(),
            window: window.clone(),
            view: view_sender,
            sizes,
            recorded: recorded_sender,
            locked_out,
            released,
        };
        tasks.spawn(relay.serve(wiring));
        let readers = Arc::new(Readers {
            sessions: sessions.clone(),
            view,
            sizes: Mutex::new(Some(sizes_sender)),
            batches: tokio::sync::Mutex::new(batches),
            locked_out: locked_out_sender,
            wanted: Mutex::default(),
            active: AtomicUsize::new(self.sessions),
        });
        for _ in 0..self.sessions {
            tasks.spawn(readers.clone().read());
        }
        drop(readers);
        let outline = Outline {
            level: self.compression.level,
            major: self.major,
            window: window.clone(),
            recorded,
            batches: batches_sender,
            pending: Pending::default(),
            items: items_sender,
            progress: progress.clone(),
            codec: codec_sender,
            passed: self.from.as_ref().map_or(0, |(from, _)| from.items.count),
        };
        let leg = (self.from.clone(), self.until);
        let archive = Assembler::new(window, progress.clone(), codec, leg, out.clone())?;

        // Nothing of the beginning is sent before pg_dump has ended well.
        let reading = self.read(outline, child);
        let writing = async {
            match archive.write(items).await? {
                Assembly::Whole(assembled) => {
                    drop(release);
                    Ok(assembled)
                }
                Assembly::Halted(halted, bytes) => Err(Broken::Halted(halted, bytes)),
            }
        };
        let working = async {
            let (assembled, ()) = tokio::try_join!(writing, async { Ok(reading.await?) })?;
            Ok::<Box<Assembled>, Broken>(assembled)
        };
        let mut working = std::pin::pin!(working);
        let mut assembled = None;
        loop {
            tokio::select! {
                // Why the relay or a session has failed comes before what pg_dump makes of it.
                biased;
                Some(ended) = tasks.join_next() => ended.map_err(|error| {
                    SliceError::transient("dump_failed", format!("a part of the dump broke down: {error}"))
                })??,
                done = &mut working, if assembled.is_none() => match done {
                    Ok(done) => assembled = Some(done),
                    Err(Broken::Failed(error)) => return Err(cause(tasks).await.unwrap_or(error).into()),
                    Err(halted @ Broken::Halted(..)) => return Err(halted),
                },
                else => break,
            }
        }
        match assembled {
            Some(assembled) => Ok(assembled.finish().await?),
            None => Err(SliceError::from(Stopped).into()),
        }
    }

    /// Reads all that `pg_dump` writes, and how it ends.
    async fn read(&self, outline: Outline, child: &mut Child) -> Result<(), SliceError> {
        let service = &self.upstream.service;
        let broken = |error: io::Error| failure(service, Fault::DumpFailed, &error.to_string());
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(broken(io::Error::other("the output of pg_dump is not there")));
        };
        // In the same task, so that nothing of it is left when this is dropped.
        let (read, said) = tokio::join!(outline.read(stdout), async { process::last_words(stderr).await });
        let status = match &read {
            // An archive that breaks off is the consequence of what ended pg_dump.
            Ok(()) | Err(OutlineError::Malformed(Malformed::Incomplete)) => {
                child.wait().await.map_err(broken)?
            }
            Err(OutlineError::Stopped) => return Err(Stopped.into()),
            Err(_) => return read.map_err(|error| self.not_understood(error)),
        };
        if !status.success() {
            return Err(of_dump(service, status, &said));
        }
        read.map_err(|error| self.not_understood(error))
    }

    fn not_understood(&self, error: OutlineError) -> SliceError {
        let service = &self.upstream.service;
        match error {
            OutlineError::Malformed(Malformed::Unsupported(unsupported)) => {
                failure(service, Fault::DumpFailed, &unsupported.to_string())
            }
            OutlineError::Malformed(error) => {
                let words = format!("what pg_dump wrote is not a custom-format archive: {error}");
                failure(service, Fault::DumpFailed, &words)
            }
            OutlineError::Unexpected(words) => failure(service, Fault::DumpFailed, &words),
            OutlineError::Stopped => Stopped.into(),
            OutlineError::Failed(error) => error,
        }
    }
}

/// Why the relay or a session has failed, if one has.
async fn cause(tasks: &mut JoinSet<Result<(), SliceError>>) -> Option<SliceError> {
    let failed = async {
        while let Some(ended) = tasks.join_next().await {
            if let Ok(Err(error)) = ended {
                return Some(error);
            }
        }
        None
    };
    timeout(CAUSE_WITHIN, failed).await.ok().flatten()
}
