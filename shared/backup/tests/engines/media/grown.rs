//! Objects that have become much larger since they were listed: they are read, and not all at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use holdfast_backup::{
    engines::media::MediaEngine,
    ports::{ListedObject, MediaObject, MediaPage, MediaSource, StorageError},
};
use holdfast_domain::region::Region;

use super::*;

const OBJECTS: usize = 12;
const NOW: usize = 3 * MIB;

/// Objects listed with ten bytes, of which each has megabytes when it is opened. Counts the bytes that are alive.
#[derive(Clone, Default)]
struct Grown {
    alive: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Piece(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

impl Grown {
    /// The object in one piece, as an engine holds it.
    fn piece(&self) -> Bytes {
        let alive = self.alive.fetch_add(NOW, Ordering::SeqCst) + NOW;
        self.most.fetch_max(alive, Ordering::SeqCst);
        Bytes::from_owner(Piece(vec![7; NOW], self.alive.clone()))
    }
}

#[async_trait]
impl MediaSource for Grown {
    async fn region(&self, _bucket: &str) -> Result<Region, StorageError> {
        Ok(builders::region())
    }

    async fn list(
        &self,
        _bucket: &str,
        _prefix: &str,
        _after: Option<&str>,
        _token: Option<&str>,
    ) -> Result<MediaPage, StorageError> {
        let listed = |number| ListedObject {
            key: format!("{number:03}"),
            size: 10,
            etag: "\"listed\"".to_owned(),
            last_modified: builders::now(),
        };
        Ok(MediaPage { objects: (0..OBJECTS).map(listed).collect(), next: None })
    }

    async fn open(
        &self,
        _bucket: &str,
        key: &str,
        etag: Option<&str>,
        _offset: u64,
        _length: Option<u64>,
    ) -> Result<MediaObject, StorageError> {
        if etag.is_some_and(|etag| etag != "\"grown\"") {
            return Err(StorageError::Changed(key.to_owned()));
        }
        let source = self.clone();
        Ok(MediaObject {
            size: NOW as u64,
            etag: "\"grown\"".to_owned(),
            version_id: None,
            last_modified: builders::now(),
            content_type: None,
            cache_control: None,
            content_encoding: None,
            content_disposition: None,
            content_language: None,
            expires: None,
            website_redirect_location: None,
            metadata: BTreeMap::new(),
            tag_count: 0,
            body: stream::once(async move { Ok(source.piece()) }).boxed(),
        })
    }

    async fn tags(&self, _bucket: &str, _key: &str) -> Result<BTreeMap<String, String>, StorageError> {
        Ok(BTreeMap::new())
    }
}

#[tokio::test]
async fn objects_that_have_grown_are_read_one_at_a_time() {
    let (world, source) = (world(), Grown::default());
    let mut ports = world.ports.clone();
    ports.media = Arc::new(source.clone());
    let service = StorageService {
        name: builders::service_name("MEDIA"),
        bucket: BUCKET.to_owned(),
        prefix: String::new(),
    };
    let engine = MediaEngine::new(&ports, builders::slug("shop"), service);
    let stored = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await.unwrap();
    assert_eq!(contents(&stored), (OBJECTS as u64, (OBJECTS * NOW) as u64, &[][..], 0));
    let most = source.most.load(Ordering::SeqCst);
    assert!(most <= 2 * NOW, "{} objects were held at once", most / NOW);
}
