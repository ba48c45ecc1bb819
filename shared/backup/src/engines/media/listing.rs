//! The objects below a prefix, in the order of their keys: gone through once to see how much there is, and then again.

use std::{collections::VecDeque, vec};

use holdfast_archive::assembly::{Policy, Survey};
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

/// Goes through the listing, and chooses how to lay out what is in it. Gives it back from its beginning.
pub(super) async fn survey(source: &Source) -> Result<(Policy, Listing), SliceError> {
    let (mut survey, mut kept, mut continued) = (Survey::new(&Policy::LADDER), VecDeque::new(), None);
    let mut pages = Pages::new(source, None);
    while let Some(page) = pages.next().await? {
        for object in page.objects.iter().filter(|object| !is_root(&source.prefix, object)) {
            survey.add(relative(&source.prefix, &object.key), object.size);
        }
        if kept.len() < KEPT_PAGES {
            continued = page.next;
            kept.push_back(page.objects);
        }
    }
    let policy =
        survey.choose().map_err(|error| SliceError::permanent("artifact_too_large", error.to_string()))?;
    let further = continued.map(|token| Pages::new(source, Some(token)));
    Ok((policy, Listing { prefix: source.prefix.clone(), page: Vec::new().into_iter(), kept, further }))
}

/// The objects of a bucket, one after the other.
pub(super) struct Listing {
    prefix: String,
    page: vec::IntoIter<ListedObject>,
    kept: VecDeque<Vec<ListedObject>>,
    further: Option<Pages>,
}

impl Listing {
    /// The next object; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ListedObject>, SliceError> {
        loop {
            for object in self.page.by_ref() {
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
    /// The pages from `token` on.
    fn new(source: &Source, mut token: Option<String>) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let (media, bucket, prefix) = (source.media.clone(), source.bucket.clone(), source.prefix.clone());
        let turning = Task::spawn(async move {
            loop {
                let page = media.list(&bucket, &prefix, token.as_deref()).await;
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
fn is_root(prefix: &str, object: &ListedObject) -> bool {
    object.key == prefix && object.size == 0 && prefix.ends_with('/')
}
