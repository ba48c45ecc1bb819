use chrono::TimeDelta;
use holdfast_backup::{
    abort::abort,
    job::{Answer, Caught, Job},
    request::{self, BackupRequest},
    slice::slice,
};
use holdfast_domain::{
    application::Service,
    backup::{Contents, State},
    id::BackupId,
};
use holdfast_testing::{
    World,
    faults::{Fault, Moment},
};
use rstest::rstest;

use crate::machine::{INVOCATION, drive, register_media_only, worker};

async fn requested(world: &World) -> (holdfast_domain::id::ApplicationId, BackupId) {
    let shop = register_media_only(world, "shop").id;
    let requested =
        request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    (shop, requested.backup.value.id)
}

/// The backup succeeded once, with one tar and one document and nothing else in the bucket.
fn assert_whole(world: &World, backup: &holdfast_domain::backup::Backup, what: &str) {
    assert_eq!(backup.state, State::Succeeded, "{what}: {:?}", backup.failure);
    let keys = world.artifacts.object_keys();
    assert_eq!(keys.len(), 4, "{what}: {keys:?}");
    assert_eq!(world.artifacts.open_upload_count(), 0, "{what}");
}

#[rstest]
#[case("artifacts.begin")]
#[case("artifacts.put_part")]
#[case("artifacts.complete")]
#[case("artifacts.describe")]
#[case("artifacts.put")]
#[case("records.put_service_run")]
#[case("records.update_backup")]
#[case("records.service_runs")]
#[case("media.list")]
#[case("media.open")]
#[tokio::test]
async fn a_slice_that_dies_at_any_call_is_begun_again_and_the_backup_is_whole(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    // The first such call, the second, and so on, until there are no more.
    for nth in 1.. {
        let world = World::new();
        let (shop, id) = requested(&world).await;
        world.faults.on(call, nth, moment, Fault::Unavailable);
        let backup = drive(&world, &shop, id).await;
        assert_whole(&world, &backup, &format!("{call}, call {nth}, {moment:?}"));
        if world.faults.left() > 0 {
            assert!(nth > 1, "{call} is never made");
            break;
        }
    }
}

/// Killed: the future is dropped wherever it stands, as a process that ends.
#[tokio::test(start_paused = true)]
async fn a_worker_killed_between_upload_and_record_loses_nothing() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    // The manifest beside the tar is read back first.
    world.faults.on("artifacts.describe", 2, Moment::After, Fault::Hang);
    let killed = tokio::time::timeout(
        std::time::Duration::from_mins(1),
        slice(&worker(&world), &job, None, INVOCATION),
    )
    .await;
    assert!(killed.is_err(), "it was killed after the object came into being");
    assert_eq!(world.artifacts.object_keys().len(), 2);

    let backup = drive(&world, &shop, id).await;
    assert_whole(&world, &backup, "killed after completing the upload");
}

#[tokio::test(start_paused = true)]
async fn a_worker_killed_in_mid_upload_leaves_no_upload_open() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    world.faults.on("artifacts.complete", 1, Moment::Before, Fault::Hang);
    let killed = tokio::time::timeout(
        std::time::Duration::from_mins(1),
        slice(&worker(&world), &job, None, INVOCATION),
    )
    .await;
    assert!(killed.is_err());
    assert_eq!(world.artifacts.open_upload_count(), 1);

    let backup = drive(&world, &shop, id).await;
    assert_whole(&world, &backup, "killed before completing the upload");
}

#[tokio::test]
async fn a_slice_that_was_replaced_records_nothing() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    // The other slice takes the service over while this one lists its files.
    let slow = async {
        world.faults.on("media.list", 1, Moment::After, Fault::Delay(std::time::Duration::from_millis(300)));
        slice(&worker(&world), &job, None, INVOCATION).await
    };
    let quick = async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        slice(&worker(&world), &job, None, INVOCATION).await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(quick.unwrap(), Answer::Continue);
    assert_eq!(slow.unwrap_err().lambda_type(), holdfast_backup::job::TRANSIENT);
    let backup = drive(&world, &shop, id).await;
    assert_whole(&world, &backup, "after the replaced slice had ended");
}

#[rstest]
#[case("records.put_service_run")]
#[case("artifacts.open_uploads")]
#[case("artifacts.abort")]
#[case("artifacts.purge")]
#[case("records.update_backup")]
#[tokio::test]
async fn an_abort_that_dies_at_any_call_is_repeated_and_leaves_nothing(
    #[case] call: &str,
    #[values(Moment::Before, Moment::After)] moment: Moment,
) {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    world.faults.always("artifacts.complete", Moment::After, Fault::Unavailable);
    let _ = slice(&worker(&world), &job, None, INVOCATION).await;
    world.faults.clear();
    world.faults.on(call, 1, moment, Fault::Unavailable);
    let caught = Caught { error: "Lambda.Unknown".to_owned(), cause: "the process ended".to_owned() };
    let mut attempts = 0;
    while abort(&worker(&world), &job, &caught).await.is_err() {
        attempts += 1;
        assert!(attempts < 4);
    }
    let backup = world.backup(&shop, id);
    assert_eq!(backup.state, State::Failed);
    assert_eq!(backup.failure.unwrap().code, "worker_died");
    assert_eq!(world.artifacts.version_count(&holdfast_domain::backup::prefix(&shop, id)), 0);
    assert_eq!(world.artifacts.open_upload_count(), 0);
    request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
}

#[tokio::test]
async fn an_abort_that_comes_too_late_touches_nothing() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let succeeded = drive(&world, &shop, id).await;
    let job = Job::Backup { application: shop.clone(), id };
    assert_eq!(abort(&worker(&world), &job, &Caught::default()).await.unwrap(), Answer::Done);
    assert_eq!(world.backup(&shop, id), succeeded);
    assert_whole(&world, &succeeded, "after a late abort");
}

#[tokio::test]
async fn an_artifact_that_changed_after_it_was_stored_fails_the_backup() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    slice(&worker(&world), &job, None, INVOCATION).await.unwrap();
    let key = world.artifacts.object_keys().into_iter().find(|key| key.ends_with("media.tar")).unwrap();
    world.artifacts.tamper(&key, |object| object.crc64nvme = "AAAAAAAAAAA=".to_owned());
    let backup = drive(&world, &shop, id).await;
    assert_eq!(backup.state, State::Failed);
    assert_eq!(backup.failure.unwrap().code, "artifact_changed");
    assert!(world.artifacts.object_keys().is_empty());
}

#[tokio::test]
async fn chaos_ends_in_a_whole_backup_or_in_nothing() {
    for seed in 0..300 {
        let world = World::seeded(seed);
        let (shop, id) = requested(&world).await;
        world.faults.chaos(seed, 60);
        let _ = drive(&world, &shop, id).await;
        // Whoever is left standing after the worst is over: the tick and a last abort.
        world.faults.clear();
        let job = Job::Backup { application: shop.clone(), id };
        if world.backup(&shop, id).state.is_open() {
            world.executions.end(&job);
            world.clock.advance(TimeDelta::minutes(5));
            let summary = holdfast_backup::tick::tick(&world.ports).await.unwrap();
            assert_eq!(summary.aborted, 1, "seed {seed}");
            abort(&worker(&world), &job, &Caught::default()).await.unwrap();
        }
        let backup = world.backup(&shop, id);
        if backup.state == State::Succeeded {
            assert_whole(&world, &backup, &format!("seed {seed}"));
        } else {
            assert_eq!(backup.state, State::Failed, "seed {seed}");
            assert!(backup.failure.is_some(), "seed {seed}");
            assert!(world.artifacts.object_keys().is_empty(), "seed {seed}");
            assert_eq!(world.artifacts.open_upload_count(), 0, "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_into_one_invocation_fails_with_that_reason_and_is_not_repeated() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    world.faults.always("media.list", Moment::After, Fault::Delay(INVOCATION * 2));
    let backup = drive(&world, &shop, id).await;
    assert_eq!(backup.state, State::Failed);
    let failure = backup.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.transient), ("slice_too_short", false));
    assert!(failure.message.contains("shop, service MEDIA: ") && failure.message.contains("900 seconds"));
    assert_eq!(world.faults.count("media.list"), 1, "begun once");
    assert_eq!((world.artifacts.object_keys().len(), world.artifacts.open_upload_count()), (0, 0));
}

/// Of two branches one has failed and the job is being aborted, while the other writes its first record only after the
/// abort has looked for records.
#[rstest]
#[case("records.put_service_run")]
#[case("artifacts.begin")]
#[tokio::test(start_paused = true)]
async fn a_branch_that_begins_during_an_abort_leaves_nothing(#[case] late: &str) {
    let world = World::new();
    let shop = register_two_storages(&world);
    let id = request::create(&world.ports, "anna", &shop, BackupRequest::default(), None).await.unwrap();
    let id = id.backup.value.id;
    let job = Job::Backup { application: shop.clone(), id };
    let Answer::FanOut { ranges } = slice(&worker(&world), &job, None, INVOCATION).await.unwrap() else {
        panic!("two storages are two branches")
    };
    world.faults.on(late, 1, Moment::Before, Fault::Delay(std::time::Duration::from_secs(5)));
    let worker = worker(&world);
    let branch = slice(&worker, &job, Some(&ranges[1]), INVOCATION);
    let abort = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        // Until the late branch has done all it can, the abort stands before its last write.
        world.faults.on("artifacts.purge", 1, Moment::After, Fault::Delay(std::time::Duration::from_mins(1)));
        abort(&worker, &job, &Caught::default()).await
    };
    let (branch, aborted) = tokio::join!(branch, abort);
    aborted.unwrap();
    assert_eq!(branch.unwrap_err().lambda_type(), holdfast_backup::job::TRANSIENT);
    assert_eq!(world.backup(&shop, id).state, State::Failed);
    assert_eq!(world.artifacts.version_count(&holdfast_domain::backup::prefix(&shop, id)), 0);
    assert_eq!(world.artifacts.open_upload_count(), 0);
    let again = slice(&worker, &job, Some(&ranges[0]), INVOCATION).await;
    assert!(again.is_err() && world.artifacts.object_keys().is_empty(), "and none begins any more");
}

fn register_two_storages(world: &World) -> holdfast_domain::id::ApplicationId {
    let mut record = register_media_only(world, "shop");
    let Service::Storage(mut second) = record.spec.services[0].clone() else { panic!("a storage") };
    second.name = holdfast_testing::builders::service_name("STATIC");
    record.spec.services.push(Service::Storage(second));
    world.records.insert_application(record.clone());
    record.id
}

#[tokio::test]
async fn a_registration_that_changes_meanwhile_is_for_the_next_backup() {
    let world = World::new();
    let (shop, id) = requested(&world).await;
    let job = Job::Backup { application: shop.clone(), id };
    world.media.make_bucket("other-media", &holdfast_testing::builders::region());
    let mut record = world.ports.records.application(&shop).await.unwrap().unwrap().value;
    if let Service::Storage(storage) = &mut record.spec.services[0] {
        storage.bucket = "other-media".to_owned();
    }
    world.records.insert_application(record);
    slice(&worker(&world), &job, None, INVOCATION).await.unwrap();
    let backup = drive(&world, &shop, id).await;

    assert_whole(&world, &backup, "after the change");
    let document = world.artifacts.bytes(&format!("{}backup.json", backup.prefix())).unwrap();
    let text = String::from_utf8(document.to_vec()).unwrap();
    assert!(text.contains("shop-media") && !text.contains("other-media"), "{text}");
    let Contents::MediaTar { bucket, files, .. } = &backup.artifacts[0].contents else { panic!("media") };
    assert_eq!((bucket.as_str(), *files), ("shop-media", 5));
}
