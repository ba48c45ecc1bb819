use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use holdfast_backup::{
    engines::media::MediaEngine,
    error::SliceError,
    ports::OpenUpload,
    upload::{self, Advance, Observer},
};
use holdfast_domain::application::StorageService;
use holdfast_testing::{
    World,
    builders::{self, service_name, slug},
    fakes::Surprise,
};
use insta::assert_snapshot;
use rstest::rstest;
use serde_json::Value;

use crate::client::Client;

const BUCKET: &str = "shop-media";

struct Nobody;

#[async_trait]
impl Observer for Nobody {
    async fn opened(&mut self, _: &OpenUpload) -> Result<(), SliceError> {
        Ok(())
    }

    async fn advanced(&mut self, _: Advance) -> Result<(), SliceError> {
        Ok(())
    }
}

/// A client, and the path of the files of a media archive that the engine has made of `files`.
async fn archived(files: &[(&str, Bytes)]) -> (Client, String) {
    archived_while(files, |_| {}).await
}

/// The same, while something happens.
async fn archived_while(files: &[(&str, Bytes)], happens: impl FnOnce(&World)) -> (Client, String) {
    let client = Client::new();
    let world = &client.world;
    world.register("shop");
    for (key, bytes) in files {
        world.media.put_typed(BUCKET, &format!("media/{key}"), bytes.clone(), Some("text/plain"), &[]);
    }
    happens(world);
    let mut backup = world.succeeded(&slug("shop"), builders::now(), true);
    let service = StorageService {
        name: service_name("MEDIA"),
        bucket: BUCKET.to_owned(),
        prefix: "media/".to_owned(),
    };
    let engine = MediaEngine::new(&world.ports, slug("shop"), service);
    let artifact = backup.artifacts.iter_mut().find(|artifact| artifact.service.as_str() == "MEDIA").unwrap();
    let key = artifact.object.key.clone();
    let stored = upload::store(world.ports.artifacts.as_ref(), &engine, &key, &mut Nobody).await.unwrap();
    (artifact.object, artifact.contents) = (stored.object, stored.report.contents);
    let path = format!("/v1/applications/shop/backups/{}/artifacts/MEDIA/files", backup.id);
    world.records.insert_backup(backup);
    (client, path)
}

fn at(path: &str, key: &str) -> String {
    let name = if key.is_empty() { "_".to_owned() } else { BASE64_URL_SAFE_NO_PAD.encode(key) };
    format!("{path}/{name}")
}

fn keys(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_archive_is_listed() {
    let (client, path) =
        archived(&[("a/b.txt", "one".into()), ("a/../c", "two".into()), ("d/", "".into())]).await;
    assert_snapshot!(client.get(&path).send().await.shown());
}

#[tokio::test]
async fn an_archive_is_listed_page_by_page_below_a_prefix() {
    let names: Vec<String> = (0..40).map(|n| format!("p & q/{n:02}")).collect();
    let mut files: Vec<(&str, Bytes)> = names.iter().map(|name| (name.as_str(), "x".into())).collect();
    files.extend([("a", "x".into()), ("p & q", "x".into()), ("z", "x".into())]);
    let (client, path) = archived(&files).await;
    let (mut found, mut next) = (Vec::new(), format!("{path}?limit=15&prefix=p%20%26%20q/"));
    for expected in [15, 15, 10] {
        let page = client.get(&next).send().await.json();
        assert_eq!(keys(&page).len(), expected);
        found.extend(keys(&page).into_iter().map(str::to_owned));
        next = page["next"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((found, next.as_str()), (names, ""));
    let none = client.get(&format!("{path}?prefix=nothing")).send().await.json();
    assert_eq!(keys(&none), Vec::<&str>::new());
}

/// Thousands of entries are in several frames, of which only those are read that are asked for.
#[tokio::test]
async fn an_archive_of_thousands_is_entered_at_any_key() {
    let names: Vec<String> = (0..6_000).map(|n| format!("uploads/{n:05}/{}", "x".repeat(200))).collect();
    let files: Vec<(&str, Bytes)> = names.iter().map(|name| (name.as_str(), name.clone().into())).collect();
    let (client, path) = archived(&files).await;
    for number in [0, 17, 1_234, 5_999] {
        let before = client.world.faults.count("artifacts.read");
        let page = client.get(&format!("{path}?limit=2&prefix=uploads/{number:05}")).send().await.json();
        assert_eq!(keys(&page), [&names[number]]);
        let reads = client.world.faults.count("artifacts.read") - before;
        assert!(reads <= 3, "{reads} reads for one page");
        assert_eq!(client.get(&at(&path, &names[number])).send().await.text, names[number]);
    }
}

#[rstest]
#[case::plain("a/b.txt")]
#[case::named_by_the_whole_prefix("")]
#[case::escaped("../a//b")]
#[case::odd("Zürich +&?#%2F\n\u{1f600}")]
#[case::folder("a/")]
#[case::empty("empty")]
#[tokio::test]
async fn a_file_is_the_answer_itself(#[case] key: &str) {
    let bytes =
        if key == "a/" || key == "empty" { Bytes::new() } else { format!("the bytes of {key}").into() };
    let (client, path) =
        archived(&[("!", "before".into()), (key, bytes.clone()), ("~", "after".into())]).await;
    let page = client.get(&path).send().await.json();
    let listed = page["items"].as_array().unwrap().iter().find(|item| item["key"] == key).unwrap();
    let answer = client.get(listed["links"]["self"].as_str().unwrap()).send().await;
    assert_eq!((answer.status.as_u16(), answer.text.as_bytes()), (200, &bytes[..]));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert!(answer.header("content-disposition").starts_with("attachment; filename*=UTF-8''"));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_large_file_is_a_url_for_its_range_alone() {
    let large = Bytes::from(vec![b'x'; 12 * 1024 * 1024]);
    let (client, path) = archived(&[("a", "before".into()), ("large", large)]).await;
    assert_snapshot!("a_large_file", client.get(&at(&path, "large")).send().await.shown());
    let json = client.get(&at(&path, "a")).header("accept", "application/json");
    assert_snapshot!("a_small_one_as_json", json.send().await.shown());
}

#[tokio::test]
async fn what_is_not_in_the_archive_is_not_found_or_says_why() {
    let (client, path) = archived(&[("a", "x".into())]).await;
    for key in ["b", "", "A", "a/"] {
        assert_eq!(client.get(&at(&path, key)).send().await.problem().0, "not-found", "{key:?}");
    }
    let wrong = client.get(&format!("{path}/a.txt")).send().await;
    assert_eq!((wrong.status.as_u16(), wrong.problem().1.as_str()), (400, "file"));
    let database = client.get(&path.replace("MEDIA", "DEFAULT")).send().await;
    assert_eq!((database.status.as_u16(), database.problem().1.as_str()), (422, "service"));
    let unknown = client.get(&path.replace("MEDIA", "OTHER")).send().await;
    assert_eq!(unknown.problem().0, "not-found");
}

#[tokio::test]
async fn a_file_that_was_left_out_says_why() {
    let (client, path) = archived_while(&[("a", "x".into()), ("b", "x".into())], |world| {
        world.media.surprise(BUCKET, "media/b", [Surprise::Deleted]);
    })
    .await;
    let page = client.get(&path).send().await.json();
    assert_eq!(page["items"][1]["kind"], "skipped");
    let answer = client.get(&at(&path, "b")).send().await;
    assert_eq!((answer.status.as_u16(), answer.problem().0.as_str()), (409, "conflict"));
    assert!(answer.text.contains("deleted during the backup"), "{}", answer.text);
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_checksum_are_not_given_out() {
    let (client, path) = archived(&[("a", "the bytes".into())]).await;
    let artifacts = &client.world.artifacts;
    let key = artifacts.object_keys().into_iter().find(|key| key.ends_with("MEDIA/media.tar")).unwrap();
    let tar = artifacts.bytes(&key).unwrap().to_vec();
    let damaged = String::from_utf8_lossy(&tar).replacen("the bytes", "THE BYTES", 1).into_bytes();
    assert_eq!(damaged.len(), tar.len());
    artifacts.insert(&key, damaged.clone());
    let answer = client.get(&at(&path, "a")).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.text.as_str()),
        (200, "the bytes"),
        "of the version that was stored"
    );
    let (client, path) = archived(&[("a", "the bytes".into())]).await;
    client.world.artifacts.damage(&key, damaged);
    let answer = client.get(&at(&path, "a")).send().await;
    assert_eq!(answer.status.as_u16(), 503);
    assert!(!answer.text.contains("THE BYTES"));
}
