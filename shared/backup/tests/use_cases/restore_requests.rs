//! Asking for a restore, and what is refused.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use holdfast_backup::{
    applications::{self, Fate},
    error::RequestError,
    job::{Caught, Job},
    request,
    restores::{self, Filter, RestoreRequest, cancel, create, undo},
    tick,
};
use holdfast_domain::{
    audit::Action,
    backup::{Backup, Failure, State, Verification, VerificationLevel, VerificationState},
    restore::{Mapping, MediaMode, RestoreOptions, RestoreState},
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::shop::{ANNA, Shop, overwriting};

async fn refused(shop: &Shop, request: RestoreRequest) -> RequestError {
    let refusal = create(&shop.world.ports, ANNA, &shop.id, request, None).await.unwrap_err();
    assert!(shop.world.executions.started().is_empty(), "{refusal}");
    refusal
}

fn field(error: &RequestError) -> &str {
    match error {
        RequestError::Invalid(invalid) => &invalid.field,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_request_makes_a_restore_and_starts_its_job() {
    let shop = Shop::new();
    let asked = create(&shop.world.ports, ANNA, &shop.id, shop.request(overwriting()), None).await.unwrap();
    let restore = asked.restore.value;
    assert_eq!((asked.repeated, restore.state), (false, RestoreState::Queued));
    assert_eq!(
        restore.services,
        [builders::mapping("DEFAULT", "DEFAULT"), builders::mapping("MEDIA", "MEDIA")]
    );
    assert_eq!((restore.requested_by.as_str(), &restore.options), (ANNA, &overwriting()));
    assert_eq!(shop.world.executions.started(), [shop.job(restore.id)]);
    assert_eq!(shop.job(restore.id).execution_name(), restore.id.to_string());
    let entry = shop.world.records.audit_trail(&shop.id).pop().unwrap();
    assert_eq!(
        (entry.action, entry.restore, entry.backup),
        (Action::Request, Some(restore.id), Some(shop.backup.id))
    );
    assert!(entry.reason.unwrap().contains("of the backup"));
    assert!(shop.world.backup(&shop.id, shop.backup.id).link_until.is_some(), "no policy takes it meanwhile");
    assert_eq!(restores::get(&shop.world.ports, &shop.id, restore.id).await.unwrap().value, restore);
}

#[tokio::test]
async fn what_has_no_namesake_of_its_kind_is_left_out_unless_it_is_named() {
    let shop = Shop::new();
    let mut record = builders::application("shop");
    record.spec.services.pop();
    shop.world.records.insert_application(record.clone());
    let id = shop.ask(RestoreOptions::default()).await;
    let services = shop.restore(id).await.services;
    assert_eq!(services, [builders::mapping("DEFAULT", "DEFAULT")]);
    cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
    shop.drive(id).await;

    let holdfast_domain::application::Service::Postgres(database) = &mut record.spec.services[0] else {
        panic!("a database")
    };
    database.name = builders::service_name("OTHER");
    shop.world.records.insert_application(record);
    let request = shop.request(RestoreOptions::default());
    let refusal = create(&shop.world.ports, ANNA, &shop.id, request.clone(), None).await.unwrap_err();
    assert_eq!(field(&refusal), "services");
    assert!(refusal.to_string().contains("DEFAULT (postgres), MEDIA (storage)"), "{refusal}");
    let named = RestoreRequest { services: Some(vec![builders::mapping("DEFAULT", "OTHER")]), ..request };
    create(&shop.world.ports, ANNA, &shop.id, named, None).await.unwrap();
}

fn with(mapping: Mapping, tables: &[&str], files: &[&str]) -> Mapping {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Mapping { tables: owned(tables), files: owned(files), ..mapping }
}

#[rstest]
#[case(vec![], "services")]
#[case(vec![builders::mapping("NONE", "DEFAULT")], "services[0].from")]
#[case(vec![builders::mapping("DEFAULT", "NONE")], "services[0].to")]
#[case(vec![builders::mapping("DEFAULT", "MEDIA")], "services[0].to")]
#[case(vec![builders::mapping("MEDIA", "DEFAULT")], "services[0].to")]
#[case(vec![builders::mapping("MEDIA", "MEDIA"), builders::mapping("MEDIA", "MEDIA")], "services[1].from")]
#[case(vec![with(builders::mapping("MEDIA", "MEDIA"), &["t"], &[])], "services[0].tables")]
#[case(vec![with(builders::mapping("DEFAULT", "DEFAULT"), &[], &["f"])], "services[0].files")]
#[case(vec![with(builders::mapping("DEFAULT", "DEFAULT"), &["t", ""], &[])], "services[0].tables[1]")]
#[case(vec![with(builders::mapping("DEFAULT", "DEFAULT"), &["t", "t"], &[])], "services[0].tables[1]")]
#[case(vec![with(builders::mapping("MEDIA", "MEDIA"), &[], &["a\0"])], "services[0].files[0]")]
#[tokio::test]
async fn what_cannot_go_there_is_refused_by_its_field(#[case] services: Vec<Mapping>, #[case] at: &str) {
    let shop = Shop::new();
    let request = RestoreRequest { services: Some(services), ..shop.request(overwriting()) };
    assert_eq!(field(&refused(&shop, request).await), at);
}

#[tokio::test]
async fn more_names_than_a_record_can_keep_are_refused() {
    let shop = Shop::new();
    let tables: Vec<String> = (0..201).map(|number| format!("table_{number}")).collect();
    let names: Vec<&str> = tables.iter().map(String::as_str).collect();
    let services = Some(vec![with(builders::mapping("DEFAULT", "DEFAULT"), &names, &[])]);
    let refusal = refused(&shop, RestoreRequest { services, ..shop.request(overwriting()) }).await;
    assert_eq!(field(&refusal), "services");
}

#[tokio::test]
async fn options_that_do_not_fit_are_refused() {
    let shop = Shop::new();
    let into = |prefix: &str| RestoreOptions { into_prefix: Some(prefix.to_owned()), ..overwriting() };
    let database = Some(vec![builders::mapping("DEFAULT", "DEFAULT")]);
    let request = RestoreRequest { services: database, ..shop.request(into("restored/")) };
    assert_eq!(field(&refused(&shop, request).await), "options.into_prefix", "no storage");
    for outside in ["/restored/", "restored/", "blog/", "", "media"] {
        let refusal = refused(&shop, shop.request(into(outside))).await;
        assert_eq!(field(&refusal), "options.into_prefix", "{outside:?}");
    }
    let elsewhere = refused(&shop, shop.request(into("blog/"))).await;
    assert!(elsewhere.to_string().contains("not below the prefix \"media/\" of MEDIA"), "{elsewhere}");
    let some = Some(vec![with(builders::mapping("MEDIA", "MEDIA"), &[], &["a/"])]);
    let mirror = RestoreOptions { media: MediaMode::Mirror, ..overwriting() };
    let request = RestoreRequest { services: some, ..shop.request(mirror) };
    assert_eq!(field(&refused(&shop, request).await), "options.media", "all other files would go");
}

#[tokio::test]
async fn a_backup_that_holds_nothing_is_refused_with_what_to_do() {
    let shop = Shop::new();
    let refusal = async |change: &dyn Fn(&mut Backup)| {
        let mut backup = shop.backup.clone();
        change(&mut backup);
        shop.world.records.insert_backup(backup);
        refused(&shop, shop.request(overwriting())).await.to_string()
    };
    let running = refusal(&|backup| backup.state = State::Running).await;
    assert!(running.contains("has not ended yet"), "{running}");
    let failed = refusal(&|backup| backup.state = State::Failed).await;
    assert!(failed.contains("is failed and holds nothing to restore"), "{failed}");
    let expired = |days| {
        move |backup: &mut Backup| {
            backup.state = State::Expired;
            backup.expired_at = Some(builders::now() - TimeDelta::days(days));
        }
    };
    let recent = refusal(&expired(3)).await;
    assert!(recent.contains("can be brought back until 2026-04-05"), "{recent}");
    let old = refusal(&expired(8)).await;
    assert!(old.contains("gone for good"), "{old}");
    let unknown = World::new().ports.entropy.backup_id(builders::now());
    let mut request = shop.request(overwriting());
    request.from.backup = unknown;
    assert!(matches!(refused(&shop, request).await, RequestError::NotFound { what: "backup", .. }));
}

#[tokio::test]
async fn a_backup_that_was_found_damaged_is_refused_with_what_was_found() {
    let shop = Shop::new();
    let verify = |state| {
        let mut backup = shop.backup.clone();
        backup.verification = Some(Verification {
            level: VerificationLevel::Read,
            rehearsal: None,
            state,
            by: "schedule".to_owned(),
            at: builders::now(),
            finished_at: Some(builders::now()),
            artifacts: Vec::new(),
            cursor: None,
            damaged_before: None,
            failure: (state != VerificationState::Passed).then(|| Failure {
                code: "archive_damaged".to_owned(),
                message: "the bytes of \"a.jpg\" are not those of its checksum.".to_owned(),
                service: None,
                transient: false,
            }),
        });
        shop.world.records.insert_backup(backup);
    };
    verify(VerificationState::Damaged);
    let refusal = refused(&shop, shop.request(overwriting())).await;
    assert!(matches!(refusal, RequestError::Conflict(_)), "{refusal}");
    for part in
        ["is damaged: the bytes of \"a.jpg\" are not those of its checksum. Choose another", "RESTORING.md"]
    {
        assert!(refusal.to_string().contains(part), "{part}: {refusal}");
    }
    verify(VerificationState::Failed);
    let id = shop.ask(overwriting()).await;
    verify(VerificationState::Damaged);
    let restore = shop.drive(id).await;
    let failure = restore.failure.unwrap();
    assert_eq!((restore.state, failure.code.as_str()), (RestoreState::Failed, "backup_damaged"));
    assert!(restore.preflight.is_empty() && failure.message.contains("Nothing was changed"));
    verify(VerificationState::Passed);
    shop.ask(overwriting()).await;
}

#[tokio::test]
async fn another_applications_backup_is_not_to_be_had_unless_that_one_has_named_this() {
    let shop = Shop::new();
    let other = shop.world.register("other").value.id;
    let theirs = shop.world.succeeded(&other, builders::now(), false);
    let mut request = shop.request(overwriting());
    request.from.application = Some(other.clone());
    request.from.backup = theirs.id;
    let refusal = refused(&shop, request.clone()).await;
    assert_eq!(field(&refusal), "from.application");
    assert!(
        refusal.to_string().contains("name shop in `restore_into` of the registration of other"),
        "{refusal}"
    );
    request.from.application = Some(builders::slug("unknown"));
    assert_eq!(
        field(&refused(&shop, request).await),
        "from.application",
        "nor is it told that there is none"
    );
    let unlinked = shop.world.backup(&other, theirs.id);
    assert_eq!(unlinked.link_until, None, "nothing is written for who may not");
}

#[tokio::test]
async fn one_restore_at_a_time_and_the_same_key_gives_the_same_one() {
    let shop = Shop::new();
    let key = Some("monday".to_owned());
    let ask =
        async |options, key| create(&shop.world.ports, ANNA, &shop.id, shop.request(options), key).await;
    let first = ask(overwriting(), key.clone()).await.unwrap();
    let again = ask(overwriting(), key.clone()).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.restore.value.id, first.restore.value.id);
    let other = ask(RestoreOptions::default(), key).await.unwrap_err();
    assert_eq!(field(&other), "Idempotency-Key");
    let busy = ask(overwriting(), None).await.unwrap_err();
    assert!(matches!(busy, RequestError::Conflict(_)));
    assert!(busy.to_string().contains(&first.restore.value.id.to_string()), "{busy}");
    shop.drive(first.restore.value.id).await;
    ask(overwriting(), None).await.unwrap();
}

#[tokio::test]
async fn a_cancellation_gets_through_to_a_restore_that_is_at_work() {
    let shop = Shop::new();
    let id = shop.ask(overwriting()).await;
    for nth in 1..=3 {
        shop.world.faults.on("records.update_restore", nth, Moment::Before, Fault::Conflict);
    }
    let cancelled = cancel(&shop.world.ports, "eve", &shop.id, id).await.unwrap();
    assert_eq!(cancelled.value.cancel_requested_at, Some(builders::now()));
    let again = cancel(&shop.world.ports, "eve", &shop.id, id).await.unwrap();
    assert_eq!(again, cancelled, "repeating it changes nothing");
    assert_eq!(shop.drive(id).await.state, RestoreState::Cancelled);
    let late = cancel(&shop.world.ports, "eve", &shop.id, id).await.unwrap_err();
    assert!(late.to_string().contains("is cancelled and cannot be cancelled any more"), "{late}");
    let cancels = shop.world.records.audit_trail(&shop.id).into_iter().filter(|e| e.action == Action::Cancel);
    let actors: BTreeSet<_> = cancels.map(|entry| entry.actor).collect();
    assert_eq!(actors, BTreeSet::from(["eve".to_owned(), "job".to_owned()]));
}

#[tokio::test]
async fn one_that_has_not_ended_is_not_undone() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    let refusal = undo(&shop.world.ports, ANNA, &shop.id, id, None).await.unwrap_err();
    assert!(refusal.to_string().contains("has not ended yet"), "{refusal}");
    shop.drive(id).await;
    let key = Some("undo".to_owned());
    let first = undo(&shop.world.ports, ANNA, &shop.id, id, key.clone()).await.unwrap();
    let again = undo(&shop.world.ports, ANNA, &shop.id, id, key).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.restore.value.id, first.restore.value.id);
    assert_eq!(first.restore.value.options.media, MediaMode::Mirror);
    let trail = shop.world.records.audit_trail(&shop.id);
    assert!(trail.iter().any(|entry| entry.reason == Some(format!("undoes the restore {id}"))));
}

#[tokio::test]
async fn restores_are_listed_newest_first_and_by_state() {
    let shop = Shop::new();
    let list = async |states: &[RestoreState], before, limit| {
        let filter = Filter { states: states.to_vec() };
        restores::list(&shop.world.ports, &shop.id, &filter, before, limit).await.unwrap()
    };
    assert!(list(&[], None, 10).await.items.is_empty());
    let mut ids = Vec::new();
    for round in 0..4 {
        shop.world.clock.advance(TimeDelta::minutes(1));
        let id = shop.ask(RestoreOptions { dry_run: true, ..RestoreOptions::default() }).await;
        if round % 2 == 0 {
            cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
        }
        shop.drive(id).await;
        ids.insert(0, id);
    }
    let page = list(&[], None, 3).await;
    let found: Vec<_> = page.items.iter().map(|restore| restore.value.id).collect();
    assert_eq!((found.as_slice(), page.next), (&ids[..3], Some(ids[2])));
    let page = list(&[], page.next, 3).await;
    assert_eq!((page.items[0].value.id, page.items.len(), page.next), (ids[3], 1, None));
    let cancelled = list(&[RestoreState::Cancelled], None, 10).await.items;
    let cancelled: Vec<_> = cancelled.iter().map(|restore| restore.value.id).collect();
    assert_eq!(cancelled, [ids[1], ids[3]]);
    let unknown = builders::slug("unknown");
    let none = restores::list(&shop.world.ports, &unknown, &Filter::default(), None, 10).await.unwrap_err();
    assert!(matches!(none, RequestError::NotFound { what: "application", .. }));
}

#[tokio::test]
async fn an_application_is_not_removed_while_it_is_restored() {
    let shop = Shop::new();
    let id = shop.ask(overwriting()).await;
    let remove = async || applications::remove(&shop.world.ports, ANNA, &shop.id, None, Fate::Keep).await;
    let refusal = remove().await.unwrap_err();
    assert!(refusal.to_string().contains(&id.to_string()), "{refusal}");
    shop.drive(id).await;
    remove().await.unwrap();
}

#[tokio::test]
async fn the_tick_starts_what_was_forgotten_and_ends_what_was_left_open() {
    let shop = Shop::new();
    shop.world.faults.on("executions.start", 1, Moment::Before, Fault::Unavailable);
    let id = shop.ask(overwriting()).await;
    assert!(shop.world.executions.started().is_empty());
    assert_eq!(tick::tick(&shop.world.ports).await.unwrap().restarted, 0, "it may be on its way");
    shop.world.clock.advance(TimeDelta::seconds(61));
    assert_eq!(tick::tick(&shop.world.ports).await.unwrap().restarted, 1);
    assert_eq!(shop.world.executions.started(), [shop.job(id)]);
    assert_eq!(tick::tick(&shop.world.ports).await.unwrap(), tick::TickSummary::default(), "it runs");

    shop.slice(id).await.unwrap();
    shop.world.clock.advance(TimeDelta::seconds(61));
    let error = Caught { error: "States.Timeout".to_owned(), cause: String::new() };
    shop.world.executions.end_with(&shop.job(id), Some(error.clone()));
    assert_eq!(tick::tick(&shop.world.ports).await.unwrap().aborted, 1);
    let aborts = shop.world.executions.aborts();
    assert_eq!(aborts, [(Job::Restore { application: shop.id.clone(), id }, error)]);
}

#[tokio::test]
async fn a_policy_leaves_the_backup_alone_that_is_being_restored() {
    let shop = Shop::new();
    let mut backup = shop.backup.clone();
    backup.expires_at = Some(builders::now() - TimeDelta::minutes(1));
    backup.trigger = holdfast_domain::backup::Trigger::OnDemand;
    shop.world.records.insert_backup(backup);
    shop.ask(overwriting()).await;
    let summary = holdfast_backup::retain::run(&shop.world.ports, &shop.id).await.unwrap();
    assert_eq!((summary.discarded, summary.in_use), (0, 1));
    let deleted = request::delete(&shop.world.ports, "eve", &shop.id, shop.backup.id).await.unwrap();
    assert_eq!(deleted.value.state, State::Expired, "a person can");
}
