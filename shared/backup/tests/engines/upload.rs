//! The seam: what an engine may do, and what becomes of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_backup::{
    engines::{Engine, EngineReport, segments::SegmentSender},
    error::SliceError,
    ports::ArtifactStore,
    upload::{Stored, store},
};
use holdfast_domain::backup::{Contents, Phase, StoredObject};
use holdfast_testing::{
    World,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::{KEY, failure, observer::Witness, store::GatedStore};

const MIB: usize = 1024 * 1024;

/// Yields what it is told to, then ends as it is told to.
struct Script {
    /// Number and size of each segment.
    segments: Vec<(u32, usize)>,
    end: End,
    stopped: Arc<AtomicBool>,
}

enum End {
    Well,
    Badly,
    /// Only when nobody wants segments any more, as a process would that has to be killed first.
    WhenClosed,
}

impl Script {
    fn new(segments: &[(u32, usize)], end: End) -> Self {
        Self { segments: segments.to_vec(), end, stopped: Arc::default() }
    }
}

#[async_trait]
impl Engine for Script {
    fn content_type(&self) -> &'static str {
        "text/plain"
    }

    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        Ok(None)
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        for (number, size) in &self.segments {
            let bytes = Bytes::from(vec![u8::try_from(*number).unwrap(); *size]);
            out.send(Segment { number: *number, crc64nvme: Crc64Nvme::of(&bytes), bytes }).await?;
        }
        match self.end {
            End::Well => Ok(report()),
            End::Badly => Err(SliceError::permanent("engine_failed", "the engine failed")),
            End::WhenClosed => {
                out.closed().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.stopped.store(true, Ordering::SeqCst);
                Err(SliceError::transient("too_late", "it was stopped"))
            }
        }
    }
}

fn report() -> EngineReport {
    EngineReport {
        contents: Contents::PostgresCustom {
            database: "shop".to_owned(),
            server_version: "15.18".to_owned(),
            pg_dump_version: "15.18".to_owned(),
            tables: Some(2),
            rows: Some(7),
        },
        taken_at: DateTime::UNIX_EPOCH,
    }
}

async fn stored(world: &World, script: &Script) -> Result<Stored, SliceError> {
    store(world.ports.artifacts.as_ref(), script, KEY, &mut Witness::default()).await
}

fn assert_empty(world: &World) {
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new(), "an object appeared");
    assert_eq!(world.artifacts.open_upload_count(), 0, "an upload is left open");
}

#[tokio::test]
async fn segments_may_come_in_any_order() {
    let world = World::new();
    let script = Script::new(&[(3, 1), (2, 5 * MIB), (1, 5 * MIB)], End::Well);
    let mut witness = Witness::default();
    let stored = store(world.ports.artifacts.as_ref(), &script, KEY, &mut witness).await.unwrap();
    let expected = [vec![1; 5 * MIB], vec![2; 5 * MIB], vec![3]].concat();
    assert!(world.artifacts.bytes(KEY).unwrap() == expected);
    assert_eq!(stored.object.size, expected.len() as u64);
    assert_eq!(stored.object.crc64nvme, Crc64Nvme::of(&expected).to_string());
    assert_eq!(stored.report, report());
    assert_eq!(world.artifacts.content_type(KEY).as_deref(), Some("text/plain"));
    assert_eq!(witness.opened.len(), 1);
    let last = witness.advances.last().unwrap();
    assert_eq!((last.phase, last.bytes, last.segments), (Phase::Verifying, expected.len() as u64, 3));
    assert_eq!(world.artifacts.open_upload_count(), 0);
}

#[tokio::test]
async fn an_engine_that_fails_leaves_nothing() {
    let world = World::new();
    let script = Script::new(&[(1, 5 * MIB), (2, 10)], End::Badly);
    assert_eq!(failure(stored(&world, &script).await).code, "engine_failed");
    assert_empty(&world);
}

#[rstest]
#[case::gap(&[(1, 5 * MIB), (3, 1)], "part 2 is missing")]
#[case::no_first(&[(2, 5 * MIB)], "part 1 is missing")]
#[case::nothing(&[], "it has no parts")]
#[case::twice(&[(1, 5 * MIB), (1, 5 * MIB)], "part 1 came twice")]
#[tokio::test]
async fn a_torn_artifact_is_refused(#[case] segments: &[(u32, usize)], #[case] words: &str) {
    let world = World::new();
    let failure = failure(stored(&world, &Script::new(segments, End::Well)).await);
    assert_eq!(failure.code, "artifact_torn");
    assert!(failure.message.contains(words), "{}", failure.message);
    assert_empty(&world);
}

#[rstest]
#[case::begin("artifacts.begin")]
#[case::put_part("artifacts.put_part")]
#[case::complete("artifacts.complete")]
#[tokio::test]
async fn a_store_that_fails_stops_the_engine_and_leaves_nothing(#[case] call: &str) {
    let world = World::new();
    world.faults.always(call, Moment::Before, Fault::Unavailable);
    let end = if call == "artifacts.put_part" { End::WhenClosed } else { End::Well };
    let script = Script::new(&[(1, 5 * MIB), (2, 10)], end);
    let failure = failure(stored(&world, &script).await);
    assert_eq!((failure.code.as_str(), failure.transient), ("storage_unavailable", true));
    assert_eq!(script.stopped.load(Ordering::SeqCst), call == "artifacts.put_part");
    assert_empty(&world);
}

#[tokio::test]
async fn the_first_failure_is_told_even_if_the_abort_fails_too() {
    let world = World::new();
    world.faults.always("artifacts.abort", Moment::Before, Fault::Unavailable);
    let script = Script::new(&[(1, 10)], End::Badly);
    assert_eq!(failure(stored(&world, &script).await).code, "engine_failed");
    assert_eq!(world.artifacts.object_keys(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancellation_stops_the_engine_within_seconds() {
    let world = World::new();
    let script = Script::new(&[(1, 5 * MIB)], End::WhenClosed);
    let mut witness = Witness::default();
    let cancel = witness.cancel.clone();
    let started = Instant::now();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.store(true, Ordering::SeqCst);
    });
    let outcome = store(world.ports.artifacts.as_ref(), &script, KEY, &mut witness).await;
    canceller.await.unwrap();
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    assert!(script.stopped.load(Ordering::SeqCst), "the engine was dropped instead of stopped");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(witness.advances.len(), 1);
    assert_empty(&world);
}

#[tokio::test]
async fn an_upload_that_could_not_be_written_down_is_given_up() {
    let world = World::new();
    let script = Script::new(&[(1, 10)], End::Well);
    let mut witness = Witness::default();
    witness.cancel.store(true, Ordering::SeqCst);
    let outcome = store(world.ports.artifacts.as_ref(), &script, KEY, &mut witness).await;
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    assert_eq!(world.faults.count("artifacts.put_part"), 0);
    assert_empty(&world);
}

#[rstest]
#[case::smaller(|object: StoredObject| Some(StoredObject { size: object.size - 1, ..object }), "object_differs")]
#[case::other_checksum(
    |object: StoredObject| Some(StoredObject { crc64nvme: Crc64Nvme::of(b"other").to_string(), ..object }),
    "object_differs"
)]
#[case::unprotected(
    |object: StoredObject| Some(StoredObject { storage_class: "STANDARD".to_owned(), ..object }),
    "object_unprotected"
)]
#[case::gone(|_: StoredObject| None, "object_missing")]
#[tokio::test]
async fn an_object_counts_only_as_the_bucket_describes_it(
    #[case] describe: fn(StoredObject) -> Option<StoredObject>,
    #[case] code: &str,
) {
    let gated = GatedStore::describing(describe);
    let script = Script::new(&[(1, 10)], End::Well);
    let failure = failure(store(&gated, &script, KEY, &mut Witness::default()).await);
    assert_eq!((failure.code.as_str(), failure.transient), (code, false));
}

#[tokio::test]
async fn parts_in_memory_are_bounded() {
    let (gated, mut numbers) = GatedStore::closed();
    let segments: Vec<_> = (1..=40).map(|number| (number, 8 * MIB)).collect();
    let storing = tokio::spawn({
        let gated: Arc<dyn ArtifactStore> = gated.clone();
        async move {
            store(gated.as_ref(), &Script::new(&segments, End::Well), KEY, &mut Witness::default()).await
        }
    });
    for _ in 0..4 {
        numbers.recv().await.unwrap();
    }
    // Time for a fifth to come, if anything let it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(numbers.try_recv().is_err(), "more than four parts are in flight");
    gated.open_gate();
    assert_eq!(storing.await.unwrap().unwrap().object.size, 40 * 8 * MIB as u64);
    assert!(gated.most_waiting.load(Ordering::SeqCst) <= 4);
    assert!(gated.most_waiting_bytes.load(Ordering::SeqCst) <= 64 * MIB as u64);
}
