//! Pages of a listing, of which some are asked for while one is in use.

use std::{collections::VecDeque, mem, sync::Arc};

use tokio::sync::mpsc;

use super::super::{failure::of_listing, object::Source, task::Task};
use crate::{error::SliceError, ports::ListedObject};

/// Pages that were gone through before are asked for so many at a time.
const PLANNED_AHEAD: usize = 4;

/// Pages one after the other. The next is asked for while one is in use.
pub(super) struct Pages {
    pages: mpsc::Receiver<Result<Vec<ListedObject>, SliceError>>,
    _turning: Task<()>,
}

impl Pages {
    /// What stands behind the whole key `after` and up to the whole key `until`.
    pub(super) fn new(source: &Source, after: Option<String>, until: Option<String>) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let (media, bucket, prefix) = (source.media.clone(), source.bucket.clone(), source.prefix.clone());
        let turning = Task::spawn(async move {
            let mut token: Option<String> = None;
            loop {
                let page = media.list(&bucket, &prefix, after.as_deref(), token.as_deref()).await;
                let (page, next) = match page {
                    Ok(page) => {
                        let mut objects = page.objects;
                        let ends = ends(&mut objects, until.as_deref());
                        (Ok(objects), page.next.filter(|_| !ends))
                    }
                    Err(error) => (Err(of_listing(&bucket, &error)), None),
                };
                token = next;
                if sender.send(page).await.is_err() || token.is_none() {
                    return;
                }
            }
        });
        Self { pages, _turning: turning }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, SliceError> {
        self.pages.recv().await.transpose()
    }
}

/// Leaves out what stands behind `until`; says whether there is nothing more up to it.
pub(super) fn ends(objects: &mut Vec<ListedObject>, until: Option<&str>) -> bool {
    let Some(until) = until else { return false };
    let reached = objects.last().is_some_and(|last| last.key.as_str() >= until);
    objects.retain(|object| object.key.as_str() <= until);
    reached
}

/// A page that was gone through before.
pub(super) struct Planned {
    /// The whole key of its last object.
    pub(super) last: String,
    /// Its objects, if they were kept.
    pub(super) objects: Option<Vec<ListedObject>>,
}

/// Pages that were gone through before, in their order. What has been added since between two of their keys is among them.
pub(super) struct PlannedPages {
    source: Arc<Source>,
    planned: VecDeque<Planned>,
    /// The last key of what is coming.
    after: Option<String>,
    coming: VecDeque<Coming>,
}

enum Coming {
    Kept(Vec<ListedObject>),
    Listed(Pages),
}

impl PlannedPages {
    pub(super) fn new(source: &Arc<Source>, planned: impl IntoIterator<Item = Planned>) -> Self {
        let planned = planned.into_iter().collect();
        Self { source: source.clone(), planned, after: None, coming: VecDeque::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, SliceError> {
        loop {
            while self.coming.len() < PLANNED_AHEAD
                && let Some(Planned { last, objects }) = self.planned.pop_front()
            {
                let after = self.after.replace(last.clone());
                self.coming.push_back(match objects {
                    Some(objects) => Coming::Kept(objects),
                    None => Coming::Listed(Pages::new(&self.source, after, Some(last))),
                });
            }
            match self.coming.front_mut() {
                None => return Ok(None),
                Some(Coming::Kept(objects)) => {
                    let objects = mem::take(objects);
                    self.coming.pop_front();
                    return Ok(Some(objects));
                }
                Some(Coming::Listed(pages)) => match pages.next().await? {
                    Some(objects) => return Ok(Some(objects)),
                    None => _ = self.coming.pop_front(),
                },
            }
        }
    }
}
