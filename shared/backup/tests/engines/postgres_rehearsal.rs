//! Restores that only try: into a new database, which is counted and dropped, while the one that is there is left alone.

use std::time::Duration;

use holdfast_backup::error::SliceError;
use holdfast_domain::application::PostgresService;

use crate::{
    assert_failure, failure,
    postgres_restore::{SHOP, assert_nothing_left},
    postgres_restorer::{Case, LONG, Listener, Stop, codes, done},
    server::Server,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_tried_beside_the_one_that_is_there() {
    let server = Server::shared();
    let case = Case::new(&server, "tried", SHOP).await;
    let restorer = case.rehearsal(server.service("tried")).await;
    let preflight = restorer.preflight().await.unwrap();
    assert!(preflight.refusals.is_empty() && !preflight.is_occupied, "{preflight:?}");
    assert!(
        preflight.target.contains("beside") && preflight.steps.last().unwrap().contains("drop"),
        "{preflight:?}"
    );
    let mut listener = Listener::default();
    let found = done(restorer.restore(None, LONG, &mut listener).await).unwrap();
    assert_eq!((found.tables, found.rows, found.rows_compared), (Some(2), Some(3000), true));
    assert!(listener.heard.iter().all(|heard| heard.doing != "swap" && heard.cursor.is_none()));
    case.assert_as_it_was();
    server.assert_no_session("tried");
}

/// Whatever runs while a database is restored may take rows away: here the query of a materialized view.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_there_any_more_are_found() {
    let server = Server::shared();
    let purging = format!(
        "{SHOP} CREATE FUNCTION purge() RETURNS bigint LANGUAGE plpgsql AS
             'BEGIN IF current_database() LIKE ''holdfast%'' THEN DELETE FROM public.picture WHERE product = 7; END IF; RETURN 1; END';
         CREATE MATERIALIZED VIEW purged AS SELECT purge() AS n"
    );
    let case = Case::new(&server, "purged", &purging).await;
    let restorer = case.rehearsal(server.service("purged")).await;
    let tried = failure(restorer.restore(None, LONG, &mut Listener::default()).await);
    let said = ["picture", "has 999 rows, and had 1000"];
    assert_failure(&tried, "restored_differs", false, &said);
    assert!(!tried.message.contains("product\""), "the others are as they were: {}", tried.message);
    case.assert_as_it_was();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stopped_or_killed_leaves_nothing() {
    let server = Server::shared();
    let case = Case::new(&server, "abandoned", SHOP).await;
    let restorer = case.rehearsal(server.service("abandoned")).await;
    for error in [(|| SliceError::Cancelled) as fn() -> SliceError, || SliceError::Fenced] {
        let stop: Option<Stop> = Some(("schema", error));
        let outcome = restorer.restore(None, LONG, &mut Listener { stop, ..Listener::default() }).await;
        assert!(matches!(outcome, Err(SliceError::Cancelled | SliceError::Fenced)), "{outcome:?}");
        case.assert_as_it_was();
    }
    for milliseconds in [30, 100, 250] {
        let mut listener = Listener::default();
        let trying = restorer.restore(None, LONG, &mut listener);
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), trying).await;
        restorer.give_up().await.unwrap();
        assert_nothing_left(&server, "abandoned");
    }
    case.assert_as_it_was();
}

/// It needs the right to make a database, and none in the one that is there.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_make_databases_may_try() {
    let server = Server::shared();
    let case = Case::new(&server, "borrowed", SHOP).await;
    server.sql("postgres", "CREATE ROLE trier LOGIN PASSWORD 'x'");
    let service =
        PostgresService { restore_secret_arn: Some("arn:trier".to_owned()), ..server.service("borrowed") };
    case.world.secrets.put("arn:trier", "trier", "x");
    let preflight = case.rehearsal(service.clone()).await.preflight().await.unwrap();
    assert_eq!(codes(&preflight), ["permission_denied"]);
    assert!(preflight.refusals[0].fix.contains("CREATEDB"), "{preflight:?}");

    server.sql("postgres", "ALTER ROLE trier CREATEDB");
    let restorer = case.rehearsal(service).await;
    assert_eq!(codes(&restorer.preflight().await.unwrap()), Vec::<&str>::new());
    let found = done(restorer.restore(None, LONG, &mut Listener::default()).await).unwrap();
    assert_eq!((found.tables, found.rows), (Some(2), Some(3000)));
    case.assert_as_it_was();
}
