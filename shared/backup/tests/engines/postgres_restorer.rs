//! Restores of a service from its artifact in the bucket, as a job's slices have them done.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_archive::pg_custom::Contents;
use holdfast_backup::{
    engines::{
        Clients,
        postgres::PostgresRestorer,
        restorer::{Outcome, RestoreObserver, Restorer, Restoring, open},
    },
    error::SliceError,
    ports::DatabaseCredentials,
    upload::store,
};
use holdfast_domain::{
    application::{PostgresService, Service},
    backup::Artifact,
    restore::{Mapping, Preflight, Restore, RestoreOptions, Restored},
};
use holdfast_testing::{
    World, builders,
    faults::{Fault, Moment},
};
use secrecy::SecretString;

use crate::{
    KEY, assert_failure, failure,
    observer::Witness,
    postgres_everything::{as_text, assert_same},
    postgres_restore::{SHOP, assert_nothing_left},
    server::{HeldLock, PASSWORD, Server},
};

pub(crate) const OVERWRITE: RestoreOptions = RestoreOptions {
    dry_run: false,
    overwrite: true,
    safety_backup: true,
    no_owner: false,
    media: holdfast_domain::restore::MediaMode::Merge,
    into_prefix: None,
};

/// Longer than any of these restores takes.
pub(crate) const LONG: Duration = Duration::from_mins(10);

/// A backup of a database, and somewhere to restore it.
pub(crate) struct Case<'a> {
    pub(crate) server: &'a Server,
    pub(crate) world: World,
    artifact: Artifact,
    /// The database that is restored, which has something in it.
    database: &'static str,
    before: String,
}

impl<'a> Case<'a> {
    pub(crate) async fn new(server: &'a Server, database: &'static str, sql: &str) -> Self {
        server.create(&format!("{database}_source"), sql);
        Self::of_source(server, database).await
    }

    /// The same, of the database `…_source` that is there.
    pub(crate) async fn of_source(server: &'a Server, database: &'static str) -> Self {
        let (world, source) = (World::new(), format!("{database}_source"));
        let (engine, mut witness) = (server.engine(&source), Witness::default());
        let stored = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut witness).await.unwrap();
        let artifact = Artifact {
            service: builders::service_name("DEFAULT"),
            object: stored.object,
            contents: stored.report.contents,
            taken_at: stored.report.taken_at,
            milliseconds: 1,
        };
        server.create(database, "CREATE TABLE precious AS SELECT n FROM generate_series(1, 10) n");
        let service = server.service(database);
        world.secrets.put(&service.secret_arn, "postgres", PASSWORD);
        let before = as_text(server, database);
        Self { server, world, artifact, database, before }
    }

    async fn restorer(&self, options: &RestoreOptions) -> Box<dyn Restorer> {
        self.restorer_of(self.server.service(self.database), options).await
    }

    async fn restorer_of(&self, service: PostgresService, options: &RestoreOptions) -> Box<dyn Restorer> {
        self.restorer_of_tables(service, &[], options).await
    }

    async fn restorer_of_tables(
        &self,
        service: PostgresService,
        tables: &[&str],
        options: &RestoreOptions,
    ) -> Box<dyn Restorer> {
        let clients =
            Clients { postgres: self.server.clients().parse().unwrap(), mysql: "/usr/bin".parse().unwrap() };
        let target = Service::Postgres(service);
        let restore = builders::restore_with(options);
        open(&self.world.ports, &clients, &target, &self.artifact, &mapping(tables), &restore).await.unwrap()
    }

    /// One that only tries.
    pub(crate) async fn rehearsal(&self, service: PostgresService) -> Box<dyn Restorer> {
        self.rehearsal_with(service, false).await
    }

    /// One that only tries, and compares values if `checksums`.
    pub(crate) async fn rehearsal_with(
        &self,
        service: PostgresService,
        checksums: bool,
    ) -> Box<dyn Restorer> {
        let clients =
            Clients { postgres: self.server.clients().parse().unwrap(), mysql: "/usr/bin".parse().unwrap() };
        let (target, mapping) = (Service::Postgres(service), mapping(&[]));
        let restore =
            Restore { rehearsal: true, checksums, ..builders::restore_with(&RestoreOptions::default()) };
        open(&self.world.ports, &clients, &target, &self.artifact, &mapping, &restore).await.unwrap()
    }

    /// One for `restore`, whose slices pause after so many tables and entries.
    pub(crate) fn in_steps(&self, restore: &Restore, steps: usize) -> PostgresRestorer {
        let credentials = DatabaseCredentials {
            username: "postgres".to_owned(),
            password: SecretString::from(PASSWORD.to_owned()),
        };
        let from = (self.world.ports.artifacts.clone(), self.artifact.object.clone());
        let (service, clients) = (self.server.service(self.database), self.server.clients());
        PostgresRestorer::new(service, credentials, clients.parse().unwrap(), from, vec![], restore)
            .with_steps(steps)
    }

    async fn preflight(&self, options: &RestoreOptions) -> Preflight {
        self.restorer(options).await.preflight().await.unwrap()
    }

    async fn restore(&self, observer: &mut Listener) -> Result<Restored, SliceError> {
        done(self.restorer(&OVERWRITE).await.restore(None, LONG, observer).await)
    }

    /// That the database is as it was, and nothing else is left.
    pub(crate) fn assert_as_it_was(&self) {
        assert_nothing_left(self.server, self.database);
        assert_same(&as_text(self.server, self.database), &self.before);
    }

    fn sql(&self, sql: &str) -> String {
        self.server.sql(self.database, sql)
    }
}

fn mapping(tables: &[&str]) -> Mapping {
    let name = builders::service_name("DEFAULT");
    let tables = tables.iter().map(|table| (*table).to_owned()).collect();
    Mapping { from: name.clone(), to: name, tables, files: vec![] }
}

pub(crate) fn done(outcome: Result<Outcome, SliceError>) -> Result<Restored, SliceError> {
    match outcome? {
        Outcome::Done(restored) => Ok(restored),
        Outcome::Paused { cursor } => panic!("it has paused at {cursor}"),
    }
}

pub(crate) fn codes(preflight: &Preflight) -> Vec<&str> {
    preflight.refusals.iter().map(|refusal| refusal.code.as_str()).collect()
}

/// A word, and the error to answer it with.
pub(crate) type Stop = (&'static str, fn() -> SliceError);

/// Remembers what it was told, and stops the restore at a word.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) heard: Vec<Restoring>,
    pub(crate) stop: Option<Stop>,
}

#[async_trait]
impl RestoreObserver for Listener {
    async fn advanced(&mut self, so_far: Restoring) -> Result<(), SliceError> {
        self.heard.push(so_far.clone());
        match self.stop {
            Some((word, error)) if word == so_far.doing => Err(error()),
            _ => Ok(()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_comes_back_from_its_backup() {
    let server = Server::shared();
    let case = Case::new(&server, "returned", SHOP).await;
    let refused = case.preflight(&RestoreOptions::default()).await;
    assert_eq!(codes(&refused), ["target_not_empty"]);
    assert!(refused.refusals[0].fix.contains("overwrite") && !refused.refusals[0].fix.contains("--"));
    let unasked = case.restorer(&RestoreOptions::default()).await;
    let kept_out = unasked.restore(None, LONG, &mut Listener::default()).await;
    assert_failure(&failure(kept_out), "target_not_empty", false, &[]);
    case.assert_as_it_was();

    let preflight = case.preflight(&OVERWRITE).await;
    assert!(
        preflight.is_occupied && preflight.refusals.is_empty() && preflight.steps.len() > 4,
        "{preflight:?}"
    );
    assert_eq!(preflight.bytes, case.artifact.object.size);
    let mut listener = Listener::default();
    let restored = case.restore(&mut listener).await.unwrap();
    assert_eq!((restored.tables, restored.rows, restored.rows_compared), (Some(2), Some(3000), true));
    assert_same(&as_text(&server, "returned"), &as_text(&server, "returned_source"));
    assert_nothing_left(&server, "returned");
    server.assert_no_session("returned");

    // A slice that was killed just after the swap is repeated, and finds that it is done.
    let oid = || server.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'returned'");
    let (before, last) = (oid(), listener.heard.last().unwrap());
    assert_eq!((last.doing, Some(last.bytes)), ("swap", last.of_bytes));
    let cursor = last.cursor.as_deref().unwrap();
    assert_eq!(unasked.has_done(cursor).await.unwrap(), Some(restored));

    // One that was killed before it is restored again, for it is another database then.
    let again = case.restorer(&OVERWRITE).await;
    let cursor = cursor.replace(&before, "1");
    assert_eq!(again.has_done(&cursor).await.unwrap(), None);
    done(again.restore(Some(&cursor), LONG, &mut Listener::default()).await).unwrap();
    assert_ne!(oid(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_it_can_stop_it() {
    let server = Server::shared();
    let case = Case::new(&server, "halted", SHOP).await;
    for word in ["schema", "swap"] {
        let stop: Option<Stop> = Some((word, || SliceError::Cancelled));
        let outcome = case.restore(&mut Listener { stop, ..Listener::default() }).await;
        assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
        case.assert_as_it_was();
        let stop: Option<Stop> = Some((word, || SliceError::Fenced));
        let outcome = case.restore(&mut Listener { stop, ..Listener::default() }).await;
        assert!(matches!(outcome, Err(SliceError::Fenced)), "{outcome:?}");
        case.assert_as_it_was();
    }
}

/// Neither the schema nor an index that takes longer to make than there is time can be divided.
#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_too_short() {
    let server = Server::shared();
    let slow = format!(
        "{SHOP} CREATE FUNCTION slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
             'BEGIN IF current_database() LIKE ''holdfast%'' THEN PERFORM pg_sleep(1); END IF; RETURN n; END';
         CREATE INDEX ever_so_slow ON product (slow(id))"
    );
    let case = Case::new(&server, "hurried", &slow).await;
    let restorer = case.restorer(&OVERWRITE).await;
    let (mut cursor, mut slices) = (None, 0);
    let refused = loop {
        let time = Duration::from_secs(16);
        match restorer.restore(cursor.as_deref(), time, &mut Listener::default()).await {
            Ok(Outcome::Paused { cursor: next }) => cursor = Some(next),
            outcome => break failure(outcome),
        }
        slices += 1;
    };
    assert!(slices >= 2, "one that makes the rest, and one that comes no further");
    let words = ["16 seconds", "nothing was changed", "INDEX ever_so_slow"];
    assert_failure(&refused, "slice_too_short", false, &words);
    case.assert_as_it_was();
    let outcome = restorer.restore(None, Duration::ZERO, &mut Listener::default()).await;
    assert_failure(&failure(outcome), "slice_too_short", false, &[]);
    case.assert_as_it_was();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_restore_has_left_is_cleaned_up() {
    let server = Server::shared();
    let case = Case::new(&server, "swept", SHOP).await;
    let restorer = case.restorer(&OVERWRITE).await;
    restorer.clean_up().await.unwrap();
    // Killed at any moment: what it was doing is not heard of any more.
    for milliseconds in [0, 30, 100, 250] {
        let mut listener = Listener::default();
        let restoring = restorer.restore(None, LONG, &mut listener);
        let _ = tokio::time::timeout(Duration::from_millis(milliseconds), restoring).await;
        // Whoever goes on would find it still there.
        restorer.clean_up().await.unwrap();
        restorer.give_up().await.unwrap();
        assert_nothing_left(&server, "swept");
    }
    for kind in ["restore", "replaced"] {
        let name = format!("SELECT 'holdfast_{kind}_' || substr(md5('swept'), 1, 8) || '_0123456789ab'");
        server.create(&server.sql("postgres", &name), SHOP);
    }
    restorer.clean_up().await.unwrap();
    assert_nothing_left(&server, "swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_does_not_answer() {
    let server = Server::shared();
    let case = Case::new(&server, "unanswered", SHOP).await;
    let calls = case.world.faults.count("artifacts.read");
    case.preflight(&OVERWRITE).await;
    let looked = case.world.faults.count("artifacts.read") - calls;
    for nth in 1..=looked + 2 {
        case.world.faults.on("artifacts.read", nth, Moment::Before, Fault::Unavailable);
        let refused = failure(case.restore(&mut Listener::default()).await);
        assert_eq!((refused.code.as_str(), refused.transient), ("storage_unavailable", true), "{refused:?}");
        assert_eq!(case.world.faults.left(), 0);
        // Whoever tries again may go on with what there is.
        case.restorer(&OVERWRITE).await.give_up().await.unwrap();
        case.assert_as_it_was();
    }
    case.world.faults.on("artifacts.get", 1, Moment::Before, Fault::Unavailable);
    let refused = case.restorer(&OVERWRITE).await.preflight().await;
    assert_failure(&failure(refused), "storage_unavailable", true, &[]);
}

/// Every byte of an archive in the bucket counts: those of the table of contents have no checksum of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_byte_that_is_another_one_anywhere() {
    let server = Server::shared();
    let with_large_object = format!("{SHOP} SELECT lo_from_bytea(0, repeat('large ', 5000)::bytea)");
    let case = Case::new(&server, "rotten", &with_large_object).await;
    let archive = case.world.artifacts.bytes(KEY).unwrap();
    let data = usize::try_from(Contents::read(&archive[..]).unwrap().end).unwrap();
    let some = |from: usize, to: usize| (from..to).step_by((to - from) / 19);
    for at in some(0, data).chain(some(data, archive.len())) {
        let mut rotten = archive.to_vec();
        rotten[at] ^= 0x10;
        case.world.artifacts.damage(KEY, rotten);
        let refused = failure(case.restore(&mut Listener::default()).await);
        assert!(!refused.transient, "at {at}: {}", refused.message);
        // What is in large objects, pg_restore complains of.
        let is_named = ["archive_damaged", "restore_refused"].contains(&refused.code.as_str());
        assert!(at < data || is_named, "at {at}: {}", refused.message);
        case.assert_as_it_was();
    }
    // One that is cut off is not what the bucket says it is.
    case.world.artifacts.damage(KEY, archive.slice(..archive.len() - 1));
    assert_eq!(failure(case.restore(&mut Listener::default()).await).code, "object_changed");
    case.assert_as_it_was();
    case.world.artifacts.damage(KEY, archive);
    case.restore(&mut Listener::default()).await.unwrap();
    assert_eq!(case.sql("SELECT count(*) FROM pg_largeobject_metadata"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_before() {
    let server = Server::shared();
    let case = Case::new(&server, "shut", SHOP).await;
    let service = server.service("shut");
    case.world.secrets.put(&service.secret_arn, "postgres", "wrong");
    let preflight = case.preflight(&OVERWRITE).await;
    assert_eq!(codes(&preflight), ["wrong_password"]);
    assert!(preflight.refusals[0].fix.contains("restore_secret_arn"), "{preflight:?}");
    let restoring = case.restore(&mut Listener::default()).await;
    assert_failure(&failure(restoring), "wrong_password", false, &[]);

    // The secret to restore with comes before the one to read with.
    let other = PostgresService { restore_secret_arn: Some("arn:restore".to_owned()), ..service };
    case.world.secrets.put("arn:restore", "postgres", PASSWORD);
    let preflight = case.restorer_of(other.clone(), &OVERWRITE).await.preflight().await.unwrap();
    assert_eq!(codes(&preflight), Vec::<&str>::new());

    server.sql("postgres", "CREATE ROLE shut_reader LOGIN PASSWORD 'x'");
    case.world.secrets.put("arn:restore", "shut_reader", "x");
    let preflight = case.restorer_of(other.clone(), &OVERWRITE).await.preflight().await.unwrap();
    assert_eq!(codes(&preflight), ["permission_denied", "permission_denied"]);

    // A server that cannot be reached may be there again later.
    let gone = PostgresService { port: crate::server::free_port(), ..other };
    let looked = case.restorer_of(gone, &OVERWRITE).await.preflight().await;
    assert_failure(&failure(looked), "unreachable_host", true, &[]);
    case.assert_as_it_was();
}

/// A superuser who comes to the database when all is restored.
struct Latecomer<'a> {
    server: &'a Server,
    session: Option<HeldLock>,
}

#[async_trait]
impl RestoreObserver for Latecomer<'_> {
    async fn advanced(&mut self, so_far: Restoring) -> Result<(), SliceError> {
        if so_far.doing == "swap" {
            self.session.get_or_insert_with(|| self.server.hold_lock("watched", "SELECT 1"));
        }
        Ok(())
    }
}

/// The owner of a database is not let end everybody's sessions: those of superusers, and of autovacuum, which it has no need to.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_the_role_cannot_end() {
    // Of its own: autovacuum is in a hurry there.
    let server = Server::start(false);
    let case = Case::new(&server, "watched", SHOP).await;
    server.sql("postgres", "CREATE ROLE watched LOGIN CREATEDB PASSWORD 'x'");
    server.sql("postgres", "ALTER DATABASE watched OWNER TO watched");
    case.world.secrets.put(&server.service("watched").secret_arn, "watched", "x");
    // Autovacuum begins at once, and takes as long as it is let.
    server.sql(
        "watched",
        "CREATE TABLE busy WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_cost_limit = 1,
            autovacuum_vacuum_cost_delay = 100) AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n;
        DELETE FROM busy",
    );
    server.sql("postgres", "ALTER SYSTEM SET autovacuum_naptime = '1s'");
    server.sql("postgres", "SELECT pg_reload_conf()");
    let worker = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'watched' AND backend_type = 'autovacuum worker'";
    while server.sql("postgres", worker) == "0" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let superuser = server.hold_lock("watched", "SELECT 1");
    let refused = failure(case.restore(&mut Listener::default()).await);
    assert_failure(&refused, "database_in_use", false, &["1 sessions", "may not end"]);
    drop(superuser);
    let mut late = Latecomer { server: &server, session: None };
    let refused = failure(case.restorer(&OVERWRITE).await.restore(None, LONG, &mut late).await);
    assert_failure(&refused, "database_in_use", true, &["end the sessions"]);
    assert_nothing_left(&server, "watched");
    assert_eq!(server.sql("watched", "SELECT count(*) FROM precious"), "10");

    drop(late);
    while server.sql("postgres", worker) == "0" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    case.restore(&mut Listener::default()).await.unwrap();
    assert_eq!(server.sql("watched", "SELECT count(*) FROM product"), "2000");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_tables_come_back_from_the_bucket() {
    let server = Server::shared();
    let case = Case::new(&server, "some_tables", SHOP).await;
    let opened = |tables: &'static [&'static str], options: &'static RestoreOptions| {
        case.restorer_of_tables(server.service("some_tables"), tables, options)
    };
    let preflight = opened(&["product", "nobody"], &OVERWRITE).await.preflight().await.unwrap();
    assert_eq!(codes(&preflight), ["table_not_in_archive"]);
    let preflight = opened(&["product"], &OVERWRITE).await.preflight().await.unwrap();
    assert!(preflight.is_occupied && preflight.refusals.is_empty(), "{preflight:?}");
    assert!(preflight.bytes < case.artifact.object.size, "{preflight:?}");

    let mut stopped = Listener { stop: Some(("swap", || SliceError::Fenced)), ..Listener::default() };
    let outcome = opened(&["product"], &OVERWRITE).await.restore(None, LONG, &mut stopped).await;
    assert!(matches!(outcome, Err(SliceError::Fenced)), "{outcome:?}");
    case.assert_as_it_was();

    let (mut listener, precious) = (Listener::default(), "SELECT count(*) FROM precious");
    let restored = opened(&["product"], &OVERWRITE).await.restore(None, LONG, &mut listener).await;
    let restored = done(restored).unwrap();
    assert_eq!((restored.tables, restored.rows, restored.rows_compared), (Some(1), Some(2000), true));
    assert_eq!(case.sql("SELECT count(*) FROM product"), "2000");
    assert_eq!(case.sql(precious), "10");

    // Whoever was killed after the commit does not do it again; who was before, does.
    case.sql("DELETE FROM product WHERE id = 1");
    for (heard, had_done) in [(listener.heard.last(), true), (stopped.heard.last(), false)] {
        let cursor = heard.unwrap().cursor.as_deref().unwrap();
        let has_done = opened(&["product"], &OVERWRITE).await.has_done(cursor).await.unwrap();
        assert_eq!(has_done.is_some(), had_done);
        assert_eq!(case.sql("SELECT count(*) FROM product"), "1999");
    }
    assert_eq!(case.sql(precious), "10");
}
