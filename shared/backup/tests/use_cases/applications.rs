use chrono::TimeDelta;
use holdfast_backup::{
    applications::{Fate, Stack, register, remove},
    error::RequestError,
    request::{self, BackupRequest},
};
use holdfast_domain::{
    application::{ApplicationSpec, Service},
    backup::State,
    region::Region,
};
use holdfast_testing::{World, builders};
use rstest::rstest;

const ANNA: &str = "arn:aws:iam::123456789012:user/anna";

fn stack() -> Stack {
    Stack { region: builders::region(), bucket: "holdfast-backups".to_owned() }
}

/// A world in which the bucket and the secret of `shop` exist.
fn prepared() -> (World, ApplicationSpec) {
    let world = World::new();
    let spec = builders::application_spec("shop");
    for service in &spec.services {
        match service {
            Service::Postgres(database) => world.secrets.put(&database.secret_arn, "shop", "secret"),
            Service::Mysql(database) => world.secrets.put(&database.secret_arn, "shop", "secret"),
            Service::Storage(storage) => world.media.make_bucket(&storage.bucket, &builders::region()),
        }
    }
    (world, spec)
}

async fn refusal(world: &World, spec: ApplicationSpec) -> RequestError {
    register(&world.ports, &stack(), ANNA, &builders::slug("shop"), spec, None).await.unwrap_err()
}

#[tokio::test]
async fn a_new_application_is_due_at_its_next_slot() {
    let (world, spec) = prepared();
    let id = builders::slug("shop");
    let registered = register(&world.ports, &stack(), ANNA, &id, spec.clone(), None).await.unwrap();
    assert!(registered.created);
    let next = registered.record.value.next_run_at.unwrap();
    assert!(next > builders::now() && next < builders::now() + TimeDelta::days(1));

    let again = register(&world.ports, &stack(), ANNA, &id, spec.clone(), Some(1)).await.unwrap();
    assert!(!again.created);
    assert_eq!((again.record.version, again.record.value.next_run_at), (2, Some(next)));
    let stale = register(&world.ports, &stack(), ANNA, &id, spec, Some(1)).await.unwrap_err();
    assert!(matches!(stale, RequestError::Conflict(_)), "{stale}");
}

#[tokio::test]
async fn a_bucket_in_another_region_is_refused_by_name() {
    let (world, spec) = prepared();
    world.media.make_bucket("shop-media", &Region::new("us-east-1"));
    let text = refusal(&world, spec).await.to_string();
    assert!(
        text.contains("shop-media") && text.contains("us-east-1") && text.contains("eu-central-1"),
        "{text}"
    );
}

#[rstest]
#[case("db.abc.us-east-1.rds.amazonaws.com", "services[0].host")]
#[case("/var/run/postgresql", "services[0].host")]
#[case("", "services[0].host")]
#[tokio::test]
async fn a_database_in_another_region_or_without_a_host_is_refused(#[case] host: &str, #[case] field: &str) {
    let (world, mut spec) = prepared();
    if let Service::Postgres(database) = &mut spec.services[0] {
        host.clone_into(&mut database.host);
    }
    let RequestError::Invalid(invalid) = refusal(&world, spec).await else {
        panic!("not refused as invalid")
    };
    assert_eq!(invalid.field, field);
}

#[tokio::test]
async fn missing_secrets_and_buckets_and_plans_are_refused_by_field() {
    let (world, spec) = prepared();
    let mut unplanned = spec.clone();
    unplanned.plan = "gold".parse().unwrap();
    assert!(refusal(&world, unplanned).await.to_string().contains("\"gold\""));

    let mut elsewhere = spec.clone();
    if let Service::Storage(storage) = &mut elsewhere.services[1] {
        storage.bucket = "shop-medla".to_owned();
    }
    assert!(refusal(&world, elsewhere).await.to_string().contains("services[1].bucket"));

    if let Service::Postgres(database) = &spec.services[0] {
        world.secrets.remove(&database.secret_arn);
    }
    assert!(refusal(&world, spec).await.to_string().contains("services[0].secret_arn"));
}

#[tokio::test]
async fn services_are_named_once_and_never_the_backups_own_bucket() {
    let (world, spec) = prepared();
    let mut doubled = spec.clone();
    doubled.services.push(spec.services[1].clone());
    assert!(refusal(&world, doubled).await.to_string().contains("duplicate"));

    let mut own = spec.clone();
    if let Service::Storage(storage) = &mut own.services[1] {
        storage.bucket = stack().bucket;
    }
    assert!(refusal(&world, own).await.to_string().contains("backups are kept in"));
    assert!(
        refusal(&world, ApplicationSpec { services: vec![], ..spec }).await.to_string().contains("is empty")
    );
}

#[tokio::test]
async fn removing_keeps_or_deletes_backups_and_never_a_running_one() {
    let world = World::new();
    let shop = world.register("shop").value.id;
    let old = world.succeeded(&shop, builders::now() - TimeDelta::days(3), true);
    let running = request::create(&world.ports, ANNA, &shop, BackupRequest::default(), None).await.unwrap();
    let refused = remove(&world.ports, ANNA, &shop, None, Fate::Delete).await.unwrap_err();
    assert!(refused.to_string().contains(&running.backup.value.id.to_string()), "{refused}");
    assert_eq!(world.backup(&shop, old.id).state, State::Succeeded);

    request::cancel(&world.ports, ANNA, &shop, running.backup.value.id).await.unwrap();
    crate::machine::drive(&world, &shop, running.backup.value.id).await;
    remove(&world.ports, ANNA, &shop, None, Fate::Keep).await.unwrap();
    assert_eq!(world.backup(&shop, old.id).state, State::Succeeded);

    world.register("shop");
    remove(&world.ports, ANNA, &shop, None, Fate::Delete).await.unwrap();
    assert_eq!(world.backup(&shop, old.id).state, State::Expired);
    assert_eq!(world.artifacts.object_keys(), ["registrations/shop.json"], "which says that it was removed");
}
