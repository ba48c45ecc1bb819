//! Objects fetched before it is their turn: one at a time, each would cost a round trip.

use std::{collections::VecDeque, sync::Arc};

use holdfast_archive::assembly::{Entry, Numbering, Policy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    copied,
    failure::outgrown,
    fetched::{self, Fetched, GROWN_AHEAD_BYTES, Next},
    listing::Listing,
    object::{Source, relative},
    task::Task,
};
use crate::{engines::segments::SegmentSender, error::SliceError, ports::ListedObject};

/// How many objects are looked at ahead. An answer takes S3 some 20 to 40 milliseconds, so that these are thousands a second.
const AHEAD: usize = 128;

/// How many of them may be large; each holds 5 MiB while S3 copies the rest.
const COPIED_AHEAD: usize = 12;

/// What the others may hold together, in KiB. One that is larger goes alone.
const READ_AHEAD_KIB: usize = 32 * 1024;

/// A listing, and the objects of it that are on their way.
pub(super) struct Ahead {
    source: Arc<Source>,
    out: SegmentSender,
    policy: Policy,
    listing: Listing,
    numbering: Numbering,
    room: Arc<Semaphore>,
    listed_all: bool,
    /// Listed, and without room to be fetched.
    held_back: Option<ListedObject>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    planned: Entry,
    fetching: Task<Result<Fetched, SliceError>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Ahead {
    /// Looks ahead in `listing`, whose parts get their numbers from `numbering`.
    pub(super) fn new(
        source: Arc<Source>,
        out: SegmentSender,
        policy: Policy,
        numbering: Numbering,
        listing: Listing,
    ) -> Self {
        Self {
            source,
            out,
            policy,
            listing,
            numbering,
            room: Arc::new(Semaphore::new(READ_AHEAD_KIB)),
            listed_all: false,
            held_back: None,
            waiting: VecDeque::new(),
        }
    }

    /// The next object in the order of the listing, and what was planned for it; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<(Entry, Next)>, SliceError> {
        while !self.listed_all && self.waiting.len() < AHEAD {
            let next = match self.held_back.take() {
                Some(object) => Some(object),
                None => self.listing.next().await?,
            };
            let Some(object) = next else {
                self.listed_all = true;
                break;
            };
            if let Some(object) = self.fetch(object)? {
                self.held_back = Some(object);
                break;
            }
        }
        let Some(Waiting { planned, fetching, .. }) = self.waiting.pop_front() else { return Ok(None) };
        let next = match fetching.join().await?? {
            Fetched::Next(next) => next,
            Fetched::Grown(object) => fetched::read_in_turn(self.source.clone(), self.policy, object).await?,
        };
        Ok(Some((planned, next)))
    }

    /// Begins to fetch an object, or gives it back for want of room.
    fn fetch(&mut self, object: ListedObject) -> Result<Option<ListedObject>, SliceError> {
        let (source, policy) = (self.source.clone(), self.policy);
        let room = if policy.copies(object.size) {
            let copied =
                self.waiting.iter().filter(|one| matches!(one.planned, Entry::Copied { .. })).count();
            if copied >= COPIED_AHEAD {
                return Ok(Some(object));
            }
            None
        } else {
            let kib = usize::try_from(object.size / 1024).unwrap_or(usize::MAX).clamp(1, READ_AHEAD_KIB);
            // At most what a semaphore counts, so the conversion cannot fail.
            let kib = u32::try_from(kib).unwrap_or(u32::MAX);
            match self.room.clone().try_acquire_many_owned(kib) {
                Ok(room) => Some(room),
                Err(_) => return Ok(Some(object)),
            }
        };
        let planned = self.numbering.plan(relative(&self.source.prefix, &object.key), object.size);
        // More was added since the survey than there are numbers for: those that follow are somebody else's, or there are
        // none.
        if matches!(&planned, Entry::Copied { numbers, .. } if *numbers.end() > policy.max_parts) {
            return Err(outgrown(&object.key));
        }
        let fetching = match &planned {
            Entry::Read { .. } => {
                let room = object.size + GROWN_AHEAD_BYTES;
                Task::spawn(fetched::read(source, policy, object, room))
            }
            Entry::Copied { numbers, .. } => {
                Task::spawn(copied::copy(source, self.out.clone(), policy, object, numbers.clone()))
            }
        };
        self.waiting.push_back(Waiting { planned, fetching, _room: room });
        Ok(None)
    }
}
