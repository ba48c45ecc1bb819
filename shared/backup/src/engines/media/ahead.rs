//! Small objects fetched before it is their turn: one at a time, each would cost a round trip.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::{
    listing::Listing,
    object::{Body, Head, Opened, ReadError, Source, TRIES},
    task::Task,
};
use crate::{error::SliceError, ports::ListedObject};

/// Objects up to this size are held in memory whole, in bytes.
const SMALL_BYTES: u64 = 1024 * 1024;

/// How many objects are looked at ahead; what they hold in memory is at most as many mebibytes.
const AHEAD: usize = 16;

/// The next object of the archive.
pub(super) enum Next {
    /// Its bytes are here.
    Whole(ListedObject, Head, Bytes),
    /// It is too large to be held.
    Streamed(ListedObject),
    /// It is left out, for this reason.
    Skipped(ListedObject, String),
}

/// A listing, and the small objects of it that are on their way.
pub(super) struct Ahead {
    source: Arc<Source>,
    listing: Listing,
    listed_all: bool,
    waiting: VecDeque<Waiting>,
}

enum Waiting {
    Small(Task<Result<Next, SliceError>>),
    Large(ListedObject),
}

impl Ahead {
    pub(super) fn new(source: Arc<Source>, listing: Listing) -> Self {
        Self { source, listing, listed_all: false, waiting: VecDeque::new() }
    }

    /// The next object in the order of the listing; none at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Next>, SliceError> {
        while !self.listed_all && self.waiting.len() < AHEAD {
            match self.listing.next().await? {
                Some(object) if object.size <= SMALL_BYTES => {
                    self.waiting.push_back(Waiting::Small(Task::spawn(fetch(self.source.clone(), object))));
                }
                Some(object) => self.waiting.push_back(Waiting::Large(object)),
                None => self.listed_all = true,
            }
        }
        match self.waiting.pop_front() {
            Some(Waiting::Small(fetching)) => fetching.join().await?.map(Some),
            Some(Waiting::Large(object)) => Ok(Some(Next::Streamed(object))),
            None => Ok(None),
        }
    }
}

/// Reads a small object whole. One that changes meanwhile is read again, since nothing of it is in the archive yet.
async fn fetch(source: Arc<Source>, object: ListedObject) -> Result<Next, SliceError> {
    for _ in 0..TRIES {
        let opened = match source.open(&object).await? {
            Opened::Object(opened) => opened,
            Opened::Skipped(reason) => return Ok(Next::Skipped(object, reason)),
        };
        // It may have grown since it was listed.
        if opened.size > SMALL_BYTES {
            return Ok(Next::Streamed(object));
        }
        let (head, mut body) = Body::of(&source, &object.key, opened);
        match body.read_whole().await {
            Ok(bytes) => return Ok(Next::Whole(object, head, bytes)),
            Err(ReadError::Changed) => {}
            Err(ReadError::Failed(error)) => return Err(error),
        }
    }
    Err(ReadError::Changed.torn(&object.key))
}
