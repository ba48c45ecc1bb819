//! A listing gone through in several places at a time.
//!
//! A call lists a thousand keys, and only its answer tells where the next begin. But a call may begin behind any key. So the
//! keys are divided into sections, each gone through page after page while others are: one that turns out to be long gives
//! away what lies behind about the middle of what is left of it. Where that is, is a guess; a wrong one costs a call that
//! finds nothing. Together the sections are what one after the other would have been.

use std::sync::Arc;

use futures::{StreamExt, stream::FuturesUnordered};
use holdfast_archive::{
    assembly::{Pace, Policy, Survey},
    tar::OutOfOrder,
};

use super::{
    super::{
        failure::{of_listing, of_listing_order},
        object::{Source, relative},
        task::Task,
    },
    alphabet::Alphabet,
    belongs,
    pages::{Planned, ends},
};
use crate::{error::SliceError, ports::MediaPage};

/// Calls at a time. Each holds a page of 1,000 objects, some 2 MiB with its text.
const CALLS: usize = 8;

/// A section is divided when it has had so many pages. Most buckets have fewer, and nothing to gain.
const UNDIVIDED_PAGES: usize = 3;

/// Pages of 1,000 objects that are kept from the first time to the second, some 10 MiB; the others are listed twice.
const KEPT_PAGES: usize = 40;

/// Of so many keys of a page one is looked at for the characters that keys are made of.
const LEARNED_EVERY: usize = 25;

/// What stands behind one key and up to another.
pub(super) struct Section {
    after: Option<String>,
    until: Option<String>,
    /// Where the page before the last ended, or the last began if it is the first.
    before: Option<String>,
    /// Token of the next page; none before the first, and at the end.
    token: Option<String>,
    has_ended: bool,
    /// The pages, by their last keys.
    pub(super) pages: Vec<Planned>,
    /// How much there is.
    pub(super) survey: Survey,
    /// How long one function takes to archive it, at a guess, in microseconds.
    pub(super) microseconds: u64,
}

impl Section {
    /// What stands behind the whole key `after` and up to the whole key `until`, of which nothing was seen.
    pub(super) fn behind(after: Option<String>, until: Option<String>) -> Self {
        Self {
            after,
            until,
            before: None,
            token: None,
            has_ended: false,
            pages: Vec::new(),
            survey: Survey::new(&Policy::LADDER),
            microseconds: 0,
        }
    }

    /// This one and the next, as one.
    pub(super) fn followed_by(mut self, next: Self) -> Self {
        self.survey.append(&next.survey);
        self.pages.extend(next.pages);
        self.microseconds = self.microseconds.saturating_add(next.microseconds);
        Self { until: next.until, has_ended: next.has_ended, ..self }
    }

    /// The last key so far.
    fn last(&self) -> Option<&str> {
        self.pages.last().map(|page| page.last.as_str())
    }

    /// Adds a page; says whether that was the last.
    fn take(&mut self, source: &Source, page: MediaPage, keep: bool) -> Result<bool, SliceError> {
        let MediaPage { mut objects, next } = page;
        let mut previous = self.last().or(self.after.as_deref());
        // What comes in another order would be taken for what another section has.
        for object in &objects {
            if let Some(previous) = previous.filter(|previous| *previous >= object.key.as_str()) {
                let [key, previous] =
                    [object.key.as_str(), previous].map(|key| relative(&source.prefix, key).to_owned());
                return Err(of_listing_order(&OutOfOrder { key, previous }));
            }
            previous = Some(&object.key);
        }
        self.has_ended = ends(&mut objects, self.until.as_deref()) || next.is_none();
        self.token = next;
        for object in objects.iter().filter(|object| belongs(&source.prefix, object)) {
            self.survey.add(relative(&source.prefix, &object.key), object.size);
            let time = Pace::FUNCTION.microseconds(&Policy::LADDER[0], object.size);
            self.microseconds = self.microseconds.saturating_add(time);
        }
        if let (Some(first), Some(last)) = (objects.first(), objects.last()) {
            self.before = Some(self.last().unwrap_or(&first.key).to_owned());
            self.pages.push(Planned { last: last.key.clone(), objects: keep.then_some(objects) });
        }
        Ok(self.has_ended)
    }
}

/// The sections of a listing, in the order in which they were made.
pub(super) struct Sections {
    source: Arc<Source>,
    all: Vec<Section>,
    alphabet: Alphabet,
    kept: usize,
}

impl Sections {
    /// Goes through the listing. The sections that come back are in the order of their keys.
    pub(super) async fn list(source: &Arc<Source>) -> Result<Vec<Section>, SliceError> {
        let all = vec![Section::behind(None, None)];
        let mut this = Self { source: source.clone(), all, alphabet: Alphabet::default(), kept: 0 };
        let mut calls = FuturesUnordered::from_iter([this.call(0)]);
        while let Some((number, page)) = calls.next().await {
            let page = page?;
            for object in page.objects.iter().step_by(LEARNED_EVERY) {
                this.alphabet.learn(&object.key);
            }
            let keep = this.kept < KEPT_PAGES;
            this.kept += usize::from(!page.objects.is_empty());
            if !this.all[number].take(&this.source, page, keep)? {
                calls.push(this.call(number));
            }
            while calls.len() < CALLS
                && let Some(number) = this.divide()
            {
                calls.push(this.call(number));
            }
        }
        this.all.sort_by(|one, other| one.after.cmp(&other.after));
        Ok(this.all)
    }

    /// Asks for the next page of the section of that number.
    fn call(&self, number: usize) -> impl Future<Output = (usize, Result<MediaPage, SliceError>)> + use<> {
        let Source { media, bucket, prefix, .. } = &*self.source;
        let (media, bucket, prefix) = (media.clone(), bucket.clone(), prefix.clone());
        let Section { after, token, .. } = &self.all[number];
        let (after, token) = (after.clone(), token.clone());
        let call = Task::spawn(async move {
            let page = media.list(&bucket, &prefix, after.as_deref(), token.as_deref()).await;
            page.map_err(|error| of_listing(&bucket, &error))
        });
        async move { (number, call.join().await.flatten()) }
    }

    /// Divides the section of which most is left, at a guess; the number of the new one. None if no section has much more than
    /// the page that it is waiting for.
    fn divide(&mut self) -> Option<usize> {
        let long = self.all.iter().enumerate().filter_map(|(number, section)| {
            let (before, last) = (section.before.as_deref()?, section.last()?);
            if section.has_ended || section.pages.len() < UNDIVIDED_PAGES {
                return None;
            }
            let until = section.until.as_deref();
            let (pages, middle) =
                (self.alphabet.times(before, last, until), self.alphabet.middle(last, until)?);
            (pages > 2.0).then_some((pages, number, middle))
        });
        let (_, number, middle) = long.max_by(|(one, ..), (other, ..)| one.total_cmp(other))?;
        let until = self.all[number].until.replace(middle.clone());
        self.all.push(Section::behind(Some(middle), until));
        Some(self.all.len() - 1)
    }
}
