use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use holdfast_backup::{
    engines::restorer::{Outcome, RestoreObserver, Restorer, Restorers, Restoring, restored_differs},
    error::SliceError,
};
use holdfast_domain::{
    application::Service,
    backup::Artifact,
    id::ServiceName,
    restore::{Mapping, MediaChanges, Preflight, Refusal, Restore, RestoreOptions, Restored},
};

use crate::faults::Faults;

/// Files of every artifact of a storage; a slice restores [`FILES_A_SLICE`] of them.
const FILES: usize = 5;
const FILES_A_SLICE: usize = 2;

/// The cursor of a database that has paused: half of it is made.
const HALF: &str = "half";

/// What the places of rehearsals begin with.
const TRIED: &str = "tried/";

/// Restorers of databases and storages that are in memory. A database changes all at once, at the end; the files of a
/// storage come one by one, over several slices. Each of their steps can go wrong: `restorers.open`, `restorer.preflight`,
/// `restorer.has_done`, `restorer.clean_up`, `restorer.step` (each database has two, each file one) and `restorer.swap`. A rehearsal
/// goes to places of its own, and has `restorer.compare` and `restorer.remove` instead of a swap.
pub struct FakeRestorers {
    state: Arc<Mutex<State>>,
    faults: Faults,
}

#[derive(Default)]
struct State {
    places: BTreeMap<String, Held>,
    refusals: Vec<Refusal>,
    leaves_cursors: bool,
    pauses_databases: bool,
    differing: Vec<ServiceName>,
    differing_in_values: Vec<ServiceName>,
}

/// What a database or the place of a storage holds: for each file, or for the database, the key of what it came from.
#[derive(Default)]
struct Held {
    contents: BTreeMap<String, String>,
    scratch: usize,
    /// What it was swapped with last.
    swapped: Option<String>,
    /// How often it was cleaned up: who began before that finds what it has made gone.
    cleaned: u64,
}

impl FakeRestorers {
    /// Restorers that fail as `faults` say.
    pub fn new(faults: &Faults) -> Self {
        Self { state: Arc::default(), faults: faults.clone() }
    }

    /// The same restorers, of the same places, that fail as `faults` say.
    #[must_use]
    pub fn beside(&self, faults: &Faults) -> Self {
        Self { state: self.state.clone(), faults: faults.clone() }
    }

    /// Lets a service hold something that is in no backup.
    pub fn fill(&self, service: &Service, with: &str) {
        let names =
            if service.is_database() { vec![String::new()] } else { vec!["0".to_owned(), "own".to_owned()] };
        let contents = names.into_iter().map(|name| (name, with.to_owned())).collect();
        self.state.lock().unwrap().places.insert(place(service, None), Held { contents, ..Held::default() });
    }

    /// Somebody writes to a database.
    pub fn write(&self, service: &Service, what: &str) {
        let mut state = self.state.lock().unwrap();
        let held = state.places.entry(place(service, None)).or_default();
        held.contents.insert(String::new(), what.to_owned());
    }

    /// What a service holds: one entry for a database, one for each file of a storage; where each came from.
    pub fn holds(&self, service: &Service) -> BTreeMap<String, String> {
        let state = self.state.lock().unwrap();
        state.places.get(&place(service, None)).map(|held| held.contents.clone()).unwrap_or_default()
    }

    /// Half-made databases and open uploads that nobody has removed, and what rehearsals have left.
    pub fn scratch(&self) -> usize {
        let state = self.state.lock().unwrap();
        let tried = state.places.iter().filter(|(place, _)| place.starts_with(TRIED));
        let files: usize = tried.map(|(_, held)| held.contents.len()).sum();
        state.places.values().map(|held| held.scratch).sum::<usize>() + files
    }

    /// Lets what a rehearsal restores of `service` be something else than what was backed up.
    pub fn differ(&self, service: &ServiceName) {
        self.state.lock().unwrap().differing.push(service.clone());
    }

    /// Lets what a rehearsal restores of a database have as many rows as were backed up, and another value in one of them.
    pub fn differ_in_values(&self, service: &ServiceName) {
        self.state.lock().unwrap().differing_in_values.push(service.clone());
    }

    /// Lets databases be known by a cursor from just before the swap on, by which it can be asked whether that has happened.
    pub fn leave_cursors(&self) {
        self.state.lock().unwrap().leaves_cursors = true;
    }

    /// Lets databases take two slices: each makes half of one.
    pub fn pause_databases(&self) {
        self.state.lock().unwrap().pauses_databases = true;
    }

    /// Lets every preflight from now on find this in the way.
    pub fn refuse(&self, refusal: Refusal) {
        self.state.lock().unwrap().refusals.push(refusal);
    }
}

#[async_trait]
impl Restorers for FakeRestorers {
    async fn open(
        &self,
        target: &Service,
        artifact: &Artifact,
        mapping: &Mapping,
        restore: &Restore,
    ) -> Result<Box<dyn Restorer>, SliceError> {
        assert_eq!((target.name(), &artifact.service), (&mapping.to, &mapping.from));
        let options = &restore.options;
        let place = place(target, options.into_prefix.as_deref());
        let opened = FakeRestorer {
            place: if restore.rehearsal { format!("{TRIED}{}/{place}", restore.id) } else { place },
            is_rehearsal: restore.rehearsal,
            checksums: restore.checksums,
            target: target.clone(),
            from: artifact.object.key.clone(),
            options: options.clone(),
            state: self.state.clone(),
            faults: self.faults.clone(),
        };
        self.faults.around("restorers.open", async { Ok(Box::new(opened) as Box<dyn Restorer>) }).await
    }
}

fn place(service: &Service, prefix: Option<&str>) -> String {
    match service {
        Service::Postgres(database) => format!("{}/{}", database.host, database.database),
        Service::Mysql(database) => format!("{}/{}", database.host, database.database),
        Service::Storage(storage) => format!("{}/{}", storage.bucket, prefix.unwrap_or(&storage.prefix)),
    }
}

struct FakeRestorer {
    place: String,
    is_rehearsal: bool,
    checksums: bool,
    target: Service,
    from: String,
    options: RestoreOptions,
    state: Arc<Mutex<State>>,
    faults: Faults,
}

impl FakeRestorer {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        work(self.state.lock().unwrap().places.entry(self.place.clone()).or_default())
    }

    fn changes(&self) -> MediaChanges {
        let mut changes = MediaChanges::default();
        self.with(|held| {
            for name in names(&self.target) {
                match held.contents.get(&name) {
                    None => changes.added += 1,
                    Some(from) if *from == self.from => changes.unchanged += 1,
                    Some(_) => changes.replaced += 1,
                }
            }
        });
        changes
    }

    /// Changes a database, unless somebody has cleaned up since it was cleaned up `cleaned` times.
    async fn own(
        &self,
        name: &'static str,
        cleaned: u64,
        work: impl FnOnce(&mut Held) + Send,
    ) -> Result<(), SliceError> {
        let effect = async {
            self.with(|held| {
                if held.cleaned != cleaned {
                    return Err(SliceError::transient("scratch_gone", "what was made beside it is gone"));
                }
                work(held);
                Ok(())
            })
        };
        self.faults.around(name, effect).await
    }

    /// Compares what was restored, and removes it.
    async fn end_rehearsal(&self) -> Result<Outcome, SliceError> {
        self.step("restorer.compare", |_| ()).await?;
        let (differs, differs_in_values) = {
            let state = self.state.lock().unwrap();
            let contains = |services: &[ServiceName]| services.contains(self.target.name());
            (contains(&state.differing), contains(&state.differing_in_values))
        };
        self.step("restorer.remove", remove).await?;
        if differs {
            return Err(restored_differs("it has a row less"));
        }
        if self.checksums && differs_in_values {
            return Err(restored_differs("it has another value"));
        }
        let (is_database, files) = (self.target.is_database(), names(&self.target).len() as u64);
        Ok(Outcome::Done(Restored {
            tables: is_database.then_some(2),
            rows: is_database.then_some(30),
            rows_compared: is_database,
            values_compared: (is_database && self.checksums).then_some(2),
            files_compared: (!is_database).then_some(files),
            ..restored(None)
        }))
    }

    async fn step(&self, name: &'static str, work: impl FnOnce(&mut Held) + Send) -> Result<(), SliceError> {
        let effect = async {
            self.with(work);
            Ok(())
        };
        self.faults.around(name, effect).await
    }
}

fn names(target: &Service) -> Vec<String> {
    if target.is_database() {
        vec![String::new()]
    } else {
        (0..FILES).map(|number| number.to_string()).collect()
    }
}

#[async_trait]
impl Restorer for FakeRestorer {
    async fn preflight(&self) -> Result<Preflight, SliceError> {
        let changes = self.changes();
        let mut refusals = self.state.lock().unwrap().refusals.clone();
        if changes.replaced > 0 && !self.options.overwrite && !self.is_rehearsal {
            refusals.push(Refusal::new("not_empty", "there is something in it", "ask for `overwrite`"));
        }
        let found = Preflight {
            service: self.target.name().clone(),
            target: self.place.clone(),
            is_occupied: !self.is_rehearsal && self.with(|held| !held.contents.is_empty()),
            steps: vec!["restores it".to_owned()],
            notes: Vec::new(),
            refusals,
            bytes: 4096,
            estimated_seconds: 1,
            changes: (!self.target.is_database()).then_some(changes),
        };
        self.faults.around("restorer.preflight", async { Ok(found) }).await
    }

    async fn restore(
        &self,
        cursor: Option<&str>,
        _time: Duration,
        observer: &mut dyn RestoreObserver,
    ) -> Result<Outcome, SliceError> {
        let from = self.from.clone();
        if self.target.is_database() {
            observer.advanced(Restoring { doing: "schema", ..Restoring::default() }).await?;
            let cleaned = self.with(|held| held.cleaned);
            let pauses = self.state.lock().unwrap().pauses_databases;
            if !pauses || cursor != Some(HALF) || self.with(|held| held.scratch == 0) {
                let begin = |held: &mut Held| (held.scratch, held.swapped) = (1, None);
                self.own("restorer.step", cleaned, begin).await?;
                if pauses {
                    return Ok(Outcome::Paused { cursor: HALF.to_owned() });
                }
            }
            observer.advanced(Restoring { bytes: 4000, doing: "rows", ..Restoring::default() }).await?;
            self.own("restorer.step", cleaned, |_| ()).await?;
            if self.is_rehearsal {
                return self.end_rehearsal().await;
            }
            let cursor = self.state.lock().unwrap().leaves_cursors.then(|| self.from.clone());
            observer
                .advanced(Restoring { bytes: 4096, doing: "swap", cursor, ..Restoring::default() })
                .await?;
            let swap = |held: &mut Held| {
                held.swapped = Some(from.clone());
                held.contents.insert(String::new(), from);
                held.scratch = 0;
            };
            self.own("restorer.swap", cleaned, swap).await?;
            return Ok(Outcome::Done(restored(None)));
        }
        let first: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        for number in first..FILES {
            if number >= first + FILES_A_SLICE {
                return Ok(Outcome::Paused { cursor: number.to_string() });
            }
            let so_far = Restoring {
                bytes: u64::try_from(number).unwrap(),
                doing: "files",
                cursor: Some(number.to_string()),
                ..Restoring::default()
            };
            observer.advanced(so_far).await?;
            let put = |held: &mut Held| {
                held.contents.insert(number.to_string(), from.clone());
            };
            self.step("restorer.step", put).await?;
        }
        if self.is_rehearsal {
            return self.end_rehearsal().await;
        }
        if self.options.media == holdfast_domain::restore::MediaMode::Mirror {
            let kept = names(&self.target);
            self.with(|held| held.contents.retain(|name, _| kept.contains(name)));
        }
        Ok(Outcome::Done(restored(Some(MediaChanges { added: 5, ..MediaChanges::default() }))))
    }

    async fn has_done(&self, cursor: &str) -> Result<Option<Restored>, SliceError> {
        let effect = async {
            let has_done = self.target.is_database()
                && self.with(|held| {
                    // Whoever was killed does nothing more.
                    held.cleaned += 1;
                    held.swapped.as_deref() == Some(cursor)
                });
            Ok(has_done.then(|| restored(None)))
        };
        self.faults.around("restorer.has_done", effect).await
    }

    async fn clean_up(&self) -> Result<(), SliceError> {
        // What has paused is gone on with.
        let goes_on = self.state.lock().unwrap().pauses_databases;
        let clean_up = |held: &mut Held| {
            held.scratch = if goes_on { held.scratch } else { 0 };
            held.swapped = None;
            held.cleaned += 1;
        };
        self.step("restorer.clean_up", clean_up).await
    }

    async fn give_up(&self) -> Result<(), SliceError> {
        self.clean_up().await?;
        self.with(|held| held.scratch = 0);
        if self.is_rehearsal { self.step("restorer.remove", remove).await } else { Ok(()) }
    }
}

fn remove(held: &mut Held) {
    *held = Held::default();
}

fn restored(changes: Option<MediaChanges>) -> Restored {
    Restored {
        tables: None,
        rows: None,
        rows_compared: false,
        values_compared: None,
        changes,
        files_compared: None,
        notes: Vec::new(),
    }
}
