//! Years in the life of an application: successes, failures, gaps, bursts, holds and changes of policy.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use holdfast_domain::{
    backup::Label,
    id::BackupId,
    retention::{Candidate, OnDemandPolicy, Plan, Policies, ScheduledPolicy, plan},
    schedule::Slot,
};
use proptest::prelude::*;

/// How far back somebody who holds a backup looks.
const HOLDABLE: usize = 40;

/// One thing that happens, and how many hours after the last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// A scheduled backup succeeds, this many hours late.
    Scheduled { after: i64, late: i64 },
    /// One on demand succeeds; it may expire after some days.
    OnDemand { after: i64, expires: Option<i64> },
    /// A scheduled backup fails: nothing is recorded as succeeded, and retention runs all the same.
    Failure { after: i64 },
    /// Somebody holds or releases one of the last [`HOLDABLE`] backups that were made, if it is still there.
    Hold { which: usize, held: bool },
    /// The plan changes.
    Policy(Policies),
}

/// A start, a zone, a first policy, and what happens.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) start: DateTime<Utc>,
    pub(crate) zone: Tz,
    pub(crate) policies: Policies,
    pub(crate) events: Vec<Event>,
}

/// An application part-way through its history.
pub(crate) struct World {
    pub(crate) now: DateTime<Utc>,
    pub(crate) policies: Policies,
    pub(crate) backups: Vec<Candidate>,
    zone: Tz,
    /// All that were ever made, in order.
    made: Vec<BackupId>,
}

impl History {
    /// Lives through the history; `check` sees the world and its plan after every event, before it is executed.
    pub(crate) fn live(&self, mut check: impl FnMut(&World, &Plan)) {
        let mut world = World::new(self);
        for event in &self.events {
            world.happen(*event);
            let plan = plan(&world.backups, &world.policies, world.now);
            check(&world, &plan);
            plan.apply(&mut world.backups);
        }
    }

    /// Lives through the history, executing every plan.
    pub(crate) fn end(&self) -> World {
        let mut world = World::new(self);
        for event in &self.events {
            world.happen(*event);
            plan(&world.backups, &world.policies, world.now).apply(&mut world.backups);
        }
        world
    }

    /// Lives through the history and retires nothing: all that ever succeeded, as one heap.
    pub(crate) fn hoard(&self) -> World {
        let mut world = World::new(self);
        for event in &self.events {
            world.happen(*event);
        }
        world
    }
}

impl World {
    fn new(history: &History) -> Self {
        Self {
            now: history.start,
            policies: history.policies,
            backups: Vec::new(),
            zone: history.zone,
            made: Vec::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Scheduled { after, late } => {
                self.now += TimeDelta::hours(after);
                let slot = Slot { at: self.now, local_date: self.now.with_timezone(&self.zone).date_naive() };
                let id = self.id();
                let taken_at = self.now + TimeDelta::hours(late);
                self.backups.push(Candidate::scheduled(id, slot, taken_at, Label::Daily));
            }
            Event::OnDemand { after, expires } => {
                self.now += TimeDelta::hours(after);
                let expires_at = expires.map(|days| self.now + TimeDelta::days(days));
                let id = self.id();
                self.backups.push(Candidate::on_demand(id, self.now, expires_at));
            }
            Event::Failure { after } => self.now += TimeDelta::hours(after),
            Event::Hold { which, held } => {
                let meant = nth_last(&self.made, which).copied();
                for backup in self.backups.iter_mut().filter(|backup| Some(backup.id) == meant) {
                    backup.held = held;
                }
            }
            Event::Policy(policies) => self.policies = policies,
        }
    }

    fn id(&mut self) -> BackupId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&(self.made.len() as u64 + 1).to_be_bytes());
        let id = BackupId::new(self.now, random);
        self.made.push(id);
        id
    }
}

/// One of the last [`HOLDABLE`] of `made`.
fn nth_last<T>(made: &[T], which: usize) -> Option<&T> {
    made.iter().rev().nth(which % made.len().clamp(1, HOLDABLE))
}

/// Tiers small enough to overflow, and the defaults, and tiers of 0.
pub(crate) fn policies() -> impl Strategy<Value = Policies> {
    let tiers = prop_oneof![
        3 => Just((7, 4, 12)),
        4 => (0..5_u32, 0..4_u32, 0..4_u32),
        1 => (0..10_u32, 0..7_u32, 0..14_u32),
    ];
    let tiers = tiers.prop_filter("a policy keeps something", |(d, w, m)| d + w + m > 0);
    let on_demand = prop_oneof![Just((30, 3)), (0..10_u32, 0..4_u32)]
        .prop_filter("a policy keeps something", |(days, keep)| days + keep > 0);
    (tiers, on_demand).prop_map(|((daily, weekly, monthly), (days, keep))| Policies {
        scheduled: ScheduledPolicy::Gfs { daily, weekly, monthly },
        on_demand: OnDemandPolicy::AgeThenCount { days, keep },
    })
}

/// Hours to the next event: mostly a day, often 6 hours, sometimes a burst, weeks or months.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => Just(24_i64),
        6 => Just(6_i64),
        2 => Just(1_i64),
        2 => (2..20_i64).prop_map(|days| days * 24),
        1 => (20..120_i64).prop_map(|days| days * 24),
    ]
}

fn event(scheduled_only: bool) -> BoxedStrategy<Event> {
    let late = prop_oneof![6 => Just(0_i64), 1 => 1..30_i64];
    let scheduled = (pause(), late).prop_map(|(after, late)| Event::Scheduled { after, late });
    let failure = pause().prop_map(|after| Event::Failure { after });
    if scheduled_only {
        return prop_oneof![10 => scheduled, 1 => failure].boxed();
    }
    let expires = prop_oneof![3 => Just(None), 1 => (0..40_i64).prop_map(Some)];
    prop_oneof![
        20 => scheduled,
        2 => failure,
        3 => (pause(), expires).prop_map(|(after, expires)| Event::OnDemand { after, expires }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, held)| Event::Hold { which, held }),
        1 => policies().prop_map(Event::Policy),
    ]
    .boxed()
}

/// Histories in zones with all kinds of clock changes, from any day of years with leap days and 53 weeks.
pub(crate) fn histories(scheduled_only: bool, events: usize) -> impl Strategy<Value = History> {
    let zones = prop::sample::select(vec![
        Tz::UTC,
        Tz::Europe__Zurich,
        Tz::America__Havana,
        Tz::Australia__Lord_Howe,
        Tz::Pacific__Apia,
    ]);
    let events = prop::collection::vec(event(scheduled_only), 1..events);
    (zones, 0..6_000_i32, 0..24_i64, policies(), events).prop_map(|(zone, day, hour, policies, events)| {
        let start = NaiveDate::from_ymd_opt(2011, 11, 1).expect("a day") + TimeDelta::days(i64::from(day));
        let start = Utc.from_utc_datetime(&start.and_time(NaiveTime::MIN)) + TimeDelta::hours(hour);
        History { start, zone, policies, events }
    })
}

impl fmt::Debug for History {
    /// As dates, so that a counter-example can be followed on a calendar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut now = self.start;
        let mut made = Vec::new();
        writeln!(f, "{} in {}: {}, {}", now, self.zone, self.policies.scheduled, self.policies.on_demand)?;
        for event in &self.events {
            if let Event::Scheduled { after, .. } | Event::OnDemand { after, .. } | Event::Failure { after } =
                event
            {
                now += TimeDelta::hours(*after);
            }
            let local = now.with_timezone(&self.zone).format("%F %H:%M %G-W%V").to_string();
            match event {
                Event::Scheduled { late, .. } => {
                    writeln!(f, "  {local} scheduled, {late} h late")?;
                    made.push(local);
                }
                Event::OnDemand { expires, .. } => {
                    write!(f, "  {local} on demand")?;
                    match expires {
                        Some(days) => writeln!(
                            f,
                            ", expires {}",
                            (now + TimeDelta::days(*days)).format("%F %H:%M UTC")
                        )?,
                        None => writeln!(f)?,
                    }
                    made.push(local);
                }
                Event::Failure { .. } => writeln!(f, "  {local} failure")?,
                Event::Hold { which, held } => {
                    let what = if *held { "hold on" } else { "release of" };
                    match nth_last(&made, *which) {
                        Some(backup) => {
                            writeln!(f, "  {local} {what} the one of {backup}, if it is still there")?;
                        }
                        None => writeln!(f, "  {local} {what} nothing")?,
                    }
                }
                Event::Policy(new) => writeln!(f, "  {local} policy {}, {}", new.scheduled, new.on_demand)?,
            }
        }
        Ok(())
    }
}

#[test]
fn a_counter_example_reads_as_dates() {
    let history = History {
        start: "2026-12-27T23:30:00Z".parse().expect("a moment"),
        zone: Tz::Europe__Zurich,
        policies: Policies::default(),
        events: vec![
            Event::Scheduled { after: 24, late: 2 },
            Event::OnDemand { after: 6, expires: Some(1) },
            Event::Hold { which: 1, held: true },
            Event::Failure { after: 24 },
        ],
    };
    let expected = "2026-12-27 23:30:00 UTC in Europe/Zurich: gfs:7/4/12, age_then_count:30/3
  2026-12-29 00:30 2026-W53 scheduled, 2 h late
  2026-12-29 06:30 2026-W53 on demand, expires 2026-12-30 05:30 UTC
  2026-12-29 06:30 2026-W53 hold on the one of 2026-12-29 00:30 2026-W53, if it is still there
  2026-12-30 06:30 2026-W53 failure
";
    assert_eq!(format!("{history:?}"), expected);
}
