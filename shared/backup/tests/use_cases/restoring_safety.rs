//! The backup of what is there, before a restore changes it.

use chrono::TimeDelta;
use holdfast_backup::{
    error::RequestError,
    job::{Answer, Job},
    ports::Records as _,
    request::{self, BackupRequest},
    restores::{self, RestoreRequest},
    tick::tick,
};
use holdfast_domain::{
    application::Service,
    backup::{Backup, Failure, State},
    restore::{MediaMode, RestoreOptions, RestoreState},
};
use holdfast_testing::builders;
use rstest::rstest;

use crate::{
    machine::complete_open,
    shop::{ANNA, Shop, overwriting},
};

#[tokio::test]
async fn what_is_empty_needs_none_and_cannot_be_undone() {
    let shop = Shop::new();
    let id = shop.ask(RestoreOptions::default()).await;
    let restore = shop.drive(id).await;
    assert_eq!((restore.state, restore.safety_backup), (RestoreState::Succeeded, None));
    assert!(shop.on_demand().is_empty());
    let refusal = restores::undo(&shop.world.ports, ANNA, &shop.id, id, None).await.unwrap_err();
    assert!(refusal.to_string().contains("nothing before it"), "{refusal}");
}

#[tokio::test]
async fn it_covers_only_what_has_something_in_it() {
    let shop = Shop::new();
    shop.world.restorers.fill(shop.storage(), "own");
    let restore = shop.drive(shop.ask(overwriting()).await).await;
    assert_eq!(restore.state, RestoreState::Succeeded);
    let safety = shop.world.backup(&shop.id, restore.safety_backup.unwrap());
    assert_eq!(safety.services, [builders::service_name("MEDIA")]);

    let undo = restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap();
    let services: Vec<_> = undo.restore.value.services.iter().map(|mapping| mapping.to.to_string()).collect();
    assert_eq!(services, ["MEDIA"], "what was empty stays restored");
}

#[tokio::test]
async fn declined_there_is_none_and_no_undo() {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    let restore = shop.drive(id).await;
    assert_eq!((restore.state, restore.safety_backup), (RestoreState::Succeeded, None));
    shop.assert_restored(&shop.backup, "without a safety backup");
    let refusal = restores::undo(&shop.world.ports, ANNA, &shop.id, id, None).await.unwrap_err();
    assert!(refusal.to_string().contains("without a safety backup"), "{refusal}");
}

#[rstest]
#[case::that_only_looks(true, (0, 1))]
#[case::that_changes_something(false, (1, 0))]
#[tokio::test]
async fn the_scheduled_backup_waits_for_a_restore(#[case] dry_run: bool, #[case] expected: (usize, usize)) {
    let shop = Shop::occupied();
    shop.world.clock.advance(TimeDelta::days(1));
    let id = shop.ask(RestoreOptions { dry_run, ..overwriting() }).await;
    let ticked = tick(&shop.world.ports).await.unwrap();
    assert_eq!((ticked.held_back, ticked.started), expected);
    shop.drive(id).await;
    let ticked = tick(&shop.world.ports).await.unwrap();
    assert_eq!((ticked.held_back, ticked.started), (0, 1 - expected.1), "held back, not lost");
}

/// It would be half of what was, and half of what comes.
#[rstest]
#[case::with_a_safety_backup(true)]
#[case::without(false)]
#[tokio::test]
async fn nothing_is_changed_while_it_is_being_backed_up(#[case] safety_backup: bool) {
    let shop = Shop::occupied();
    shop.world.clock.advance(TimeDelta::days(1));
    assert_eq!(tick(&shop.world.ports).await.unwrap().started, 1);
    let id = shop.ask(RestoreOptions { safety_backup, ..overwriting() }).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "it looks");
    for _ in 0..3 {
        let Answer::Wait { seconds } = shop.slice(id).await.unwrap() else { panic!("it waits") };
        shop.world.clock.advance(TimeDelta::seconds(seconds.into()));
    }
    shop.assert_untouched("while the scheduled backup runs");
    complete_open(&shop.world).await;
    let restore = shop.drive(id).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
    shop.assert_restored(&shop.backup, "afterwards");
}

#[rstest]
#[case::that_only_looks(true)]
#[case::that_changes_something(false)]
#[tokio::test]
async fn nobody_asks_for_a_backup_during_a_restore(#[case] dry_run: bool) {
    let shop = Shop::occupied();
    let id = shop.ask(RestoreOptions { dry_run, ..overwriting() }).await;
    let ask = || request::create(&shop.world.ports, ANNA, &shop.id, BackupRequest::default(), None);
    match ask().await {
        Ok(_) => assert!(dry_run),
        Err(refusal) => {
            assert!(!dry_run && matches!(refusal, RequestError::Conflict(_)), "{refusal}");
            assert!(refusal.to_string().contains(&format!("is being restored by {id}")), "{refusal}");
            shop.drive(id).await;
            ask().await.unwrap();
        }
    }
}

#[tokio::test]
async fn files_that_go_below_another_prefix_are_covered_and_taken_back_there_alone() {
    let shop = Shop::occupied();
    let mut below = shop.storage().clone();
    let Service::Storage(storage) = &mut below else { panic!("a storage") };
    storage.prefix = "media/restored/".to_owned();
    shop.world.restorers.fill(&below, "own");
    let options = RestoreOptions { into_prefix: Some("media/restored/".to_owned()), ..overwriting() };
    let restore = shop.drive(shop.ask(options).await).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
    let safety = shop.world.backup(&shop.id, restore.safety_backup.unwrap());
    assert_eq!(safety.services, ["DEFAULT", "MEDIA"].map(builders::service_name));
    assert!(shop.files_from().values().all(|from| from == "own"), "its other files are not touched");
    assert_eq!(shop.world.restorers.holds(&below).get("0"), Some(&Shop::key(&shop.backup, 1)));

    let undo = restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap();
    let undo = undo.restore.value;
    assert_eq!(undo.services[1].files, ["restored/"], "the rest of the storage stays");
    assert_eq!((undo.options.into_prefix, undo.options.media), (None, MediaMode::Mirror));
}

#[tokio::test]
async fn undo_of_single_files_leaves_the_others() {
    let shop = Shop::occupied();
    let mut media = builders::mapping("MEDIA", "MEDIA");
    media.files = vec!["photos/a.jpg".to_owned(), "photos/old/".to_owned()];
    let request = RestoreRequest { services: Some(vec![media.clone()]), ..shop.request(overwriting()) };
    let asked = restores::create(&shop.world.ports, ANNA, &shop.id, request, None).await.unwrap();
    let restore = shop.drive(asked.restore.value.id).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
    let undo = restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap();
    assert_eq!(undo.restore.value.services, [media]);
}

#[tokio::test]
async fn what_comes_into_a_service_between_the_looks_is_not_replaced() {
    let shop = Shop::new();
    let id = shop.ask(overwriting()).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Continue, "it looks, and both are empty");
    shop.world.restorers.fill(shop.database(), "own");
    let restore = shop.drive(id).await;
    let failure = restore.failure.unwrap();
    assert_eq!((restore.state, failure.code.as_str()), (RestoreState::Failed, "target_changed"));
    for part in ["no safety backup has", "ask for the restore again", "Nothing was changed"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    assert_eq!(shop.database_from().as_deref(), Some("own"));

    let declined = Shop::new();
    let id = declined.ask(RestoreOptions { safety_backup: false, ..overwriting() }).await;
    declined.slice(id).await.unwrap();
    declined.world.restorers.fill(declined.database(), "own");
    assert_eq!(declined.drive(id).await.state, RestoreState::Succeeded, "who needs none has said so");
}

/// What was undone there would not be what was restored.
#[tokio::test]
async fn undo_does_not_go_where_the_registration_points_since() {
    let shop = Shop::occupied();
    let restore = shop.drive(shop.ask(overwriting()).await).await;
    for service in [0, 1] {
        let mut record = builders::application("shop");
        match &mut record.spec.services[service] {
            Service::Postgres(database) => database.host = "other.example".to_owned(),
            Service::Storage(storage) => storage.prefix = "elsewhere/".to_owned(),
            Service::Mysql(_) => panic!("none is registered"),
        }
        shop.world.records.insert_application(record);
        let refusal = restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap_err();
        let words = [["db.internal", "other.example"], ["/media/", "/elsewhere/"]][service];
        for part in words {
            assert!(matches!(refusal, RequestError::Conflict(_)), "{refusal}");
            assert!(refusal.to_string().contains(part), "{part}: {refusal}");
        }
    }
    let mut record = builders::application("shop");
    record.spec.services.pop();
    shop.world.records.insert_application(record);
    let refusal = restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap_err();
    assert!(refusal.to_string().contains("which is not registered now"), "{refusal}");
    shop.world.records.insert_application(builders::application("shop"));
    restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap();
}

/// Brings the safety backup to an end that is none of success.
async fn end(shop: &Shop, state: State) -> Backup {
    let open = shop.world.records.open_backups(10).await.unwrap();
    let [(_, id)] = open.as_slice() else { panic!("one is open: {open:?}") };
    let found = shop.world.records.backup(&shop.id, *id).await.unwrap().unwrap();
    let mut backup = found.value;
    backup.state = state;
    backup.failure = (state == State::Failed).then(|| Failure {
        code: "wrong_password".to_owned(),
        message: "the password was refused".to_owned(),
        service: None,
        transient: false,
    });
    shop.world.records.update_backup(&backup, found.version, &[]).await.unwrap();
    backup
}

#[rstest]
#[case(State::Failed, "safety_backup_failed", "the password was refused")]
#[case(State::Cancelled, "safety_backup_failed", "somebody cancelled it")]
#[case(State::Expired, "safety_backup_gone", "was deleted")]
#[tokio::test]
async fn one_that_does_not_succeed_ends_the_restore_before_it_changes_anything(
    #[case] state: State,
    #[case] code: &str,
    #[case] said: &str,
) {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    shop.slice(id).await.unwrap();
    let safety = end(&shop, state).await;
    let restore = shop.drive(id).await;
    let failure = restore.failure.unwrap();
    assert_eq!((restore.state, failure.code.as_str()), (RestoreState::Failed, code));
    for part in [said, &safety.id.to_string(), "Nothing was changed"] {
        assert!(failure.message.contains(part), "{part}: {}", failure.message);
    }
    shop.assert_untouched("without a safety backup");
    let refusal = restores::undo(&shop.world.ports, ANNA, &shop.id, id, None).await.unwrap_err();
    assert!(refusal.to_string().contains("has changed nothing"), "{refusal}");
}

#[tokio::test]
async fn it_waits_for_another_backup_to_end_and_is_made_after_it() {
    let shop = Shop::occupied();
    let other = request::create(&shop.world.ports, "bob", &shop.id, BackupRequest::default(), None).await;
    let other = other.unwrap().backup.value.id;
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    for _ in 0..2 {
        assert_eq!(shop.slice(id).await.unwrap(), Answer::Wait { seconds: 15 });
    }
    assert_eq!(shop.restore(id).await.safety_backup, None);
    shop.world.complete(&shop.id, other).await;
    assert_eq!(shop.slice(id).await.unwrap(), Answer::Wait { seconds: 5 });
    let safety = shop.restore(id).await.safety_backup.unwrap();
    assert_ne!(safety, other, "another one's backup is no proof");
    assert_eq!(shop.drive(id).await.state, RestoreState::Succeeded);
    assert_eq!(shop.on_demand().len(), 2);
}

#[tokio::test]
async fn the_longer_it_takes_the_less_often_it_is_looked_at() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    let mut waits = Vec::new();
    for minutes in [0, 1, 5, 10, 60] {
        shop.world.clock.advance(TimeDelta::minutes(minutes));
        let Answer::Wait { seconds } = shop.slice(id).await.unwrap() else { panic!("it waits") };
        waits.push(seconds);
    }
    assert_eq!(waits, [5, 5, 18, 48, 60]);
    assert_eq!(shop.on_demand().len(), 1, "however often it was looked at");
    let started = shop.world.executions.started();
    let backups = started.iter().filter(|job| matches!(job, Job::Backup { .. }));
    assert_eq!(backups.count(), 1);
}

#[tokio::test]
async fn it_is_no_matter_of_how_many_backups_a_day_the_plan_allows() {
    let shop = Shop::occupied();
    loop {
        let asked = request::create(&shop.world.ports, ANNA, &shop.id, BackupRequest::default(), None).await;
        if asked.is_err() {
            break;
        }
        complete_open(&shop.world).await;
    }
    let restore = shop.drive(shop.ask(overwriting()).await).await;
    assert_eq!(restore.state, RestoreState::Succeeded, "{:?}", restore.failure);
}

#[tokio::test]
async fn it_is_not_one_of_those_that_somebody_may_ask_for_in_a_day() {
    let shop = Shop::occupied();
    let ask = async || {
        let asked = request::create(&shop.world.ports, ANNA, &shop.id, BackupRequest::default(), None).await;
        complete_open(&shop.world).await;
        asked.is_ok()
    };
    let mut allowed = 0;
    while ask().await {
        allowed += 1;
    }
    let other = Shop::occupied();
    let restore = other.drive(other.ask(overwriting()).await).await;
    let safety = other.world.backup(&other.id, restore.safety_backup.unwrap());
    assert_eq!(safety.before_restore, Some(restore.id));
    for _ in 0..allowed {
        request::create(&other.world.ports, ANNA, &other.id, BackupRequest::default(), None).await.unwrap();
        complete_open(&other.world).await;
    }
}

#[tokio::test]
async fn one_that_is_still_made_is_given_up_with_its_restore() {
    let shop = Shop::occupied();
    let id = shop.ask(overwriting()).await;
    shop.slice(id).await.unwrap();
    shop.slice(id).await.unwrap();
    restores::cancel(&shop.world.ports, ANNA, &shop.id, id).await.unwrap();
    assert_eq!(shop.drive(id).await.state, RestoreState::Cancelled);
    let [safety] = shop.on_demand().try_into().unwrap();
    assert!(safety.cancel_requested_at.is_some());
}

#[tokio::test]
async fn undo_needs_it_to_be_there_still() {
    let shop = Shop::occupied();
    let restore = shop.drive(shop.ask(overwriting()).await).await;
    let safety = restore.safety_backup.unwrap();
    request::delete(&shop.world.ports, "eve", &shop.id, safety).await.unwrap();
    let refusal = restores::undo(&shop.world.ports, ANNA, &shop.id, restore.id, None).await.unwrap_err();
    assert!(refusal.to_string().contains("can be brought back until"), "{refusal}");
}
