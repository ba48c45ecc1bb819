//! Files of an archive back into a bucket: as they were, file by file, whatever happens meanwhile.

mod bad_days;
mod mirrored;
mod refused;
mod rehearsed;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use holdfast_backup::{
    engines::{
        self, Clients,
        restorer::{self, Outcome, RestoreObserver, Restorer, Restoring},
    },
    error::SliceError,
    ports::{ArtifactStore, MediaSource, MediaTarget, ObjectHeaders},
    upload::store,
};
use holdfast_domain::{
    application::{Service, StorageService},
    backup::Artifact,
    restore::{Mapping, MediaChanges, Restore, RestoreOptions, Restored},
};
use holdfast_testing::{World, builders};

use crate::{KEY, assert_failure, failure, observer::Witness};

const BUCKET: &str = "shop-media";
const OTHER: &str = "shop-media-2";
const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_hours(1);

/// A backup of everything below `m/`, and the world it was made in.
struct Scene {
    world: World,
    artifact: Artifact,
}

/// Remembers what it was told, and says no when it was told often enough.
#[derive(Default)]
struct Follower {
    told: Vec<Restoring>,
    refuses_at: Option<usize>,
}

#[async_trait]
impl RestoreObserver for Follower {
    async fn advanced(&mut self, so_far: Restoring) -> Result<(), SliceError> {
        self.told.push(so_far);
        if self.refuses_at == Some(self.told.len()) { Err(SliceError::Cancelled) } else { Ok(()) }
    }
}

/// An object as it is in a bucket: everything it has, and its bytes.
type Found = (ObjectHeaders, Bytes);

impl Scene {
    /// A world with both buckets, in which `fill` has put files below `m/`, and a backup of them.
    async fn of(fill: impl FnOnce(&World)) -> Self {
        let world = World::new();
        for bucket in [BUCKET, OTHER] {
            world.media.make_bucket(bucket, &builders::region());
        }
        fill(&world);
        let service = Service::Storage(storage(BUCKET, "m/"));
        let engine =
            engines::open(&world.ports, &clients(), &builders::slug("shop"), &service).await.unwrap();
        let mut witness = Witness::default();
        let stored = store(world.ports.artifacts.as_ref(), engine.as_ref(), KEY, &mut witness).await.unwrap();
        let artifact = Artifact {
            service: builders::service_name("MEDIA"),
            object: stored.object,
            contents: stored.report.contents,
            taken_at: stored.report.taken_at,
            milliseconds: 1,
        };
        Self { world, artifact }
    }

    /// Several small files, two of them in a folder that is an object itself, and one that is copied.
    async fn plain() -> Self {
        Self::of(|world| {
            for (key, bytes) in plain() {
                world.media.put(BUCKET, &format!("m/{key}"), bytes);
            }
        })
        .await
    }

    async fn restorer(
        &self,
        bucket: &str,
        prefix: &str,
        files: &[&str],
        options: RestoreOptions,
    ) -> Box<dyn Restorer> {
        self.restorer_for(bucket, prefix, files, &builders::restore_with(&options)).await
    }

    async fn restorer_for(
        &self,
        bucket: &str,
        prefix: &str,
        files: &[&str],
        restore: &Restore,
    ) -> Box<dyn Restorer> {
        let mapping = Mapping {
            from: builders::service_name("MEDIA"),
            to: builders::service_name("MEDIA"),
            tables: Vec::new(),
            files: files.iter().map(|name| (*name).to_owned()).collect(),
        };
        let target = Service::Storage(storage(bucket, prefix));
        let (ports, clients) = (&self.world.ports, clients());
        restorer::open(ports, &clients, &target, &self.artifact, &mapping, restore).await.unwrap()
    }

    /// A restorer of everything into an empty bucket.
    async fn elsewhere(&self) -> Box<dyn Restorer> {
        self.restorer(OTHER, "back/", &[], RestoreOptions::default()).await
    }

    /// A restorer of everything into where it came from.
    async fn in_place(&self, options: RestoreOptions) -> Box<dyn Restorer> {
        self.restorer(BUCKET, "m/", &[], options).await
    }

    /// Everything below a prefix, by the rest of its key.
    async fn found(&self, bucket: &str, prefix: &str) -> BTreeMap<String, Found> {
        let mut found = BTreeMap::new();
        for key in self.world.media.keys(bucket).into_iter().filter(|key| key.starts_with(prefix)) {
            let object = self.world.media.open(bucket, &key, None, 0, None).await.unwrap();
            let headers = ObjectHeaders {
                content_type: object.content_type,
                cache_control: object.cache_control,
                content_encoding: object.content_encoding,
                content_disposition: object.content_disposition,
                content_language: object.content_language,
                expires: object.expires,
                website_redirect_location: object.website_redirect_location,
                metadata: object.metadata,
                tags: self.world.media.tags(bucket, &key).await.unwrap(),
            };
            let bytes: BytesMut = object.body.try_collect().await.unwrap();
            found.insert(key[prefix.len()..].to_owned(), (headers, bytes.freeze()));
        }
        found
    }

    fn assert_nothing_open(&self) {
        assert_eq!(self.world.media_target.open(), Vec::<String>::new());
    }

    /// The tar, with the first byte of a file turned over.
    fn damage(&self, file: &[u8]) {
        let mut tar = self.world.artifacts.bytes(KEY).unwrap().to_vec();
        let at = tar.windows(file.len()).position(|window| window == file).unwrap();
        tar[at] ^= 1;
        self.world.artifacts.damage(KEY, tar);
    }
}

fn clients() -> Clients {
    Clients {
        postgres: "/usr/lib/postgresql/{major}/bin".parse().unwrap(),
        mysql: "/usr/bin".parse().unwrap(),
    }
}

fn storage(bucket: &str, prefix: &str) -> StorageService {
    StorageService {
        name: builders::service_name("MEDIA"),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    }
}

/// The bytes that the storage copies of [`plain`].
fn large() -> Bytes {
    (0..=250).cycle().take(11 * MIB + 77).collect::<Vec<u8>>().into()
}

fn plain() -> BTreeMap<&'static str, Bytes> {
    [
        ("a.txt", Bytes::from_static(b"the first")),
        ("album/", Bytes::new()),
        ("album/1.jpg", Bytes::from_static(b"a picture of one")),
        ("album/2.jpg", Bytes::from_static(b"a picture of two")),
        ("film.mp4", large()),
        ("z.txt", Bytes::from_static(b"the last")),
    ]
    .into_iter()
    .collect()
}

fn overwrite() -> RestoreOptions {
    RestoreOptions { overwrite: true, ..RestoreOptions::default() }
}

fn changes(added: u64, replaced: u64, unchanged: u64, removed: u64) -> MediaChanges {
    MediaChanges { added, replaced, unchanged, removed }
}

/// Restores in slices of this time; says what came of it, and how many there were.
async fn restore(restorer: &dyn Restorer, time: Duration) -> Result<(Restored, usize), SliceError> {
    let (mut cursor, mut slices) = (None::<String>, 0);
    loop {
        slices += 1;
        match restorer.restore(cursor.as_deref(), time, &mut Follower::default()).await? {
            Outcome::Done(done) => return Ok((done, slices)),
            Outcome::Paused { cursor: next } => cursor = Some(next),
        }
    }
}

/// Restores in one slice.
async fn restore_whole(restorer: &dyn Restorer) -> MediaChanges {
    restore(restorer, HOUR).await.unwrap().0.changes.unwrap()
}

/// Keys of all kinds, each with something of its own.
async fn everything() -> Scene {
    let keys = [
        "a.jpg",
        "a",
        "a/b",
        "a/b/",
        "a//b",
        "../../etc/passwd",
        "./here",
        "/lead",
        "line\nbreak",
        "bell\u{7}",
        "Zürich.jpg",
        "zu\u{308}rich.jpg",
        "\u{1f600}.png",
        "a b+c%20&<d>\"'",
        "back\\slash",
        "C:\\x",
        "MANIFEST.jsonl",
        ".holdfast-escaped/x",
        "empty",
        "folder/",
    ];
    Scene::of(|world| {
        for (number, key) in keys.iter().enumerate() {
            let is_empty = key.ends_with('/') || *key == "empty";
            let bytes = if is_empty { Bytes::new() } else { Bytes::from(format!("contents of {key}")) };
            let of = number.to_string();
            let key = format!("m/{key}");
            world.media.put_typed(BUCKET, &key, bytes, Some("application/x-own"), &[("number", &of)]);
            world.media.tag(BUCKET, &key, &[("number", &of)]);
        }
        world.media.put(BUCKET, &format!("m/{}", "é/".repeat(300)), "a long one");
        world.media.put_typed(BUCKET, "m/film.mp4", large(), Some("video/mp4"), &[("by", "Ann")]);
        world.media.put(BUCKET, "m/page.html", "<p>");
        let headers = [
            ("cache-control", "max-age=60"),
            ("content-encoding", "gzip"),
            ("content-disposition", "inline"),
            ("content-language", "de-CH"),
            ("expires", "next Wednesday"),
            ("x-amz-website-redirect-location", "/b"),
        ];
        for key in ["m/page.html", "m/film.mp4"] {
            world.media.set_headers(BUCKET, key, &headers);
            world.media.tag(BUCKET, key, &[("kind", "page of a book"), ("a&b", "")]);
        }
        world.media.put(BUCKET, "other/file", "not of this storage");
    })
    .await
}

#[tokio::test]
async fn everything_comes_back_as_it_was() {
    let scene = everything().await;
    let restorer = scene.elsewhere().await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!((&looked.refusals[..], looked.is_occupied), (&[][..], false));
    assert_eq!(looked.target, "s3://shop-media-2/back/");
    let files = scene.found(BUCKET, "m/").await;
    let expected = changes(files.len() as u64, 0, 0, 0);
    assert_eq!(looked.changes, Some(expected));
    assert_eq!(looked.bytes, files.values().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert!(scene.world.media_target.written().is_empty(), "only looked");
    scene.assert_nothing_open();

    let mut follower = Follower::default();
    let outcome = restorer.restore(None, HOUR, &mut follower).await.unwrap();
    let Outcome::Done(done) = outcome else { panic!("{outcome:?}") };
    assert_eq!((done.changes, &done.notes[..]), (Some(expected), &[][..]));
    assert_eq!(scene.found(OTHER, "back/").await, files);
    assert_eq!(scene.world.media_target.written().len(), files.len(), "nothing else");
    scene.assert_nothing_open();
}

/// What the storage has copied it copies again; what was read is read in few requests.
#[tokio::test]
async fn large_files_do_not_pass_and_small_ones_pass_together() {
    let scene = Scene::plain().await;
    let before = scene.world.faults.count("artifacts.read");
    restore_whole(scene.elsewhere().await.as_ref()).await;
    assert_eq!(scene.world.faults.count("media_target.copy_part"), 1);
    assert_eq!(scene.world.faults.count("media_target.put"), 5);
    assert_eq!(
        scene.world.faults.count("artifacts.read") - before,
        3,
        "the manifest, and the files on both sides of the large one"
    );
}

#[tokio::test]
async fn a_restore_that_pauses_at_every_file_goes_on_at_the_next() {
    let scene = everything().await;
    let files = scene.found(BUCKET, "m/").await;
    let (done, slices) = restore(scene.elsewhere().await.as_ref(), Duration::ZERO).await.unwrap();
    assert_eq!(done.changes, Some(changes(files.len() as u64, 0, 0, 0)));
    assert_eq!(done.notes, Vec::<String>::new());
    assert_eq!(slices, files.len() + 1, "one for each file, and one that finds no more");
    assert_eq!(scene.found(OTHER, "back/").await, files);
    assert_eq!(scene.world.media_target.written().len(), files.len(), "each once");
}

/// What is there as it was is left alone; what is there besides stays.
#[tokio::test]
async fn what_is_there_already_is_left_alone() {
    let scene = Scene::plain().await;
    let media = &scene.world.media;
    media.put(BUCKET, "m/a.txt", "something else");
    media.put(BUCKET, "m/new.txt", "added since");
    media.delete(BUCKET, "m/album/1.jpg");
    let restorer = scene.in_place(overwrite()).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!((looked.changes, looked.is_occupied), (Some(changes(1, 1, 4, 0)), true));
    assert!(looked.refusals.is_empty() && looked.bytes == 9 + 16, "{looked:?}");
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(1, 1, 4, 0));
    assert_eq!(scene.world.media_target.written(), ["m/a.txt", "m/album/1.jpg"]);
    assert_eq!(media.bytes(BUCKET, "m/a.txt").unwrap(), "the first");
    assert_eq!(media.bytes(BUCKET, "m/new.txt").unwrap(), "added since");
    // And once more: nothing is left to do, although the large file could have another tag by now.
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(0, 0, 6, 0));
}

/// A file that was copied has the checksum to compare, where its entity tag is another.
#[tokio::test]
async fn a_large_file_is_known_by_its_checksum() {
    let scene = Scene::plain().await;
    scene.world.media.opaque_tags(OTHER);
    let restorer = scene.restorer(OTHER, "back/", &[], overwrite()).await;
    restore_whole(restorer.as_ref()).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!(looked.changes, Some(changes(0, 4, 2, 0)), "the empty one and the large one are as they were");
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(0, 4, 2, 0));
    assert_eq!(scene.world.faults.count("media_target.copy_part"), 1);
}

#[tokio::test]
async fn single_files_and_folders_are_restored_by_name() {
    let scene = Scene::plain().await;
    let files = ["film.mp4", "album/", "album/2.jpg"];
    let restorer = scene.restorer(OTHER, "", &files, RestoreOptions::default()).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!(looked.changes, Some(changes(4, 0, 0, 0)), "{looked:?}");
    let mut follower = Follower::default();
    restorer.restore(None, HOUR, &mut follower).await.unwrap();
    assert_eq!(scene.world.media.keys(OTHER), ["album/", "album/1.jpg", "album/2.jpg", "film.mp4"]);
    let (done, slices) = restore(restorer.as_ref(), Duration::ZERO).await.unwrap();
    assert_eq!((done.changes, slices), (Some(changes(0, 0, 4, 0)), 5));
}

#[tokio::test]
async fn files_go_below_another_prefix() {
    let scene = Scene::plain().await;
    let options = RestoreOptions { into_prefix: Some("m/restored/".to_owned()), ..RestoreOptions::default() };
    let files = scene.found(BUCKET, "m/").await;
    let restorer = scene.in_place(options).await;
    let looked = restorer.preflight().await.unwrap();
    assert_eq!((looked.target.as_str(), looked.is_occupied), ("s3://shop-media/m/restored/", false));
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(6, 0, 0, 0));
    assert_eq!(scene.found(BUCKET, "m/restored/").await, files);
    let looked = restorer.preflight().await.unwrap();
    assert!(looked.is_occupied, "a safety backup of the storage has them from now on");
}

/// More files than a batch, a page or a frame of the manifest has; each place in the middle is where a slice may begin.
#[tokio::test]
async fn thousands_of_files_are_restored_from_any_place_on() {
    let scene = Scene::of(|world| {
        for number in 0..6_000 {
            let noise = format!("{number:04}").repeat(40);
            world.media.put_typed(
                BUCKET,
                &format!("m/{number:04}.txt"),
                noise.clone(),
                None,
                &[("noise", &noise)],
            );
        }
    })
    .await;
    let restorer = scene.elsewhere().await;
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(6_000, 0, 0, 0));
    assert_eq!(scene.found(OTHER, "back/").await, scene.found(BUCKET, "m/").await);
    for number in [0, 1_234, 5_999] {
        scene.world.media.delete(OTHER, &format!("back/{number:04}.txt"));
    }
    assert_eq!(restorer.preflight().await.unwrap().changes, Some(changes(3, 0, 5_997, 0)));
    assert_eq!(restore_whole(restorer.as_ref()).await, changes(3, 0, 5_997, 0));
    let before = scene.world.media_target.written().len();
    let folder = scene.restorer(OTHER, "back/", &["4321.txt", "0042.txt"], RestoreOptions::default()).await;
    assert_eq!(restore_whole(folder.as_ref()).await, changes(0, 0, 2, 0));
    assert_eq!(scene.world.media_target.written().len(), before);
}
