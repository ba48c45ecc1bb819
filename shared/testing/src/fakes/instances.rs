use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use holdfast_backup::ports::{
    Clock, Endpoint, Instances, InstancesError, Kind, Leftover, NewCopy, Source, Tags, Temporary,
};
use holdfast_domain::{
    application::Isolated,
    id::{ApplicationId, BackupId},
};
use secrecy::SecretString;

use super::FakeClock;

/// How often something is looked at before it is there, and before it is gone.
const LOOKS: u32 = 2;

/// RDS in memory. What a source holds is one text; a snapshot holds what its source held when it was asked for. Things are
/// there, or gone, when they have been looked at a few times; a snapshot that is not whole cannot be deleted, nor a cluster
/// with an instance in it.
pub struct FakeInstances {
    state: Mutex<State>,
    clock: Arc<FakeClock>,
}

#[derive(Default)]
struct State {
    sources: BTreeMap<String, (Source, String)>,
    things: BTreeMap<(Kind, String), Thing>,
    copies: Vec<NewCopy>,
    snapshots: usize,
}

struct Thing {
    status: String,
    looks: u32,
    taken_at: DateTime<Utc>,
    holds: String,
    owner: Option<(ApplicationId, BackupId)>,
}

impl FakeInstances {
    /// No instances at all, by the time of `clock`.
    pub fn at(clock: Arc<FakeClock>) -> Self {
        Self { state: Mutex::default(), clock }
    }

    /// Lets a source be there, holding `holds`.
    pub fn put_source(&self, identifier: &str, source: Source, holds: &str) {
        self.state.lock().unwrap().sources.insert(identifier.to_owned(), (source, holds.to_owned()));
    }

    /// Removes a source.
    pub fn remove_source(&self, identifier: &str) {
        self.state.lock().unwrap().sources.remove(identifier);
    }

    /// Somebody writes to a source.
    pub fn write(&self, identifier: &str, holds: &str) {
        let mut state = self.state.lock().unwrap();
        let (_, held) = state.sources.get_mut(identifier).expect("there is such a source");
        holds.clone_into(held);
    }

    /// What a temporary instance holds, by its host; none if it does not answer.
    pub fn read(&self, host: &str) -> Option<String> {
        let state = self.state.lock().unwrap();
        let name = host.strip_suffix(".temporary")?;
        let thing = state.things.get(&(Kind::Instance, name.to_owned()))?;
        (thing.status == "available").then(|| thing.holds.clone())
    }

    /// Puts a temporary thing into a state that it stays in.
    pub fn hold_at(&self, kind: Kind, status: &str) {
        for ((found, _), thing) in &mut self.state.lock().unwrap().things {
            if *found == kind {
                status.clone_into(&mut thing.status);
                thing.looks = u32::MAX;
            }
        }
    }

    /// Puts something tagged as this stack's there, as an earlier backup has left it.
    pub fn leave(&self, kind: Kind, name: &str, owner: Option<(ApplicationId, BackupId)>) {
        let thing = Thing { owner, ..self.thing(String::new(), "available", 0) };
        self.state.lock().unwrap().things.insert((kind, name.to_owned()), thing);
    }

    /// What is there and is not being deleted.
    pub fn temporary(&self) -> Vec<(Kind, String)> {
        let state = self.state.lock().unwrap();
        let there = state.things.iter().filter(|(_, thing)| thing.status != "deleting");
        there.map(|(key, _)| key.clone()).collect()
    }

    /// The copies that were made, in order.
    pub fn copies(&self) -> Vec<NewCopy> {
        self.state.lock().unwrap().copies.clone()
    }

    /// How many snapshots were made.
    pub fn snapshots(&self) -> usize {
        self.state.lock().unwrap().snapshots
    }

    fn thing(&self, holds: String, status: &str, looks: u32) -> Thing {
        Thing { status: status.to_owned(), looks, taken_at: self.clock.now(), holds, owner: None }
    }

    fn made(&self, kind: Kind, from: Kind, copy: &NewCopy) -> Result<(), InstancesError> {
        let mut state = self.state.lock().unwrap();
        if state.things.contains_key(&(kind, copy.name.clone())) {
            return Ok(());
        }
        let model = state.things.get(&(from, copy.name.clone())).filter(|model| model.status == "available");
        let Some(model) = model else {
            return Err(InstancesError::Rejected(format!("there is no {from} {} to make it of", copy.name)));
        };
        let owner = Some((copy.tags.application.clone(), copy.tags.backup));
        let thing = Thing { owner, ..self.thing(model.holds.clone(), "creating", LOOKS) };
        state.things.insert((kind, copy.name.clone()), thing);
        state.copies.push(copy.clone());
        Ok(())
    }
}

#[async_trait]
impl Instances for FakeInstances {
    async fn source(&self, of: &Isolated) -> Result<Option<Source>, InstancesError> {
        let state = self.state.lock().unwrap();
        Ok(state.sources.get(of.identifier()).map(|(source, _)| source.clone()))
    }

    async fn classes(&self, _: &Source) -> Result<Vec<String>, InstancesError> {
        Ok(["db.m7g.large", "db.t4g.medium", "db.t4g.micro"].map(str::to_owned).to_vec())
    }

    async fn snapshot(&self, of: &Isolated, name: &str, tags: &Tags) -> Result<(), InstancesError> {
        let kind = match of {
            Isolated::Instance(_) => Kind::Snapshot,
            Isolated::Cluster(_) => Kind::ClusterSnapshot,
        };
        let mut state = self.state.lock().unwrap();
        if state.things.contains_key(&(kind, name.to_owned())) {
            return Ok(());
        }
        let Some((source, holds)) = state.sources.get(of.identifier()) else {
            return Err(InstancesError::Rejected(format!("there is no {}", of.identifier())));
        };
        if source.status != "available" {
            return Err(InstancesError::Busy(format!("{} is {}", of.identifier(), source.status)));
        }
        let owner = Some((tags.application.clone(), tags.backup));
        let thing = Thing { owner, ..self.thing(holds.clone(), "creating", LOOKS) };
        state.things.insert((kind, name.to_owned()), thing);
        state.snapshots += 1;
        Ok(())
    }

    async fn restore(&self, copy: &NewCopy) -> Result<(), InstancesError> {
        if copy.is_cluster {
            self.made(Kind::Cluster, Kind::ClusterSnapshot, copy)
        } else {
            self.made(Kind::Instance, Kind::Snapshot, copy)
        }
    }

    async fn add_instance(&self, copy: &NewCopy) -> Result<(), InstancesError> {
        self.made(Kind::Instance, Kind::Cluster, copy)
    }

    async fn find(&self, kind: Kind, name: &str) -> Result<Option<Temporary>, InstancesError> {
        let mut state = self.state.lock().unwrap();
        let key = (kind, name.to_owned());
        let Some(thing) = state.things.get_mut(&key) else { return Ok(None) };
        if thing.looks == 0 && thing.status == "creating" {
            "available".clone_into(&mut thing.status);
        }
        if thing.looks == 0 && thing.status == "deleting" {
            state.things.remove(&key);
            return Ok(None);
        }
        if thing.looks < u32::MAX {
            thing.looks = thing.looks.saturating_sub(1);
        }
        let is_whole = thing.status == "available";
        Ok(Some(Temporary {
            status: thing.status.clone(),
            taken_at: is_whole.then_some(thing.taken_at),
            endpoint: (is_whole && kind == Kind::Instance)
                .then(|| Endpoint { host: format!("{name}.temporary"), port: 5432 }),
        }))
    }

    async fn delete(&self, kind: Kind, name: &str) -> Result<(), InstancesError> {
        let mut state = self.state.lock().unwrap();
        let key = (kind, name.to_owned());
        let instance = state.things.get(&(Kind::Instance, name.to_owned()));
        if kind == Kind::Cluster && instance.is_some_and(|instance| instance.status != "deleting") {
            return Err(InstancesError::Busy(format!("{name} has an instance")));
        }
        let Some(thing) = state.things.get_mut(&key) else { return Ok(()) };
        let is_snapshot = matches!(kind, Kind::Snapshot | Kind::ClusterSnapshot);
        if thing.status == "deleting" || (is_snapshot && thing.status == "creating") {
            return Err(InstancesError::Busy(format!("{name} is {}", thing.status)));
        }
        if is_snapshot {
            state.things.remove(&key);
        } else {
            "deleting".clone_into(&mut thing.status);
            thing.looks = LOOKS;
        }
        Ok(())
    }

    async fn token(&self, endpoint: &Endpoint, username: &str) -> Result<SecretString, InstancesError> {
        Ok(SecretString::from(format!("token of {username} for {}:{}", endpoint.host, endpoint.port)))
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, InstancesError> {
        let state = self.state.lock().unwrap();
        let leftovers = state.things.iter().map(|((kind, name), thing)| Leftover {
            kind: *kind,
            name: name.clone(),
            status: thing.status.clone(),
            owner: thing.owner.clone(),
        });
        Ok(leftovers.collect())
    }
}
