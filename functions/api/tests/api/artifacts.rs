use std::{
    io,
    sync::{Arc, Mutex},
};

use crate::client::Client;
use holdfast_testing::{
    builders::{self, slug},
    faults::{Fault, Moment},
};
use insta::assert_snapshot;

/// A client, and the path of an artifact that can be downloaded.
fn downloadable() -> (Client, String) {
    let client = Client::new();
    client.world.register("shop");
    let backup = client.world.succeeded(&slug("shop"), builders::now(), true);
    let path = format!("/v1/applications/shop/backups/{}/artifacts/DEFAULT", backup.id);
    (client, path)
}

#[tokio::test]
async fn a_download_is_a_redirect_to_a_signed_url() {
    let (client, path) = downloadable();
    assert_snapshot!(client.get(&path).send().await.shown());
}

#[tokio::test]
async fn a_program_gets_the_url_as_a_document() {
    let (client, path) = downloadable();
    assert_snapshot!(client.get(&path).header("accept", "application/json").send().await.shown());
}

#[tokio::test]
async fn an_unknown_service_has_no_artifact() {
    let (client, path) = downloadable();
    let answer = client.get(&path.replace("DEFAULT", "CACHE")).send().await;
    assert_eq!((answer.status.as_u16(), answer.problem().0.as_str()), (404, "not-found"));
}

#[tokio::test]
async fn what_has_expired_is_gone() {
    let (client, path) = downloadable();
    client.delete(path.strip_suffix("/artifacts/DEFAULT").unwrap()).send().await;
    assert_snapshot!(client.get(&path).send().await.shown());
}

#[tokio::test]
async fn what_has_not_succeeded_yet_cannot_be_downloaded() {
    let client = Client::new();
    client.world.register("shop");
    let asked = client.post("/v1/applications/shop/backups").send().await.json();
    let path = format!("{}/artifacts/DEFAULT", asked["links"]["self"].as_str().unwrap());
    assert_snapshot!(client.get(&path).send().await.shown());
}

#[tokio::test]
async fn a_signed_url_is_never_logged() {
    let (client, path) = downloadable();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, what another test's thread reaches first is taken for not logged, here too.
    let everywhere =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::sink).finish();
    let _everywhere = tracing::Dispatch::new(everywhere);
    let guard = tracing::subscriber::set_default(subscriber);
    let redirect = client.get(&path).send().await;
    let document = client.get(&path).header("accept", "application/json").send().await;
    client.world.faults.always("artifacts.download_url", Moment::Before, Fault::Unavailable);
    client.get(&path).send().await;
    drop(guard);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("call answered") && log.contains("call failed"), "the calls are logged: {log}");
    let signed = redirect.header("location");
    assert_eq!(document.json()["url"], signed);
    let secret = signed.split_once('?').map_or(signed, |(_, query)| query);
    assert!(!log.contains(signed) && !log.contains(secret), "{log}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
