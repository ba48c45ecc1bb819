//! Databases that are read from a copy: what is made, what is stored, and that nothing of it is left.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use holdfast_backup::{
    abort::abort,
    engines::{
        Engine, EngineReport, Engines, Halt, Leg, LegEnd,
        segments::{SegmentSender, SegmentWriter},
    },
    error::SliceError,
    isolated::Placement,
    job::{Answer, Caught, Job, TRANSIENT},
    ports::{Clock as _, Endpoint, Kind, Source},
    request::{self, BackupRequest},
    retain,
    slice::{Worker, slice},
};
use holdfast_domain::{
    application::{Isolated, PostgresService, Service},
    backup::{Backup, Contents, Phase, State},
    id::{ApplicationId, BackupId},
};
use holdfast_testing::{
    World, builders,
    fakes::{FakeClock, FakeInstances},
    faults::{Fault, Moment},
    machine::{INVOCATION, drive_worker, worker},
};
use rstest::rstest;

const SOURCE: &str = "shop-db";

/// Reads what instances hold, by their host.
struct Readers {
    instances: Arc<FakeInstances>,
    clock: Arc<FakeClock>,
    bytes_a_leg: usize,
}

struct Reader {
    host: String,
    bytes_a_leg: usize,
    instances: Arc<FakeInstances>,
    clock: Arc<FakeClock>,
}

#[async_trait]
impl Engines for Readers {
    async fn open(&self, _: &ApplicationId, service: &Service) -> Result<Box<dyn Engine>, SliceError> {
        let Service::Postgres(PostgresService { host, .. }) = service else { panic!("a database") };
        Ok(Box::new(Reader {
            host: host.clone(),
            bytes_a_leg: self.bytes_a_leg,
            instances: self.instances.clone(),
            clock: self.clock.clone(),
        }))
    }
}

#[async_trait]
impl Engine for Reader {
    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }

    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        Ok(None)
    }

    async fn run(&self, _: SegmentSender) -> Result<EngineReport, SliceError> {
        panic!("a copy is read in legs")
    }

    /// What fits into no leg is sent by the last one.
    async fn run_leg(&self, out: SegmentSender, Leg { from, .. }: Leg) -> Result<LegEnd, SliceError> {
        let held = self.instances.read(&self.host);
        let held = held.ok_or_else(|| SliceError::transient("host_unreachable", "nobody answers"))?;
        let before = from.map(|halt| halt.bytes).unwrap_or_default();
        let more = held.as_bytes()[before.len()..].iter().copied().take(self.bytes_a_leg);
        let bytes: Vec<u8> = before.iter().copied().chain(more).collect();
        if bytes.len() < held.len() {
            let state = format!("{} bytes", bytes.len());
            return Ok(LegEnd::Halted(Halt { state, bytes: bytes.into() }));
        }
        let mut writer = SegmentWriter::new(out);
        writer.write_bytes(bytes.into()).await?;
        writer.finish().await?;
        let contents = Contents::PostgresCustom {
            database: "shop".to_owned(),
            server_version: "17.6".to_owned(),
            pg_dump_version: "in memory".to_owned(),
            tables: None,
            rows: None,
        };
        Ok(LegEnd::Ended(EngineReport { contents, taken_at: self.clock.now() }))
    }
}

fn source(engine: &str) -> Source {
    Source {
        status: "available".to_owned(),
        engine: engine.to_owned(),
        version: "17.6".to_owned(),
        endpoint: Some(Endpoint { host: "db.internal".to_owned(), port: 5432 }),
        member_of: None,
        is_encrypted: true,
        gibibytes: Some(100),
        storage_type: Some("gp3".to_owned()),
        subnet_group: Some("private".to_owned()),
        security_groups: vec!["sg-database".to_owned()],
        parameter_group: Some("shop-parameters".to_owned()),
        certificate_authority: None,
        has_iam_authentication: false,
    }
}

fn of(is_cluster: bool) -> Isolated {
    let identifier = SOURCE.to_owned();
    if is_cluster { Isolated::Cluster(identifier) } else { Isolated::Instance(identifier) }
}

/// An application with databases on RDS and nothing else, and a backup of it that was asked for.
struct Case {
    world: World,
    worker: Worker,
    shop: ApplicationId,
    id: BackupId,
}

impl Case {
    async fn new(is_cluster: bool) -> Self {
        Self::of_databases(World::new(), is_cluster, &["DEFAULT"]).await
    }

    /// The dump halts after that many bytes.
    async fn in_legs(is_cluster: bool, bytes_a_leg: usize) -> Self {
        let mut case = Self::new(is_cluster).await;
        let (instances, clock) = (case.world.instances.clone(), case.world.clock.clone());
        case.worker.engines = Arc::new(Readers { instances, clock, bytes_a_leg });
        case
    }

    async fn of_databases(world: World, is_cluster: bool, names: &[&str]) -> Self {
        let mut record = world.register("shop").value;
        let Service::Postgres(model) = record.spec.services[0].clone() else { panic!("a database") };
        let database = |name: &&str| {
            let name = builders::service_name(name);
            Service::Postgres(PostgresService { name, isolated: Some(of(is_cluster)), ..model.clone() })
        };
        record.spec.services = names.iter().map(database).collect();
        world.records.insert_application(record);
        let engine = if is_cluster { "aurora-postgresql" } else { "postgres" };
        world.instances.put_source(SOURCE, source(engine), "as it was");
        let (instances, clock) = (world.instances.clone(), world.clock.clone());
        let engines = Readers { instances, clock, bytes_a_leg: usize::MAX };
        let worker = Worker { engines: Arc::new(engines), ..worker(&world) };
        let shop = builders::slug("shop");
        let asked = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await;
        Self { id: asked.unwrap().backup.value.id, world, worker, shop }
    }

    fn job(&self) -> Job {
        Job::Backup { application: self.shop.clone(), id: self.id }
    }

    async fn slice(&self) -> Result<Answer, SliceError> {
        slice(&self.worker, &self.job(), None, INVOCATION).await
    }

    async fn drive(&self) -> Backup {
        drive_worker(&self.world, &self.worker, &self.shop, self.id).await
    }

    /// Aborts until that is done, and looks that the backup does not end while anything is left.
    async fn abort(&self, what: &str) -> Backup {
        for _ in 0..20 {
            let answer = abort(&self.worker, &self.job(), &Caught::default()).await;
            if matches!(answer, Ok(Answer::Done)) {
                assert_eq!(self.world.instances.temporary(), [], "{what}");
                return self.world.backup(&self.shop, self.id);
            }
            assert!(self.world.backup(&self.shop, self.id).state.is_open(), "{what}: {answer:?}");
        }
        panic!("{what}: it does not end")
    }

    fn assert_whole(&self, backup: &Backup, what: &str) {
        assert_eq!(backup.state, State::Succeeded, "{what}: {:?}", backup.failure);
        assert_eq!(self.world.instances.temporary(), [], "{what}");
        assert_eq!(self.world.artifacts.open_upload_count(), 0, "{what}");
        for artifact in &backup.artifacts {
            let stored = self.world.artifacts.bytes(&artifact.object.key).unwrap();
            assert_eq!(stored, "as it was", "{what}");
        }
    }
}

/// What is stored is the source as it was when the snapshot was taken, whatever is written to it meanwhile.
#[rstest]
#[tokio::test]
async fn the_moment_of_the_snapshot_is_what_is_stored(#[values(false, true)] is_cluster: bool) {
    let case = Case::new(is_cluster).await;
    let (mut waits, mut moment): (u32, Option<DateTime<Utc>>) = (0, None);
    loop {
        let answer = case.slice().await.unwrap();
        if case.world.instances.snapshots() == 1 && moment.is_none() {
            moment = Some(case.world.clock.now());
        }
        match answer {
            Answer::Done => break,
            Answer::Wait { seconds } => {
                assert!((15..=120).contains(&seconds), "{seconds}");
                let runs = case.world.ports.records.service_runs(case.id).await.unwrap();
                assert_eq!(runs[0].value.progress.phase, Phase::Isolating);
                waits += 1;
            }
            Answer::Continue => {}
            Answer::FanOut { .. } => panic!("one service has no branches"),
        }
        case.world.clock.advance(TimeDelta::minutes(1));
        case.world.instances.write(SOURCE, &format!("written to {waits} times"));
    }
    assert!(waits > 4, "{waits}");
    let backup = case.world.backup(&case.shop, case.id);
    case.assert_whole(&backup, "in the end");
    assert_eq!((backup.artifacts[0].taken_at, backup.taken_at), (moment.unwrap(), moment));
    assert_eq!(case.world.instances.snapshots(), 1);
}

#[tokio::test]
async fn a_dump_goes_on_where_the_slice_before_has_halted() {
    // Nine bytes.
    for (bytes_a_leg, halts) in [(usize::MAX, 0), (9, 0), (8, 1), (4, 2), (1, 8)] {
        let case = Case::in_legs(false, bytes_a_leg).await;
        let mut halted = Vec::new();
        loop {
            let answer = case.slice().await.unwrap();
            let runs = case.world.ports.records.service_runs(case.id).await.unwrap();
            if let Some(legs) = runs.first().and_then(|run| run.value.legs.clone()) {
                assert_eq!(answer, Answer::Continue);
                assert_eq!(runs[0].value.progress.phase, Phase::Copying);
                halted.push(legs.halted);
                // Of the last leg, and of no other: where it has halted, and its bytes.
                let staged = case.world.artifacts.object_keys();
                let folder = format!("/DEFAULT/stretches/{}/halted.", legs.staged);
                assert_eq!(staged.len(), 2, "{staged:?}");
                assert!(staged.iter().all(|key| key.contains(&folder)), "{staged:?}");
            }
            if answer == Answer::Done {
                break;
            }
        }
        assert_eq!(halted, (1..=halts).collect::<Vec<u32>>());
        let backup = case.world.backup(&case.shop, case.id);
        case.assert_whole(&backup, "in legs");
        let keys = case.world.artifacts.object_keys();
        assert!(!keys.iter().any(|key| key.contains("stretches")), "{keys:?}");
    }
}

/// As by a rule of the bucket, when nobody has gone on for a week.
#[tokio::test]
async fn a_dump_whose_upload_is_gone_begins_again() {
    let case = Case::in_legs(false, 4).await;
    let mut upload = None;
    while upload.is_none() {
        case.slice().await.unwrap();
        let runs = case.world.ports.records.service_runs(case.id).await.unwrap();
        upload = runs.first().and_then(|run| run.value.legs.clone()).map(|legs| legs.upload);
    }
    case.world.ports.artifacts.abort(&upload.unwrap()).await.unwrap();
    let backup = case.drive().await;
    case.assert_whole(&backup, "begun again");
}

#[tokio::test]
async fn a_copy_is_as_small_and_as_private_as_can_be() {
    let case = Case::new(false).await;
    case.drive().await;
    let copies = case.world.instances.copies();
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].class, "db.t4g.micro");
    assert_eq!(copies[0].subnet_group.as_deref(), Some("private"));
    assert_eq!(copies[0].security_groups, ["sg-database"]);
    assert_eq!((&copies[0].tags.application, copies[0].tags.backup), (&case.shop, case.id));

    let mut case = Case::new(true).await;
    case.worker.placement = Placement {
        subnet_group: Some("elsewhere".to_owned()),
        security_groups: vec!["sg-1".to_owned(), "sg-2".to_owned()],
        class: Some("db.r8g.large".to_owned()),
    };
    case.drive().await;
    // The cluster, and its instance.
    let copies = case.world.instances.copies();
    assert_eq!(copies.len(), 2);
    for copy in copies {
        assert_eq!((copy.class.as_str(), copy.subnet_group.as_deref()), ("db.r8g.large", Some("elsewhere")));
        assert_eq!(copy.security_groups, ["sg-1", "sg-2"]);
    }
}

#[rstest]
#[case("instances.source")]
#[case("instances.classes")]
#[case("instances.snapshot")]
#[case("instances.restore")]
#[case("instances.add_instance")]
#[case("instances.find")]
#[case("instances.delete")]
#[case("records.put_service_run")]
#[case("records.backup")]
#[case("artifacts.begin")]
#[case("artifacts.open_uploads")]
#[case("artifacts.put")]
#[case("artifacts.get")]
#[case("artifacts.put_part")]
#[case("artifacts.complete")]
#[case("artifacts.describe")]
#[case("artifacts.purge")]
#[tokio::test]
async fn a_slice_that_dies_at_any_call_goes_on_with_the_same_copy(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    for nth in 1.. {
        let case = Case::in_legs(true, 3).await;
        case.world.faults.on(call, nth, moment, Fault::Unavailable);
        let backup = case.drive().await;
        let what = format!("{call}, call {nth}, {moment:?}");
        case.assert_whole(&backup, &what);
        assert_eq!(case.world.instances.snapshots(), 1, "{what}");
        if case.world.faults.left() > 0 {
            assert!(nth > 1, "{call} is never made");
            break;
        }
    }
}

/// Killed: the future is dropped wherever it stands, as a process that ends.
#[rstest]
#[case("instances.snapshot")]
#[case("instances.restore")]
#[case("instances.delete")]
#[case("artifacts.put")]
#[case("artifacts.complete")]
#[tokio::test(start_paused = true)]
async fn a_killed_worker_goes_on_with_the_same_copy(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    let case = Case::in_legs(false, 3).await;
    case.world.faults.on(call, 1, moment, Fault::Hang);
    while tokio::time::timeout(Duration::from_mins(1), case.slice()).await.is_ok() {}
    let backup = case.drive().await;
    case.assert_whole(&backup, call);
    assert_eq!(case.world.instances.snapshots(), 1);
}

/// After any number of slices.
#[rstest]
#[tokio::test]
async fn an_abort_leaves_nothing_wherever_the_copy_stands(#[values(false, true)] is_cluster: bool) {
    let mut was_there = Vec::new();
    for slices in 0.. {
        let case = Case::in_legs(is_cluster, 3).await;
        let mut answer = Answer::Continue;
        for _ in 0..slices {
            answer = case.slice().await.unwrap();
        }
        if answer == Answer::Done {
            assert!(slices > 6, "{slices}");
            break;
        }
        was_there.extend(case.world.instances.temporary().into_iter().map(|(kind, _)| kind));
        let what = format!("after {slices} slices");
        let backup = case.abort(&what).await;
        assert_eq!(backup.state, State::Failed, "{what}");
        assert!(case.world.artifacts.object_keys().is_empty(), "{what}");
    }
    let expected: &[Kind] = if is_cluster {
        &[Kind::Instance, Kind::Cluster, Kind::ClusterSnapshot]
    } else {
        &[Kind::Instance, Kind::Snapshot]
    };
    assert!(expected.iter().all(|kind| was_there.contains(kind)), "{was_there:?}");
}

#[rstest]
#[case("instances.find")]
#[case("instances.delete")]
#[case("records.update_backup")]
#[tokio::test]
async fn an_abort_that_dies_is_repeated(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    let case = Case::new(false).await;
    while case.world.instances.copies().is_empty() {
        case.slice().await.unwrap();
    }
    case.world.faults.on(call, 1, moment, Fault::Unavailable);
    assert_eq!(case.abort(call).await.state, State::Failed);
    assert_eq!(case.world.faults.left(), 0, "{call} is never made");
}

#[tokio::test]
async fn a_cancelled_backup_leaves_nothing() {
    let case = Case::new(false).await;
    while case.world.instances.copies().is_empty() {
        case.slice().await.unwrap();
    }
    request::cancel(&case.world.ports, "anna", &case.shop, case.id).await.unwrap();
    assert_eq!(case.drive().await.state, State::Cancelled);
    assert_eq!(case.world.instances.temporary(), []);
}

/// The snapshot is asked for while an abort looks for what there is, and comes into being afterwards.
#[tokio::test(start_paused = true)]
async fn what_a_late_slice_has_made_is_swept() {
    let case = Case::new(false).await;
    case.world.faults.on("instances.snapshot", 1, Moment::Before, Fault::Delay(Duration::from_secs(5)));
    let aborting = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        case.abort("meanwhile").await
    };
    let (late, aborted) = tokio::join!(case.slice(), aborting);
    assert_eq!((late.unwrap_err().lambda_type(), aborted.state), (TRANSIENT, State::Failed));
    let left = case.world.instances.temporary();
    assert!(matches!(left.as_slice(), [(Kind::Snapshot, _)]), "{left:?}");

    // It cannot be deleted before it is whole.
    assert_eq!(retain::run_all(&case.world.ports).await.copies_swept, 0);
    for _ in 0..3 {
        case.world.ports.instances.find(Kind::Snapshot, &left[0].1).await.unwrap();
    }
    let summary = retain::run_all(&case.world.ports).await;
    assert_eq!((summary.copies_swept, summary.failed), (1, 0));
    assert_eq!(case.world.instances.temporary(), []);
}

#[tokio::test]
async fn leftovers_of_backups_that_have_ended_are_swept_and_no_others() {
    let case = Case::new(false).await;
    let ended = case.world.succeeded(&case.shop, builders::now(), false).id;
    let unknown = case.world.ports.entropy.backup_id(builders::now());
    let instances = &case.world.instances;
    instances.leave(Kind::Instance, "holdfast-ended", Some((case.shop.clone(), ended)));
    instances.leave(Kind::Cluster, "holdfast-ended", Some((case.shop.clone(), ended)));
    instances.leave(Kind::ClusterSnapshot, "holdfast-ended", Some((case.shop.clone(), ended)));
    instances.leave(Kind::Snapshot, "holdfast-unknown", Some((builders::slug("gone"), unknown)));
    instances.leave(Kind::Snapshot, "holdfast-nobodys", None);
    instances.leave(Kind::Snapshot, "holdfast-open", Some((case.shop.clone(), case.id)));
    let summary = retain::run_all(&case.world.ports).await;
    assert_eq!((summary.copies_swept, summary.failed), (4, 0));
    let left: Vec<String> = instances.temporary().into_iter().map(|(_, name)| name).collect();
    assert_eq!(left, ["holdfast-nobodys", "holdfast-open"]);

    case.world.faults.on("instances.leftovers", 1, Moment::Before, Fault::Denied);
    let summary = retain::run_all(&case.world.ports).await;
    assert_eq!((summary.copies_swept, summary.failed), (0, 1));
}

#[rstest]
#[case::missing(None, "isolated_source_missing")]
#[case::engine(Some(source("mysql")), "isolated_wrong_engine")]
#[case::member(Some(Source { member_of: Some("shop".to_owned()), ..source("aurora-postgresql") }), "isolated_is_member")]
#[case::state(Some(Source { status: "stopped".to_owned(), ..source("postgres") }), "isolated_source_unfit")]
#[tokio::test]
async fn what_cannot_be_copied_is_refused_at_once(#[case] found: Option<Source>, #[case] code: &str) {
    let case = Case::new(false).await;
    match found {
        Some(found) => case.world.instances.put_source(SOURCE, found, ""),
        None => case.world.instances.remove_source(SOURCE),
    }
    let backup = case.drive().await;
    let failure = backup.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.transient), (code, false), "{}", failure.message);
    assert!(failure.message.starts_with("shop, service DEFAULT: ") && failure.message.contains(SOURCE));
    assert_eq!(case.world.instances.snapshots(), 0);
    // Nothing was made, so that nothing needs to be looked for: not even the right to.
    assert_eq!(case.world.faults.count("instances.find"), 0);
}

#[tokio::test]
async fn what_no_program_reads_is_not_copied() {
    let mut case = Case::new(false).await;
    // It has no programs at all.
    case.worker.engines = worker(&case.world).engines;
    let failure = case.drive().await.failure.unwrap();
    assert!(failure.message.contains("17.6") && failure.message.contains("pg_dump"), "{}", failure.message);
    assert_eq!(case.world.instances.snapshots(), 0);
}

#[tokio::test]
async fn without_the_right_to_use_rds_a_backup_fails_with_that_reason() {
    let case = Case::new(false).await;
    for call in ["instances.source", "instances.find", "instances.delete"] {
        case.world.faults.always(call, Moment::Before, Fault::Denied);
    }
    let failure = case.drive().await.failure.unwrap();
    assert_eq!(failure.code, "rds_denied");
    assert!(failure.message.contains("IsolatedSourcePattern"), "{}", failure.message);
}

#[tokio::test]
async fn a_source_that_is_busy_is_waited_for() {
    let case = Case::new(false).await;
    let busy = Source { status: "backing-up".to_owned(), ..source("postgres") };
    case.world.instances.put_source(SOURCE, busy, "as it was");
    for _ in 0..3 {
        assert!(matches!(case.slice().await.unwrap(), Answer::Wait { .. }));
    }
    assert_eq!(case.world.instances.snapshots(), 0);
    case.world.instances.put_source(SOURCE, source("postgres"), "as it was");
    // It may be busy again by the time it is asked.
    case.world.faults.on("instances.snapshot", 1, Moment::Before, Fault::Conflict);
    case.assert_whole(&case.drive().await, "in the end");
}

#[rstest]
#[case(Kind::Snapshot, "failed")]
#[case(Kind::Instance, "incompatible-parameters")]
#[tokio::test]
async fn a_copy_that_fails_is_told_and_deleted(#[case] kind: Kind, #[case] status: &str) {
    let case = Case::new(false).await;
    while !case.world.instances.temporary().iter().any(|(found, _)| *found == kind) {
        case.slice().await.unwrap();
    }
    case.world.instances.hold_at(kind, status);
    let failure = case.drive().await.failure.unwrap();
    assert_eq!(failure.code, "isolated_copy_failed");
    assert!(failure.message.contains(status), "{}", failure.message);
    assert_eq!(case.world.instances.temporary(), []);
}

#[tokio::test]
async fn a_copy_that_does_not_come_is_given_up() {
    let case = Case::new(false).await;
    while case.world.instances.copies().is_empty() {
        case.slice().await.unwrap();
    }
    case.world.instances.hold_at(Kind::Instance, "creating");
    case.world.clock.advance(TimeDelta::hours(11));
    assert_eq!(case.slice().await.unwrap(), Answer::Wait { seconds: 120 });
    case.world.clock.advance(TimeDelta::hours(2));
    assert_eq!(case.drive().await.failure.unwrap().code, "isolated_timed_out");
    assert_eq!(case.world.instances.temporary(), []);
}

#[tokio::test]
async fn databases_side_by_side_have_copies_of_their_own() {
    let case = Case::of_databases(World::new(), false, &["DEFAULT", "STATISTICS"]).await;
    case.assert_whole(&case.drive().await, "both");
    assert_eq!(case.world.instances.snapshots(), 2);
}

#[tokio::test]
async fn chaos_ends_in_a_whole_backup_or_in_nothing() {
    for seed in 0..200 {
        let case = Case::of_databases(World::seeded(seed), seed % 2 == 0, &["DEFAULT"]).await;
        case.world.faults.chaos(seed, 40);
        let _ = case.drive().await;
        case.world.faults.clear();
        let mut backup = case.world.backup(&case.shop, case.id);
        if backup.state.is_open() {
            backup = case.abort(&format!("seed {seed}")).await;
        }
        if backup.state == State::Succeeded {
            case.assert_whole(&backup, &format!("seed {seed}"));
        }
        assert_eq!(case.world.instances.temporary(), [], "seed {seed}");
    }
}
