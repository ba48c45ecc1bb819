//! From an engine's segments to one stored object: all of it, or nothing.
//!
//! The object comes into being only after the engine has said that it is whole, and counts only after the bucket has
//! described it as we know it: size, checksum, protection. Whatever else happens, the upload is aborted.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_domain::backup::{Phase, StoredObject};
use tokio::sync::{mpsc, oneshot};

use crate::{
    engines::{
        Beside, Engine, EngineReport, Halt, Leg, LegEnd,
        segments::{self, CopyOrder, HeldSegment, SegmentReceiver, SegmentSender, Stopped},
    },
    error::SliceError,
    ports::{ArtifactStore, OpenUpload, StorageError, StoredPart},
};

/// The observer of a job hears of the progress this often, and so a cancellation takes about as long to be noticed.
pub const REPORT_EVERY: Duration = Duration::from_secs(2);

/// Parts that are stored at once; a function's network is busy with fewer.
const IN_FLIGHT: usize = 4;

/// Parts that the storage copies at once. They cost a function nothing but waiting.
const COPIES_IN_FLIGHT: usize = 32;

/// How long an engine may take to stop before it is dropped, which kills what it has started.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Who follows an upload: writes down how far it has come, and can stop it by answering with an error, such as
/// [`SliceError::Cancelled`] or [`SliceError::Fenced`]. A call that has begun is always waited for.
#[async_trait]
pub trait Observer: Send {
    /// The upload is open and empty.
    async fn opened(&mut self, upload: &OpenUpload) -> Result<(), SliceError>;

    /// Called whenever it is [due](Observer::due), and when all parts are stored and the object is about to be made of them.
    async fn advanced(&mut self, so_far: Advance) -> Result<(), SliceError>;

    /// Resolves when it wants to hear more: after [`REPORT_EVERY`], unless it has a sense of its own for when to stop. Whenever
    /// something else comes first it is dropped, and called again.
    async fn due(&mut self) {
        tokio::time::sleep(REPORT_EVERY).await;
    }
}

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// [`Phase::Copying`], at last [`Phase::Verifying`].
    pub phase: Phase,
    /// Bytes stored.
    pub bytes: u64,
    /// Segments stored.
    pub segments: u32,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The object, as the bucket described it.
    pub object: StoredObject,
    /// What the engine says about it.
    pub report: EngineReport,
}

/// Runs `engine` and stores what it yields as the object `key`.
///
/// After an error the upload is aborted; if that does not work either, the abort step finds it by what the observer has
/// written down. An object that turns out not to be as it should is left for the abort step too, which deletes the
/// backup's whole prefix: by now another slice may be writing the same key.
pub async fn store(
    artifacts: &dyn ArtifactStore,
    engine: &dyn Engine,
    key: &str,
    observer: &mut dyn Observer,
) -> Result<Stored, SliceError> {
    let upload = artifacts.begin(key, engine.content_type()).await?;
    let completed = fill_and_complete(artifacts, engine, &upload, observer).await;
    match completed {
        Ok(completed) => look_back(artifacts, engine, key, completed, observer).await,
        Err(error) => {
            if let Err(left) = artifacts.abort(&upload).await {
                tracing::warn!(%key, error = %left, "an upload could not be aborted; the abort step will try again");
            }
            Err(error)
        }
    }
}

/// What came of a leg.
#[derive(Debug)]
pub enum LegStored {
    /// The engine has come to its end, and the object is there.
    Whole(Box<Stored>),
    /// It has halted, and all parts up to there are stored.
    Halted {
        /// Where it goes on.
        halt: Halt,
        /// All parts of the upload, those of the legs before too, in the order of their numbers.
        parts: Vec<StoredPart>,
    },
}

/// Runs a leg of `engine`, and stores what it yields as further parts of `upload`, which has `parts` of the legs before. Once the
/// engine has come to its end, the object is made of them all. After an error the upload is as it was, so that the leg can be tried again.
pub async fn store_leg(
    artifacts: &dyn ArtifactStore,
    engine: &dyn Engine,
    (upload, parts): (&OpenUpload, Vec<StoredPart>),
    leg: Leg,
    observer: &mut dyn Observer,
) -> Result<LegStored, SliceError> {
    observer.opened(upload).await?;
    let tally = Tally::of(&parts);
    let (new, ended) =
        copy_and_report(artifacts, |out| engine.run_leg(out, leg), upload, tally, observer).await?;
    let mut all: Parts = parts.into_iter().map(|part| (part.number, part)).collect();
    new.into_values().try_for_each(|part| insert(&mut all, part))?;
    match ended {
        LegEnd::Halted(halt) => Ok(LegStored::Halted { halt, parts: all.into_values().collect() }),
        LegEnd::Ended(report) => {
            let completed = complete(artifacts, upload, all, report, observer).await?;
            let stored = look_back(artifacts, engine, &upload.key, completed, observer).await?;
            Ok(LegStored::Whole(Box::new(stored)))
        }
    }
}

/// Runs `engine` and stores what it yields as parts of an upload that others fill too; it stays open whatever happens.
/// Returns the parts in the order of their numbers.
pub async fn fill(
    artifacts: &dyn ArtifactStore,
    engine: &dyn Engine,
    upload: &OpenUpload,
    observer: &mut dyn Observer,
) -> Result<Vec<StoredPart>, SliceError> {
    observer.opened(upload).await?;
    let run = |out| engine.run(out);
    let (parts, _) = copy_and_report(artifacts, run, upload, Tally::default(), observer).await?;
    Ok(parts.into_values().collect())
}

/// Makes the object of an upload that others have filled; `engine` keeps their parts and adds those of the end. After an
/// error the upload is as it was, so that it can be tried again.
pub async fn finish(
    artifacts: &dyn ArtifactStore,
    engine: &dyn Engine,
    upload: &OpenUpload,
    observer: &mut dyn Observer,
) -> Result<Stored, SliceError> {
    let completed = fill_and_complete(artifacts, engine, upload, observer).await?;
    let object = verify(artifacts, &upload.key, completed.bytes, completed.whole).await?;
    Ok(Stored { object, report: completed.report })
}

/// Gives up every upload that is open below `prefix`, a backup's or one service's of it. Whoever still fills one finds it
/// gone when it tries to complete it.
pub async fn give_up(artifacts: &dyn ArtifactStore, prefix: &str) -> Result<(), StorageError> {
    for upload in artifacts.open_uploads(prefix).await? {
        artifacts.abort(&upload).await?;
    }
    Ok(())
}

/// An object that exists now, and what it must look like.
struct Completed {
    whole: Crc64Nvme,
    bytes: u64,
    segments: u32,
    report: EngineReport,
}

impl Completed {
    fn advance(&self) -> Advance {
        Advance { phase: Phase::Verifying, bytes: self.bytes, segments: self.segments }
    }
}

async fn fill_and_complete(
    artifacts: &dyn ArtifactStore,
    engine: &dyn Engine,
    upload: &OpenUpload,
    observer: &mut dyn Observer,
) -> Result<Completed, SliceError> {
    observer.opened(upload).await?;
    let run = |out| engine.run(out);
    let (parts, report) = copy_and_report(artifacts, run, upload, Tally::default(), observer).await?;
    complete(artifacts, upload, parts, report, observer).await
}

async fn complete(
    artifacts: &dyn ArtifactStore,
    upload: &OpenUpload,
    parts: Parts,
    report: EngineReport,
    observer: &mut dyn Observer,
) -> Result<Completed, SliceError> {
    let parts = in_order(parts)?;
    let segments = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let (whole, bytes) = StoredPart::joined(&parts);
    let completed = Completed { whole, bytes, segments, report };
    // The last chance to be told that somebody else has taken over, or that it was cancelled.
    observer.advanced(completed.advance()).await?;
    artifacts.complete(upload, &parts, completed.whole).await?;
    Ok(completed)
}

/// Looks at the object that was made, and stores what stands beside it.
async fn look_back(
    artifacts: &dyn ArtifactStore,
    engine: &dyn Engine,
    key: &str,
    completed: Completed,
    observer: &mut dyn Observer,
) -> Result<Stored, SliceError> {
    let object = verify(artifacts, key, completed.bytes, completed.whole).await?;
    engine.read_back(artifacts, &object).await?;
    if let Some(beside) = engine.beside() {
        // Whoever has taken over meanwhile has cleaned up, and would not find it.
        observer.advanced(completed.advance()).await?;
        put_beside(artifacts, key, beside).await?;
    }
    Ok(Stored { object, report: completed.report })
}

/// What has been stored so far, for whoever asks meanwhile.
#[derive(Default)]
struct Tally {
    bytes: AtomicU64,
    segments: AtomicU32,
}

impl Tally {
    fn of(parts: &[StoredPart]) -> Self {
        let tally = Self::default();
        for part in parts {
            tally.add(part);
        }
        tally
    }

    fn add(&self, part: &StoredPart) {
        self.bytes.fetch_add(part.size, Ordering::Relaxed);
        self.segments.fetch_add(1, Ordering::Relaxed);
    }

    fn advance(&self) -> Advance {
        Advance {
            phase: Phase::Copying,
            bytes: self.bytes.load(Ordering::Relaxed),
            segments: self.segments.load(Ordering::Relaxed),
        }
    }
}

/// Parts by their numbers.
type Parts = BTreeMap<u32, StoredPart>;

/// Copies while the observer is kept informed; an observer that says no stops the copying.
async fn copy_and_report<'a, T: Send>(
    artifacts: &dyn ArtifactStore,
    run: impl FnOnce(SegmentSender) -> BoxFuture<'a, Result<T, SliceError>> + Send,
    upload: &OpenUpload,
    tally: Tally,
    observer: &mut dyn Observer,
) -> Result<(Parts, T), SliceError> {
    let (copied, all_copied) = oneshot::channel::<()>();
    let (refuse, refused) = oneshot::channel::<()>();
    let (out, mut segments) = segments::channel(&upload.key);
    let questions = segments.questions();

    let copying = async {
        let outcome = copy(artifacts, run(out), upload, segments, &tally, refused).await;
        drop(copied);
        outcome
    };
    let reporting = async {
        let mut all_copied = pin!(all_copied);
        let mut questions = questions;
        loop {
            // The engine may want to know at once; it has no more questions when it has ended.
            let question = async {
                match questions.as_mut().map(mpsc::Receiver::recv) {
                    Some(question) => question.await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                biased;
                _ = &mut all_copied => {
                    drop(refuse);
                    return Ok(());
                }
                question = question => question.map(Some).or_else(|| {
                    questions = None;
                    None
                }),
                () = observer.due() => Some(None),
            };
            let Some(asked) = asked else { continue };
            if let Err(refusal) = observer.advanced(tally.advance()).await {
                // Nobody listens only if the copying has just ended, and then there is nothing to stop.
                let _ = refuse.send(());
                return Err(refusal);
            }
            if let Some(answer) = asked {
                // Who asked may have stopped meanwhile.
                let _ = answer.send(());
            }
        }
    };
    let (outcome, reported) = tokio::join!(copying, reporting);
    reported?;
    outcome
}

/// Stores the segments of the engine that runs, side by side. Returns only when the engine has ended.
async fn copy<T>(
    artifacts: &dyn ArtifactStore,
    mut running: BoxFuture<'_, Result<T, SliceError>>,
    upload: &OpenUpload,
    segments: SegmentReceiver,
    tally: &Tally,
    refused: oneshot::Receiver<()>,
) -> Result<(Parts, T), SliceError> {
    let mut storing = Box::pin(store_segments(artifacts, upload, segments, tally));
    let mut refused = pin!(async {
        // Its sender goes away without a word only after the copying, so that counts as never.
        if refused.await.is_err() {
            std::future::pending::<()>().await;
        }
    });

    let (mut report, mut parts) = (None, None);
    let failure = loop {
        tokio::select! {
            // Always in this order: the same calls with the same answers take the same way.
            biased;
            ended = &mut running, if report.is_none() => report = Some(ended?),
            stored = &mut storing, if parts.is_none() => match stored {
                Ok(stored) => parts = Some(stored),
                Err(failure) => break failure,
            },
            () = &mut refused => break Stopped.into(),
        }
        (report, parts) = match (report, parts) {
            (Some(report), Some(parts)) => return Ok((parts, report)),
            unfinished => unfinished,
        };
    };
    // Dropping what stores the segments closes their channel, which is how the engine learns that it must end.
    drop(storing);
    if report.is_none() && tokio::time::timeout(STOP_WITHIN, running).await.is_err() {
        tracing::warn!(key = %upload.key, "an engine did not stop in time and was dropped");
    }
    Err(failure)
}

/// Stores segments, and has others copied, until the engine has no more.
async fn store_segments(
    artifacts: &dyn ArtifactStore,
    upload: &OpenUpload,
    mut segments: SegmentReceiver,
    tally: &Tally,
) -> Result<Parts, SliceError> {
    let mut parts = Parts::new();
    let mut copies = segments.copies().ok_or_else(|| torn("its copies are somebody else's"))?;
    let (mut in_flight, mut copying) = (FuturesUnordered::new(), FuturesUnordered::new());
    let (mut more, mut more_copies) = (true, true);
    while more || more_copies || !in_flight.is_empty() || !copying.is_empty() {
        tokio::select! {
            biased;
            next = segments.next(), if more && in_flight.len() < IN_FLIGHT => match next {
                Some(held) => in_flight.push(store_segment(artifacts, upload, held)),
                None => more = false,
            },
            next = copies.next(), if more_copies && copying.len() < COPIES_IN_FLIGHT => match next {
                Some(order) => copying.push(copy_part(artifacts, upload, order, tally)),
                None => more_copies = false,
            },
            Some(stored) = in_flight.next(), if !in_flight.is_empty() => {
                let part = stored?;
                tally.add(&part);
                insert(&mut parts, part)?;
            }
            Some(()) = copying.next(), if !copying.is_empty() => {}
        }
    }
    copies.kept().await.into_iter().try_for_each(|part| insert(&mut parts, part))?;
    Ok(parts)
}

fn insert(parts: &mut Parts, part: StoredPart) -> Result<(), SliceError> {
    match parts.insert(part.number, part) {
        Some(before) => Err(torn(&format!("part {} came twice", before.number))),
        None => Ok(()),
    }
}

/// Has a part copied. What a failure means is for the engine to say: the object may have changed, and be copied again.
async fn copy_part(artifacts: &dyn ArtifactStore, upload: &OpenUpload, order: CopyOrder, tally: &Tally) {
    let CopyOrder { copy, done } = order;
    // Nobody waits for it any more, and its number may be somebody else's.
    if done.is_closed() {
        return;
    }
    let copied = artifacts.copy_part(upload, &copy).await;
    let copied = copied.and_then(|part| {
        if (part.number, part.size) == (copy.number, copy.bytes) {
            tally.add(&part);
            return Ok(part);
        }
        Err(StorageError::Rejected(format!("part {} was copied as something else", copy.number)))
    });
    // The engine may have stopped meanwhile.
    let _ = done.send(copied);
}

async fn store_segment(
    artifacts: &dyn ArtifactStore,
    upload: &OpenUpload,
    held: HeldSegment,
) -> Result<StoredPart, SliceError> {
    let HeldSegment { segment, room } = held;
    let (number, size, crc64nvme) = (segment.number, segment.bytes.len() as u64, segment.crc64nvme);
    let part = artifacts.put_part(upload, segment).await?;
    drop(room);
    if (part.number, part.size, part.crc64nvme) == (number, size, crc64nvme) {
        Ok(part)
    } else {
        Err(torn(&format!("part {number} was stored as something else")))
    }
}

/// The parts in the order of their numbers. A gap would be a hole in the artifact, and S3 refuses one in an upload with
/// checksums.
fn in_order(parts: Parts) -> Result<Vec<StoredPart>, SliceError> {
    let missing = parts.keys().zip(1..).find(|(number, expected)| **number != *expected);
    match missing {
        _ if parts.is_empty() => Err(torn("it has no parts")),
        Some((_, missing)) => Err(torn(&format!("part {missing} is missing"))),
        None => Ok(parts.into_values().collect()),
    }
}

fn torn(what: &str) -> SliceError {
    SliceError::permanent(
        "artifact_torn",
        format!(
            "the artifact was not stored as it was read: {what}; this is a fault of Holdfast, please report it"
        ),
    )
}

/// Stores a small object beside the artifact `key`.
async fn put_beside(artifacts: &dyn ArtifactStore, key: &str, beside: Beside) -> Result<(), SliceError> {
    let Beside { file_name, content_type, bytes } = beside;
    let key = artifacts.beside(key, file_name);
    let (length, whole) = (bytes.len() as u64, Crc64Nvme::of(&bytes));
    artifacts.put(&key, content_type, bytes).await?;
    verify(artifacts, &key, length, whole).await?;
    Ok(())
}

/// Compares what the bucket says about the object with what was sent.
async fn verify(
    artifacts: &dyn ArtifactStore,
    key: &str,
    bytes: u64,
    whole: Crc64Nvme,
) -> Result<StoredObject, SliceError> {
    let Some(object) = artifacts.describe(key).await? else {
        return Err(SliceError::permanent(
            "object_missing",
            format!(
                "{key} was stored and is not there any more; find out who deletes from the backup bucket"
            ),
        ));
    };
    let expected = whole.to_string();
    if object.size != bytes || object.crc64nvme != expected {
        return Err(SliceError::permanent(
            "object_differs",
            format!(
                "{key} is stored with {} bytes and CRC64NVME {:?}, but {bytes} bytes with {expected:?} were sent; find out \
                 who else writes to the backup bucket, then back up again",
                object.size, object.crc64nvme,
            ),
        ));
    }
    artifacts.check_protection(&object).map_err(|error| match error {
        StorageError::Rejected(what) => SliceError::permanent(
            "object_unprotected",
            format!("{key} is not protected as every backup must be: {what}"),
        ),
        other => other.into(),
    })?;
    Ok(object)
}
