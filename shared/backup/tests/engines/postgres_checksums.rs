//! Restores that only try, and compare values: what is in the new database must be what the archive has, row by row.

use std::time::Duration;

use holdfast_backup::{engines::restorer::Outcome, error::SliceError};
use holdfast_domain::{application::PostgresService, restore::Restored};
use rstest::rstest;

use crate::{
    assert_failure, failure,
    postgres_everything::EVERYTHING,
    postgres_restore::{SHOP, assert_nothing_left},
    postgres_restore_shared::LARGE,
    postgres_restorer::{Case, LONG, Listener, Stop, done},
    server::Server,
};

impl Case<'_> {
    /// What comes of it when the backup is tried beside `database`, and values are compared.
    async fn compared(&self, database: &str) -> Result<Restored, SliceError> {
        let restorer = self.rehearsal_with(self.server.service(database), true).await;
        done(restorer.restore(None, LONG, &mut Listener::default()).await)
    }

    /// The same, as a role that is made for it and is no superuser.
    async fn compared_as(&self, role: &'static str, database: &str) -> Result<Restored, SliceError> {
        self.server.sql("postgres", &format!("CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'x'"));
        let secret = format!("arn:{role}");
        self.world.secrets.put(&secret, role, "x");
        let service = PostgresService { restore_secret_arn: Some(secret), ..self.server.service(database) };
        let restorer = self.rehearsal_with(service, true).await;
        done(restorer.restore(None, LONG, &mut Listener::default()).await)
    }
}

/// What it says of tables that were compared in another way, or not.
fn said(found: &Restored) -> Vec<&str> {
    found.notes.iter().map(String::as_str).filter(|note| note.contains("compared")).collect()
}

/// Whatever a value is, it is the same when it comes back.
#[rstest]
#[case(14)]
#[case(15)]
#[case(17)]
#[tokio::test(flavor = "multi_thread")]
async fn values_of_all_types_are_as_they_were(#[case] major: u32) {
    let server = Server::of_major(major);
    let sql = format!(
        "{EVERYTHING} CREATE TABLE amounts (m money, t timetz, i interval, n numeric, f float8, path jsonpath);
         INSERT INTO amounts VALUES ('1234.5', '12:00+05:30', '-1 year 2 days -03:04:05.6', 'NaN', 5e-324, '$.a[*]'),
             ('-0.01', NULL, '1.5 months', 1e-130, -0.0, NULL);
         INSERT INTO amounts SELECT * FROM amounts"
    );
    let case = Case::new(&server, "alike", &sql).await;
    let restorer = case.rehearsal_with(server.service("alike"), true).await;
    let preflight = restorer.preflight().await.unwrap();
    assert!(preflight.steps.iter().any(|step| step.contains("compare the values")), "{preflight:?}");
    let found = done(restorer.restore(None, LONG, &mut Listener::default()).await).unwrap();
    assert!(found.rows_compared && found.tables.unwrap() > 15, "{found:?}");
    assert_eq!(found.values_compared, found.tables);
    assert_eq!(said(&found), Vec::<&str>::new(), "nothing twice");
    case.assert_as_it_was();
    server.assert_no_session("alike");
}

/// Of which one goes in by several sessions, and has rows that are longer than what is sent at once.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_several_sessions_copy_are_as_they_were() {
    let server = Server::shared();
    let case = Case::new(&server, "heaped", LARGE).await;
    let found = case.compared("heaped").await.unwrap();
    assert_eq!((found.values_compared, found.rows), (Some(2), Some(12010)));
    assert_eq!(said(&found), Vec::<&str>::new());
    case.assert_as_it_was();
    server.sql("postgres", "DROP DATABASE heaped_source");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_may_be_in_another_encoding() {
    let server = Server::shared();
    server.sql("postgres", "CREATE DATABASE umlauts_source TEMPLATE template0 ENCODING 'LATIN1'");
    server.sql(
        "umlauts_source",
        r#"SET client_encoding = 'UTF8'; CREATE SCHEMA "Käse";
           CREATE TABLE "Käse"."größe" ("straße" int, name text);
           INSERT INTO "Käse"."größe" SELECT n, 'Grüße ' || n FROM generate_series(1, 2000) n"#,
    );
    let case = Case::of_source(&server, "umlauts").await;
    let found = case.compared("umlauts").await.unwrap();
    assert_eq!((found.values_compared, found.rows), (Some(1), Some(2000)));
    assert_eq!(said(&found), Vec::<&str>::new());
    case.assert_as_it_was();
}

/// What runs `sql` while a database is restored: the query of a materialized view.
fn meddling(sql: &str) -> String {
    format!(
        "CREATE FUNCTION meddle() RETURNS int LANGUAGE plpgsql AS
             $$BEGIN IF current_database() LIKE 'holdfast%' THEN {sql}; END IF; RETURN 1; END$$;
         CREATE MATERIALIZED VIEW meddled AS SELECT meddle() AS n;"
    )
}

/// As many rows are there, and they are not those of the archive.
#[rstest]
#[case::another_value("changed", "UPDATE public.picture SET bytes = '' WHERE product = 7")]
#[case::values_have_changed_places(
    "exchanged",
    "UPDATE public.picture a SET bytes = b.bytes FROM public.picture b WHERE (a.product, b.product) IN ((7, 8), (8, 7))"
)]
#[case::one_twice_and_one_not_at_all(
    "doubled",
    "DELETE FROM public.picture WHERE product = 7; INSERT INTO public.picture SELECT * FROM public.picture WHERE product = 8"
)]
#[tokio::test(flavor = "multi_thread")]
async fn values_that_were_changed_are_found(#[case] database: &'static str, #[case] sql: &str) {
    let server = Server::shared();
    let case = Case::new(&server, database, &[SHOP, &meddling(sql)].concat()).await;
    let counted = case.rehearsal(server.service(database)).await;
    let counted = done(counted.restore(None, LONG, &mut Listener::default()).await).unwrap();
    assert_eq!((counted.rows, counted.values_compared), (Some(3000), None), "there are as many rows");
    let tried = failure(case.compared(database).await);
    assert_failure(&tried, "restored_differs", false, &["picture\" has other values than were dumped"]);
    assert!(!tried.message.contains("product\""), "the others are as they were: {}", tried.message);
    case.assert_as_it_was();
    server.assert_no_session(database);
}

/// Sequences of all kinds, and large objects: an empty one, one with a number beyond 2^31, and one that is compared in pieces.
const KEPT: &str = "
    CREATE TABLE numbered (id serial, n bigint GENERATED ALWAYS AS IDENTITY); INSERT INTO numbered (id) SELECT generate_series(1, 10);
    SELECT setval('numbered_id_seq', 10); CREATE SEQUENCE down INCREMENT -3 MAXVALUE 5 START -7; CREATE SEQUENCE \"Odd, 'one'\";
    SELECT nextval('\"Odd, ''one''\"'); SELECT lo_create(7), lo_from_bytea(4000000001, 'abc'),
        lo_from_bytea(8, convert_to(repeat('0123456789abcdef', 1024 * 1024 + 1), 'UTF8'));";

#[tokio::test(flavor = "multi_thread")]
async fn sequences_and_large_objects_are_as_they_were() {
    let server = Server::shared();
    let case = Case::new(&server, "kept", KEPT).await;
    let found = case.compared("kept").await.unwrap();
    assert_eq!((found.values_compared, said(&found)), (Some(1), vec![]));
    case.assert_as_it_was();
    // One who is no superuser reads what it has restored.
    let found = case.compared_as("keeper", "kept").await.unwrap();
    assert_eq!((found.values_compared, said(&found)), (Some(1), vec![]));
    case.assert_as_it_was();
}

#[rstest]
#[case::advanced(
    "advanced",
    "PERFORM nextval('public.numbered_id_seq')",
    "sequence \"public\".\"numbered_id_seq\" is at 11, and was at 10"
)]
#[case::not_begun(
    "begun",
    "PERFORM nextval('public.down')",
    "\"down\" is at -7, and was at -7, which it has not given yet"
)]
#[case::overwritten(
    "written",
    "PERFORM lo_put(8, 16 * 1024 * 1024, 'x')",
    "the large object 8 has other contents"
)]
#[case::longer("longer", "PERFORM lo_put(7, 0, 'x')", "the large object 7 has other contents")]
#[case::gone("unlinked", "PERFORM lo_unlink(4000000001)", "there are 2 large objects, and there were 3")]
#[case::one_more("added", "PERFORM lo_create(9)", "there are 4 large objects, and there were 3")]
#[tokio::test(flavor = "multi_thread")]
async fn sequences_and_large_objects_that_were_changed_are_found(
    #[case] database: &'static str,
    #[case] sql: &str,
    #[case] expected: &str,
) {
    let server = Server::shared();
    let case = Case::new(&server, database, &[KEPT, &meddling(sql)].concat()).await;
    let tried = failure(case.compared(database).await);
    assert_failure(&tried, "restored_differs", false, &[expected]);
    case.assert_as_it_was();
}

/// Rows that only lie in another order are those of the archive.
#[tokio::test(flavor = "multi_thread")]
async fn order_does_not_matter() {
    let server = Server::shared();
    let moving = meddling("UPDATE public.picture SET bytes = bytes WHERE product % 2 = 0");
    let case = Case::new(&server, "moved", &[SHOP, &moving].concat()).await;
    let found = case.compared("moved").await.unwrap();
    assert_eq!((found.values_compared, said(&found)), (Some(2), vec![]));
    case.assert_as_it_was();
}

/// What is dumped in the way that the database likes, where the new one likes nothing.
const LIKED: &str = "
    CREATE TABLE visit (at timestamptz, what bytea); CREATE TABLE other (n int);
    INSERT INTO visit SELECT '2026-10-25 00:00+00'::timestamptz + n * interval '10 minutes', sha256(n::text::bytea)
        FROM generate_series(1, 500) n;
    INSERT INTO other SELECT generate_series(1, 10);
    CREATE DOMAIN price AS money; CREATE TYPE priced AS (what text, price price);
    CREATE TABLE sale (at timestamptz, items priced[]);
    INSERT INTO sale VALUES ('2026-01-01 00:00+00', ARRAY[ROW('a', '1.50')::priced]);
    DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Europe/Berlin''', current_database());
        EXECUTE format('ALTER DATABASE %I SET bytea_output = ''escape''', current_database()); END$$;";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_written_in_another_way_is_the_same() {
    let server = Server::shared();
    let case = Case::new(&server, "liked", LIKED).await;
    let found = case.compared("liked").await.unwrap();
    assert_eq!((found.tables, found.values_compared), (Some(3), Some(2)));
    let [money, again] = said(&found)[..] else { panic!("{found:?}") };
    assert!(money.starts_with("1 tables were not compared by their values: they are written"), "{money}");
    assert!(again.starts_with("1 tables are written in another way here"), "{again}");
    case.assert_as_it_was();

    let changing = "UPDATE public.visit SET at = at + interval '1 second' WHERE at = '2026-10-25 00:10+00'";
    let case = Case::new(&server, "disliked", &[LIKED, &meddling(changing)].concat()).await;
    let tried = failure(case.compared("disliked").await);
    assert_failure(&tried, "restored_differs", false, &["visit\" has other values"]);
    assert!(!tried.message.contains("sale\""), "{}", tried.message);
    case.assert_as_it_was();
}

/// Rows whose partition is chosen anew, and tables that only some may read.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_named() {
    let server = Server::shared();
    let sql = "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
        CREATE TABLE felt (m mood, n int) PARTITION BY HASH (m);
        CREATE TABLE felt_0 PARTITION OF felt FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE felt_1 PARTITION OF felt FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        INSERT INTO felt SELECT (enum_range(NULL::mood))[1 + n % 3], n FROM generate_series(1, 1000) n;
        CREATE TABLE secret (owner text); INSERT INTO secret VALUES ('a');
        ALTER TABLE secret ENABLE ROW LEVEL SECURITY; ALTER TABLE secret FORCE ROW LEVEL SECURITY;
        CREATE POLICY mine ON secret USING (owner = current_user);
        CREATE TABLE told AS SELECT n FROM generate_series(1, 10) n";
    let case = Case::new(&server, "named", sql).await;
    let found = case.compared_as("namer", "named").await.unwrap();
    assert_eq!(found.values_compared, Some(1));
    let [others, closed] = said(&found)[..] else { panic!("{found:?}") };
    assert!(
        others.starts_with("2 tables were not compared by their values: extensions make them"),
        "{others}"
    );
    assert_eq!(closed, "1 tables were not compared by their values: this role may not read them");
    case.assert_as_it_was();
}

/// Rows that take long to be loaded a second time.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_stopped_while_it_compares_leaves_nothing() {
    let server = Server::shared();
    let slow = "CREATE FUNCTION slow(n int) RETURNS boolean LANGUAGE plpgsql AS
             'BEGIN IF to_regclass(''pg_temp.holdfast_again'') IS NOT NULL THEN PERFORM pg_sleep(120); END IF;
              RETURN true; END';
         CREATE DOMAIN slow AS int CHECK (slow(VALUE));
         CREATE TABLE late (n slow, at timestamptz); INSERT INTO late VALUES (1, now());";
    let case = Case::new(&server, "paused", &[slow, LIKED].concat()).await;
    let restorer = case.rehearsal_with(server.service("paused"), true).await;
    let stop: Option<Stop> = Some(("comparing", || SliceError::Cancelled));
    let outcome = restorer.restore(None, LONG, &mut Listener { stop, ..Listener::default() }).await;
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    case.assert_as_it_was();
    // The comparison is not divided: it is given two slices for itself.
    let (mut cursor, mut paused) = (None, 0);
    let outcome = loop {
        let listener = &mut Listener::default();
        match restorer.restore(cursor.as_deref(), Duration::from_secs(8), listener).await {
            Ok(Outcome::Paused { cursor: next }) => (cursor, paused) = (Some(next), paused + 1),
            outcome => break outcome,
        }
    };
    assert_failure(
        &failure(outcome),
        "slice_too_short",
        false,
        &["8 seconds", "comparison", "nothing was changed"],
    );
    assert!(paused >= 2, "{paused}");
    case.assert_as_it_was();
    // Killed, it cannot say so itself.
    let mut listener = Listener::default();
    let trying = restorer.restore(None, LONG, &mut listener);
    assert!(tokio::time::timeout(Duration::from_secs(4), trying).await.is_err());
    restorer.give_up().await.unwrap();
    assert_nothing_left(&server, "paused");
    case.assert_as_it_was();
}
