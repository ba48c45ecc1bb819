//! What [`Records`] promises of restores. Each case has an application of its own, so that all can share one table.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{Entropy, IdempotencyKey, NewRestore, Records, RecordsError, RestoreCreation};
use holdfast_domain::{
    audit::{Action, AuditEntry},
    backup::Failure,
    id::ApplicationId,
    restore::{
        MediaChanges, MediaMode, Preflight, Refusal, Restore, RestoreOptions, RestoreRun, RestoreState,
        Restored,
    },
};

use crate::{
    builders::{self, now},
    fakes::SeededEntropy,
};

/// Makes a test of each case of the suite of restores.
#[macro_export]
macro_rules! restores_contract {
    ($records:expr) => {
        $crate::contract_tests! { restores, $records,
            a_restore_is_made_with_its_audit_entry_and_its_target
            the_trail_of_the_backups_own_application_has_it_too
            an_application_has_one_open_restore
            a_repeated_key_gives_the_restore_it_made
            keys_of_restores_and_of_backups_are_apart
            of_many_restores_at_once_one_is_made
            a_restore_into_a_removed_application_is_a_conflict
            an_application_with_an_open_restore_is_not_removed
            a_restore_is_fenced_by_its_version
            an_ended_restore_gives_back_its_turn
            a_later_change_leaves_another_restores_turn_alone
            a_stale_end_gives_back_nothing
            open_restores_are_those_without_an_end
            open_backups_and_open_restores_are_apart
            restores_page_from_the_newest
            a_restore_reads_back_with_everything_in_it
        }
    };
}

struct Case {
    application: ApplicationId,
    entropy: SeededEntropy,
}

impl Case {
    async fn registered(slug: &str, records: &dyn Records) -> Self {
        let entropy = SeededEntropy::new(Crc64Nvme::of(slug.as_bytes()).value());
        let case = Self { application: builders::slug(slug), entropy };
        let registered =
            records.put_application(&builders::application(slug), None, &case.audit(now())).await;
        assert_eq!(registered.unwrap(), 1);
        case
    }

    fn audit(&self, at: DateTime<Utc>) -> AuditEntry {
        AuditEntry::new(self.entropy.audit_id(at), at, "anna", Action::Request)
    }

    fn new_restore(&self, minutes: i64, key: Option<&str>) -> NewRestore {
        let at = now() + TimeDelta::minutes(minutes);
        let backup = self.entropy.backup_id(at);
        let restore = builders::queued_restore(&self.application, self.entropy.restore_id(at), backup, at);
        NewRestore {
            audit: self.audit(at).to_restore(restore.id),
            audit_of_origin: None,
            target: builders::application_spec(self.application.as_str()),
            idempotency: key.map(|key| IdempotencyKey {
                key: key.to_owned(),
                fingerprint: format!("fingerprint of {key}"),
            }),
            restore,
        }
    }

    async fn create(&self, records: &dyn Records, minutes: i64) -> Restore {
        let new = self.new_restore(minutes, None);
        assert_eq!(records.create_restore(&new).await.unwrap(), RestoreCreation::Created);
        new.restore
    }

    /// Brings a queued restore of version 1 to its end.
    async fn end(&self, records: &dyn Records, mut restore: Restore, state: RestoreState) -> Restore {
        restore.state = state;
        let audit = self.audit(restore.created_at);
        assert_eq!(records.update_restore(&restore, 1, &[audit]).await.unwrap(), 2);
        restore
    }

    async fn audit_length(&self, records: &dyn Records) -> usize {
        records.audit(&self.application, None, 1000).await.unwrap().items.len()
    }
}

/// A restore is there with the entry that says who asked, and with the registration as it was.
pub async fn a_restore_is_made_with_its_audit_entry_and_its_target(records: &dyn Records) {
    let case = Case::registered("restore-made", records).await;
    let new = case.new_restore(0, Some("key"));
    assert_eq!(records.restore_target(new.restore.id).await.unwrap(), None);
    assert_eq!(records.create_restore(&new).await.unwrap(), RestoreCreation::Created);
    let found = records.restore(&case.application, new.restore.id).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (new.restore.clone(), 1));
    assert!(records.audit(&case.application, None, 10).await.unwrap().items.contains(&new.audit));
    assert!(records.restore(&builders::slug("another"), new.restore.id).await.unwrap().is_none());

    let mut changed = builders::application("restore-made");
    changed.spec.services.pop();
    records.put_application(&changed, Some(1), &case.audit(now())).await.unwrap();
    assert_eq!(records.restore_target(new.restore.id).await.unwrap(), Some(new.target));
}

/// Where the backup is another application's, that one's trail says so as well.
pub async fn the_trail_of_the_backups_own_application_has_it_too(records: &dyn Records) {
    let origin = Case::registered("restore-origin", records).await;
    let case = Case::registered("restore-elsewhere", records).await;
    let mut new = case.new_restore(0, None);
    new.restore.from.application = origin.application.clone();
    let entry = origin.audit(now()).to_restore(new.restore.id);
    new.audit_of_origin = Some(entry.clone());
    assert_eq!(records.create_restore(&new).await.unwrap(), RestoreCreation::Created);
    assert!(records.audit(&origin.application, None, 10).await.unwrap().items.contains(&entry));
    assert!(!records.audit(&case.application, None, 10).await.unwrap().items.contains(&entry));
}

/// While a restore is open, another is not made, nor its key used up.
pub async fn an_application_has_one_open_restore(records: &dyn Records) {
    let case = Case::registered("restore-busy", records).await;
    let open = case.create(records, 0).await;
    let second = case.new_restore(1, Some("key"));
    assert_eq!(records.create_restore(&second).await.unwrap(), RestoreCreation::Busy(open.id));
    assert!(records.restore(&case.application, second.restore.id).await.unwrap().is_none());
    assert_eq!(records.restore_target(second.restore.id).await.unwrap(), None);
    assert_eq!(case.audit_length(records).await, 2);
    case.end(records, open, RestoreState::Failed).await;
    assert_eq!(records.create_restore(&second).await.unwrap(), RestoreCreation::Created);
}

/// A key that was used gives the restore it made, whether that is open or has ended.
pub async fn a_repeated_key_gives_the_restore_it_made(records: &dyn Records) {
    let case = Case::registered("restore-repeated", records).await;
    assert_eq!(records.restore_idempotency(&case.application, "key").await.unwrap(), None);
    let first = case.new_restore(0, Some("key"));
    assert_eq!(records.create_restore(&first).await.unwrap(), RestoreCreation::Created);
    let fingerprint = "fingerprint of key".to_owned();
    let used = Some((first.restore.id, fingerprint.clone()));
    assert_eq!(records.restore_idempotency(&case.application, "key").await.unwrap(), used);
    let repeated = RestoreCreation::Repeated { id: first.restore.id, fingerprint };
    let second = case.new_restore(1, Some("key"));
    assert_eq!(records.create_restore(&second).await.unwrap(), repeated);
    case.end(records, first.restore, RestoreState::Succeeded).await;
    assert_eq!(records.create_restore(&second).await.unwrap(), repeated);
    assert!(records.restore(&case.application, second.restore.id).await.unwrap().is_none());
}

/// The same key for a restore and for a backup is two keys.
pub async fn keys_of_restores_and_of_backups_are_apart(records: &dyn Records) {
    let case = Case::registered("restore-keys", records).await;
    let new = case.new_restore(0, Some("key"));
    assert_eq!(records.create_restore(&new).await.unwrap(), RestoreCreation::Created);
    assert_eq!(records.idempotency(&case.application, "key").await.unwrap(), None);
    let listed = records.restores(&case.application, None, 10).await.unwrap();
    assert_eq!((listed.items.len(), listed.next), (1, None), "a used key is no restore");
}

/// Of many restores at once one is made, and the others are told of it.
pub async fn of_many_restores_at_once_one_is_made(records: &dyn Records) {
    let case = Case::registered("restore-race", records).await;
    let all: Vec<_> = (0..8).map(|minutes| case.new_restore(minutes, None)).collect();
    let outcomes = join_all(all.iter().map(|new| records.create_restore(new))).await;
    let made = records.restores(&case.application, None, 100).await.unwrap().items;
    assert_eq!(made.len(), 1);
    let busy = RestoreCreation::Busy(made[0].value.id);
    let told = outcomes.iter().filter(|outcome| outcome.as_ref().is_ok_and(|found| *found == busy));
    assert_eq!(told.count(), 7, "{outcomes:?}");
}

/// A restore into an application that was removed at that moment is not made.
pub async fn a_restore_into_a_removed_application_is_a_conflict(records: &dyn Records) {
    let case = Case::registered("restore-gone", records).await;
    records.delete_application(&case.application, 1, &case.audit(now())).await.unwrap();
    let new = case.new_restore(0, Some("key"));
    let outcome = records.create_restore(&new).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert!(records.restore(&case.application, new.restore.id).await.unwrap().is_none());
}

/// An application that a restore is open of is not removed.
pub async fn an_application_with_an_open_restore_is_not_removed(records: &dyn Records) {
    let case = Case::registered("restore-removed", records).await;
    let open = case.create(records, 0).await;
    let removed = records.delete_application(&case.application, 1, &case.audit(now())).await;
    assert!(matches!(removed, Err(RecordsError::Conflict)), "{removed:?}");
    case.end(records, open, RestoreState::Cancelled).await;
    records.delete_application(&case.application, 1, &case.audit(now())).await.unwrap();
}

/// A write with a version that is not the record's changes nothing.
pub async fn a_restore_is_fenced_by_its_version(records: &dyn Records) {
    let case = Case::registered("restore-fenced", records).await;
    let mut restore = case.create(records, 0).await;
    restore.state = RestoreState::Running;
    restore.attempt = 1;
    assert_eq!(records.update_restore(&restore, 1, &[]).await.unwrap(), 2);
    let entries = case.audit_length(records).await;
    for stale in [1, 3] {
        let mut late = restore.clone();
        late.attempt = 7;
        let outcome = records.update_restore(&late, stale, &[case.audit(now())]).await;
        assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    }
    let found = records.restore(&case.application, restore.id).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (restore, 2));
    assert_eq!(case.audit_length(records).await, entries);
    let never = case.new_restore(5, None).restore;
    let outcome = records.update_restore(&never, 1, &[]).await;
    assert!(
        matches!(outcome, Err(RecordsError::Conflict)),
        "one that is not there has no version: {outcome:?}"
    );
}

/// A restore that ends, however it ends, gives back the turn; one that runs keeps it.
pub async fn an_ended_restore_gives_back_its_turn(records: &dyn Records) {
    let case = Case::registered("restore-turns", records).await;
    let ends = [RestoreState::Succeeded, RestoreState::Failed, RestoreState::Cancelled];
    for (round, end) in (0_i64..).zip(ends) {
        let mut restore = case.create(records, round * 10).await;
        restore.state = RestoreState::Running;
        assert_eq!(records.update_restore(&restore, 1, &[]).await.unwrap(), 2);
        let next = case.new_restore(round * 10 + 1, None);
        assert_eq!(records.create_restore(&next).await.unwrap(), RestoreCreation::Busy(restore.id));
        restore.state = end;
        assert_eq!(records.update_restore(&restore, 2, &[case.audit(now())]).await.unwrap(), 3);
    }
    case.create(records, 100).await;
}

/// A change to a restore that has ended does not touch the turn that another has by now.
pub async fn a_later_change_leaves_another_restores_turn_alone(records: &dyn Records) {
    let case = Case::registered("restore-kept", records).await;
    let first = case.create(records, 0).await;
    let mut first = case.end(records, first, RestoreState::Failed).await;
    let second = case.create(records, 1).await;
    first.finished_at = Some(now());
    assert_eq!(records.update_restore(&first, 2, &[]).await.unwrap(), 3);
    let third = case.new_restore(2, None);
    assert_eq!(records.create_restore(&third).await.unwrap(), RestoreCreation::Busy(second.id));
}

/// An end that comes too late gives back no turn and writes no audit.
pub async fn a_stale_end_gives_back_nothing(records: &dyn Records) {
    let case = Case::registered("restore-late", records).await;
    let mut restore = case.create(records, 0).await;
    assert_eq!(records.update_restore(&restore, 1, &[]).await.unwrap(), 2);
    let entries = case.audit_length(records).await;
    restore.state = RestoreState::Failed;
    let outcome = records.update_restore(&restore, 1, &[case.audit(now())]).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert_eq!(case.audit_length(records).await, entries);
    let next = case.new_restore(1, None);
    assert_eq!(records.create_restore(&next).await.unwrap(), RestoreCreation::Busy(restore.id));
}

/// The index of open restores has exactly those that are queued or running.
pub async fn open_restores_are_those_without_an_end(records: &dyn Records) {
    let case = Case::registered("restore-open", records).await;
    let open = async || {
        let mut open = records.open_restores(1000).await.unwrap();
        open.retain(|(application, _)| *application == case.application);
        open.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let mut restore = case.create(records, 0).await;
    assert_eq!(open().await, [restore.id]);
    restore.state = RestoreState::Running;
    records.update_restore(&restore, 1, &[]).await.unwrap();
    assert_eq!(open().await, [restore.id]);
    restore.state = RestoreState::Succeeded;
    records.update_restore(&restore, 2, &[]).await.unwrap();
    assert!(open().await.is_empty());
}

/// An open backup is not among the open restores, nor the other way round; neither waits for the other.
pub async fn open_backups_and_open_restores_are_apart(records: &dyn Records) {
    let case = Case::registered("restore-apart", records).await;
    let restore = case.create(records, 0).await;
    let backup = builders::queued(&case.application, case.entropy.backup_id(now()), now());
    let new = builders::request(backup.clone(), case.entropy.audit_id(now()), None);
    records.create_backup(&new).await.unwrap();
    let mine = |application: &ApplicationId| *application == case.application;
    let backups = records.open_backups(1000).await.unwrap();
    assert_eq!(backups.iter().filter(|(application, _)| mine(application)).count(), 1);
    assert!(backups.contains(&(case.application.clone(), backup.id)));
    let restores = records.open_restores(1000).await.unwrap();
    assert_eq!(restores.iter().filter(|(application, _)| mine(application)).count(), 1);
    assert!(restores.contains(&(case.application.clone(), restore.id)));
    assert_eq!(records.backups(&case.application, None, 10).await.unwrap().items.len(), 1);
}

/// Restores come page by page, newest first, and end where they end.
pub async fn restores_page_from_the_newest(records: &dyn Records) {
    let case = Case::registered("restore-history", records).await;
    let mut ids = Vec::new();
    for minutes in 0..5 {
        let restore = case.create(records, minutes).await;
        ids.insert(0, restore.id);
        case.end(records, restore, RestoreState::Failed).await;
    }
    let mut found = Vec::new();
    let mut before = None;
    for (length, more) in [(2, true), (2, true), (1, false)] {
        let page = records.restores(&case.application, before, 2).await.unwrap();
        assert_eq!((page.items.len(), page.next.is_some()), (length, more));
        found.extend(page.items.iter().map(|restore| restore.value.id));
        before = page.next;
    }
    assert_eq!(found, ids);
    let exact = records.restores(&case.application, None, 5).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (5, None));
}

/// A restore reads back with its options, preflight, runs, failure and all.
pub async fn a_restore_reads_back_with_everything_in_it(records: &dyn Records) {
    let case = Case::registered("restore-everything", records).await;
    let mut restore = case.create(records, 0).await;
    let service = builders::service_name("MEDIA");
    let changes = MediaChanges { added: u64::from(u32::MAX) * 100, replaced: 2, unchanged: 3, removed: 4 };
    restore.services[0].tables = vec!["public.\"a b\"".to_owned(), "\u{e9}\u{1f600}".to_owned()];
    restore.services[1].files = vec!["a/".to_owned(), "b\n.txt".to_owned()];
    restore.options = RestoreOptions {
        dry_run: true,
        overwrite: true,
        safety_backup: false,
        no_owner: true,
        media: MediaMode::Mirror,
        into_prefix: Some("elsewhere/".to_owned()),
    };
    (restore.rehearsal, restore.checksums) = (true, true);
    restore.undoes = Some(case.entropy.restore_id(now()));
    restore.safety_backup = Some(case.entropy.backup_id(now()));
    for moment in [
        &mut restore.started_at,
        &mut restore.finished_at,
        &mut restore.cancel_requested_at,
        &mut restore.aborting_at,
    ] {
        *moment = Some(now() + TimeDelta::milliseconds(17));
    }
    restore.preflight = vec![Preflight {
        service: service.clone(),
        target: "s3://bucket/prefix".to_owned(),
        is_occupied: true,
        steps: vec!["copies".to_owned()],
        notes: vec![String::new()],
        refusals: vec![Refusal::new("not_empty", "it is not empty", "ask for overwrite")],
        bytes: u64::from(u32::MAX) * 100,
        estimated_seconds: 17,
        changes: Some(changes),
    }];
    restore.runs = vec![RestoreRun {
        service: service.clone(),
        bytes: 1,
        of_bytes: Some(2),
        doing: Some("files".to_owned()),
        cursor: Some("{\"key\":\"a\"}".to_owned()),
        updated_at: now(),
        restored: Some(Restored {
            tables: Some(1),
            rows: Some(2),
            rows_compared: true,
            values_compared: Some(4),
            changes: Some(changes),
            files_compared: Some(3),
            notes: vec!["good to know".to_owned()],
        }),
    }];
    restore.failure = Some(Failure {
        code: "none".to_owned(),
        message: String::new(),
        service: Some(service),
        transient: true,
    });
    records.update_restore(&restore, 1, &[]).await.unwrap();
    let found = records.restore(&case.application, restore.id).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (restore, 2));
}
