//! What the archive has beside what is there, counted and put into words.

use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};
use holdfast_archive::{
    assembly::{Pace, Policy},
    manifest::StoredObject,
};
use holdfast_domain::restore::{MediaChanges, MediaMode, Preflight, Refusal};

use super::{
    super::object::relative,
    MediaRestorer,
    comparison::{Comparison, Met},
    manifest::Manifest,
    removals::is_later,
    site::Site,
    trouble::Trouble,
    verdict::Verdict,
};
use crate::{error::SliceError, ports::ListedObject};

/// How many names of one kind are said before the rest is only counted.
const SAID: usize = 5;

/// How many checksums are asked for at once.
const ASKED: usize = 32;

/// The most bytes of a key. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
const KEY_BYTES: usize = 1024;

/// What was seen of the archive beside what is there.
#[derive(Default)]
pub(super) struct Seen {
    changes: MediaChanges,
    /// Bytes and files that are to be written.
    bytes: u64,
    files: u64,
    microseconds: u64,
    /// Files of the backup that are not in the archive.
    skipped: u64,
    replaced: Vec<String>,
    removed: Vec<String>,
    refusals: Vec<Refusal>,
    impossible: Vec<String>,
    impossible_count: u64,
}

impl MediaRestorer {
    /// Goes through the archive and through what is in the place of its files.
    pub(super) async fn compare(&self, manifest: &Arc<Manifest>) -> Result<Seen, Trouble> {
        let mut comparison = Comparison::new(&self.site, manifest, &self.selection, None);
        let (mut seen, mut unseen) = (Seen::default(), self.selection.unseen());
        let mut asking = FuturesUnordered::new();
        while let Some(met) = comparison.next().await? {
            match met {
                Met::Archived(object, found) => {
                    unseen.saw(&object.key);
                    if let Some(verdict) = Verdict::of_listing(&object, found.as_ref()) {
                        seen.file(&self.site, &object, verdict);
                        continue;
                    }
                    if asking.len() >= ASKED
                        && let Some(answer) = asking.next().await
                    {
                        seen.answer(&self.site, answer)?;
                    }
                    asking.push(ask(self.site.clone(), object));
                }
                Met::Skipped(skipped) => {
                    seen.skipped += 1;
                    if unseen.names(&skipped.key) && !self.is_undo {
                        seen.refusals.push(Refusal::new(
                            "file_skipped",
                            format!("the file {:?} is not in the archive: {}", skipped.key, skipped.reason),
                            "leave it out, or restore it from another backup",
                        ));
                    }
                    unseen.saw(&skipped.key);
                }
                Met::Extra(object) => self.extra(&mut seen, &object),
            }
        }
        while let Some(answer) = asking.next().await {
            seen.answer(&self.site, answer)?;
        }
        // What an undo does not find was not there before, and is removed.
        for name in unseen.left().filter(|_| !self.is_undo) {
            let (what, fix) = if name.ends_with('/') {
                (format!("nothing in the backup begins with {name:?}"), "name another folder")
            } else {
                (
                    format!("the backup has no file {name:?}"),
                    "look for it in the list of the backup's files; what is below a folder is named by a `/` at the end",
                )
            };
            seen.refusals.push(Refusal::new("file_missing", what, fix));
        }
        Ok(seen)
    }

    fn extra(&self, seen: &mut Seen, object: &ListedObject) {
        if self.options.media == MediaMode::Mirror && !is_later(object, self.since) {
            seen.changes.removed += 1;
            say(&mut seen.removed, relative(&self.site.prefix, &object.key));
        }
    }

    /// Puts into words what was seen.
    pub(super) fn describe(&self, seen: Seen, found: &mut Preflight) {
        let Seen { changes, bytes, files, microseconds, skipped, .. } = seen;
        let MediaChanges { added, replaced, unchanged, removed } = changes;
        found.changes = Some(changes);
        found.bytes = bytes;
        found.estimated_seconds = microseconds.div_ceil(1_000_000);
        found.refusals.extend(seen.refusals);
        if !self.options.overwrite && !self.is_rehearsal && replaced + removed > 0 {
            let such: Vec<_> = seen.replaced.iter().chain(&seen.removed).take(SAID).collect();
            found.refusals.push(Refusal::new(
                "overwrite_needed",
                format!("{replaced} files would be replaced and {removed} removed, such as {such:?}"),
                "ask for `overwrite`, or restore below another prefix of the storage",
            ));
        }
        if seen.impossible_count > 0 {
            found.refusals.push(Refusal::new(
                "key_impossible",
                format!(
                    "{} files would get keys of more than {KEY_BYTES} bytes or of none, such as {:?}",
                    seen.impossible_count, seen.impossible
                ),
                if self.is_rehearsal {
                    "have the backup only read: these cannot be put into a place of their own"
                } else {
                    "restore into a shorter prefix, or name the files that are to be restored"
                },
            ));
        }
        let place = self.site.name();
        if self.is_rehearsal {
            found
                .steps
                .push(format!("put {} files at {place}; {bytes} bytes in all", added + replaced + unchanged));
            found.steps.push(
                "compare each with the archive: its size, its checksum, and what stands beside it".to_owned(),
            );
            found.steps.push("remove them all".to_owned());
            found.notes.push(
                "In a bucket that keeps versions, those of what was removed stay as long as its rules say."
                    .to_owned(),
            );
            return;
        }
        found.steps.push(format!(
            "compare the archive with what is in {place}: {unchanged} files are there as they were"
        ));
        if files > 0 {
            found.steps.push(format!(
                "put {added} files that are not there, and replace {replaced}; {bytes} bytes in all"
            ));
        }
        if removed > 0 {
            found
                .steps
                .push(format!("when all files are there, remove {removed} that the backup does not have"));
        }
        self.note(skipped, &changes, found);
    }

    fn note(&self, skipped: u64, changes: &MediaChanges, found: &mut Preflight) {
        let notes = &mut found.notes;
        if changes.added + changes.replaced + changes.removed > 0 {
            notes.push(
                "Files are put one by one: a restore that fails halfway leaves those that it has put. Restoring again goes on with \
                 the others."
                    .to_owned(),
            );
        }
        if changes.replaced + changes.removed > 0 {
            notes.push(
                "What is replaced or removed is in the safety backup, unless there is none, or in the bucket's own versions."
                    .to_owned(),
            );
        }
        if changes.unchanged > 0 {
            notes.push(
                "Files with the size and entity tag, or the checksum, of those in the backup are left as they are, with the headers \
                 and tags that they have now."
                    .to_owned(),
            );
        }
        if skipped > 0 {
            notes.push(format!(
                "{skipped} files were listed when the backup was made and are not in it; what is in their places now stays."
            ));
        }
        if self.options.media == MediaMode::Mirror {
            notes.push("Files that were written after the restore was asked for are not removed.".to_owned());
        }
        notes.push(
            "Files come back with their headers, metadata and tags, as the bucket makes new objects: without access control lists \
             of their own, and in the Standard class."
                .to_owned(),
        );
    }
}

impl Seen {
    fn file(&mut self, site: &Site, object: &StoredObject, verdict: Verdict) {
        verdict.count(&mut self.changes);
        if verdict == Verdict::Unchanged {
            return;
        }
        self.files += 1;
        self.bytes += object.size;
        let time = Pace::FUNCTION.microseconds(&Policy::LADDER[0], object.size);
        self.microseconds = self.microseconds.saturating_add(time);
        if verdict == Verdict::Replaced {
            say(&mut self.replaced, &object.key);
        }
        let bytes = site.prefix.len() + object.key.len();
        if bytes == 0 || bytes > KEY_BYTES {
            self.impossible_count += 1;
            say(&mut self.impossible, &object.key);
        }
    }

    fn answer(
        &mut self,
        site: &Site,
        (object, verdict): (Box<StoredObject>, Result<Verdict, SliceError>),
    ) -> Result<(), Trouble> {
        self.file(site, &object, verdict.map_err(Trouble::Failed)?);
        Ok(())
    }
}

async fn ask(site: Arc<Site>, object: Box<StoredObject>) -> (Box<StoredObject>, Result<Verdict, SliceError>) {
    let verdict = Verdict::of_checksum(&site, &object).await;
    (object, verdict)
}

fn say(names: &mut Vec<String>, name: &str) {
    if names.len() < SAID {
        names.push(name.to_owned());
    }
}
