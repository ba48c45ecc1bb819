//! Restores of databases that take several slices: however they are divided, and whoever dies on the way, what comes out is the same.

use std::time::Duration;

use holdfast_backup::{
    engines::restorer::{Outcome, Restorer},
    error::SliceError,
};
use holdfast_domain::{
    id::RestoreId,
    restore::{Restore, RestoreOptions, Restored},
};
use holdfast_testing::builders;
use rstest::rstest;

use crate::{
    assert_failure, failure,
    postgres_everything::{EVERYTHING, as_text, assert_same},
    postgres_restore::{OPTIONS, SHOP, assert_nothing_left, file, restore as restore_by_hand},
    postgres_restorer::{Case, LONG, Listener, OVERWRITE},
    server::Server,
};

/// What is made after the data, and is not in every database: what has an owner then, and what would stand in the way of whoever
/// did something in the database after that.
const AFTER: &str = "
    CREATE ROLE keeper SUPERUSER;
    CREATE STATISTICS \"of \"\"types\"\"\" ON d, t FROM types;
    ALTER STATISTICS \"of \"\"types\"\"\" OWNER TO keeper;
    CREATE PUBLICATION all_of_it FOR ALL TABLES;
    ALTER PUBLICATION all_of_it OWNER TO keeper;
    COMMENT ON INDEX types_pkey IS 'the key';
    COMMENT ON TRIGGER touch ON types IS 'a trigger';
    CREATE RULE quiet AS ON DELETE TO empty DO INSTEAD (SELECT 1; SELECT 2);
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO keeper;
    CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''nobody drops anything''; END';
    CREATE EVENT TRIGGER forbidding ON sql_drop EXECUTE FUNCTION forbid();
    ALTER EVENT TRIGGER forbidding OWNER TO keeper;
    COMMENT ON EVENT TRIGGER forbidding IS 'strict';";

fn restore_of(number: u8, options: &RestoreOptions) -> Restore {
    Restore { id: RestoreId::new(builders::now(), [number; 10]), ..builders::restore_with(options) }
}

/// One slice: what was restored, or the cursor of the next one.
async fn slice(
    job: &dyn Restorer,
    cursor: Option<&str>,
    time: Duration,
) -> Result<Result<Restored, String>, SliceError> {
    match job.restore(cursor, time, &mut Listener::default()).await? {
        Outcome::Done(restored) => Ok(Ok(restored)),
        Outcome::Paused { cursor } => Ok(Err(cursor)),
    }
}

/// All slices that are left; returns how many there were, too.
async fn to_the_end(job: &dyn Restorer, mut cursor: Option<String>, time: Duration) -> (Restored, usize) {
    for slices in 1.. {
        match slice(job, cursor.as_deref(), time).await.unwrap() {
            Ok(restored) => return (restored, slices),
            Err(next) => {
                assert!(next.len() < 200, "{next}");
                cursor = Some(next);
            }
        }
    }
    unreachable!()
}

/// That nothing in `database` is of its restore.
fn assert_clean(server: &Server, database: &str) {
    assert_nothing_left(server, database);
    let ours = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'holdfast%'";
    assert_eq!(server.sql(database, ours), "0");
    let comment = format!(
        "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = '{database}'"
    );
    assert_eq!(server.sql("postgres", &comment), "");
}

/// The name and the OID of the new database beside `database`.
fn new_database(server: &Server, database: &str) -> (String, String) {
    let found = format!(
        "SELECT datname, oid FROM pg_database WHERE datname ~ ('^holdfast_restore_' || substr(md5('{database}'), 1, 8))"
    );
    let found = server.sql("postgres", &found);
    let (name, oid) = found.split_once('|').unwrap();
    (name.to_owned(), oid.to_owned())
}

/// Who keeps some work from coming to its end, as long as a role of this name is there.
struct Hold<'a>(&'a Server, &'static str);

impl<'a> Hold<'a> {
    fn on(server: &'a Server, role: &'static str) -> Self {
        server.sql("postgres", &format!("CREATE ROLE {role}"));
        Self(server, role)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.sql("postgres", &format!("DROP ROLE {}", self.1));
    }
}

/// A function that gives back what it is given, and waits as long as somebody holds it, but only where a database is restored.
fn held_by(role: &str) -> String {
    format!(
        "CREATE FUNCTION held(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             WHILE current_database() LIKE 'holdfast%' AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{role}')
             LOOP PERFORM pg_catalog.pg_sleep(0.05); END LOOP; RETURN n; END $$;"
    )
}

#[rstest]
#[case(14, 4)]
#[case(15, 1)]
#[case(17, 3)]
#[case(18, 7)]
#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_however_it_is_divided(#[case] major: u32, #[case] steps: usize) {
    let server = Server::of_major(major);
    let case = Case::new(&server, "divided", &format!("{EVERYTHING} {AFTER}")).await;
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, steps);
    let (restored, slices) = to_the_end(&job, None, LONG).await;
    assert!(slices > 20 / steps, "{slices} slices");
    let source = as_text(&server, "divided_source");
    assert_same(&as_text(&server, "divided"), &source);
    assert_clean(&server, "divided");

    let whole = case.in_steps(&restore_of(2, &OVERWRITE), usize::MAX);
    let (whole, slices) = to_the_end(&whole, None, LONG).await;
    assert_eq!((restored, slices), (whole, 1));
    assert_same(&as_text(&server, "divided"), &source);
    assert_clean(&server, "divided");
    server.assert_no_session("divided");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_in_several_slices_counts_everything() {
    let server = Server::of_major(15);
    let case = Case::new(&server, "rehearsed", &format!("{EVERYTHING} {AFTER}")).await;
    let restore = Restore { rehearsal: true, ..restore_of(1, &RestoreOptions::default()) };
    let (divided, slices) = to_the_end(&case.in_steps(&restore, 5), None, LONG).await;
    assert!(slices > 5, "{slices} slices");
    case.assert_as_it_was();
    let (whole, slices) = to_the_end(&case.in_steps(&restore, usize::MAX), None, LONG).await;
    assert_eq!((divided, slices), (whole.clone(), 1));
    assert!(whole.rows_compared && whole.rows > Some(300_000), "{whole:?}");
    case.assert_as_it_was();
}

/// Killed at any moment, in any of its slices.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_killed_is_followed_by_one_that_goes_on() {
    let server = Server::shared();
    let indexes: Vec<_> = (0..8).map(|n| format!("CREATE INDEX ON product (id, ({n} + id));")).collect();
    let case = Case::new(&server, "struck", &format!("{SHOP} {}", indexes.concat())).await;
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, 2);
    let (mut cursor, mut kills) = (None::<String>, 0);
    for milliseconds in [20, 60, 90, 120, 150, 180, 220, 260, 300, 350, 400, 500, 600].into_iter().cycle() {
        let working = slice(&job, cursor.as_deref(), LONG);
        if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(milliseconds), working).await {
            match outcome.unwrap() {
                Ok(restored) => {
                    assert_eq!((restored.tables, restored.rows), (Some(2), Some(3000)));
                    break;
                }
                Err(next) => cursor = Some(next),
            }
            continue;
        }
        kills += 1;
        // As whoever finds that a slice was killed does.
        job.clean_up().await.unwrap();
        // On a slow machine none of them would come to its end.
        if kills > 40 {
            to_the_end(&job, cursor.take(), LONG).await;
            break;
        }
    }
    assert!(kills > 3, "{kills} kills, then {cursor:?}");
    assert_same(&as_text(&server, "struck"), &as_text(&server, "struck_source"));
    assert_clean(&server, "struck");
}

/// What a killed slice has made is gone on with, and what it still does on the server does not come to that.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_killed_slice_are_ended() {
    let server = Server::shared();
    let sql = format!("{SHOP} {} CREATE INDEX held_up ON product (held(id))", held_by("ghost_hold"));
    let case = Case::new(&server, "haunted", &sql).await;
    let hold = Hold::on(&server, "ghost_hold");
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, usize::MAX);
    let working = slice(&job, None, LONG);
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%held_up%' AND datname LIKE 'holdfast%' AND state = 'active'";
    let waiting = async {
        while server.sql("postgres", at_work) == "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        outcome = working => panic!("it has ended: {outcome:?}"),
        () = waiting => {}
    }
    drop(hold);
    let (name, oid) = new_database(&server, "haunted");
    let ghost = server.hold_lock(&name, "LOCK TABLE product");
    job.clean_up().await.unwrap();
    assert_eq!(new_database(&server, "haunted"), (name, oid.clone()), "it can go on");
    let (restored, slices) = to_the_end(&job, None, LONG).await;
    drop(ghost);
    assert_eq!((restored.rows, slices), (Some(3000), 1));
    let found = server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'haunted'");
    assert_eq!(found, oid, "the database that the killed one has made");
    assert_same(&as_text(&server, "haunted"), &as_text(&server, "haunted_source"));
    assert_clean(&server, "haunted");
}

/// An error that may pass, in the middle of an index: the server is tried again, unless it has no room.
#[rstest]
#[case::ended(
    "ended",
    "PERFORM pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())",
    "connection_lost",
    true
)]
#[case::full("full", "RAISE 'no room' USING ERRCODE = 'disk_full'", "server_strained", false)]
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_fails_is_followed_by_one_that_goes_on(
    #[case] database: &'static str,
    #[case] trouble: &str,
    #[case] code: &str,
    #[case] goes_on: bool,
) {
    let server = Server::shared();
    let sql = format!(
        "{SHOP} CREATE FUNCTION troubled(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
             IF current_database() LIKE 'holdfast%' AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'trouble_{database}')
             THEN {trouble}; END IF; RETURN n; END $$; CREATE INDEX troubled ON product (troubled(id))"
    );
    let case = Case::new(&server, database, &sql).await;
    let trouble = Hold::on(&server, if goes_on { "trouble_ended" } else { "trouble_full" });
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, usize::MAX);
    assert_failure(&failure(slice(&job, None, LONG).await), code, true, &[]);
    let left = goes_on.then(|| new_database(&server, database).1);
    if !goes_on {
        assert_nothing_left(&server, database);
    }
    drop(trouble);
    job.clean_up().await.unwrap();
    let (restored, slices) = to_the_end(&job, None, LONG).await;
    assert_eq!((restored.rows, slices), (Some(3000), 1));
    let found = server.sql("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{database}'"));
    assert_eq!(goes_on, Some(found) == left, "the database that the first one has made");
    assert_same(&as_text(&server, database), &as_text(&server, &format!("{database}_source")));
    assert_clean(&server, database);
}

/// It has another name in each slice: whoever knows only the old one cannot come to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_is_alone_with_its_database() {
    let server = Server::shared();
    let case = Case::new(&server, "renamed", SHOP).await;
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, 1);
    let cursor = slice(&job, None, LONG).await.unwrap().unwrap_err();
    let (first, oid) = new_database(&server, "renamed");
    assert!(cursor.contains(&oid), "{cursor}");
    slice(&job, Some(&cursor), LONG).await.unwrap().unwrap_err();
    let (second, same) = new_database(&server, "renamed");
    assert!(first != second && oid == same, "{first} {oid}, {second} {same}");
    job.give_up().await.unwrap();
    case.assert_as_it_was();
}

/// One index is held up: what else there is to do is done, and it gets all of the next slice, until it is made.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_when_time_is_up_is_done_by_the_next_slice() {
    let server = Server::shared();
    let sql = format!("{SHOP} {} CREATE INDEX held_up ON product (held(id))", held_by("index_hold"));
    let case = Case::new(&server, "patient", &sql).await;
    let hold = Hold::on(&server, "index_hold");
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, usize::MAX);
    let short = Duration::from_secs(16);
    let cursor = slice(&job, None, short).await.unwrap().unwrap_err();
    drop(hold);
    let (restored, _) = to_the_end(&job, Some(cursor), LONG).await;
    assert_eq!((restored.tables, restored.rows, restored.rows_compared), (Some(2), Some(3000), true));
    assert_same(&as_text(&server, "patient"), &as_text(&server, "patient_source"));
    assert_clean(&server, "patient");
}

/// Several sessions copy one table, one of them does not come to its end, and what the others have copied is not copied twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_several_sessions_copy_is_begun_again() {
    let server = Server::shared();
    let sql = format!(
        "{} CREATE TABLE large (n int, text text, CHECK (CASE WHEN n = 700 THEN held(n) ELSE n END > 0));
         INSERT INTO large SELECT n, (SELECT string_agg(md5(n || ' ' || m), '') FROM generate_series(1, 130) m)
             FROM generate_series(1, 12000) n;
         ALTER TABLE large ADD PRIMARY KEY (n);
         CREATE TABLE small AS SELECT n FROM generate_series(1, 10) n",
        held_by("rows_hold")
    );
    let case = Case::new(&server, "halved", &sql).await;
    let hold = Hold::on(&server, "rows_hold");
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, usize::MAX);
    let cursor = slice(&job, None, Duration::from_secs(20)).await.unwrap().unwrap_err();
    drop(hold);
    let (restored, _) = to_the_end(&job, Some(cursor), LONG).await;
    assert_eq!((restored.tables, restored.rows), (Some(2), Some(12_010)));
    let digest = "SELECT count(*), sum(hashtextextended(text, n)) FROM large; SELECT sum(n) FROM small";
    assert_same(&server.sql("halved", digest), &server.sql("halved_source", digest));
    assert_clean(&server, "halved");
    for database in ["halved_source", "halved"] {
        server.sql("postgres", &format!("DROP DATABASE {database}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_given_up_while_it_pauses_leaves_nothing() {
    let server = Server::shared();
    let case = Case::new(&server, "dismissed", SHOP).await;
    let rehearsal = Restore { rehearsal: true, ..restore_of(2, &RestoreOptions::default()) };
    for restore in [restore_of(1, &OVERWRITE), rehearsal] {
        for slices in 1..4 {
            let job = case.in_steps(&restore, 1);
            let mut cursor = None;
            for _ in 0..slices {
                cursor = Some(slice(&job, cursor.as_deref(), LONG).await.unwrap().unwrap_err());
            }
            job.give_up().await.unwrap();
            case.assert_as_it_was();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_restore_waits_for_one_that_has_paused() {
    let server = Server::shared();
    let case = Case::new(&server, "occupied", SHOP).await;
    let (first, second) = (restore_of(1, &OVERWRITE), restore_of(2, &OVERWRITE));
    let (first, second) = (case.in_steps(&first, 2), case.in_steps(&second, 2));
    let cursor = slice(&first, None, LONG).await.unwrap().unwrap_err();
    let words = ["somebody else", "over several slices", "holdfast_restore_"];
    assert_failure(&failure(slice(&second, None, LONG).await), "restore_running", true, &words);
    second.clean_up().await.unwrap();
    second.give_up().await.unwrap();
    let archive = case.world.artifacts.bytes(crate::KEY).unwrap();
    let (_folder, path) = file(&archive);
    let by_hand = restore_by_hand(
        &server,
        "occupied",
        &path,
        holdfast_backup::engines::postgres::RestoreOptions { overwrite: true, ..OPTIONS },
    );
    assert_failure(&failure(by_hand.await), "restore_running", true, &words);
    let (restored, _) = to_the_end(&first, Some(cursor), LONG).await;
    assert_eq!(restored.rows, Some(3000));
    assert_clean(&server, "occupied");

    // Nobody waits for ever: one that has not been gone on with for hours is dropped.
    slice(&first, None, LONG).await.unwrap().unwrap_err();
    let (name, _) = new_database(&server, "occupied");
    let old = format!(
        "COMMENT ON DATABASE {name} IS 'holdfast restore {} at {}'",
        RestoreId::new(builders::now(), [1; 10]),
        server.sql("postgres", "SELECT floor(EXTRACT(epoch FROM now()))::int8 - 2 * 3600")
    );
    server.sql("postgres", &old);
    second.clean_up().await.unwrap();
    assert_clean(&server, "occupied");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_go_on_with_something_else() {
    let server = Server::shared();
    let case = Case::new(&server, "mistaken", SHOP).await;
    let restore = restore_of(1, &OVERWRITE);
    let job = case.in_steps(&restore, 2);
    // Somebody drops its database: it begins anew.
    let cursor = slice(&job, None, LONG).await.unwrap().unwrap_err();
    let (name, _) = new_database(&server, "mistaken");
    server.sql("postgres", &format!("DROP DATABASE {name}"));
    let cursor = slice(&job, Some(&cursor), LONG).await.unwrap().unwrap_err();
    // Somebody replaces its target, of which there is no safety backup then.
    server.sql("postgres", "DROP DATABASE mistaken");
    server.create("mistaken", "CREATE TABLE new_one ()");
    let refused = failure(slice(&job, Some(&cursor), LONG).await);
    assert_failure(&refused, "target_changed", false, &["another database", "ask for the restore again"]);
    assert_nothing_left(&server, "mistaken");
    assert_eq!(server.sql("mistaken", "SELECT count(*) FROM new_one"), "0");
}
