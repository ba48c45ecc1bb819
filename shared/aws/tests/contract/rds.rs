use aws_sdk_rds::{Client, types::Tag};
use holdfast_aws::rds::RdsInstances;
use holdfast_backup::ports::{Endpoint, Instances, InstancesError, Kind, NewCopy, Source, Tags, Temporary};
use holdfast_domain::{
    application::Isolated,
    id::{ApplicationId, BackupId},
};
use secrecy::ExposeSecret as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Mutex,
};

use crate::emulator;

const STACK: &str = "holdfast";

/// Whoever lists what there is describes all of it, which moves it on: such tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

/// Makes something be there, with nothing behind it (local/rds.py).
async fn register(kind: &str, identifier: &str, more: &str) {
    let body = format!(r#"{{"kind":"{kind}","identifier":"{identifier}"{more}}}"#);
    let mut stream = TcpStream::connect(("127.0.0.1", emulator::port_of_s3().await)).await.unwrap();
    let request = format!(
        "POST /_local/rds HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

async fn client() -> Client {
    Client::new(&emulator::sdk().await)
}

async fn instances() -> RdsInstances {
    RdsInstances::new(&emulator::sdk().await, Some(STACK.to_owned()))
}

fn tags() -> Tags {
    Tags {
        application: "shop".parse().unwrap(),
        backup: "0195d9a2-0000-7000-8000-000000000000".parse().unwrap(),
        service: "DEFAULT".parse().unwrap(),
    }
}

fn owner() -> (ApplicationId, BackupId) {
    let Tags { application, backup, .. } = tags();
    (application, backup)
}

fn copy(name: &str, is_cluster: bool, source: Source) -> NewCopy {
    NewCopy {
        name: name.to_owned(),
        is_cluster,
        tags: tags(),
        class: "db.t4g.micro".to_owned(),
        subnet_group: Some("elsewhere".to_owned()),
        security_groups: vec!["sg-1".to_owned(), "sg-2".to_owned()],
        source,
    }
}

/// The thing once it is in that state; it is described until then.
async fn until(instances: &RdsInstances, kind: Kind, name: &str, status: &str) -> Temporary {
    for _ in 0..50 {
        let found = instances.find(kind, name).await.unwrap().unwrap();
        if found.status == status {
            return found;
        }
    }
    panic!("the {kind} {name} does not become {status}")
}

async fn until_gone(instances: &RdsInstances, kind: Kind, name: &str) {
    for _ in 0..50 {
        if instances.find(kind, name).await.unwrap().is_none() {
            return;
        }
    }
    panic!("the {kind} {name} stays")
}

async fn names_left(instances: &RdsInstances, name: &str) -> Vec<Kind> {
    let left = instances.leftovers().await.unwrap().into_iter().filter(|left| left.name == name);
    left.inspect(|left| assert_eq!(left.owner, Some(owner()))).map(|left| left.kind).collect()
}

/// From a source over its snapshot to a copy, and to nothing again; each call may be repeated.
#[tokio::test]
async fn an_instance_is_copied_and_deleted() {
    let _turn = TURN.lock().await;
    let (instances, source, name) =
        (instances().await, emulator::unique("source"), emulator::unique("holdfast"));
    register("db", &source, r#","engine":"postgres""#).await;
    let of = Isolated::Instance(source.clone());
    let found = instances.source(&of).await.unwrap().unwrap();
    assert_eq!((found.status.as_str(), found.engine.as_str()), ("available", "postgres"));
    assert_eq!((found.gibibytes, found.storage_type.as_deref()), (Some(100), Some("gp3")));
    assert_eq!(
        (found.subnet_group.as_deref(), found.security_groups.as_slice()),
        (Some("private"), &["sg-0db".to_owned()][..])
    );
    assert!(found.is_encrypted && found.member_of.is_none());
    let classes = instances.classes(&found).await.unwrap();
    assert!(classes.contains(&"db.t4g.micro".to_owned()), "{classes:?}");
    assert_eq!(
        instances.classes(&Source { gibibytes: Some(5), ..found.clone() }).await.unwrap(),
        Vec::<String>::new()
    );

    assert_eq!(instances.find(Kind::Snapshot, &name).await.unwrap(), None);
    for _ in 0..2 {
        instances.snapshot(&of, &name, &tags()).await.unwrap();
    }
    assert_eq!(instances.find(Kind::Snapshot, &name).await.unwrap().unwrap().taken_at, None);
    let snapshot = until(&instances, Kind::Snapshot, &name, "available").await;
    assert!(snapshot.taken_at.is_some());
    let copy = copy(&name, false, found);
    for _ in 0..2 {
        instances.restore(&copy).await.unwrap();
    }
    until(&instances, Kind::Instance, &name, "available").await;
    let asked = client().await.describe_db_instances().db_instance_identifier(&name).send().await.unwrap();
    let made = &asked.db_instances()[0];
    assert_eq!(
        (made.publicly_accessible(), made.multi_az(), made.deletion_protection()),
        (Some(false), Some(false), Some(false))
    );
    assert_eq!((made.backup_retention_period(), made.db_instance_class()), (Some(0), Some("db.t4g.micro")));
    assert_eq!(made.db_subnet_group().unwrap().db_subnet_group_name(), Some("elsewhere"));
    let groups: Vec<_> =
        made.vpc_security_groups().iter().filter_map(|group| group.vpc_security_group_id()).collect();
    assert_eq!(groups, ["sg-1", "sg-2"]);
    assert_eq!(names_left(&instances, &name).await, [Kind::Instance, Kind::Snapshot]);

    instances.delete(Kind::Instance, &name).await.unwrap();
    assert_eq!(instances.find(Kind::Instance, &name).await.unwrap().unwrap().status, "deleting");
    let again = instances.delete(Kind::Instance, &name).await;
    assert!(matches!(again, Err(InstancesError::Busy(_))), "{again:?}");
    for _ in 0..2 {
        instances.delete(Kind::Snapshot, &name).await.unwrap();
    }
    until_gone(&instances, Kind::Instance, &name).await;
    instances.delete(Kind::Instance, &name).await.unwrap();
    assert_eq!(names_left(&instances, &name).await, []);
}

#[tokio::test]
async fn a_cluster_is_copied_and_deleted() {
    let _turn = TURN.lock().await;
    let (instances, source, name) =
        (instances().await, emulator::unique("source"), emulator::unique("holdfast"));
    register("cluster", &source, r#","engine":"aurora-postgresql""#).await;
    let of = Isolated::Cluster(source);
    let found = instances.source(&of).await.unwrap().unwrap();
    assert_eq!((found.engine.as_str(), found.gibibytes), ("aurora-postgresql", None));
    assert!(!instances.classes(&found).await.unwrap().is_empty());
    for _ in 0..2 {
        instances.snapshot(&of, &name, &tags()).await.unwrap();
    }
    // One that is not whole can be deleted no more than a source can be copied from it.
    let early = instances.delete(Kind::ClusterSnapshot, &name).await;
    assert!(matches!(early, Err(InstancesError::Busy(_))), "{early:?}");
    assert!(until(&instances, Kind::ClusterSnapshot, &name, "available").await.taken_at.is_some());
    let copy = copy(&name, true, found);
    for _ in 0..2 {
        instances.restore(&copy).await.unwrap();
    }
    let early = instances.add_instance(&copy).await;
    assert!(matches!(early, Err(InstancesError::Busy(_))), "{early:?}");
    until(&instances, Kind::Cluster, &name, "available").await;
    for _ in 0..2 {
        instances.add_instance(&copy).await.unwrap();
    }
    until(&instances, Kind::Instance, &name, "available").await;
    assert_eq!(names_left(&instances, &name).await, [Kind::Instance, Kind::Cluster, Kind::ClusterSnapshot]);

    let early = instances.delete(Kind::Cluster, &name).await;
    assert!(matches!(early, Err(InstancesError::Busy(_))), "{early:?}");
    for kind in [Kind::Instance, Kind::Cluster, Kind::ClusterSnapshot] {
        instances.delete(kind, &name).await.unwrap();
    }
    until_gone(&instances, Kind::Instance, &name).await;
    until_gone(&instances, Kind::Cluster, &name).await;
    assert_eq!(names_left(&instances, &name).await, []);
}

#[tokio::test]
async fn what_is_not_there_is_not_there() {
    let instances = instances().await;
    for of in [Isolated::Instance("missing".to_owned()), Isolated::Cluster("missing".to_owned())] {
        assert_eq!(instances.source(&of).await.unwrap(), None);
        let refused = instances.snapshot(&of, "holdfast-missing", &tags()).await;
        assert!(matches!(refused, Err(InstancesError::Rejected(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn what_others_have_made_is_left_alone() {
    let _turn = TURN.lock().await;
    let (instances, name) = (instances().await, emulator::unique("holdfast-others"));
    register("snapshot", &name, r#","engine":"postgres","tags":{"holdfast:stack":"another"}"#).await;
    let found = instances.find(Kind::Snapshot, &name).await;
    assert!(matches!(found, Err(InstancesError::Unavailable(_))), "{found:?}");
    assert_eq!(names_left(&instances, &name).await, []);
    let client = client().await;
    let arn = format!("arn:aws:rds:eu-central-1:000000000000:snapshot:{name}");
    let listed = client.list_tags_for_resource().resource_name(arn).send().await.unwrap();
    assert_eq!(listed.tag_list(), [Tag::builder().key("holdfast:stack").value("another").build()]);
}

#[tokio::test]
async fn a_stack_without_isolated_backups_is_refused_and_has_no_leftovers() {
    let instances = RdsInstances::new(&emulator::sdk().await, None);
    let refused = instances.source(&Isolated::Instance("shop-db".to_owned())).await;
    assert!(matches!(refused, Err(InstancesError::Denied(_))), "{refused:?}");
    assert_eq!(instances.leftovers().await.unwrap(), []);
}

/// <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Connecting.html>
#[tokio::test]
async fn a_token_of_iam_is_signed_for_its_server_and_role() {
    let endpoint = Endpoint { host: "db.internal".to_owned(), port: 5433 };
    let token = instances().await.token(&endpoint, "backup").await.unwrap();
    let token = token.expose_secret();
    assert!(token.starts_with("db.internal:5433/?Action=connect&DBUser=backup&"), "{token}");
    for part in ["X-Amz-Expires=900", "%2Feu-central-1%2Frds-db%2Faws4_request", "X-Amz-Signature="] {
        assert!(token.contains(part), "{token}");
    }
}
