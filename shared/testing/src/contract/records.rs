//! What [`Records`] promises. Each case has applications, plans and backups of its own, so that all can share one table.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use holdfast_archive::checksum::Crc64Nvme;
use holdfast_backup::ports::{
    ApplicationRecord, Creation, Entropy, Isolation, NewBackup, Records, RecordsError, ServiceRun,
};
use holdfast_domain::{
    audit::AuditEntry,
    backup::{Backup, Failure, Label, Phase, State},
    id::{ApplicationId, AuditId, BackupId},
    seats::{Seat, Seats},
};

use crate::{
    builders::{self, now},
    fakes::SeededEntropy,
};

/// Makes a test of each case of the [`Records`] suite.
#[macro_export]
macro_rules! records_contract {
    ($records:expr) => {
        $crate::contract_tests! { records, $records,
            an_application_reads_back_as_it_was_written
            an_application_is_made_once
            a_write_with_a_stale_version_changes_nothing
            a_removed_application_can_be_registered_again
            removed_applications_are_listed_until_they_are_forgotten
            an_application_with_an_open_backup_is_not_removed
            applications_page_in_the_order_of_their_slugs
            an_application_is_due_while_it_has_a_next_run_that_has_come
            a_plan_reads_back_and_is_written_by_version
            a_request_makes_a_backup_and_its_audit_entry
            a_backup_keeps_the_registration_it_was_asked_for_under
            a_repeated_key_gives_the_backup_it_made
            a_repeated_key_wins_over_a_busy_turn
            keys_of_two_applications_are_apart
            a_trigger_has_one_open_backup
            the_two_triggers_do_not_wait_for_each_other
            a_slot_is_claimed_once
            a_slot_moves_the_application_on
            a_slot_of_a_changed_application_is_a_conflict
            a_busy_turn_leaves_slot_and_application_alone
            a_backup_of_a_removed_application_is_a_conflict
            of_many_claims_of_a_slot_one_wins
            of_many_requests_with_one_key_one_wins
            an_ended_backup_gives_back_its_turn
            a_later_change_leaves_another_backups_turn_alone
            a_stale_end_gives_back_no_turn_and_writes_no_audit
            open_backups_are_those_without_an_end
            backups_page_from_the_newest
            a_backup_reads_back_with_everything_in_it
            a_service_run_is_fenced_by_its_version
            the_seats_of_a_server_are_written_by_version
            of_many_who_want_the_last_seat_one_gets_it
            the_audit_trail_pages_from_the_newest
            a_plans_audit_trail_is_its_own
        }
    };
}

/// One case's names and ids.
struct Case {
    application: ApplicationId,
    entropy: SeededEntropy,
}

impl Case {
    fn new(slug: &str) -> Self {
        Self {
            application: builders::slug(slug),
            entropy: SeededEntropy::new(Crc64Nvme::of(slug.as_bytes()).value()),
        }
    }

    async fn registered(slug: &str, records: &dyn Records) -> Self {
        let case = Self::new(slug);
        case.register(records, &builders::application(slug)).await;
        case
    }

    async fn register(&self, records: &dyn Records, application: &ApplicationRecord) {
        assert_eq!(records.put_application(application, None, &self.audit(now())).await.unwrap(), 1);
    }

    fn audit_id(&self, at: DateTime<Utc>) -> AuditId {
        self.entropy.audit_id(at)
    }

    fn audit(&self, at: DateTime<Utc>) -> AuditEntry {
        let backup = builders::queued(&self.application, self.entropy.backup_id(at), at);
        AuditEntry { backup: None, ..builders::audit_entry(self.audit_id(at), &backup) }
    }

    fn queued(&self, minutes: i64) -> Backup {
        let at = now() + TimeDelta::minutes(minutes);
        builders::queued(&self.application, self.entropy.backup_id(at), at)
    }

    fn seat(&self, minutes: i64) -> Seat {
        let backup = self.queued(minutes).id;
        Seat { backup, service: builders::service_name("DEFAULT"), until: now() + TimeDelta::minutes(16) }
    }

    fn request(&self, minutes: i64, key: Option<&str>) -> NewBackup {
        let backup = self.queued(minutes);
        builders::request(backup.clone(), self.audit_id(backup.created_at), key)
    }

    fn claim(&self, slot: DateTime<Utc>, expected: u64) -> NewBackup {
        let backup = builders::queued_for_slot(&self.application, self.entropy.backup_id(slot), slot);
        let mut moved_on = builders::application(self.application.as_str());
        moved_on.scheduled_until = slot;
        moved_on.next_run_at = Some(slot + TimeDelta::days(1));
        builders::claim_slot(backup, self.audit_id(slot), moved_on, expected)
    }

    async fn create(&self, records: &dyn Records, minutes: i64) -> Backup {
        let new = self.request(minutes, None);
        assert_eq!(records.create_backup(&new).await.unwrap(), Creation::Created);
        new.backup
    }

    /// Brings a queued backup of version 1 to its end.
    async fn end(&self, records: &dyn Records, mut backup: Backup, state: State) -> Backup {
        backup.state = state;
        assert_eq!(records.update_backup(&backup, 1, &[self.audit(backup.created_at)]).await.unwrap(), 2);
        backup
    }

    async fn version(&self, records: &dyn Records, id: BackupId) -> Option<u64> {
        records.backup(&self.application, id).await.unwrap().map(|backup| backup.version)
    }

    async fn audit_length(&self, records: &dyn Records) -> usize {
        records.audit(&self.application, None, 1000).await.unwrap().items.len()
    }
}

/// An application reads back as it was written.
pub async fn an_application_reads_back_as_it_was_written(records: &dyn Records) {
    let case = Case::new("reads-back");
    assert!(records.application(&case.application).await.unwrap().is_none());
    let mut application = builders::application("reads-back");
    case.register(records, &application).await;
    let found = records.application(&case.application).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (application.clone(), 1));

    application.next_run_at = None;
    application.spec.services.pop();
    assert_eq!(records.put_application(&application, Some(1), &case.audit(now())).await.unwrap(), 2);
    let found = records.application(&case.application).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (application, 2));
}

/// Making an application that is there is a conflict.
pub async fn an_application_is_made_once(records: &dyn Records) {
    let case = Case::registered("made-once", records).await;
    let again = records.put_application(&builders::application("made-once"), None, &case.audit(now())).await;
    assert!(matches!(again, Err(RecordsError::Conflict)), "{again:?}");
    assert_eq!(case.audit_length(records).await, 1, "what did not happen is not in the trail");
}

/// A write with a version that is not the record's changes nothing.
pub async fn a_write_with_a_stale_version_changes_nothing(records: &dyn Records) {
    let case = Case::registered("stale", records).await;
    let changed = ApplicationRecord { next_run_at: None, ..builders::application("stale") };
    for expected in [2, 7] {
        let outcome = records.put_application(&changed, Some(expected), &case.audit(now())).await;
        assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
        let outcome = records.delete_application(&case.application, expected, &case.audit(now())).await;
        assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    }
    let found = records.application(&case.application).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (builders::application("stale"), 1));
    assert_eq!(case.audit_length(records).await, 1);

    let missing = builders::application("stale-missing");
    let outcome = records.put_application(&missing, Some(1), &case.audit(now())).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert!(records.application(&missing.id).await.unwrap().is_none());
}

/// A removed application can be registered again, and its trail goes on.
pub async fn a_removed_application_can_be_registered_again(records: &dyn Records) {
    let case = Case::registered("removed", records).await;
    records.delete_application(&case.application, 1, &case.audit(now())).await.unwrap();
    assert!(records.application(&case.application).await.unwrap().is_none());
    let listed = records.applications(None, 1000).await.unwrap().items;
    assert!(listed.iter().all(|application| application.value.id != case.application));
    case.register(records, &builders::application("removed")).await;
    assert_eq!(case.audit_length(records).await, 3);
}

/// A removed application is listed as such, page by page, until it is forgotten.
pub async fn removed_applications_are_listed_until_they_are_forgotten(records: &dyn Records) {
    for slug in ["zz-removed-2", "zz-removed-1"] {
        let case = Case::registered(slug, records).await;
        records.delete_application(&case.application, 1, &case.audit(now())).await.unwrap();
    }
    let before = builders::slug("zz-removed");
    let [one, two] = ["zz-removed-1", "zz-removed-2"].map(builders::slug);
    let first = records.removed_applications(Some(&before), 1).await.unwrap();
    assert_eq!((first.items, first.next), (vec![one.clone()], Some(one.clone())));
    for _ in 0..2 {
        records.forget_application(&one).await.unwrap();
    }
    let left = records.removed_applications(Some(&before), 2).await.unwrap();
    assert_eq!((left.items, left.next), (vec![two.clone()], None));
    records.forget_application(&two).await.unwrap();
}

/// An application that a backup is open of is not removed.
pub async fn an_application_with_an_open_backup_is_not_removed(records: &dyn Records) {
    let case = Case::registered("open-removed", records).await;
    let open = case.create(records, 0).await;
    let removed = records.delete_application(&case.application, 1, &case.audit(now())).await;
    assert!(matches!(removed, Err(RecordsError::Conflict)), "{removed:?}");
    assert!(records.application(&case.application).await.unwrap().is_some());
    case.end(records, open, State::Failed).await;
    records.delete_application(&case.application, 1, &case.audit(now())).await.unwrap();
}

/// A backup keeps the registration it was asked for under, whatever becomes of that.
pub async fn a_backup_keeps_the_registration_it_was_asked_for_under(records: &dyn Records) {
    let case = Case::registered("source", records).await;
    let new = case.request(0, None);
    assert_eq!(records.source(new.backup.id).await.unwrap(), None);
    assert_eq!(records.create_backup(&new).await.unwrap(), Creation::Created);
    let mut changed = builders::application("source");
    changed.spec.services.pop();
    records.put_application(&changed, Some(1), &case.audit(now())).await.unwrap();
    assert_eq!(records.source(new.backup.id).await.unwrap(), Some(new.source.clone()));
    assert!(records.service_runs(new.backup.id).await.unwrap().is_empty(), "it is not taken for a run");

    let slot = case.claim(now(), 2);
    assert_eq!(records.create_backup(&slot).await.unwrap(), Creation::Created);
    assert_eq!(records.source(slot.backup.id).await.unwrap(), Some(slot.source));
}

/// Applications come page by page in the order of their slugs.
pub async fn applications_page_in_the_order_of_their_slugs(records: &dyn Records) {
    for slug in ["zz-page-3", "zz-page-1", "zz-page-2", "zz-page-4"] {
        Case::registered(slug, records).await;
    }
    let before = builders::slug("zz-page");
    let first = records.applications(Some(&before), 2).await.unwrap();
    let slugs = |page: &[_]| -> Vec<String> {
        page.iter()
            .map(|application: &holdfast_backup::ports::Versioned<ApplicationRecord>| {
                application.value.id.to_string()
            })
            .collect()
    };
    assert_eq!(slugs(&first.items), ["zz-page-1", "zz-page-2"]);
    assert_eq!(first.next, Some(builders::slug("zz-page-2")));
    let last = records.applications(first.next.as_ref(), 2).await.unwrap();
    assert_eq!(slugs(&last.items), ["zz-page-3", "zz-page-4"]);
    assert_eq!(last.next, None, "a full page is the last when nothing follows");
}

/// An application is in the index of the due ones exactly while it has a next run.
pub async fn an_application_is_due_while_it_has_a_next_run_that_has_come(records: &dyn Records) {
    let case = Case::new("due");
    // Long before the runs of other cases, so that nothing else is due.
    let at = now() - TimeDelta::days(400);
    let mut application = ApplicationRecord { next_run_at: Some(at), ..builders::application("due") };
    case.register(records, &application).await;
    let due = async |when| records.due(when, 10).await.unwrap().contains(&case.application);
    assert!(!due(at - TimeDelta::seconds(1)).await);
    assert!(due(at).await, "the moment itself counts");
    assert!(due(at + TimeDelta::days(1)).await);

    application.next_run_at = Some(at + TimeDelta::days(1));
    records.put_application(&application, Some(1), &case.audit(now())).await.unwrap();
    assert!(!due(at).await);
    assert!(due(at + TimeDelta::days(1)).await);

    application.next_run_at = None;
    records.put_application(&application, Some(2), &case.audit(now())).await.unwrap();
    assert!(!due(at + TimeDelta::days(2)).await);

    application.next_run_at = Some(at);
    records.put_application(&application, Some(3), &case.audit(now())).await.unwrap();
    records.delete_application(&case.application, 4, &case.audit(now())).await.unwrap();
    assert!(!due(at).await, "a removed application is never due");
}

/// A plan reads back, and is written by version.
pub async fn a_plan_reads_back_and_is_written_by_version(records: &dyn Records) {
    let case = Case::new("plan-case");
    let mut plan = builders::plan("gold");
    assert!(records.plan(&plan.id).await.unwrap().is_none());
    assert_eq!(records.put_plan(&plan, None, &case.audit(now())).await.unwrap(), 1);
    plan.spec.schedule = None;
    for stale in [None, Some(2)] {
        let outcome = records.put_plan(&plan, stale, &case.audit(now())).await;
        assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    }
    assert_eq!(records.put_plan(&plan, Some(1), &case.audit(now())).await.unwrap(), 2);
    let found = records.plan(&plan.id).await.unwrap().unwrap();
    assert_eq!((&found.value, found.version), (&plan, 2));
    records.put_plan(&builders::plan("bronze"), None, &case.audit(now())).await.unwrap();
    let plans = records.plans().await.unwrap();
    assert!(plans.is_sorted_by(|a, b| a.value.id < b.value.id));
    assert!(plans.contains(&found));
}

/// A request makes a backup together with the audit entry that says who asked.
pub async fn a_request_makes_a_backup_and_its_audit_entry(records: &dyn Records) {
    let case = Case::registered("request", records).await;
    let new = case.request(0, Some("key"));
    assert_eq!(records.create_backup(&new).await.unwrap(), Creation::Created);
    let found = records.backup(&case.application, new.backup.id).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (new.backup.clone(), 1));
    let trail = records.audit(&case.application, None, 10).await.unwrap().items;
    assert!(trail.contains(&new.audit));
    assert!(records.backup(&builders::slug("another"), new.backup.id).await.unwrap().is_none());
}

/// A key that was used gives the backup it made, for as long as it is kept, and nothing is written.
pub async fn a_repeated_key_gives_the_backup_it_made(records: &dyn Records) {
    let case = Case::registered("repeated", records).await;
    assert_eq!(records.idempotency(&case.application, "key").await.unwrap(), None);
    let first = case.request(0, Some("key"));
    assert_eq!(records.create_backup(&first).await.unwrap(), Creation::Created);
    case.end(records, first.backup.clone(), State::Succeeded).await;
    let used = Some((first.backup.id, "fingerprint of key".to_owned()));
    assert_eq!(records.idempotency(&case.application, "key").await.unwrap(), used);

    let second = case.request(1, Some("key"));
    let repeated = Creation::Repeated { id: first.backup.id, fingerprint: "fingerprint of key".to_owned() };
    assert_eq!(records.create_backup(&second).await.unwrap(), repeated);
    assert_eq!(case.version(records, second.backup.id).await, None);
    let other = case.request(2, Some("another key"));
    assert_eq!(records.create_backup(&other).await.unwrap(), Creation::Created);
}

/// Repeating a request whose backup is still open gives that backup, and not that something is open.
pub async fn a_repeated_key_wins_over_a_busy_turn(records: &dyn Records) {
    let case = Case::registered("repeated-busy", records).await;
    let first = case.request(0, Some("key"));
    assert_eq!(records.create_backup(&first).await.unwrap(), Creation::Created);
    let outcome = records.create_backup(&case.request(1, Some("key"))).await.unwrap();
    assert!(matches!(outcome, Creation::Repeated { id, .. } if id == first.backup.id), "{outcome:?}");
}

/// The same key for two applications is two keys.
pub async fn keys_of_two_applications_are_apart(records: &dyn Records) {
    for slug in ["keys-one", "keys-two"] {
        let case = Case::registered(slug, records).await;
        assert_eq!(records.create_backup(&case.request(0, Some("key"))).await.unwrap(), Creation::Created);
    }
}

/// While a backup is open, another of the same trigger is not made, nor its key used up.
pub async fn a_trigger_has_one_open_backup(records: &dyn Records) {
    let case = Case::registered("busy", records).await;
    let open = case.create(records, 0).await;
    let second = case.request(1, Some("key"));
    assert_eq!(records.create_backup(&second).await.unwrap(), Creation::Busy(open.id));
    assert_eq!(case.version(records, second.backup.id).await, None);
    assert_eq!(case.audit_length(records).await, 2);
    case.end(records, open, State::Failed).await;
    assert_eq!(records.create_backup(&second).await.unwrap(), Creation::Created);
}

/// A scheduled backup starts while one on demand is open, and the other way round.
pub async fn the_two_triggers_do_not_wait_for_each_other(records: &dyn Records) {
    let case = Case::registered("triggers", records).await;
    case.create(records, 0).await;
    assert_eq!(records.create_backup(&case.claim(now(), 1)).await.unwrap(), Creation::Created);
}

/// A slot is claimed once, even when its backup has ended.
pub async fn a_slot_is_claimed_once(records: &dyn Records) {
    let case = Case::registered("slot", records).await;
    let first = case.claim(now(), 1);
    assert_eq!(records.create_backup(&first).await.unwrap(), Creation::Created);
    assert_eq!(records.create_backup(&case.claim(now(), 1)).await.unwrap(), Creation::SlotTaken);
    case.end(records, first.backup, State::Failed).await;
    let again = case.claim(now(), 2);
    assert_eq!(records.create_backup(&again).await.unwrap(), Creation::SlotTaken);
    assert_eq!(case.version(records, again.backup.id).await, None);
}

/// Claiming a slot moves the application on in the same transaction.
pub async fn a_slot_moves_the_application_on(records: &dyn Records) {
    let case = Case::registered("moves-on", records).await;
    let at = now() - TimeDelta::days(300);
    assert_eq!(records.create_backup(&case.claim(at, 1)).await.unwrap(), Creation::Created);
    let application = records.application(&case.application).await.unwrap().unwrap();
    assert_eq!(application.version, 2);
    assert_eq!(application.value.scheduled_until, at);
    assert_eq!(application.value.next_run_at, Some(at + TimeDelta::days(1)));
    assert!(!records.due(at, 10).await.unwrap().contains(&case.application));
    assert!(records.due(at + TimeDelta::days(1), 10).await.unwrap().contains(&case.application));
    // Out of the way of the other cases.
    let idle = ApplicationRecord { next_run_at: None, ..application.value };
    records.put_application(&idle, Some(2), &case.audit(now())).await.unwrap();
}

/// A slot of an application that somebody has changed meanwhile is a conflict, and nothing is written.
pub async fn a_slot_of_a_changed_application_is_a_conflict(records: &dyn Records) {
    let case = Case::registered("slot-conflict", records).await;
    records
        .put_application(&builders::application("slot-conflict"), Some(1), &case.audit(now()))
        .await
        .unwrap();
    let stale = case.claim(now(), 1);
    let outcome = records.create_backup(&stale).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert_eq!(case.version(records, stale.backup.id).await, None);
    assert_eq!(records.create_backup(&case.claim(now(), 2)).await.unwrap(), Creation::Created);
}

/// A scheduled backup that finds its turn taken uses up neither the slot nor the application's version.
pub async fn a_busy_turn_leaves_slot_and_application_alone(records: &dyn Records) {
    let case = Case::registered("slot-busy", records).await;
    let first = case.claim(now(), 1);
    assert_eq!(records.create_backup(&first).await.unwrap(), Creation::Created);
    let next = case.claim(now() + TimeDelta::days(1), 2);
    assert_eq!(records.create_backup(&next).await.unwrap(), Creation::Busy(first.backup.id));
    assert_eq!(records.application(&case.application).await.unwrap().unwrap().version, 2);
    case.end(records, first.backup, State::Cancelled).await;
    assert_eq!(records.create_backup(&next).await.unwrap(), Creation::Created);
}

/// A backup of an application that was removed at that moment is not made.
pub async fn a_backup_of_a_removed_application_is_a_conflict(records: &dyn Records) {
    let case = Case::registered("gone", records).await;
    records.delete_application(&case.application, 1, &case.audit(now())).await.unwrap();
    let request = case.request(0, Some("key"));
    let outcome = records.create_backup(&request).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert_eq!(case.version(records, request.backup.id).await, None);
    let outcome = records.create_backup(&case.claim(now(), 1)).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
}

/// Of many who claim a slot at once, one wins and the others know that it is taken.
pub async fn of_many_claims_of_a_slot_one_wins(records: &dyn Records) {
    let case = Case::registered("slot-race", records).await;
    let claims: Vec<_> = (0..8).map(|_| case.claim(now(), 1)).collect();
    let outcomes = join_all(claims.iter().map(|claim| records.create_backup(claim))).await;
    let count =
        |wanted: Creation| outcomes.iter().filter(|found| found.as_ref().is_ok_and(|c| *c == wanted)).count();
    assert_eq!((count(Creation::Created), count(Creation::SlotTaken)), (1, 7), "{outcomes:?}");
    let backups = records.backups(&case.application, None, 100).await.unwrap().items;
    assert_eq!(backups.len(), 1);
}

/// Of many requests with one key at once, one makes the backup and the others are told of it.
pub async fn of_many_requests_with_one_key_one_wins(records: &dyn Records) {
    let case = Case::registered("key-race", records).await;
    let requests: Vec<_> = (0..8).map(|minutes| case.request(minutes, Some("key"))).collect();
    let outcomes = join_all(requests.iter().map(|request| records.create_backup(request))).await;
    let backups = records.backups(&case.application, None, 100).await.unwrap().items;
    assert_eq!(backups.len(), 1);
    let told = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Ok(Creation::Repeated { id, .. }) if *id == backups[0].value.id));
    assert_eq!(told.count(), 7, "{outcomes:?}");
}

/// A backup that ends, however it ends, gives back the turn of its trigger; one that runs keeps it.
pub async fn an_ended_backup_gives_back_its_turn(records: &dyn Records) {
    let case = Case::registered("turns", records).await;
    for (round, end) in (0_i64..).zip([State::Succeeded, State::Failed, State::Cancelled]) {
        let mut backup = case.create(records, round * 10).await;
        backup.state = State::Running;
        assert_eq!(records.update_backup(&backup, 1, &[]).await.unwrap(), 2);
        let next = case.request(round * 10 + 1, None);
        assert_eq!(records.create_backup(&next).await.unwrap(), Creation::Busy(backup.id));
        backup.state = end;
        assert_eq!(records.update_backup(&backup, 2, &[case.audit(now())]).await.unwrap(), 3);
    }
    case.create(records, 100).await;
}

/// A change to a backup that has ended does not touch the turn that another has by now.
pub async fn a_later_change_leaves_another_backups_turn_alone(records: &dyn Records) {
    let case = Case::registered("turn-kept", records).await;
    let first = case.create(records, 0).await;
    let mut first = case.end(records, first, State::Succeeded).await;
    let second = case.create(records, 1).await;
    first.label = Some(Label::Weekly);
    assert_eq!(records.update_backup(&first, 2, &[]).await.unwrap(), 3);
    first.state = State::Expiring;
    assert_eq!(records.update_backup(&first, 3, &[]).await.unwrap(), 4);
    assert_eq!(records.create_backup(&case.request(2, None)).await.unwrap(), Creation::Busy(second.id));
}

/// An end that comes too late changes nothing at all.
pub async fn a_stale_end_gives_back_no_turn_and_writes_no_audit(records: &dyn Records) {
    let case = Case::registered("stale-end", records).await;
    let mut backup = case.create(records, 0).await;
    assert_eq!(records.update_backup(&backup, 1, &[]).await.unwrap(), 2);
    let entries = case.audit_length(records).await;
    backup.state = State::Failed;
    let outcome = records.update_backup(&backup, 1, &[case.audit(now())]).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert_eq!(case.audit_length(records).await, entries);
    assert_eq!(records.create_backup(&case.request(1, None)).await.unwrap(), Creation::Busy(backup.id));
    let never = case.queued(5);
    let outcome = records.update_backup(&never, 1, &[]).await;
    assert!(
        matches!(outcome, Err(RecordsError::Conflict)),
        "a backup that is not there has no version: {outcome:?}"
    );
}

/// The index of open backups has exactly those that are queued or running.
pub async fn open_backups_are_those_without_an_end(records: &dyn Records) {
    let case = Case::registered("open", records).await;
    let mut backup = case.create(records, 0).await;
    let scheduled = case.claim(now(), 1);
    assert_eq!(records.create_backup(&scheduled).await.unwrap(), Creation::Created);
    let open = async || {
        let mut open: Vec<_> = records.open_backups(1000).await.unwrap();
        open.retain(|(application, _)| *application == case.application);
        open.sort();
        open.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
    };
    let mut both = vec![backup.id, scheduled.backup.id];
    both.sort();
    assert_eq!(open().await, both);
    backup.state = State::Running;
    records.update_backup(&backup, 1, &[]).await.unwrap();
    assert_eq!(open().await, both);
    backup.state = State::Succeeded;
    records.update_backup(&backup, 2, &[]).await.unwrap();
    assert_eq!(open().await, [scheduled.backup.id]);
}

/// Backups come page by page, newest first, and end where they end.
pub async fn backups_page_from_the_newest(records: &dyn Records) {
    let case = Case::registered("history", records).await;
    let mut ids = Vec::new();
    for minutes in 0..5 {
        let backup = case.create(records, minutes).await;
        ids.insert(0, backup.id);
        case.end(records, backup, State::Succeeded).await;
    }
    let mut found = Vec::new();
    let mut before = None;
    for (length, more) in [(2, true), (2, true), (1, false)] {
        let page = records.backups(&case.application, before, 2).await.unwrap();
        assert_eq!((page.items.len(), page.next.is_some()), (length, more));
        found.extend(page.items.iter().map(|backup| backup.value.id));
        before = page.next;
    }
    assert_eq!(found, ids);
    let exact = records.backups(&case.application, None, 5).await.unwrap();
    assert_eq!((exact.items.len(), exact.next), (5, None));
    let between = BackupId::floor(now() + TimeDelta::minutes(2));
    let page = records.backups(&case.application, Some(between), 10).await.unwrap();
    let older: Vec<_> = page.items.iter().map(|backup| backup.value.id).collect();
    assert_eq!(older, ids[3..], "an id that no backup has is a place in the list too");
}

/// A backup reads back with its artifacts, failure, label and all.
pub async fn a_backup_reads_back_with_everything_in_it(records: &dyn Records) {
    let case = Case::registered("everything", records).await;
    let queued = case.create(records, 0).await;
    let mut backup = builders::succeeded(&case.application, queued.id, queued.created_at, true);
    backup.trigger = queued.trigger;
    backup.note = Some("before the migration: \u{e9}\u{1f600}\n\"quoted\"".to_owned());
    backup.expires_at = Some(now() + TimeDelta::days(14));
    backup.failure = Some(Failure {
        code: "none".to_owned(),
        message: String::new(),
        service: Some(builders::service_name("MEDIA")),
        transient: true,
    });
    backup.artifacts[0].object.size = u64::from(u32::MAX) * 100;
    backup.retention_reason = Some("kept".to_owned());
    records.update_backup(&backup, 1, &[]).await.unwrap();
    let found = records.backup(&case.application, backup.id).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (backup, 2));
}

/// How far a service has come is written by version, and reads back.
pub async fn a_service_run_is_fenced_by_its_version(records: &dyn Records) {
    let case = Case::new("runs");
    let backup = case.queued(0).id;
    assert!(records.service_runs(backup).await.unwrap().is_empty());
    let mut media = ServiceRun::pending(builders::service_name("MEDIA"), now());
    let database = ServiceRun::pending(builders::service_name("DEFAULT"), now());
    assert_eq!(records.put_service_run(backup, &media, None).await.unwrap(), 1);
    assert_eq!(records.put_service_run(backup, &database, None).await.unwrap(), 1);
    let outcome = records.put_service_run(backup, &media, None).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");

    media.attempt = 1;
    media.progress.phase = Phase::Copying;
    media.progress.started_at = Some(now());
    media.progress.estimated_bytes = Some(u64::from(u32::MAX) * 1000);
    assert_eq!(records.put_service_run(backup, &media, Some(1)).await.unwrap(), 2);
    let outcome = records.put_service_run(backup, &media, Some(1)).await;
    assert!(
        matches!(outcome, Err(RecordsError::Conflict)),
        "a slice that was overtaken is fenced: {outcome:?}"
    );

    media.isolation = Some(Isolation {
        name: "holdfast-copy".to_owned(),
        is_cluster: true,
        began_at: now(),
        asked_at: Some(now()),
        stored: builders::succeeded(&case.application, backup, now(), false).artifacts.pop(),
    });
    media.artifact = builders::succeeded(&case.application, backup, now(), false).artifacts.pop();
    assert_eq!(records.put_service_run(backup, &media, Some(2)).await.unwrap(), 3);
    let runs = records.service_runs(backup).await.unwrap();
    let runs: Vec<_> = runs.into_iter().map(|run| (run.value, run.version)).collect();
    assert_eq!(runs, [(database, 1), (media, 3)]);
}

/// The seats of one server are none of another's, and who does not know who has them cannot change that.
pub async fn the_seats_of_a_server_are_written_by_version(records: &dyn Records) {
    let case = Case::new("seats");
    let (server, other) = ("seats.internal:5432", "seats.internal:5433");
    assert!(records.seats(server).await.unwrap().is_none());
    let mut seats = Seats::default();
    assert!(seats.take(case.seat(0), 2, now()));
    assert_eq!(records.put_seats(server, &seats, None).await.unwrap(), 1);
    let outcome = records.put_seats(server, &seats, None).await;
    assert!(matches!(outcome, Err(RecordsError::Conflict)), "{outcome:?}");
    assert!(seats.take(case.seat(1), 2, now()));
    assert_eq!(records.put_seats(server, &seats, Some(1)).await.unwrap(), 2);
    let outcome = records.put_seats(server, &Seats::default(), Some(1)).await;
    assert!(
        matches!(outcome, Err(RecordsError::Conflict)),
        "who was overtaken takes nobody's seat: {outcome:?}"
    );
    let found = records.seats(server).await.unwrap().unwrap();
    assert_eq!((found.value, found.version), (seats, 2));
    assert!(records.seats(other).await.unwrap().is_none());
}

/// However many come at the same moment.
pub async fn of_many_who_want_the_last_seat_one_gets_it(records: &dyn Records) {
    let case = Case::new("last-seat");
    let server = "last-seat.internal:5432";
    let wants = |number| {
        let mut seats = Seats::default();
        assert!(seats.take(case.seat(number), 1, now()));
        async move { records.put_seats(server, &seats, None).await }
    };
    let outcomes = join_all((0..10).map(wants)).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(records.seats(server).await.unwrap().unwrap().value.taken.len(), 1);
}

/// The audit trail comes page by page, newest first.
pub async fn the_audit_trail_pages_from_the_newest(records: &dyn Records) {
    let case = Case::registered("trail", records).await;
    let mut backup = case.create(records, 1).await;
    let entries: Vec<_> = (2..5).map(|minutes| case.audit(now() + TimeDelta::minutes(minutes))).collect();
    backup.state = State::Failed;
    records.update_backup(&backup, 1, &entries).await.unwrap();
    let first = records.audit(&case.application, None, 3).await.unwrap();
    let newest: Vec<_> = entries.iter().rev().cloned().collect();
    assert_eq!(first.items, newest);
    let last = records.audit(&case.application, first.next.as_deref(), 3).await.unwrap();
    assert_eq!((last.items.len(), last.next), (2, None));
    assert!(last.items.iter().all(|entry| entry.id < newest[2].id));
}

/// A plan's audit trail is its own, and pages from the newest.
pub async fn a_plans_audit_trail_is_its_own(records: &dyn Records) {
    let case = Case::new("plan-trail");
    let plan = builders::plan("plan-trail");
    let entries: Vec<_> = (0..3).map(|minute| case.audit(now() + TimeDelta::minutes(minute))).collect();
    let mut version = None;
    for entry in &entries {
        version = Some(records.put_plan(&plan, version, entry).await.unwrap());
    }
    let first = records.plan_audit(&plan.id, None, 2).await.unwrap();
    assert_eq!(first.items, [entries[2].clone(), entries[1].clone()]);
    let last = records.plan_audit(&plan.id, first.next.as_deref(), 2).await.unwrap();
    assert_eq!((last.items, last.next), (vec![entries[0].clone()], None));
    assert!(records.audit(&case.application, None, 10).await.unwrap().items.is_empty());
}
