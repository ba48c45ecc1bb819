//! The files of an archive, put in the order of their keys: many at once, and counted as done in that order.

use std::{collections::VecDeque, sync::Arc};

use super::{
    super::{object::relative, task::Task},
    batch::Batch,
    comparison::{Comparison, Met},
    copied,
    manifest::Manifest,
    progress::{Deadlines, Reporter, Tally},
    selection::Selection,
    site::Site,
    trouble::Trouble,
    verdict::Verdict,
};
use crate::error::SliceError;

/// How many batches and copies are at work or wait for it. A slice that stops waits for all of them.
const AT_WORK: usize = 32;

/// The most bytes of a file that is read and not copied; those that Holdfast has read for a backup have a fourth of it.
const MOST_READ_BYTES: u64 = 256 << 20;

/// Puts every file behind where the restore is. Returns whether it came to the end before the time was up.
pub(super) async fn put(
    site: &Arc<Site>,
    manifest: &Arc<Manifest>,
    selection: &Selection,
    deadlines: Deadlines,
    reporter: &mut Reporter<'_>,
) -> Result<bool, SliceError> {
    let after = reporter.progress.after.clone();
    let mut comparison = Comparison::new(site, manifest, selection, after.as_deref());
    let mut queue = Queue::default();
    let mut batch = Batch::default();
    let mut has_begun = false;
    // The last that was passed by before anything was begun: a listing may have very many before the first file.
    let mut passed = None;
    let ended = loop {
        if (has_begun || passed.is_some()) && tokio::time::Instant::now() >= deadlines.soft {
            break false;
        }
        let met = reporter.during(comparison.next()).await?.map_err(Trouble::into_error)?;
        let (object, found) = match met {
            Some(Met::Archived(object, found)) => (*object, found),
            Some(Met::Skipped(skipped)) => {
                passed = Some(skipped.key);
                continue;
            }
            Some(Met::Extra(extra)) => {
                passed = Some(relative(&site.prefix, &extra.key).to_owned());
                continue;
            }
            None => break true,
        };
        has_begun = true;
        let end = object.offset.checked_add(object.size);
        if end.is_none_or(|end| end > site.tar.size) {
            let what = format!("the manifest places {:?} beyond the end of the archive", object.key);
            return Err(Trouble::damaged(what).into_error());
        }
        let verdict = Verdict::of_listing(&object, found.as_ref());
        match object.crc64nvme {
            _ if verdict == Some(Verdict::Unchanged) => batch.pass(&object),
            // Of what was read when it was backed up the SHA-256 is known, and it is compared again.
            Some(whole) if object.sha256.is_none() && object.size > 0 => {
                queue.push_batch(site, std::mem::take(&mut batch));
                let key = object.key.clone();
                queue.push(key, Task::spawn(copied::copy(site.clone(), object, whole, found)));
            }
            _ if object.size > MOST_READ_BYTES => {
                let what = format!(
                    "the manifest has no CRC64NVME of {:?}, which is too large to be read",
                    object.key
                );
                return Err(Trouble::damaged(what).into_error());
            }
            _ => {
                if !batch.takes(&object) {
                    queue.push_batch(site, std::mem::take(&mut batch));
                }
                batch.add(object, found.is_some());
            }
        }
        if batch.is_full() {
            queue.push_batch(site, std::mem::take(&mut batch));
        }
        while queue.is_full() {
            queue.settle(reporter).await?;
        }
    };
    if !ended && !has_begun {
        reporter.progress.after = passed;
        return Ok(false);
    }
    queue.push_batch(site, batch);
    let drained = tokio::time::timeout_at(deadlines.hard, queue.drain(reporter)).await;
    match drained {
        Ok(drained) => drained.map(|()| ended),
        // What is left is begun again by the next slice.
        Err(_) => Ok(false),
    }
}

/// Work that goes on, in the order of the keys.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(String, Task<Result<Tally, SliceError>>)>,
}

impl Queue {
    fn push(&mut self, last: String, work: Task<Result<Tally, SliceError>>) {
        self.waiting.push_back((last, work));
    }

    fn push_batch(&mut self, site: &Arc<Site>, batch: Batch) {
        if let Some(last) = batch.last().map(str::to_owned) {
            self.push(last, Task::spawn(batch.carry_out(site.clone())));
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= AT_WORK
    }

    /// Waits for the first, and counts it.
    async fn settle(&mut self, reporter: &mut Reporter<'_>) -> Result<(), SliceError> {
        let Some((_, work)) = self.waiting.front_mut() else { return Ok(()) };
        let tally = reporter.during(work.ended()).await???;
        if let Some((key, _)) = self.waiting.pop_front() {
            reporter.progress.advance(key, tally);
        }
        Ok(())
    }

    async fn drain(&mut self, reporter: &mut Reporter<'_>) -> Result<(), SliceError> {
        while !self.waiting.is_empty() {
            self.settle(reporter).await?;
        }
        Ok(())
    }
}
