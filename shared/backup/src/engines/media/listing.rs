//! The objects below a prefix, in the order of their keys, a page ahead.

use std::vec;

use tokio::sync::mpsc;

use super::{failure::of_listing, object::Source, task::Task};
use crate::{
    error::SliceError,
    ports::{ListedObject, MediaPage},
};

/// A listing under way. It holds three pages of 1,000 objects at most: the one in use, the next, the one after.
pub(super) struct Listing {
    prefix: String,
    page: vec::IntoIter<ListedObject>,
    pages: mpsc::Receiver<Result<MediaPage, SliceError>>,
    _turning: Task<()>,
}

impl Listing {
    pub(super) fn new(source: &Source, prefix: &str) -> Self {
        let (sender, pages) = mpsc::channel(1);
        let (media, bucket) = (source.media.clone(), source.bucket.clone());
        let wanted = prefix.to_owned();
        let turning = Task::spawn(async move {
            let mut token = None;
            loop {
                let page = media.list(&bucket, &wanted, token.as_deref()).await;
                token = page.as_ref().ok().and_then(|page| page.next.clone());
                let page = page.map_err(|error| of_listing(&bucket, &error));
                if sender.send(page).await.is_err() || token.is_none() {
                    return;
                }
            }
        });
        Self { prefix: prefix.to_owned(), page: Vec::new().into_iter(), pages, _turning: turning }
    }

    /// The next object; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ListedObject>, SliceError> {
        loop {
            for object in self.page.by_ref() {
                if !is_root(&self.prefix, &object) {
                    return Ok(Some(object));
                }
            }
            match self.pages.recv().await {
                Some(page) => self.page = page?.objects.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

/// Whether it is the marker that consoles leave for the folder which the archive's root stands for. A file that is
/// named by the whole prefix is a file.
fn is_root(prefix: &str, object: &ListedObject) -> bool {
    object.key == prefix && object.size == 0 && prefix.ends_with('/')
}
