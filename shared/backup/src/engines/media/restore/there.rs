//! The objects that are there, page by page.

use std::{sync::Arc, vec};

use super::{
    super::{failure::of_listing, listing::belongs, task::Task},
    selection::Scope,
    site::Site,
};
use crate::{
    error::SliceError,
    ports::{ListedObject, MediaPage, StorageError},
};

/// The objects that are there of one scope. The next page is asked for while one is in use.
pub(super) struct There {
    site: Arc<Site>,
    /// What the whole key of each begins with.
    start: String,
    /// Whether the scope is only the key that it begins with.
    is_one: bool,
    turning: Option<Task<Result<MediaPage, StorageError>>>,
    page: vec::IntoIter<ListedObject>,
    last: Option<String>,
}

impl There {
    /// Those of `scope` behind the key `after`, which is relative to the prefix.
    pub(super) fn of(site: &Arc<Site>, scope: &Scope, after: Option<&str>) -> Self {
        // A folder that is an object itself has the key that its scope begins with.
        let after = after.filter(|after| *after >= scope.start()).map(|after| site.key(after));
        let mut there = Self {
            site: site.clone(),
            start: site.key(scope.start()),
            is_one: matches!(scope, Scope::Exactly(_)),
            turning: None,
            page: Vec::new().into_iter(),
            last: None,
        };
        there.turn(after, None);
        there
    }

    /// The next object; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ListedObject>, SliceError> {
        loop {
            for object in self.page.by_ref() {
                if self.is_one && object.key != self.start {
                    (self.turning, self.page) = (None, Vec::new().into_iter());
                    return Ok(None);
                }
                if self.last.as_ref().is_some_and(|last| *last >= object.key) {
                    return Err(SliceError::permanent(
                        "bucket_unordered",
                        format!(
                            "the bucket lists {:?} out of order, and files cannot be restored into such a one",
                            object.key
                        ),
                    ));
                }
                self.last = Some(object.key.clone());
                if belongs(&self.site.prefix, &object) {
                    return Ok(Some(object));
                }
            }
            let Some(turning) = self.turning.take() else { return Ok(None) };
            let page = turning.join().await?.map_err(|error| of_listing(&self.site.bucket, &error))?;
            if let Some(next) = page.next {
                self.turn(None, Some(next));
            }
            self.page = page.objects.into_iter();
        }
    }

    fn turn(&mut self, after: Option<String>, token: Option<String>) {
        let (site, start) = (self.site.clone(), self.start.clone());
        self.turning = Some(Task::spawn(async move {
            site.media.list(&site.bucket, &start, after.as_deref(), token.as_deref()).await
        }));
    }
}
