//! Any set of keys, wherever it is divided, is the same listing as page after page.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::DateTime;
use holdfast_archive::assembly::{Policy, Survey};
use holdfast_domain::region::Region;
use proptest::prelude::*;
use rstest::rstest;

use super::{Listing, survey};
use crate::{
    engines::media::object::{Source, relative},
    ports::{ListedObject, MediaObject, MediaPage, MediaSource, StorageError},
};

/// A bucket of keys in their order, whose answers take different times: 20 to 35 ms.
struct Bucket {
    keys: Vec<String>,
    page: usize,
    random: AtomicU64,
    calls: AtomicUsize,
}

impl Bucket {
    fn new(keys: impl IntoIterator<Item = String>, page: usize, seed: u64) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort();
        keys.dedup();
        Self { keys, page, random: AtomicU64::new(seed), calls: AtomicUsize::new(0) }
    }

    fn objects<'a>(&'a self, prefix: &'a str, after: &'a str) -> impl Iterator<Item = ListedObject> + 'a {
        let from = self.keys.partition_point(|key| key.as_str() <= after);
        let keys = self.keys[from..].iter().filter(move |key| key.starts_with(prefix));
        keys.map(|key| ListedObject {
            key: key.clone(),
            size: (key.len() as u64 % 5) << 18,
            etag: "\"1\"".to_owned(),
            last_modified: DateTime::UNIX_EPOCH,
        })
    }
}

#[async_trait]
impl MediaSource for Bucket {
    async fn region(&self, bucket: &str) -> Result<Region, StorageError> {
        Err(StorageError::NotFound(bucket.to_owned()))
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let random = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20 + (random >> 60))).await;
        let after = token.or(after);
        let mut objects: Vec<_> = self.objects(prefix, after.unwrap_or("")).take(self.page + 1).collect();
        let next = (objects.len() > self.page).then(|| objects[self.page - 1].key.clone());
        objects.truncate(self.page);
        Ok(MediaPage { objects, next })
    }

    async fn open(
        &self,
        _bucket: &str,
        key: &str,
        _etag: Option<&str>,
        _offset: u64,
        _length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        Err(StorageError::NotFound(key.to_owned()))
    }

    async fn tags(&self, _bucket: &str, key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        Err(StorageError::NotFound(key.to_owned()))
    }
}

async fn keys(mut listing: Listing) -> Vec<String> {
    let mut keys = Vec::new();
    while let Some(object) = listing.next().await.unwrap() {
        keys.push(object.key);
    }
    keys
}

/// Where nobody waits, time goes at once.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

fn any_keys() -> impl Strategy<Value = Vec<String>> {
    let key = prop_oneof![
        4 => "m/[a-c/]{1,6}",
        4 => "m/[0-9]{3}",
        2 => "m/2026/[01][0-9]/[a-f0-9]{4}",
        2 => "m/.{1,4}",
        1 => "[a-z]{1,3}",
        1 => any::<String>().prop_filter("every key has a character", |key| !key.is_empty()),
    ];
    prop::collection::vec(key, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_keys_are_listed_once_in_their_order(
        keys_of_it in any_keys(), page in 1..6_usize, seed in any::<u64>(), prefix in prop_oneof![Just(""), Just("m/")],
        bounds in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let bucket = Arc::new(Bucket::new(keys_of_it, page, seed));
        let source = Arc::new(Source::new(bucket.clone(), "shop-media", prefix));
        let objects: Vec<_> = bucket.objects(prefix, "").collect();
        let expected: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
        let surveyed = run(survey(&source)).unwrap();
        let mut one_by_one = Survey::new(&Policy::LADDER);
        for object in &objects {
            one_by_one.add(relative(prefix, &object.key), object.size);
        }
        prop_assert_eq!(Ok(surveyed.policy), one_by_one.choose());
        prop_assert_eq!(surveyed.manifest_bytes, one_by_one.manifest_bytes());
        prop_assert_eq!(&run(keys(surveyed.listing)), &expected);
        if !expected.is_empty() {
            let (from, to) = (bounds.0.index(expected.len()), bounds.1.index(expected.len()));
            let (after, until) = (relative(prefix, &expected[from]), relative(prefix, &expected[to]));
            let between = run(async { keys(Listing::between(&source, Some(after), Some(until))).await });
            prop_assert_eq!(between, expected[(from + 1).min(to + 1)..=to].to_vec());
        }
    }
}

/// A name of 32 hexadecimal digits.
fn scattered(number: u64) -> String {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:016x}{:016x}", mixed ^ (mixed >> 29), mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9))
}

/// 100,000 keys and some, in pages of 200.
#[rstest]
#[case::numbers(|n: u64| format!("m/{n:09}"))]
#[case::scattered(|n: u64| format!("m/{}.jpg", scattered(n)))]
#[case::folders_by_date(|n: u64| format!("m/{}/{:02}/{:02}/IMG_{n}.jpg", 2016 + n / 10_000, n / 800 % 12 + 1, n / 25 % 28 + 1))]
#[case::nearly_all_in_one_folder(|n: u64| if n.is_multiple_of(50) { format!("m/{}/a", scattered(n)) } else { format!("m/thumbs/{n:07}") })]
#[case::names_of_users(|n: u64| format!("m/users/{}/{}/avatar.png", n % 4, scattered(n)))]
fn a_long_listing_is_gone_through_in_several_places(#[case] key: fn(u64) -> String) {
    let bucket = Arc::new(Bucket::new((0..100_000).map(key), 200, 1));
    let source = Arc::new(Source::new(bucket.clone(), "shop-media", "m/"));
    let pages = bucket.keys.len().div_ceil(200);
    let (took, listing) = run(async {
        let began = tokio::time::Instant::now();
        let listing = survey(&source).await.unwrap().listing;
        (began.elapsed(), listing)
    });
    let calls = bucket.calls.load(Ordering::Relaxed);
    let one_by_one = Duration::from_millis(27) * u32::try_from(pages).unwrap();
    assert!(took * 4 < one_by_one, "{took:?} are not a quarter of {one_by_one:?}");
    assert!(calls < pages + pages / 2, "{calls} calls for {pages} pages");
    assert!(run(keys(listing)) == bucket.keys);
    assert!(bucket.calls.load(Ordering::Relaxed) <= calls + pages, "what was kept is not listed again");
}

#[test]
fn a_short_listing_is_not_divided() {
    let bucket = Arc::new(Bucket::new((0..600).map(|n: u64| format!("m/{n:03}")), 200, 1));
    let source = Arc::new(Source::new(bucket.clone(), "shop-media", ""));
    assert!(run(async { keys(survey(&source).await.unwrap().listing).await }) == bucket.keys);
    assert_eq!(bucket.calls.load(Ordering::Relaxed), 3);
}
