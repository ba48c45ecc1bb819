use std::io::Read as _;

use holdfast_backup::upload as backup_upload;
use holdfast_testing::{
    builders,
    contract::copies::Copying,
    fakes::{FakeMedia, Surprise},
};

use super::{super::engine, *};
use crate::{address::Address, upload::Watch};

const MIB: usize = 1 << 20;

holdfast_testing::copies_contract!(std::future::ready(copying()));

struct StagedCopying {
    folder: TempDir,
    media: Arc<FakeMedia>,
    staging: Staging,
}

fn copying() -> StagedCopying {
    let folder = tempfile::tempdir().unwrap();
    let media = Arc::new(FakeMedia::new());
    media.make_bucket("media", &builders::region());
    let staging =
        Staging::beside(&folder.path().join("media.tar"), media.clone(), Interrupts::never()).unwrap();
    StagedCopying { folder, media, staging }
}

impl StagedCopying {
    fn target(&self) -> String {
        self.folder.path().join("media.tar").to_str().unwrap().to_owned()
    }

    async fn copy(&self, key: &str, bytes: usize) -> Result<StoredPart, StorageError> {
        let etag = self.media.list("media", key, None, None).await.unwrap().objects.remove(0).etag;
        let (bucket, key) = ("media".to_owned(), key.to_owned());
        let copy = PartCopy { number: 1, bucket, key, etag, offset: 3, bytes: bytes as u64 };
        let upload = self.staging.begin(&self.target(), "application/x-tar").await?;
        self.staging.copy_part(&upload, &copy).await
    }
}

#[async_trait]
impl Copying for StagedCopying {
    fn store(&self) -> &dyn ArtifactStore {
        &self.staging
    }

    fn bucket(&self) -> &'static str {
        "media"
    }

    async fn put(&self, key: &str, bytes: Bytes) -> String {
        self.media.put("media", key, bytes);
        self.media.list("media", key, None, None).await.unwrap().objects.remove(0).etag
    }
}

fn pattern(bytes: usize, seed: usize) -> Bytes {
    (0..bytes).map(|at| u8::try_from((at * seed) % 251).unwrap()).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn a_range_that_breaks_off_goes_on_from_there() {
    let copying = copying();
    let bytes = pattern(MIB, 7);
    copying.media.put("media", "a", bytes.clone());
    copying.media.surprise(
        "media",
        "a",
        [Surprise::BreaksAfter(100_000), Surprise::Unavailable, Surprise::BreaksAfter(1), Surprise::None],
    );
    let part = copying.copy("a", MIB - 3).await.unwrap();
    assert_eq!((part.size, part.crc64nvme), (MIB as u64 - 3, Crc64Nvme::of(&bytes[3..])));
}

#[tokio::test(start_paused = true)]
async fn a_range_that_brings_nothing_is_given_up() {
    let copying = copying();
    copying.media.put("media", "a", pattern(MIB, 7));
    copying.media.surprise("media", "a", std::iter::repeat_n(Surprise::Unavailable, 5));
    assert!(matches!(copying.copy("a", MIB - 3).await, Err(StorageError::Unavailable(_))));
}

#[tokio::test]
async fn a_range_is_never_of_two_versions() {
    let copying = copying();
    copying.media.put("media", "a", pattern(MIB, 7));
    copying.media.surprise("media", "a", [Surprise::BreaksAndIsReplaced(100_000, pattern(MIB, 11))]);
    assert!(matches!(copying.copy("a", MIB - 3).await, Err(StorageError::Changed(_))));
}

#[tokio::test]
async fn what_the_disk_does_not_give_back_is_noticed() {
    let copying = copying();
    let (key, staging) = (copying.target(), &copying.staging);
    let upload = staging.begin(&key, "application/x-tar").await.unwrap();
    let bytes = pattern(MIB, 7);
    let crc64nvme = Crc64Nvme::of(&bytes);
    let part = staging.put_part(&upload, Segment { number: 1, bytes, crc64nvme }).await.unwrap();
    OpenOptions::new()
        .write(true)
        .open(staging.part_of(&upload, 1))
        .unwrap()
        .write_all_at(b"!", 500_000)
        .unwrap();
    let refused = staging.complete(&upload, &[part], crc64nvme).await.unwrap_err();
    assert!(refused.to_string().contains("check the disk"), "{refused}");
    assert!(staging.describe(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn both_files_get_their_names_or_none() {
    let copying = copying();
    let tar = copying.target();
    let manifest = copying.staging.beside(&tar, "media.manifest.jsonl.zst");
    for key in [&tar, &manifest] {
        copying.staging.put(key, "", Bytes::from_static(b"ours")).await.unwrap();
    }
    fs::write(&tar, "another's").unwrap();
    let refused = copying.staging.keep(&[&manifest, &tar], false).unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    assert!(!Path::new(&manifest).exists());
    assert_eq!(fs::read_to_string(&tar).unwrap(), "another's");
}

#[tokio::test]
async fn a_large_file_that_is_replaced_meanwhile_is_of_one_version() {
    let copying = copying();
    let (before, after) = (pattern(12 * MIB, 7), pattern(13 * MIB, 11));
    copying.media.put("media", "m/large", before);
    copying.media.put("media", "m/small", "small");
    // The second opening is that of the range behind the first bytes.
    let surprises = [Surprise::None, Surprise::BreaksAndIsReplaced(2 * MIB, after.clone())];
    copying.media.surprise("media", "m/large", surprises);
    let StagedCopying { media, staging, folder } = copying;
    let staging = Arc::new(staging);
    let source = Address { bucket: "media".to_owned(), key: "m/".to_owned() };
    let engine = engine(media, staging.clone(), &source).unwrap();
    let tar = folder.path().join("media.tar");
    let key = tar.to_str().unwrap();
    let (mut interrupts, mut draw) = (Interrupts::never(), |_| {});
    let mut watch = Watch::new(&mut interrupts, &mut draw);
    backup_upload::store(staging.as_ref(), &engine, key, &mut watch).await.unwrap();
    staging.keep(&[&staging.beside(key, "media.manifest.jsonl.zst"), key], false).unwrap();

    let mut members = Vec::new();
    for entry in tar::Archive::new(File::open(&tar).unwrap()).entries().unwrap() {
        let (mut entry, mut bytes) = (entry.unwrap(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        members.push((String::from_utf8(entry.path_bytes().into_owned()).unwrap(), bytes));
    }
    assert_eq!(members[0].0, "large");
    assert!(members[0].1 == after, "of the version that is there now, and of no other");
    assert_eq!((members[1].0.as_str(), &members[1].1[..]), ("small", &b"small"[..]));
    assert_eq!(members[2].0, "MANIFEST.jsonl");
}
