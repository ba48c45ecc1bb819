//! One history: who goes on, what goes wrong, when time passes and who dies, all chosen by one seed.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::task::waker_ref;
use holdfast_backup::{
    abort::abort,
    job::{Answer, Call, Caught, Job},
    ports::Clock as _,
    retain,
    slice::slice,
    tick,
};
use holdfast_domain::backup::{State, VerificationState};
use tokio::sync::oneshot;

use super::{
    Counts,
    audit::audit,
    dice::Dice,
    door::{Bell, Door},
    execution::{Request, Requests, execution},
    people::{self, Wish},
    process::{Ended, Kind, Process},
    stage::{Model, Stage},
    trace::{Step, Trace},
};
use crate::{
    fakes::Neglect,
    faults::{Fault, Faults, Moment},
    machine,
};

/// What one invocation of the worker has for its work.
const WORK: std::time::Duration = std::time::Duration::from_secs(885);

/// Rounds after which a history should have come to rest.
const ROUNDS: usize = 3000;

/// Nights that pass quietly at the end.
const NIGHTS: usize = 3;

/// How bad a history is, each per mille of its steps.
struct Weather {
    faults: u64,
    kills: u64,
    impatience: u64,
    time: u64,
    news: u64,
}

/// An execution of the state machine that is under way.
struct Execution {
    job: Job,
    only_aborts: bool,
    bell: Arc<Bell>,
    future: Pin<Box<dyn Future<Output = Option<Caught>>>>,
}

/// A process, and who waits for its answer.
struct Running {
    process: Process,
    reply: Option<oneshot::Sender<Result<Answer, Caught>>>,
}

pub(super) struct History {
    dice: Dice,
    stage: Stage,
    weather: Weather,
    processes: Vec<Running>,
    executions: Vec<Execution>,
    requests: Requests,
    timers: BTreeMap<(DateTime<Utc>, u32), oneshot::Sender<()>>,
    numbers: u32,
    writes: u32,
    /// When the last night began.
    night: DateTime<Utc>,
    pub(super) trace: Trace,
    pub(super) counts: Counts,
}

impl History {
    pub(super) async fn new(seed: u64, models: &[Model], neglected: Option<Neglect>) -> Self {
        let dice = Dice::new(seed);
        let stage = Stage::new(seed, &dice, models).await;
        if let Some(condition) = neglected {
            stage.world.records.neglect(condition);
        }
        let weather = Weather {
            faults: [0, 5, 20, 80][dice.index(4)],
            kills: [0, 2, 6, 20][dice.index(4)],
            impatience: [0, 4, 15][dice.index(3)],
            time: [10, 30, 60][dice.index(3)],
            news: [15, 40][dice.index(2)],
        };
        Self {
            dice,
            stage,
            weather,
            processes: Vec::new(),
            executions: Vec::new(),
            requests: Requests::default(),
            timers: BTreeMap::new(),
            numbers: 0,
            writes: 0,
            night: crate::builders::now(),
            trace: Trace::default(),
            counts: Counts::default(),
        }
    }

    /// Plays it to its end; what is wrong then, if anything is.
    pub(super) async fn play(&mut self) -> Vec<String> {
        let steps = 200 + self.dice.below(500);
        for _ in 0..steps {
            self.disturb().await;
            if let Some(wrong) = self.wrong() {
                return vec![wrong];
            }
        }
        self.trace.push(Step::Calm);
        if let Err(wrong) = self.come_to_rest().await {
            return vec![wrong];
        }
        let wrong = audit(&self.stage, self.night).await;
        self.count();
        wrong
    }

    fn wrong(&self) -> Option<String> {
        self.stage.book.wrong()
    }

    fn now(&self) -> DateTime<Utc> {
        self.stage.world.clock.now()
    }

    /// Something happens, good or bad.
    async fn disturb(&mut self) {
        let standing: Vec<usize> = self.standing();
        let Weather { faults, kills, impatience, time, news } = self.weather;
        if standing.is_empty() {
            match self.dice.below(10) {
                0..=4 if !self.timers.is_empty() => self.await_timer().await,
                0..=7 => self.begin_something().await,
                // An execution that waits does so for a while, and not for days.
                _ if !self.timers.is_empty() => self.await_timer().await,
                8 => self.pass(TimeDelta::seconds(self.dice.below(7200).cast_signed())).await,
                _ => self.pass(TimeDelta::seconds(self.dice.below(2 * 86400).cast_signed())).await,
            }
            return;
        }
        let mut roll = self.dice.below(1000);
        let mut is = |share: u64| {
            let hit = roll < share;
            roll = roll.saturating_sub(share);
            hit
        };
        if is(kills) {
            let index = standing[self.dice.index(standing.len())];
            self.kill(index, "Runtime exited with error: signal: killed");
            self.react().await;
        } else if is(impatience) {
            self.lose_patience().await;
        } else if is(time) {
            let by = match self.dice.below(10) {
                0..=6 => TimeDelta::milliseconds(self.dice.below(5000).cast_signed()),
                7 | 8 => TimeDelta::seconds(self.dice.below(60).cast_signed()),
                _ => TimeDelta::seconds(self.dice.below(1200).cast_signed()),
            };
            self.pass(by).await;
        } else if is(news) {
            self.begin_something().await;
        } else {
            let verdict = self.dice.happens(faults).then(|| {
                let moment = if self.dice.happens(500) { Moment::Before } else { Moment::After };
                (moment, Fault::Unavailable)
            });
            self.let_go_on(&standing, verdict).await;
        }
    }

    /// Nothing goes wrong any more, until nothing is left to do and some nights have passed.
    async fn come_to_rest(&mut self) -> Result<(), String> {
        let mut nights = 0;
        for round in 0..ROUNDS {
            if let Some(wrong) = self.wrong() {
                return Err(wrong);
            }
            loop {
                let standing = self.standing();
                if standing.is_empty() {
                    break;
                }
                self.let_go_on(&standing, None).await;
            }
            if !self.timers.is_empty() {
                self.await_timer().await;
                // Who waits may wait for somebody whom only the tick looks after.
                if round % 8 == 0 {
                    self.begin_tick().await;
                }
            } else if self.is_open() {
                self.pass(TimeDelta::minutes(10)).await;
                self.begin_tick().await;
            } else if nights < NIGHTS {
                nights += 1;
                self.pass(TimeDelta::hours(24)).await;
                self.begin_tick().await;
                while !self.standing().is_empty() {
                    let standing = self.standing();
                    self.let_go_on(&standing, None).await;
                }
                self.begin_night().await;
            } else {
                return Ok(());
            }
        }
        Err(format!("it does not come to rest within {ROUNDS} rounds"))
    }

    /// Whether a backup or a restore has not ended.
    fn is_open(&self) -> bool {
        let records = &self.stage.world.records;
        self.stage.applications.iter().any(|record| {
            records.all_backups(&record.id).iter().any(|backup| backup.state.is_open())
                || records.all_restores(&record.id).iter().any(|restore| restore.state.is_open())
        })
    }

    /// The processes that stand at their doors.
    fn standing(&self) -> Vec<usize> {
        let processes = self.processes.iter().enumerate();
        processes.filter(|(_, running)| running.process.door.waiting() > 0).map(|(index, _)| index).collect()
    }

    /// Lets one call of somebody go on.
    async fn let_go_on(&mut self, standing: &[usize], verdict: Option<(Moment, Fault)>) {
        let index = standing[self.dice.index(standing.len())];
        let door = self.processes[index].process.door.clone();
        let (call, sender) = door.take(self.dice.index(door.waiting()));
        // A restorer finds out itself what came of it; only killed it cannot.
        let verdict = verdict.filter(|(moment, _)| call != "restorer.swap" || *moment == Moment::Before);
        self.trace.push(Step::Call(self.processes[index].process.number, call, verdict));
        self.counts.calls += 1;
        match verdict {
            Some((Moment::Before, _)) => self.counts.failed_before += 1,
            Some((Moment::After, _)) => self.counts.answers_lost += 1,
            None => {}
        }
        // Nothing takes no time at all.
        self.stage.world.clock.advance(TimeDelta::milliseconds(1 + self.dice.below(40).cast_signed()));
        let _ = sender.send(verdict);
        self.run(index).await;
        self.react().await;
    }

    /// Lets a process run to its next call, or its end. Says whether it has ended.
    async fn run(&mut self, index: usize) -> bool {
        let Some(ended) = self.processes[index].process.run().await else { return false };
        let Running { process, reply } = self.processes.remove(index);
        process.door.close();
        let (answer, words) = match ended {
            Ended::Worker(Ok(answer)) => (Ok(answer), None),
            Ended::Worker(Err(error)) => (Err(machine::caught(&error)), Some(error.to_string())),
            Ended::Other(Ok(())) => (Ok(Answer::Done), None),
            Ended::Other(Err(words)) => {
                (Err(Caught { error: "Error".to_owned(), cause: words.clone() }), Some(words))
            }
        };
        self.trace.push(Step::Ended(process.number, words.unwrap_or_default()));
        if let Some(reply) = reply {
            // An execution that has lost patience does not listen any more.
            let _ = reply.send(answer);
        }
        true
    }

    /// Lets executions go on with what they have heard, begins what they ask for, and runs whoever a moment has woken.
    async fn react(&mut self) {
        loop {
            let mut busy = false;
            for (job, reason) in self.stage.world.executions.take_unserved() {
                busy = true;
                self.counts.executions += 1;
                let only_aborts = reason.is_some();
                self.trace.push(Step::Execution(job.execution_name(), only_aborts));
                let bell = Arc::<Bell>::default();
                bell.ring();
                let future = Box::pin(execution(self.requests.clone(), job.clone(), reason));
                self.executions.push(Execution { job, only_aborts, bell, future });
            }
            let mut index = 0;
            while index < self.executions.len() {
                let execution = &mut self.executions[index];
                if execution.bell.take() {
                    busy = true;
                    let polled = {
                        let waker = waker_ref(&execution.bell);
                        execution.future.as_mut().poll(&mut Context::from_waker(&waker))
                    };
                    if let Poll::Ready(error) = polled {
                        let Execution { job, only_aborts, .. } = self.executions.remove(index);
                        if !only_aborts {
                            self.stage.world.executions.end_with(&job, error);
                        }
                        continue;
                    }
                }
                index += 1;
            }
            for request in self.requests.take() {
                busy = true;
                self.serve(request);
            }
            let mut index = 0;
            while index < self.processes.len() {
                let is_woken = self.processes[index].process.door.bell().has_rung();
                busy |= is_woken;
                if !(is_woken && self.run(index).await) {
                    index += 1;
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Worker(call, reply) => {
                let (door, faults) = door();
                let worker = self.stage.worker(&faults);
                let about = match &call {
                    Call::Slice { job, range } => {
                        let range =
                            range.as_ref().map(|range| format!("{} {:?}", range.service, range.share));
                        format!("slice of {} {}", job.execution_name(), range.unwrap_or_default())
                    }
                    Call::Abort { job, error } => {
                        format!("abort of {} because of {}", job.execution_name(), error.error)
                    }
                };
                let work = async move {
                    Ended::Worker(match call {
                        Call::Slice { job, range } => slice(&worker, &job, range.as_ref(), WORK).await,
                        Call::Abort { job, error } => abort(&worker, &job, &error).await,
                    })
                };
                self.begin(Kind::Worker, about, door, Some(reply), work);
            }
            Request::Retention(application, reply) => {
                let (door, faults) = door();
                let ports = self.stage.ports(&faults);
                let about = format!("retention of {application}");
                let work = async move {
                    Ended::Other(match retain::run(&ports, &application).await {
                        Ok(summary) if summary.failed > 0 => Err("some were left to the next run".to_owned()),
                        Ok(_) => Ok(()),
                        Err(error) => Err(error.to_string()),
                    })
                };
                self.begin(Kind::Retention, about, door, Some(reply), work);
            }
            Request::Wait(seconds, done) => self.set_timer(TimeDelta::seconds(seconds), done),
            Request::WaitUpTo(seconds, done) => {
                let milliseconds = self.dice.below(seconds.unsigned_abs() * 1000).cast_signed();
                self.set_timer(TimeDelta::milliseconds(milliseconds), done);
            }
        }
    }

    fn set_timer(&mut self, after: TimeDelta, done: oneshot::Sender<()>) {
        self.numbers += 1;
        self.timers.insert((self.now() + after, self.numbers), done);
    }

    fn begin(
        &mut self,
        kind: Kind,
        about: String,
        door: Arc<Door>,
        reply: Option<oneshot::Sender<Result<Answer, Caught>>>,
        work: impl Future<Output = Ended> + 'static,
    ) {
        self.numbers += 1;
        door.bell().ring();
        self.trace.push(Step::Begins(self.numbers, about));
        let process = Process::new(self.numbers, kind, door, self.now(), work);
        self.processes.push(Running { process, reply });
    }

    async fn begin_tick(&mut self) {
        self.counts.ticks += 1;
        let (door, faults) = door();
        let ports = self.stage.ports(&faults);
        let work = async move {
            Ended::Other(tick::tick(&ports).await.map(drop).map_err(|error| error.to_string()))
        };
        self.begin(Kind::Scheduler, "tick".to_owned(), door, None, work);
        self.react().await;
    }

    async fn begin_night(&mut self) {
        self.counts.nights += 1;
        self.night = self.now();
        let (door, faults) = door();
        let ports = self.stage.ports(&faults);
        let work = async move {
            retain::run_all(&ports).await;
            Ended::Other(Ok(()))
        };
        self.begin(Kind::Retention, "nightly retention".to_owned(), door, None, work);
        self.react().await;
    }

    /// A tick, or two, the night, somebody with a wish, or something in the world.
    async fn begin_something(&mut self) {
        match self.dice.below(20) {
            0..=4 => self.begin_tick().await,
            5 => {
                self.begin_tick().await;
                self.begin_tick().await;
            }
            6 => self.begin_night().await,
            7 => self.rot().await,
            8 => self.write(),
            _ => {
                if let Some(wish) = people::wish(&self.stage, &self.dice) {
                    self.begin_wish(wish).await;
                }
            }
        }
    }

    async fn begin_wish(&mut self, wish: Wish) {
        self.counts.wishes += 1;
        let (door, faults) = door();
        let (ports, book) = (self.stage.ports(&faults), self.stage.book.clone());
        let about = format!("somebody asks: {wish:?}");
        let work = async move { Ended::Other(wish.ask(&ports, &book).await) };
        self.begin(Kind::Api, about, door, None, work);
        self.react().await;
    }

    /// A disk rots, under an artifact of a backup that succeeded, which somebody may want to have verified.
    async fn rot(&mut self) {
        if !self.dice.happens(300) {
            return;
        }
        let Some(record) = self.dice.pick(&self.stage.applications) else { return };
        let backups = self.stage.world.records.all_backups(&record.id);
        let good: Vec<_> = backups.iter().filter(|backup| backup.state == State::Succeeded).collect();
        let Some(backup) = self.dice.pick(&good) else { return };
        let Some(artifact) = self.dice.pick(&backup.artifacts) else { return };
        let key = &artifact.object.key;
        let Some(bytes) = self.stage.world.artifacts.bytes(key) else { return };
        let mut bytes = bytes.to_vec();
        let index = self.dice.index(bytes.len());
        bytes[index] ^= 1;
        self.stage.book.rots(key);
        self.stage.world.artifacts.damage(key, bytes);
        self.counts.rotten += 1;
        self.trace.push(Step::Rots(key.clone()));
        if self.dice.happens(700) {
            let wish = Wish::Verify(backup.application.clone(), backup.id);
            self.begin_wish(wish).await;
        }
    }

    /// An application writes to its database, unless that is being restored.
    fn write(&mut self) {
        let Some(record) = self.dice.pick(&self.stage.applications) else { return };
        let restores = self.stage.world.records.all_restores(&record.id);
        if restores.iter().any(|restore| restore.state.is_open()) {
            return;
        }
        let Some(database) = record.spec.services.iter().find(|service| service.is_database()) else {
            return;
        };
        self.writes += 1;
        self.stage.book.write(&record.id, database, &format!("write {}", self.writes));
        self.trace.push(Step::Writes(record.id.clone()));
    }

    /// An execution hears that an invocation has failed, which goes on.
    async fn lose_patience(&mut self) {
        let awaited: Vec<usize> = (0..self.processes.len())
            .filter(|index| self.processes[*index].reply.as_ref().is_some_and(|reply| !reply.is_closed()))
            .collect();
        let Some(index) = self.dice.pick(&awaited).copied() else { return };
        let running = &mut self.processes[index];
        self.counts.given_up_on += 1;
        self.trace.push(Step::GivenUpOn(running.process.number));
        if let Some(reply) = running.reply.take() {
            let (error, cause) = ("Lambda.SdkClientException", "the connection was reset");
            let _ = reply.send(Err(Caught { error: error.to_owned(), cause: cause.to_owned() }));
        }
        self.react().await;
    }

    fn kill(&mut self, index: usize, words: &str) {
        let Running { process, reply } = self.processes.remove(index);
        self.counts.kills += 1;
        self.trace.push(Step::Killed(process.number));
        process.kill();
        if let Some(reply) = reply {
            let cause = serde_json::json!({ "errorType": "Runtime.ExitError", "errorMessage": words });
            let caught = Caught { error: "Runtime.ExitError".to_owned(), cause: cause.to_string() };
            let _ = reply.send(Err(caught));
        }
    }

    /// The first moment comes that somebody waits for.
    async fn await_timer(&mut self) {
        if let Some((at, _)) = self.timers.keys().next().copied() {
            self.pass((at - self.now()).max(TimeDelta::zero())).await;
        }
    }

    /// Time passes. Whoever has run for too long by then is ended.
    async fn pass(&mut self, by: TimeDelta) {
        self.trace.push(Step::Passes(by.num_milliseconds()));
        self.stage.world.clock.advance(by);
        let now = self.now();
        while let Some(index) = self
            .processes
            .iter()
            .position(|running| now - running.process.began >= running.process.kind.limit())
        {
            self.kill(index, "Task timed out after 900.00 seconds");
        }
        tokio::time::advance(by.to_std().unwrap_or_default()).await;
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= now
        {
            let _ = first.remove().send(());
        }
        self.react().await;
    }

    fn count(&mut self) {
        self.counts.histories += 1;
        for record in &self.stage.applications {
            for backup in self.stage.world.records.all_backups(&record.id) {
                if backup.created_at < crate::builders::now() {
                    self.counts.earlier_expired += u64::from(backup.state == State::Expired);
                    continue;
                }
                match backup.state {
                    State::Succeeded => self.counts.succeeded += 1,
                    State::Failed => self.counts.failed += 1,
                    State::Cancelled => self.counts.cancelled += 1,
                    _ => self.counts.expired += 1,
                }
                match backup.verification.as_ref().map(|last| last.state) {
                    Some(VerificationState::Passed) => self.counts.verified += 1,
                    Some(VerificationState::Damaged) => self.counts.found_damaged += 1,
                    _ => {}
                }
            }
            for restore in self.stage.world.records.all_restores(&record.id) {
                match restore.state {
                    holdfast_domain::restore::RestoreState::Succeeded => self.counts.restored += 1,
                    holdfast_domain::restore::RestoreState::Failed => self.counts.restores_failed += 1,
                    _ => self.counts.restores_cancelled += 1,
                }
                self.counts.undone += u64::from(restore.undoes.is_some());
            }
            let trail = self.stage.world.records.audit_trail(&record.id);
            let back = |entry: &&holdfast_domain::audit::AuditEntry| {
                entry.action == holdfast_domain::audit::Action::Undelete
                    && entry.to.as_deref() == Some(State::Succeeded.as_str())
            };
            self.counts.brought_back += trail.iter().filter(back).count() as u64;
        }
    }
}

/// A door for one process, and the faults that come through it.
fn door() -> (Arc<Door>, Faults) {
    let door = Arc::<Door>::default();
    (door.clone(), Faults::at(door))
}
