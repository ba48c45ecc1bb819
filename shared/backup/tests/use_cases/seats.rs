//! No more databases of one server are dumped at a time than may be, whoever dies, and nobody waits for a dead one for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::future::join_all;
use holdfast_backup::{
    abort::abort,
    engines::{Engine, EngineReport, Engines, segments::SegmentSender},
    error::SliceError,
    job::{Answer, Caught, Job},
    ports::{Clock as _, Records as _},
    request::{self, BackupRequest},
    slice::{Worker, slice},
};
use holdfast_domain::{
    application::{MysqlService, Service, Tls},
    backup::State,
    id::ApplicationId,
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
    simulation::Databases,
};
use rstest::rstest;

use crate::machine::{INVOCATION, worker};

const SERVER: &str = "db.internal:3306";

fn database(name: &str, host: &str) -> Service {
    Service::Mysql(MysqlService {
        name: builders::service_name(name),
        host: host.to_owned(),
        port: 3306,
        database: name.to_ascii_lowercase(),
        secret_arn: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-AbCdEf".to_owned(),
        restore_secret_arn: None,
        tls: Tls::default(),
        isolated: None,
    })
}

/// A backup that was asked for, of an application with these services.
async fn requested(world: &World, id: &str, services: Vec<Service>) -> Job {
    let mut record = builders::application(id);
    for service in &services {
        world.restorers.fill(service, id);
    }
    record.spec.services = services;
    world.records.insert_application(record.clone());
    let made =
        request::create(&world.ports, "anna", &record.id, BackupRequest::default(), None).await.unwrap();
    Job::Backup { application: record.id, id: made.backup.value.id }
}

fn state(world: &World, job: &Job) -> State {
    let Job::Backup { application, id } = job else { panic!("{job:?}") };
    world.backup(application, *id).state
}

fn limited(world: &World, dumps_per_server: usize) -> Worker {
    let held = world.restorers.beside(&world.faults);
    let databases = Databases { held, faults: world.faults.clone(), clock: world.ports.clock.clone() };
    Worker { engines: Arc::new(databases), dumps_per_server, ..worker(world) }
}

/// Drives a backup as the state machine does, with its waits.
async fn drive(worker: &Worker, job: &Job) {
    let mut ranges = Vec::new();
    loop {
        let range = ranges.last().cloned();
        match (slice(worker, job, range.as_ref(), INVOCATION).await, range) {
            (Ok(Answer::Done), Some(_)) => drop(ranges.pop()),
            (Ok(Answer::Done), None) => return,
            (Ok(Answer::Continue), _) => {}
            (Ok(Answer::Wait { seconds }), _) => {
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            }
            (Ok(Answer::FanOut { ranges: found }), _) => ranges = found,
            (Err(error), _) => panic!("{error}"),
        }
    }
}

/// One slice of a job whose process is killed within the next minute.
async fn killed(worker: &Worker, job: &Job) -> bool {
    tokio::time::timeout(Duration::from_mins(1), slice(worker, job, None, INVOCATION)).await.is_err()
}

/// Counts how many are read at a time. Each takes some seconds.
struct Counted {
    inner: Databases,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct CountedDump {
    inner: Box<dyn Engine>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[async_trait]
impl Engines for Counted {
    async fn open(
        &self,
        application: &ApplicationId,
        service: &Service,
    ) -> Result<Box<dyn Engine>, SliceError> {
        let inner = self.inner.open(application, service).await?;
        Ok(Box::new(CountedDump { inner, now: self.now.clone(), most: self.most.clone() }))
    }
}

#[async_trait]
impl Engine for CountedDump {
    fn content_type(&self) -> &'static str {
        self.inner.content_type()
    }

    async fn prepare(&self) -> Result<Option<u64>, SliceError> {
        self.inner.prepare().await
    }

    async fn run(&self, out: SegmentSender) -> Result<EngineReport, SliceError> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(7)).await;
        let report = self.inner.run(out).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        report
    }
}

/// With a limit, none more than that; without one, all at a time.
#[rstest]
#[case(1, 1)]
#[case(3, 3)]
#[case(0, 12)]
#[tokio::test(start_paused = true)]
async fn all_are_backed_up_and_never_more_than_the_limit_at_a_time(
    #[case] limit: usize,
    #[case] most: usize,
) {
    let world = World::new();
    let counted = Counted {
        inner: Databases {
            held: world.restorers.beside(&world.faults),
            faults: world.faults.clone(),
            clock: world.ports.clock.clone(),
        },
        now: Arc::default(),
        most: Arc::default(),
    };
    let seen = counted.most.clone();
    let worker = Worker { engines: Arc::new(counted), dumps_per_server: limit, ..worker(&world) };
    let mut jobs = Vec::new();
    for number in 0..12 {
        jobs.push(
            requested(&world, &format!("shop-{number}"), vec![database("DEFAULT", "DB.internal")]).await,
        );
    }
    join_all(jobs.iter().map(|job| drive(&worker, job))).await;
    assert!(jobs.iter().all(|job| state(&world, job) == State::Succeeded));
    assert_eq!(seen.load(Ordering::SeqCst), most);
    assert_eq!(world.records.seats_taken(world.clock.now()), 0);
}

#[tokio::test(start_paused = true)]
async fn services_of_one_backup_wait_for_each_other_and_another_server_for_nobody() {
    let world = World::new();
    let worker = limited(&world, 1);
    let both = vec![database("DEFAULT", "db.internal"), database("OTHER", "db.internal")];
    let job = requested(&world, "shop", both).await;
    let Answer::FanOut { ranges } = slice(&worker, &job, None, INVOCATION).await.unwrap() else { panic!() };
    world.faults.on("engine.read", 1, Moment::Before, Fault::Delay(Duration::from_secs(30)));
    let first = slice(&worker, &job, Some(&ranges[0]), INVOCATION);
    let elsewhere = requested(&world, "depot", vec![database("DEFAULT", "other.internal")]).await;
    let others = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let second = slice(&worker, &job, Some(&ranges[1]), INVOCATION).await.unwrap();
        assert!(matches!(second, Answer::Wait { seconds: 20..40 }), "{second:?}");
        drive(&worker, &elsewhere).await;
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.unwrap(), Answer::Done);
    assert_eq!(state(&world, &elsewhere), State::Succeeded);
    drive(&worker, &job).await;
    assert_eq!(state(&world, &job), State::Succeeded);
}

/// Killed at any call, it is tried again, and leaves no seat behind.
#[rstest]
#[case("records.seats")]
#[case("records.put_seats")]
#[case("records.put_service_run")]
#[case("engine.read")]
#[case("artifacts.complete")]
#[tokio::test(start_paused = true)]
async fn whoever_is_killed_takes_its_own_seat_again(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    for nth in 1.. {
        let world = World::new();
        let worker = limited(&world, 1);
        let job = requested(&world, "shop", vec![database("DEFAULT", "db.internal")]).await;
        world.faults.on(call, nth, moment, Fault::Hang);
        let was_killed = killed(&worker, &job).await;
        // What did not strike in the first slice is for nobody.
        world.faults.clear();
        drive(&worker, &job).await;
        let what = format!("{call}, call {nth}, {moment:?}");
        assert_eq!(state(&world, &job), State::Succeeded, "{what}");
        assert_eq!(world.records.seats_taken(world.clock.now()), 0, "{what}");
        if !was_killed {
            assert!(nth > 1, "{call} is never made");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_given_up_gives_its_seat_back_and_what_is_forgotten_loses_it() {
    let world = World::new();
    let worker = limited(&world, 1);
    let job = requested(&world, "shop", vec![database("DEFAULT", "db.internal")]).await;
    world.faults.on("engine.read", 1, Moment::Before, Fault::Hang);
    assert!(killed(&worker, &job).await);
    assert_eq!(world.records.seats_taken(world.clock.now()), 1);
    abort(&worker, &job, &Caught::default()).await.unwrap();
    assert_eq!(world.records.seats_taken(world.clock.now()), 0);

    let lost = requested(&world, "depot", vec![database("DEFAULT", "db.internal")]).await;
    world.faults.on("engine.read", 1, Moment::Before, Fault::Hang);
    assert!(killed(&worker, &lost).await);
    let next = requested(&world, "bakery", vec![database("DEFAULT", "db.internal")]).await;
    let waits = async || slice(&worker, &next, None, INVOCATION).await.unwrap();
    assert!(matches!(waits().await, Answer::Wait { .. }));
    world.clock.advance(TimeDelta::minutes(15));
    assert!(matches!(waits().await, Answer::Wait { .. }), "an invocation may last so long");
    world.clock.advance(TimeDelta::minutes(1));
    assert_eq!(waits().await, Answer::Continue);
    drive(&worker, &next).await;
    assert_eq!(state(&world, &next), State::Succeeded);
    assert!(world.records.seats(SERVER).await.unwrap().is_some_and(|seats| seats.value.taken.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_can_be_cancelled() {
    let world = World::new();
    let worker = limited(&world, 1);
    let first = requested(&world, "shop", vec![database("DEFAULT", "db.internal")]).await;
    world.faults.on("engine.read", 1, Moment::Before, Fault::Hang);
    assert!(killed(&worker, &first).await);
    let job = requested(&world, "depot", vec![database("DEFAULT", "db.internal")]).await;
    assert!(matches!(slice(&worker, &job, None, INVOCATION).await.unwrap(), Answer::Wait { .. }));
    let Job::Backup { application, id } = &job else { panic!("{job:?}") };
    request::cancel(&world.ports, "anna", application, *id).await.unwrap();
    assert!(matches!(slice(&worker, &job, None, INVOCATION).await, Err(SliceError::Cancelled)));
    abort(&worker, &job, &Caught::default()).await.unwrap();
    assert_eq!(state(&world, &job), State::Cancelled);
    assert_eq!(world.records.seats_taken(world.clock.now()), 1, "the other one keeps its seat");
}

/// An execution remembers only so many steps.
#[tokio::test(start_paused = true)]
async fn whoever_waits_long_asks_more_seldom() {
    let world = World::new();
    let worker = limited(&world, 1);
    let first = requested(&world, "shop", vec![database("DEFAULT", "db.internal")]).await;
    world.faults.on("engine.read", 1, Moment::Before, Fault::Hang);
    assert!(killed(&worker, &first).await);
    let next = requested(&world, "depot", vec![database("DEFAULT", "db.internal")]).await;
    for (minutes, seconds) in [(0, 20..40), (8, 48..70), (60, 120..140)] {
        world.clock.advance(TimeDelta::minutes(minutes));
        // Whoever has the seat keeps it.
        let mut seats = world.records.seats(SERVER).await.unwrap().unwrap();
        seats.value.taken[0].until = world.clock.now() + TimeDelta::minutes(1);
        world.records.put_seats(SERVER, &seats.value, Some(seats.version)).await.unwrap();
        let answer = slice(&worker, &next, None, INVOCATION).await.unwrap();
        let Answer::Wait { seconds: asked } = answer else { panic!("{answer:?}") };
        assert!(seconds.contains(&asked), "{asked}: {seconds:?}");
    }
}
