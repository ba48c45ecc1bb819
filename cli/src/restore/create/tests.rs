use clap::Parser as _;
use rstest::rstest;

use super::*;
use crate::{
    arguments::{Arguments, Command, Output, Restores},
    client::tests::client,
    scripted_server::{Reply, Server},
};

const ID: &str = "018bcfe5-6800-7707-8707-070707070707";

fn options(line: &str) -> CreateRestore {
    let line = format!("holdfast restore create {line}");
    match Arguments::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Restore(restore) => match restore.command {
            Some(Restores::Create(options)) => options,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// A server that has a newest backup, and accepts whatever is asked for.
async fn server() -> Server {
    Server::start(|_, asked| match asked.path.as_str() {
        path if path.ends_with("/backups/latest") => Reply::new(200, json!({"id": "newest"}).to_string()),
        _ => Reply::new(
            202,
            json!({
                "id": "r", "application": "shop", "state": "queued", "created_at": "2026-11-24T08:00:00Z",
                "from": {"application": "shop", "backup": ID},
            })
            .to_string(),
        ),
    })
    .await
}

#[rstest]
#[case::everything("", json!({}))]
#[case::some_services("--service DEFAULT --service MEDIA=FILES", json!({"services": [{"from": "DEFAULT", "to": "DEFAULT"}, {"from": "MEDIA", "to": "FILES"}]}))]
#[case::tables("--service DEFAULT --table orders --table a.b", json!({"services": [{"from": "DEFAULT", "to": "DEFAULT", "tables": ["orders", "a.b"]}]}))]
#[case::files("--service MEDIA --file a/b.jpg --file c/", json!({"services": [{"from": "MEDIA", "to": "MEDIA", "files": ["a/b.jpg", "c/"]}]}))]
#[case::options("--overwrite --no-owner --no-safety-backup --mirror --into-prefix old/ --dry-run", json!({"options": {
    "overwrite": true, "no_owner": true, "safety_backup": false, "media": "mirror", "into_prefix": "old/", "dry_run": true}}))]
#[tokio::test]
async fn what_is_asked_for_is_what_was_said(#[case] more: &str, #[case] expected: Value) {
    let server = server().await;
    let terminal = Terminal::new(Output::Json, true);
    run(options(&format!("shop --from {ID} --detach {more}")), &client(&server), &terminal).await.unwrap();
    let [asked] = server.asked().try_into().unwrap();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/applications/shop/restores"));
    assert!(asked.header("idempotency-key").is_some());
    let mut body: Value = serde_json::from_str(&asked.body).unwrap();
    let from = body.as_object_mut().unwrap().remove("from");
    assert_eq!((from, body), (Some(json!({"backup": ID})), expected));
}

#[tokio::test]
async fn the_newest_backup_is_that_of_the_application_it_comes_from() {
    let server = server().await;
    let line = "shop --from latest --from-application garden --detach --idempotency-key k";
    run(options(line), &client(&server), &Terminal::new(Output::Json, true)).await.unwrap();
    let [looked, asked] = server.asked().try_into().unwrap();
    assert_eq!(looked.path, "/v1/applications/garden/backups/latest");
    assert_eq!(asked.header("idempotency-key"), Some("k"));
    assert_eq!(asked.body, json!({"from": {"application": "garden", "backup": "newest"}}).to_string());
}

#[tokio::test]
async fn tables_and_files_are_of_one_service() {
    let server = server().await;
    let line = format!("shop --from {ID} --service DEFAULT --service OTHER --table a");
    let refused =
        run(options(&line), &client(&server), &Terminal::new(Output::Json, true)).await.unwrap_err();
    assert!(refused.to_string().contains("one service"), "{refused}");
    assert!(server.asked().is_empty());
}
