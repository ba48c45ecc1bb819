//! The objects below a prefix, in the order of their keys: gone through once to see how much there is, and then again.

mod alphabet;
mod pages;
mod sections;
#[cfg(test)]
mod tests;

use std::{sync::Arc, vec};

use holdfast_archive::assembly::Policy;

use super::{object::Source, scratch::is_scratch};
use crate::{error::SliceError, ports::ListedObject};
use pages::{Pages, PlannedPages};
use sections::{Section, Sections};

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

/// Goes through the listing, in several places at a time, and chooses how to lay out what is in it.
pub(super) async fn survey(source: &Arc<Source>) -> Result<Surveyed, SliceError> {
    let sections = Sections::list(source).await?;
    let whole = sections.into_iter().fold(Section::behind(None, None), Section::followed_by);
    let Section { survey, microseconds, pages, .. } = whole;
    let policy =
        survey.choose().map_err(|error| SliceError::permanent("artifact_too_large", error.to_string()))?;
    let listing = Listing::of(source, Further::Planned(PlannedPages::new(source, pages)));
    Ok(Surveyed { policy, listing, microseconds, manifest_bytes: survey.manifest_bytes() })
}

/// The objects of a bucket, one after the other.
pub(super) struct Listing {
    prefix: String,
    page: vec::IntoIter<ListedObject>,
    further: Further,
}

enum Further {
    /// Pages that nobody has seen, one after the other.
    Unknown(Pages),
    /// Pages that were gone through before.
    Planned(PlannedPages),
}

impl Listing {
    /// What stands behind the one key and up to the other, both relative to the prefix.
    pub(super) fn between(source: &Source, after: Option<&str>, until: Option<&str>) -> Self {
        let whole = |key: &str| format!("{}{key}", source.prefix);
        Self::of(source, Further::Unknown(Pages::new(source, after.map(whole), until.map(whole))))
    }

    fn of(source: &Source, further: Further) -> Self {
        Self { prefix: source.prefix.clone(), page: Vec::new().into_iter(), further }
    }

    /// The next object; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<ListedObject>, SliceError> {
        loop {
            for object in self.page.by_ref() {
                if belongs(&self.prefix, &object) {
                    return Ok(Some(object));
                }
            }
            let page = match &mut self.further {
                Further::Unknown(pages) => pages.next().await?,
                Further::Planned(pages) => pages.next().await?,
            };
            let Some(page) = page else { return Ok(None) };
            self.page = page.into_iter();
        }
    }
}

/// Whether it is a file of the storage that has this prefix.
pub(super) fn belongs(prefix: &str, object: &ListedObject) -> bool {
    !is_root(prefix, object) && !is_scratch(prefix, object)
}

/// Whether it is the marker that consoles leave for the folder which the archive's root stands for. A file that is
/// named by the whole prefix is a file.
fn is_root(prefix: &str, object: &ListedObject) -> bool {
    object.key == prefix && object.size == 0 && prefix.ends_with('/')
}
