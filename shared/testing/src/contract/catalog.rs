//! What [`CatalogBucket`] and [`CatalogRecords`] promise.

use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{CatalogBucket, CatalogRecords, Creation, Entropy};
use holdfast_domain::id::BackupId;

use crate::{
    builders::{self, now, slug},
    fakes::SeededEntropy,
};

/// Makes a test of each case of the [`CatalogBucket`] suite.
#[macro_export]
macro_rules! catalog_bucket_contract {
    ($bucket:expr) => {
        $crate::contract_tests! { catalog, $bucket,
            children_are_keys_and_common_prefixes
            what_was_deleted_is_nobodys_child
        }
    };
}

/// Makes a test of each case of the [`CatalogRecords`] suite.
#[macro_export]
macro_rules! catalog_records_contract {
    ($records:expr) => {
        $crate::contract_tests! { catalog, $records,
            a_rebuilt_backup_reads_back_with_its_entry
            a_backup_that_has_a_record_is_left_alone
            a_rebuilt_backup_claims_its_slot
            a_slot_that_is_claimed_stays_so
            a_slug_is_put_among_the_removed_ones
        }
    };
}

async fn put(bucket: &dyn CatalogBucket, key: &str) {
    bucket.put(key, "application/json", Bytes::from_static(b"{}")).await.unwrap();
}

async fn children(bucket: &dyn CatalogBucket, prefix: &str) -> Vec<String> {
    let mut children = bucket.children(prefix).await.unwrap();
    children.sort();
    children
}

/// Children are keys and common prefixes.
pub async fn children_are_keys_and_common_prefixes(bucket: &dyn CatalogBucket) {
    let id = |last| backup_id("children", last);
    let (first, second) = (id(1), id(2));
    let below = "applications/catalog-children/";
    for key in [
        format!("{below}{first}/backup.json"),
        format!("{below}{first}/MEDIA/media.tar"),
        format!("{below}{second}/README.txt"),
        format!("{below}stray"),
        "applications/catalog-children-2/stray".to_owned(),
    ] {
        put(bucket, &key).await;
    }
    let mut wanted = [format!("{below}{first}/"), format!("{below}{second}/"), format!("{below}stray")];
    wanted.sort();
    assert_eq!(children(bucket, below).await, wanted);
    assert_eq!(children(bucket, "applications/nothing-there/").await, [""; 0]);
}

/// What was deleted is nobody's child.
pub async fn what_was_deleted_is_nobodys_child(bucket: &dyn CatalogBucket) {
    let id = backup_id("deleted", 1);
    let key = format!("applications/catalog-deleted/{id}/backup.json");
    put(bucket, &key).await;
    bucket.delete(&[key]).await.unwrap();
    assert_eq!(children(bucket, "applications/catalog-deleted/").await, [""; 0]);
}

/// A rebuilt backup reads back with its entry.
pub async fn a_rebuilt_backup_reads_back_with_its_entry(records: &dyn CatalogRecords) {
    let shop = slug("rebuilt-reads-back");
    let backup = builders::succeeded(&shop, backup_id("reads-back", 1), now(), false);
    let entry = builders::audit_entry(entropy("reads-back").audit_id(now()), &backup);
    assert!(records.rebuild_backup(&backup, &entry).await.unwrap());
    let found = records.backup(&shop, backup.id).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (backup, 1));
    assert_eq!(records.audit(&shop, None, 10).await.unwrap().items, [entry]);
    assert!(records.application(&shop).await.unwrap().is_none());
}

/// A backup that has a record is left alone, and so is the trail.
pub async fn a_backup_that_has_a_record_is_left_alone(records: &dyn CatalogRecords) {
    let shop = slug("rebuilt-twice");
    let backup = builders::succeeded(&shop, backup_id("twice", 1), now(), true);
    let entropy = entropy("twice");
    let entry = || builders::audit_entry(entropy.audit_id(now()), &backup);
    assert!(records.rebuild_backup(&backup, &entry()).await.unwrap());
    let mut other = backup.clone();
    other.note = Some("another".to_owned());
    assert!(!records.rebuild_backup(&other, &entry()).await.unwrap());
    assert_eq!(records.backup(&shop, backup.id).await.unwrap().unwrap().value, backup);
    assert_eq!(records.audit(&shop, None, 10).await.unwrap().items.len(), 1);
}

/// A rebuilt backup claims its slot.
pub async fn a_rebuilt_backup_claims_its_slot(records: &dyn CatalogRecords) {
    let application = builders::application("rebuilt-slot");
    let entropy = entropy("slot");
    let backup = builders::succeeded(&application.id, entropy.backup_id(now()), now(), true);
    let entry = builders::audit_entry(entropy.audit_id(now()), &backup);
    assert!(records.rebuild_backup(&backup, &entry).await.unwrap());
    records
        .put_application(&application, None, &builders::audit_entry(entropy.audit_id(now()), &backup))
        .await
        .unwrap();
    let again = builders::queued_for_slot(&application.id, entropy.backup_id(now()), now());
    let again = builders::claim_slot(again, entropy.audit_id(now()), application, 1);
    assert_eq!(records.create_backup(&again).await.unwrap(), Creation::SlotTaken);
}

/// A slot that is claimed stays so, and the backup is made all the same.
pub async fn a_slot_that_is_claimed_stays_so(records: &dyn CatalogRecords) {
    let shop = slug("rebuilt-claimed");
    let entropy = entropy("claimed");
    for _ in 0..2 {
        let backup = builders::succeeded(&shop, entropy.backup_id(now()), now(), true);
        let entry = builders::audit_entry(entropy.audit_id(now()), &backup);
        assert!(records.rebuild_backup(&backup, &entry).await.unwrap());
    }
    assert_eq!(records.backups(&shop, None, 10).await.unwrap().items.len(), 2);
    assert_eq!(records.audit(&shop, None, 10).await.unwrap().items.len(), 2);
}

/// A slug is put among the removed ones, once.
pub async fn a_slug_is_put_among_the_removed_ones(records: &dyn CatalogRecords) {
    let shop = slug("rebuilt-removed");
    for _ in 0..2 {
        records.rebuild_removed(&shop).await.unwrap();
    }
    let removed = records.removed_applications(None, 100).await.unwrap().items;
    assert_eq!(removed.iter().filter(|id| **id == shop).count(), 1);
}

fn entropy(case: &str) -> SeededEntropy {
    SeededEntropy::new(Crc64Nvme::of(format!("catalog {case}").as_bytes()).value())
}

fn backup_id(case: &str, last: u8) -> BackupId {
    let mut random = entropy(case).bytes();
    random[9] = last;
    BackupId::new(now(), random)
}
