//! The objects below a prefix, in the order of their keys: gone through once to see how much there is, and then again.

use std::{collections::VecDeque, vec};

use holdfast_archive::assembly::{Pace, Policy, Survey};
use tokio::sync::mpsc;

use super::{
    failure::of_listing,
    object::{Source, relative},
    task::Task,
};
use crate::{
    error::SliceError,
    ports::{ListedObject, MediaPage},
};

/// Pages of 1,000 objects that are kept from the first time to the second, some 10 MiB; what lies behind them is listed
/// twice.
const KEPT_PAGES: usize = 40;

/// A listing that was gone through.
pub(super) struct Surveyed {
    /// How to lay out what is in it.
    pub(super) policy: Policy,
    /// The listing, from its beginning.
    pub(super) listing: Listing,
    /// How long one function takes to archive it, at a guess, in microseconds.
    pub(super) microseconds: u64,
    /// How long its manifest will be, at a guess, in bytes.
    pub(super) manifest_bytes: u64,
}

/// Goes through the listing, and chooses how to lay out what is in it.
pub(super) async fn survey(source: &Source) -> Result<Surveyed, SliceError> {
    let (mut survey, mut kept, mut continued) = (Survey::new(&Policy::LADDER), VecDeque::new(), None);
    let mut microseconds = 0_u64;
    let mut pages = Pages::new(source, None, None);
    while let Some(page) = pages.next().await? {
        for object in page.objects.iter().filter(|object| !is_root(&source.prefix, object)) {
            survey.add(relative(&source.prefix, &object.key), object.size);
            let time = Pace::FUNCTION.microseconds(&Policy::LADDER[0], object.size);
            microseconds = microseconds.saturating_add(time);
        }
        if kept.len() < KEPT_PAGES {
            continued = page.next;
            kept.push_back(page.objects);
        }
    }
    let policy =
        survey.choose().map_err(|error| SliceError::permanent("artifact_too_large", error.to_string()))?;
    let further = continued.map(|token| Pages::new(source, None, Some(token)));
    let listing = Listing { kept, ..Listing::of(source, further, None) };
    Ok(Surveyed { policy, listing, microseconds, manifest_bytes: survey.manifest_bytes() })
}

/// The objects of a bucket, one after the other.
pub(super) struct Listing {
    prefix: String,
    page: vec::IntoIter<ListedObject>,
    kept: VecDeque<Vec<ListedObject>>,
    further: Option<Pages>,
    /// The whole key of the last object, if it is not the bucket's end that ends it.
    until: Option<String>,
}

impl Listing {
    /// What stands behind the one key and up to the other, both relative to the prefix.
    pub(super) fn between(source: &Source, after: Option<&str>, until: Option<&str>) -> Self {
        let whole = |key: &str| format!("{}{key}", source.prefix);
        let pages = Pages::new(source, after.map(whole), None);
        Self::of(source, Some(pages), until.map(whole))
    }

    fn of(source: &Source, further: Option<Pages>, until: Option<String>) -> Self {
        let page = Vec::new().into_iter();
        Self { prefix: source.prefix.clone(), page, kept: VecDeque::new(), further, until }
    }

    /// The next object; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ListedObject>, SliceError> {
        loop {
            for object in self.page.by_ref() {
                if self.until.as_ref().is_some_and(|until| object.key > *until) {
                    (self.kept, self.further) = (VecDeque::new(), None);
                    self.page = Vec::new().into_iter();
                    return Ok(None);
                }
                if !is_root(&self.prefix, &object) {
                    return Ok(Some(object));
                }
            }
            let page = match (self.kept.pop_front(), &mut self.further) {
                (Some(page), _) => Some(page),
                (None, Some(pages)) => pages.next().await?.map(|page| page.objects),
                (None, None) => None,
            };
            let Some(page) = page else { return Ok(None) };
            self.page = page.into_iter();
        }
    }
}

/// Pages of a listing, of which the next is asked for while one is in use.
struct Pages {
    pages: mpsc::Receiver<Result<MediaPage, SliceError>>,
    _turning: Task<()>,
}

impl Pages {
    /// The pages behind the whole key `after`, or from `token` on.
    fn new(source: &Source, after: Option<String>, mut token: Option<String>) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let (media, bucket, prefix) = (source.media.clone(), source.bucket.clone(), source.prefix.clone());
        let turning = Task::spawn(async move {
            loop {
                let page = media.list(&bucket, &prefix, after.as_deref(), token.as_deref()).await;
                token = page.as_ref().ok().and_then(|page| page.next.clone());
                let page = page.map_err(|error| of_listing(&bucket, &error));
                if sender.send(page).await.is_err() || token.is_none() {
                    return;
                }
            }
        });
        Self { pages, _turning: turning }
    }

    async fn next(&mut self) -> Result<Option<MediaPage>, SliceError> {
        self.pages.recv().await.transpose()
    }
}

/// Whether it is the marker that consoles leave for the folder which the archive's root stands for. A file that is
/// named by the whole prefix is a file.
pub(super) fn is_root(prefix: &str, object: &ListedObject) -> bool {
    object.key == prefix && object.size == 0 && prefix.ends_with('/')
}
