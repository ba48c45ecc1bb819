use chrono::TimeDelta;
use holdfast_backup::{
    backups,
    error::RequestError,
    request::{BackupRequest, cancel, create, delete},
    tick,
};
use holdfast_domain::backup::{Phase, State};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};

use crate::machine::{drive, register_media_only};

const ANNA: &str = "arn:aws:iam::123456789012:user/anna";

#[tokio::test]
async fn a_backup_is_described_completely_beside_its_artifacts() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let requested = create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
    let backup = drive(&world, &shop, requested.backup.value.id).await;

    assert_eq!(backup.state, State::Succeeded);
    let document = world.artifacts.bytes(&format!("{}backup.json", backup.prefix())).unwrap();
    let document = holdfast_domain::document::BackupDocument::from_json(&document).unwrap();
    assert_eq!(document.backup, backup);
    assert_eq!(world.artifacts.open_upload_count(), 0);
    let readme = world.artifacts.bytes(&format!("{}README.txt", backup.prefix())).unwrap();
    assert_eq!(readme, holdfast_domain::readme::of(&backup));
    assert_eq!(world.artifacts.object_keys().len(), 4, "the tar, its manifest and the two documents");
}

#[tokio::test]
async fn two_requests_at_once_make_one_backup() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let (first, second) = tokio::join!(
        create(&world.ports, ANNA, &shop, BackupRequest::default(), None),
        create(&world.ports, ANNA, &shop, BackupRequest::default(), None),
    );
    let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
    let id = won.unwrap().backup.value.id;
    let refusal = lost.unwrap_err();
    assert!(matches!(refusal, RequestError::Conflict(_)));
    assert!(refusal.to_string().contains(&id.to_string()), "names the one that runs: {refusal}");
    assert_eq!(world.executions.started().len(), 1);
}

#[tokio::test]
async fn the_same_key_gives_the_same_backup_and_never_another() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let key = Some("monday".to_owned());
    let first = create(&world.ports, ANNA, &shop, BackupRequest::default(), key.clone()).await.unwrap();
    let again = create(&world.ports, ANNA, &shop, BackupRequest::default(), key.clone()).await.unwrap();
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.backup.value.id, again.backup.value.id);

    let other = BackupRequest { note: Some("before the migration".to_owned()), ..BackupRequest::default() };
    let refusal = create(&world.ports, ANNA, &shop, other, key).await.unwrap_err();
    assert!(matches!(refusal, RequestError::Invalid(_)), "{refusal}");
}

#[tokio::test]
async fn a_request_whose_execution_could_not_be_started_is_started_by_the_tick() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    world.faults.on("executions.start", 1, Moment::Before, Fault::Unavailable);
    let requested = create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
    assert!(world.executions.started().is_empty());

    assert_eq!(tick::tick(&world.ports).await.unwrap().restarted, 0, "it may be on its way");
    world.clock.advance(TimeDelta::seconds(61));
    assert_eq!(tick::tick(&world.ports).await.unwrap().restarted, 1);
    assert_eq!(world.executions.started()[0].execution_name(), requested.backup.value.id.to_string());
}

#[tokio::test]
async fn unknown_and_repeated_services_are_refused_by_name() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    for (services, problem) in
        [(vec!["CACHE"], "does not have"), (vec!["MEDIA", "MEDIA"], "second time"), (vec![], "is empty")]
    {
        let services = Some(services.into_iter().map(builders::service_name).collect());
        let request = BackupRequest { services, ..BackupRequest::default() };
        let refusal = create(&world.ports, ANNA, &shop, request, None).await.unwrap_err();
        assert!(refusal.to_string().contains(problem), "{refusal}");
    }
    assert!(world.records.all_backups(&shop).is_empty());
}

#[tokio::test]
async fn the_plans_limit_is_kept_and_says_when_to_come_back() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    for _ in 0..24 {
        let requested = create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
        drive(&world, &shop, requested.backup.value.id).await;
        world.clock.advance(TimeDelta::minutes(30));
    }
    let refusal = create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap_err();
    let RequestError::TooMany { retry_after, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(retry_after, 12 * 3600);
    world.clock.advance(TimeDelta::hours(12));
    create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_backup_leaves_nothing_behind_and_its_turn_is_free() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let id = create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap().backup.value.id;
    cancel(&world.ports, ANNA, &shop, id).await.unwrap();
    let repeated = cancel(&world.ports, ANNA, &shop, id).await.unwrap();
    assert!(repeated.value.cancel_requested_at.is_some());

    let backup = drive(&world, &shop, id).await;
    assert_eq!(backup.state, State::Cancelled);
    assert_eq!(backup.failure, None);
    assert_eq!((world.artifacts.object_keys().len(), world.artifacts.open_upload_count()), (0, 0));
    assert!(matches!(cancel(&world.ports, ANNA, &shop, id).await, Err(RequestError::Conflict(_))));
    create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
}

#[tokio::test]
async fn progress_shows_while_it_runs_and_not_afterwards() {
    let world = World::new();
    let shop = register_media_only(&world, "shop").id;
    let id = create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap().backup.value.id;
    let worker = crate::machine::worker(&world);
    let job = holdfast_backup::job::Job::Backup { application: shop.clone(), id };
    holdfast_backup::slice::slice(&worker, &job, None, crate::machine::INVOCATION).await.unwrap();

    let view = backups::get(&world.ports, &shop, id).await.unwrap();
    assert_eq!(view.backup.value.state, State::Running);
    assert_eq!(view.progress.len(), 1);
    assert_eq!(view.progress[0].phase, Phase::Done);
    assert!(view.progress[0].bytes > 0);
    drive(&world, &shop, id).await;
    assert!(backups::get(&world.ports, &shop, id).await.unwrap().progress.is_empty());
}

#[tokio::test]
async fn deleting_takes_this_backup_alone_and_can_be_repeated() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let old = world.succeeded(&shop, builders::now() - TimeDelta::days(2), false);
    let kept = world.succeeded(&shop, builders::now() - TimeDelta::days(1), false);
    world.faults.on("artifacts.delete", 1, Moment::Before, Fault::Unavailable);
    delete(&world.ports, ANNA, &shop, old.id).await.unwrap_err();
    assert_eq!(world.backup(&shop, old.id).state, State::Expiring);

    let deleted = delete(&world.ports, ANNA, &shop, old.id).await.unwrap();
    assert_eq!(deleted.value.state, State::Expired);
    delete(&world.ports, ANNA, &shop, old.id).await.unwrap();
    assert!(world.artifacts.object_keys().iter().all(|key| key.starts_with(&kept.prefix())));
    assert_eq!(world.artifacts.object_keys().len(), 3);
}
