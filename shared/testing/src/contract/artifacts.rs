//! What [`ArtifactStore`] promises. Each case writes below a backup's prefix of its own.

use bytes::Bytes;
use holdfast_archive::{checksum::Crc64Nvme, multipart::Segment};
use holdfast_backup::ports::{ArtifactStore, Entropy, StorageError, StoredPart};
use holdfast_domain::backup::{self, StoredObject};

use crate::{
    builders::{now, slug},
    fakes::SeededEntropy,
};

/// Makes a test of each case of the [`ArtifactStore`] suite.
#[macro_export]
macro_rules! artifacts_contract {
    ($artifacts:expr) => {
        $crate::contract_tests! { artifacts, $artifacts,
            parts_become_one_object_that_is_described_as_stored
            an_empty_stream_is_an_empty_object
            a_part_sent_twice_counts_once
            a_part_with_a_wrong_checksum_is_refused
            a_wrong_checksum_of_the_whole_makes_no_object
            an_upload_completed_twice_is_complete
            an_aborted_upload_is_gone
            open_uploads_are_those_below_the_prefix
            a_small_object_reads_back
            a_range_of_an_object_reads_back
            what_is_not_there_is_none
            keys_are_those_below_the_prefix
            a_deleted_object_is_not_there
            a_deletion_is_taken_back
            purging_leaves_nothing_of_one_backup
            nothing_outside_a_backups_prefix_is_listed_deleted_or_purged
            an_object_stored_otherwise_is_not_protected
        }
    };
}

/// Bytes of a part that is not the last.
pub(super) const PART_BYTES: usize = 5 * 1024 * 1024;

pub(super) fn prefix(case: &str) -> String {
    let entropy = SeededEntropy::new(Crc64Nvme::of(case.as_bytes()).value());
    backup::prefix(&slug("contract"), entropy.backup_id(now()))
}

pub(super) fn segment(number: u32, bytes: Bytes) -> Segment {
    Segment { number, crc64nvme: Crc64Nvme::of(&bytes), bytes }
}

pub(super) fn part(number: u32) -> Bytes {
    (0..PART_BYTES).map(|at| ((at as u64 * u64::from(number)) % 251) as u8).collect::<Vec<_>>().into()
}

async fn upload(store: &dyn ArtifactStore, key: &str, segments: &[Segment]) -> (Vec<StoredPart>, Crc64Nvme) {
    let upload = store.begin(key, "application/octet-stream").await.unwrap();
    let mut parts = Vec::new();
    for segment in segments {
        parts.push(store.put_part(&upload, segment.clone()).await.unwrap());
    }
    let whole = Crc64Nvme::of(&segments.iter().flat_map(|segment| segment.bytes.clone()).collect::<Vec<_>>());
    store.complete(&upload, &parts, whole).await.unwrap();
    (parts, whole)
}

/// Parts become one object, and the store says of it what was asked for.
pub async fn parts_become_one_object_that_is_described_as_stored(store: &dyn ArtifactStore) {
    let key = format!("{}DEFAULT/database.dump", prefix("parts"));
    let segments = [segment(1, part(1)), segment(2, Bytes::from_static(b"the end"))];
    let (parts, whole) = upload(store, &key, &segments).await;
    for (part, segment) in parts.iter().zip(&segments) {
        assert_eq!((part.number, part.size), (segment.number, segment.bytes.len() as u64));
        assert_eq!(part.crc64nvme, segment.crc64nvme);
    }
    let object = store.describe(&key).await.unwrap().unwrap();
    assert_eq!(object.key, key);
    assert_eq!(object.size, PART_BYTES as u64 + 7);
    assert_eq!(object.crc64nvme, whole.to_string());
    assert_eq!(object.storage_class, "STANDARD_IA");
    assert_eq!(object.encryption.algorithm, "aws:kms");
    assert!(object.version_id.is_some());
    store.check_protection(&object).unwrap();
    let bytes = store.get(&key).await.unwrap().unwrap();
    assert!(bytes == [&segments[0].bytes[..], b"the end"].concat());
}

/// An upload of one empty part is an empty object.
pub async fn an_empty_stream_is_an_empty_object(store: &dyn ArtifactStore) {
    let key = format!("{}DEFAULT/database.dump", prefix("empty"));
    upload(store, &key, &[segment(1, Bytes::new())]).await;
    let object = store.describe(&key).await.unwrap().unwrap();
    assert_eq!((object.size, object.crc64nvme), (0, Crc64Nvme::EMPTY.to_string()));
}

/// Sending a part again replaces it.
pub async fn a_part_sent_twice_counts_once(store: &dyn ArtifactStore) {
    let key = format!("{}DEFAULT/database.dump", prefix("twice"));
    let upload = store.begin(&key, "application/octet-stream").await.unwrap();
    store.put_part(&upload, segment(1, Bytes::from_static(b"first"))).await.unwrap();
    let second = segment(1, Bytes::from_static(b"second"));
    let stored = store.put_part(&upload, second.clone()).await.unwrap();
    store.complete(&upload, &[stored], second.crc64nvme).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap(), second.bytes);
}

/// A part whose bytes are not those of its checksum is refused.
pub async fn a_part_with_a_wrong_checksum_is_refused(store: &dyn ArtifactStore) {
    let key = format!("{}DEFAULT/database.dump", prefix("wrong-part"));
    let upload = store.begin(&key, "application/octet-stream").await.unwrap();
    let wrong = Segment { crc64nvme: Crc64Nvme::new(42), ..segment(1, Bytes::from_static(b"bytes")) };
    assert!(store.put_part(&upload, wrong).await.is_err());
    store.abort(&upload).await.unwrap();
}

/// An upload whose whole is not what was sent makes no object.
pub async fn a_wrong_checksum_of_the_whole_makes_no_object(store: &dyn ArtifactStore) {
    let key = format!("{}DEFAULT/database.dump", prefix("wrong-whole"));
    let upload = store.begin(&key, "application/octet-stream").await.unwrap();
    let stored = store.put_part(&upload, segment(1, Bytes::from_static(b"bytes"))).await.unwrap();
    let outcome = store.complete(&upload, &[stored], Crc64Nvme::of(b"other bytes")).await;
    assert!(matches!(outcome, Err(StorageError::Rejected(_))), "{outcome:?}");
    assert_eq!(store.describe(&key).await.unwrap(), None);
    store.abort(&upload).await.unwrap();
}

/// Completing an upload again, because the first answer was lost, is a success and makes nothing new.
pub async fn an_upload_completed_twice_is_complete(store: &dyn ArtifactStore) {
    let key = format!("{}DEFAULT/database.dump", prefix("complete-twice"));
    let upload = store.begin(&key, "application/octet-stream").await.unwrap();
    let only = segment(1, Bytes::from_static(b"bytes"));
    let stored = store.put_part(&upload, only.clone()).await.unwrap();
    store.complete(&upload, std::slice::from_ref(&stored), only.crc64nvme).await.unwrap();
    let object = store.describe(&key).await.unwrap();
    store.complete(&upload, &[stored], only.crc64nvme).await.unwrap();
    assert_eq!(store.describe(&key).await.unwrap(), object);
}

/// An aborted upload is gone, takes no part, makes no object, and aborting it again is a success.
pub async fn an_aborted_upload_is_gone(store: &dyn ArtifactStore) {
    let prefix = prefix("aborted");
    let key = format!("{prefix}DEFAULT/database.dump");
    let upload = store.begin(&key, "application/octet-stream").await.unwrap();
    let only = segment(1, Bytes::from_static(b"bytes"));
    let stored = store.put_part(&upload, only.clone()).await.unwrap();
    store.abort(&upload).await.unwrap();
    store.abort(&upload).await.unwrap();
    assert_eq!(store.open_uploads(&prefix).await.unwrap(), []);
    let outcome = store.put_part(&upload, only.clone()).await;
    assert!(matches!(outcome, Err(StorageError::NotFound(_))), "{outcome:?}");
    let outcome = store.complete(&upload, &[stored], only.crc64nvme).await;
    assert!(matches!(outcome, Err(StorageError::NotFound(_))), "{outcome:?}");
    assert_eq!(store.describe(&key).await.unwrap(), None);
}

/// Open uploads are found by their prefix, until they are completed.
pub async fn open_uploads_are_those_below_the_prefix(store: &dyn ArtifactStore) {
    let (mine, other) = (prefix("open-mine"), prefix("open-other"));
    let key = |name: &str| format!("{mine}{name}/media.tar");
    let first = store.begin(&key("ONE"), "application/x-tar").await.unwrap();
    let second = store.begin(&key("TWO"), "application/x-tar").await.unwrap();
    let foreign = store.begin(&format!("{other}ONE/media.tar"), "application/x-tar").await.unwrap();
    let mut found = store.open_uploads(&mine).await.unwrap();
    found.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(found, [first.clone(), second.clone()]);
    let stored = store.put_part(&first, segment(1, Bytes::new())).await.unwrap();
    store.complete(&first, &[stored], Crc64Nvme::EMPTY).await.unwrap();
    assert_eq!(store.open_uploads(&mine).await.unwrap(), std::slice::from_ref(&second));
    for upload in [second, foreign] {
        store.abort(&upload).await.unwrap();
    }
}

/// A small object reads back, protected as every other.
pub async fn a_small_object_reads_back(store: &dyn ArtifactStore) {
    let key = format!("{}backup.json", prefix("small"));
    let bytes = Bytes::from_static(b"{\"format\":\"holdfast-backup\"}");
    store.put(&key, "application/json", bytes.clone()).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(bytes.clone()));
    let object = store.describe(&key).await.unwrap().unwrap();
    assert_eq!(object.crc64nvme, Crc64Nvme::of(&bytes).to_string());
    store.check_protection(&object).unwrap();
    store.put(&key, "application/json", Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(Bytes::from_static(b"{}")));
}

/// A range of an object reads back; one beyond its end is an error.
pub async fn a_range_of_an_object_reads_back(store: &dyn ArtifactStore) {
    let key = format!("{}MEDIA/media.tar", prefix("range"));
    store.put(&key, "application/x-tar", Bytes::from_static(b"0123456789")).await.unwrap();
    let object = store.describe(&key).await.unwrap().unwrap();
    for (range, bytes) in [(0..10, "0123456789"), (3..4, "3"), (8..10, "89"), (5..5, "")] {
        assert_eq!(store.read(&object, range).await.unwrap(), bytes);
    }
    for range in [8..11, 10..11] {
        let outcome = store.read(&object, range).await;
        assert!(matches!(outcome, Err(StorageError::Changed(_))), "{outcome:?}");
    }
    store.put(&key, "application/x-tar", Bytes::from_static(b"another")).await.unwrap();
    assert_eq!(
        store.read(&object, 3..10).await.unwrap(),
        &b"3456789"[..],
        "of the version that was described"
    );
    let missing = StoredObject { key: format!("{key}x"), version_id: None, ..object };
    let missing = store.read(&missing, 0..1).await;
    assert!(matches!(missing, Err(StorageError::NotFound(_))), "{missing:?}");
}

/// What is not there is none, and no error.
pub async fn what_is_not_there_is_none(store: &dyn ArtifactStore) {
    let key = format!("{}backup.json", prefix("missing"));
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.describe(&key).await.unwrap(), None);
    assert_eq!(store.keys(&prefix("missing")).await.unwrap(), Vec::<String>::new());
}

/// Keys are listed in order, and only those of the backup.
pub async fn keys_are_those_below_the_prefix(store: &dyn ArtifactStore) {
    let (mine, other) = (prefix("keys-mine"), prefix("keys-other"));
    let keys =
        ["DEFAULT/database.dump", "MEDIA/media.tar", "backup.json"].map(|name| format!("{mine}{name}"));
    for key in keys.iter().rev().chain([&format!("{other}backup.json")]) {
        store.put(key, "application/octet-stream", Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(store.keys(&mine).await.unwrap(), keys);
}

/// A deleted object is not there; deleting what is not there is a success.
pub async fn a_deleted_object_is_not_there(store: &dyn ArtifactStore) {
    let prefix = prefix("deleted");
    let keys = ["a", "b"].map(|name| format!("{prefix}{name}"));
    store.put(&keys[0], "text/plain", Bytes::from_static(b"x")).await.unwrap();
    store.delete(&keys).await.unwrap();
    store.delete(&keys).await.unwrap();
    store.delete(&[]).await.unwrap();
    assert_eq!(store.get(&keys[0]).await.unwrap(), None);
    assert_eq!(store.describe(&keys[0]).await.unwrap(), None);
    assert_eq!(store.keys(&prefix).await.unwrap(), Vec::<String>::new());
}

/// What was deleted comes back as the version it was, however often it was deleted; what was written over does not.
pub async fn a_deletion_is_taken_back(store: &dyn ArtifactStore) {
    let prefix = prefix("taken-back");
    let (key, other) = (format!("{prefix}DEFAULT/database.dump"), format!("{prefix}backup.json"));
    for text in ["first", "second"] {
        store.put(&key, "text/plain", Bytes::from(text)).await.unwrap();
    }
    store.put(&other, "application/json", Bytes::from("{}")).await.unwrap();
    let before =
        [store.describe(&key).await.unwrap().unwrap(), store.describe(&other).await.unwrap().unwrap()];
    for _ in 0..2 {
        store.delete(&[key.clone(), other.clone()]).await.unwrap();
    }
    assert!(store.keys(&prefix).await.unwrap().is_empty());
    for _ in 0..2 {
        store.bring_back(&prefix).await.unwrap();
        let after =
            [store.describe(&key).await.unwrap().unwrap(), store.describe(&other).await.unwrap().unwrap()];
        assert_eq!(after, before);
        assert_eq!(store.get(&key).await.unwrap().unwrap(), Bytes::from("second"));
    }
}

/// Purging removes one backup's objects for good, and no other's.
pub async fn purging_leaves_nothing_of_one_backup(store: &dyn ArtifactStore) {
    let (mine, other) = (prefix("purge-mine"), prefix("purge-other"));
    let (key, kept) = (format!("{mine}backup.json"), format!("{other}backup.json"));
    for key in [&key, &key, &kept] {
        store.put(key, "application/json", Bytes::from_static(b"{}")).await.unwrap();
    }
    store.delete(std::slice::from_ref(&key)).await.unwrap();
    store.purge(&mine).await.unwrap();
    store.purge(&mine).await.unwrap();
    assert_eq!(store.keys(&mine).await.unwrap(), Vec::<String>::new());
    assert_eq!(store.keys(&other).await.unwrap(), [kept]);
}

/// What is not within one backup's prefix is neither listed, deleted nor purged.
pub async fn nothing_outside_a_backups_prefix_is_listed_deleted_or_purged(store: &dyn ArtifactStore) {
    let id = prefix("foreign").trim_end_matches('/').rsplit('/').next().unwrap().to_owned();
    let foreign = [
        String::new(),
        "/".to_owned(),
        "applications/".to_owned(),
        "applications/shop/".to_owned(),
        format!("applications/shop/{id}"),
        format!("applications/shop/{}/", id.to_uppercase()),
        format!("applications/../{id}/"),
        format!("applications//{id}/"),
        format!("backups/shop/{id}/"),
        "applications/shop/latest/".to_owned(),
    ];
    for prefix in foreign {
        let outcomes = [
            store.keys(&prefix).await.map(|_| ()),
            store.open_uploads(&prefix).await.map(|_| ()),
            store.delete(std::slice::from_ref(&prefix)).await,
            store.purge(&prefix).await,
        ];
        for outcome in outcomes {
            assert!(matches!(outcome, Err(StorageError::Rejected(_))), "{prefix:?}: {outcome:?}");
        }
    }
}

/// An object that is stored in another class, without the key, with another or without the bucket key is found out.
pub async fn an_object_stored_otherwise_is_not_protected(store: &dyn ArtifactStore) {
    let key = format!("{}backup.json", prefix("protection"));
    store.put(&key, "application/json", Bytes::from_static(b"{}")).await.unwrap();
    let good = store.describe(&key).await.unwrap().unwrap();
    store.check_protection(&good).unwrap();
    let mut others = [good.clone(), good.clone(), good.clone(), good];
    "STANDARD".clone_into(&mut others[0].storage_class);
    "AES256".clone_into(&mut others[1].encryption.algorithm);
    others[2].encryption.key_arn.push('x');
    others[3].encryption.bucket_key = false;
    for object in others {
        let outcome = store.check_protection(&object);
        assert!(matches!(outcome, Err(StorageError::Rejected(_))), "{object:?}: {outcome:?}");
    }
}
