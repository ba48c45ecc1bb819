//! What the tests of restores into `MariaDB` share: a backup of a database, where it goes, and what it looks like then.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_archive::checksum::Sha256;
use holdfast_backup::{
    engines::{
        mysql::MysqlRestorer,
        restorer::{Outcome, RestoreObserver, Restorer as _, Restoring},
    },
    error::SliceError,
    ports::DatabaseCredentials,
    upload::store,
};
use holdfast_domain::{
    backup::{Artifact, Contents},
    restore::{Mapping, Restore, RestoreOptions, Restored},
};
use holdfast_testing::{World, builders};
use secrecy::SecretString;

use crate::{
    KEY,
    child_process::{arguments, child_process},
    mariadb_server::{MariaDb, PASSWORD, PROGRAMS, USER},
    observer::Witness,
};

/// As long as a slice may take in these tests.
pub(crate) const SLICE: Duration = Duration::from_mins(2);

/// How to dump so that two databases with the same contents give the same text.
const STOCK: [&str; 8] = [
    "--skip-dump-date",
    "--skip-comments",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--order-by-primary",
    "--single-transaction",
];

/// A backup of a database.
pub(crate) struct Backup {
    pub(crate) world: World,
    pub(crate) artifact: Artifact,
}

impl Backup {
    /// Backs up a database of `server`.
    pub(crate) async fn of(server: &MariaDb, database: &str) -> Self {
        let world = World::new();
        let engine = server.engine(database);
        let stored =
            store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await.unwrap();
        let artifact = Artifact {
            service: builders::service_name("DEFAULT"),
            object: stored.object,
            contents: stored.report.contents,
            taken_at: stored.report.taken_at,
            milliseconds: 1,
        };
        Self { world, artifact }
    }

    /// One that holds `sql`, as if it had been dumped from a server of this version.
    pub(crate) fn holding(sql: &str, server_version: &str) -> Self {
        let world = World::new();
        let object = world.artifacts.insert(KEY, zstd::encode_all(sql.as_bytes(), 1).unwrap());
        let contents = Contents::MysqlSql {
            database: "shop".to_owned(),
            server_version: server_version.to_owned(),
            dump_version: "mariadb-dump".to_owned(),
            outside_snapshot: Vec::new(),
            outside_snapshot_count: 0,
            tables: None,
            rows: None,
        };
        let service = builders::service_name("DEFAULT");
        let artifact = Artifact { service, object, contents, taken_at: builders::now(), milliseconds: 1 };
        Self { world, artifact }
    }

    /// A restorer of it into `database` of `server`.
    pub(crate) fn restorer(
        &self,
        server: &MariaDb,
        database: &str,
        options: &RestoreOptions,
    ) -> MysqlRestorer {
        self.restorer_as(server, database, options, (USER, PASSWORD))
    }

    /// The same with another account.
    pub(crate) fn restorer_as(
        &self,
        server: &MariaDb,
        database: &str,
        options: &RestoreOptions,
        (user, password): (&str, &str),
    ) -> MysqlRestorer {
        self.restorer_for(server, database, &builders::restore_with(options), (user, password))
    }

    /// The same, that only tries.
    pub(crate) fn rehearsal(&self, server: &MariaDb, database: &str) -> MysqlRestorer {
        self.rehearsal_with(server, database, false)
    }

    /// The same, and compares values if `checksums`.
    pub(crate) fn rehearsal_with(&self, server: &MariaDb, database: &str, checksums: bool) -> MysqlRestorer {
        let restore =
            Restore { rehearsal: true, checksums, ..builders::restore_with(&RestoreOptions::default()) };
        self.restorer_for(server, database, &restore, (USER, PASSWORD))
    }

    /// The same for any restore.
    pub(crate) fn restorer_for(
        &self,
        server: &MariaDb,
        database: &str,
        restore: &Restore,
        (user, password): (&str, &str),
    ) -> MysqlRestorer {
        let credentials = DatabaseCredentials {
            username: user.to_owned(),
            password: SecretString::from(password.to_owned()),
        };
        MysqlRestorer::new(
            (self.world.ports.artifacts.clone(), self.artifact.clone()),
            server.service(database),
            credentials,
            PROGRAMS.parse().unwrap(),
            &mapping(&[]),
            restore,
        )
    }
}

/// A mapping of the only service, with these tables of it.
pub(crate) fn mapping(tables: &[&str]) -> Mapping {
    let name = builders::service_name("DEFAULT");
    let tables = tables.iter().map(|&table| table.to_owned()).collect();
    Mapping { from: name.clone(), to: name, tables, files: Vec::new() }
}

/// Replaces whatever is there.
pub(crate) fn overwrite() -> RestoreOptions {
    RestoreOptions { overwrite: true, ..RestoreOptions::default() }
}

/// What is done when a restore has come so far.
type Then<'a> = dyn FnMut(&Restoring) -> Result<(), SliceError> + Send + 'a;

/// Follows a restore, and does something when it is told how far it has come.
pub(crate) struct Follower<'a> {
    pub(crate) told: Vec<Restoring>,
    then: Box<Then<'a>>,
}

impl<'a> Follower<'a> {
    pub(crate) fn doing(then: impl FnMut(&Restoring) -> Result<(), SliceError> + Send + 'a) -> Self {
        Self { told: Vec::new(), then: Box::new(then) }
    }

    pub(crate) fn quiet() -> Self {
        Self::doing(|_| Ok(()))
    }
}

#[async_trait]
impl RestoreObserver for Follower<'_> {
    async fn advanced(&mut self, so_far: Restoring) -> Result<(), SliceError> {
        let answer = (self.then)(&so_far);
        self.told.push(so_far);
        answer
    }
}

/// Restores, which must come to its end.
pub(crate) async fn restore(restorer: &MysqlRestorer) -> Restored {
    match restorer.restore(None, SLICE, &mut Follower::quiet()).await.unwrap() {
        Outcome::Done(done) => done,
        Outcome::Paused { cursor } => panic!("it paused at {cursor}"),
    }
}

/// What is in a database, as text.
pub(crate) fn contents(server: &MariaDb, database: &str) -> String {
    let text = server.client("mariadb-dump", database, &STOCK, b"").stdout;
    let charset = format!(
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata
         WHERE schema_name = '{database}'"
    );
    format!("{}\n{}", server.sql("mysql", &charset), String::from_utf8(text).unwrap())
}

/// Compares two of them line by line, so that a difference can be read.
pub(crate) fn assert_same(left: &str, right: &str) {
    for (left, right) in left.lines().zip(right.lines()) {
        assert_eq!(left, right);
    }
    assert_eq!(left.lines().count(), right.lines().count());
}

/// What tells databases that are made beside `target` from others.
fn digits(target: &str) -> String {
    Sha256::of(target.as_bytes()).to_string()[..12].to_owned()
}

/// How the database is called that is being filled for `target`.
pub(crate) fn filling(target: &str) -> String {
    format!("holdfast_restore_{}_", digits(target))
}

/// No database is left of a restore into `target`.
pub(crate) fn assert_nothing_left(server: &MariaDb, target: &str) {
    let left = format!(
        "SELECT COALESCE(GROUP_CONCAT(schema_name), '') FROM information_schema.schemata WHERE schema_name LIKE 'holdfast%{}%'",
        digits(target)
    );
    assert_eq!(server.sql("mysql", &left), "");
}

/// The `mariadb` that fills the new database for `target`, as the number of its process.
pub(crate) fn loading(target: &str) -> Option<i32> {
    let wanted_argument = format!("--database={}", filling(target)).into_bytes();
    child_process(|pid| Some(arguments(pid)?.iter().any(|argument| argument.starts_with(&wanted_argument))))
}
