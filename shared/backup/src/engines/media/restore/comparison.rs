//! What the archive has beside what is there: both are in the order of their keys, and are gone through side by side.

use std::{collections::VecDeque, sync::Arc};

use holdfast_archive::manifest::{ManifestLine, SkippedObject, StoredObject};

use super::{
    super::object::relative,
    manifest::{Lines, Manifest},
    selection::{Scope, Selection},
    site::Site,
    there::There,
    trouble::Trouble,
};
use crate::ports::ListedObject;

/// What comes next in the order of the keys.
pub(super) enum Met {
    /// A file or a folder of the archive, and what is in its place.
    Archived(Box<StoredObject>, Option<ListedObject>),
    /// A file that was listed and is not in the archive: nobody knows what it was, so that whatever is there is left alone.
    Skipped(SkippedObject),
    /// What is there and not in the archive.
    Extra(ListedObject),
}

/// The files of an archive, and the objects that are in their places. Memory: some pages of each.
pub(super) struct Comparison {
    site: Arc<Site>,
    manifest: Arc<Manifest>,
    /// The key that it begins behind.
    after: Option<String>,
    scopes: VecDeque<Scope>,
    lines: Option<Lines>,
    there: Option<There>,
    line: Option<ManifestLine>,
    object: Option<ListedObject>,
    last_line: Option<String>,
}

impl Comparison {
    /// Of what was selected, all behind the key `after`.
    pub(super) fn new(
        site: &Arc<Site>,
        manifest: &Arc<Manifest>,
        selection: &Selection,
        after: Option<&str>,
    ) -> Self {
        Self {
            site: site.clone(),
            manifest: manifest.clone(),
            after: after.map(str::to_owned),
            scopes: selection.scopes(after).collect(),
            lines: None,
            there: None,
            line: None,
            object: None,
            last_line: None,
        }
    }

    /// The next, by its key relative to the prefix; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Met>, Trouble> {
        loop {
            if self.line.is_none() {
                self.line = self.next_line().await?;
            }
            if self.object.is_none()
                && let Some(there) = &mut self.there
            {
                self.object = there.next().await.map_err(Trouble::Failed)?;
            }
            let line_key = self.line.as_ref().map(ManifestLine::key);
            let object_key = self.object.as_ref().map(|object| relative(&self.site.prefix, &object.key));
            let (takes_line, takes_object) = match (line_key, object_key) {
                (Some(line), Some(object)) => (line <= object, object <= line),
                (line, object) => (line.is_some(), object.is_some()),
            };
            let line = if takes_line { self.line.take() } else { None };
            let object = if takes_object { self.object.take() } else { None };
            match (line, object) {
                (Some(ManifestLine::File(file) | ManifestLine::Directory(file)), object) => {
                    return Ok(Some(Met::Archived(Box::new(file), object)));
                }
                (Some(ManifestLine::Skipped(skipped)), _) => return Ok(Some(Met::Skipped(skipped))),
                (None, Some(object)) => return Ok(Some(Met::Extra(object))),
                (None, None) => {
                    let Some(scope) = self.scopes.pop_front() else { return Ok(None) };
                    self.begin(scope);
                }
            }
        }
    }

    fn begin(&mut self, scope: Scope) {
        self.there = Some(There::of(&self.site, &scope, self.after.as_deref()));
        self.lines = Some(Lines::of(self.manifest.clone(), scope, self.after.clone()));
    }

    async fn next_line(&mut self) -> Result<Option<ManifestLine>, Trouble> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let Some(line) = lines.next().await? else {
            self.lines = None;
            return Ok(None);
        };
        // Out of order, files that are in the archive would seem not to be.
        if self.last_line.as_deref().is_some_and(|last| last >= line.key()) {
            return Err(Trouble::damaged(format!("the manifest is not in order at {:?}", line.key())));
        }
        self.last_line = Some(line.key().to_owned());
        Ok(Some(line))
    }
}
