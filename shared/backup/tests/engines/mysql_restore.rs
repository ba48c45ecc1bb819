//! Restores into real databases: what there was is there again, and nothing else.

use holdfast_backup::{
    engines::{
        mysql::MysqlRestorer,
        restorer::{Outcome, Restorer as _},
    },
    ports::{DatabaseCredentials, beside},
};
use holdfast_domain::restore::RestoreOptions;
use holdfast_testing::builders;
use rstest::rstest;
use secrecy::SecretString;

use crate::{
    KEY, assert_failure, failure,
    mariadb_server::{MariaDb, PASSWORD, PROGRAMS, USER},
    mysql::EVERYTHING,
    mysql_restored::{
        Backup, Follower, SLICE, assert_nothing_left, assert_same, contents, mapping, overwrite, restore,
    },
};

/// What is in the way of what is restored: the same names for other things, and other things.
const OCCUPIED: &str = r"
CREATE TABLE a_later (x INT PRIMARY KEY);
CREATE TABLE parent (id INT PRIMARY KEY, was VARCHAR(10));
INSERT INTO parent VALUES (7, 'old');
CREATE TABLE child (id INT PRIMARY KEY, parent INT NOT NULL, CONSTRAINT up FOREIGN KEY (parent) REFERENCES parent (id));
INSERT INTO child VALUES (1, 7);
CREATE TABLE grandchild (id INT PRIMARY KEY, child INT, FOREIGN KEY (child) REFERENCES child (id));
CREATE TABLE old (a INT) ENGINE=InnoDB;
CREATE TABLE heard (what INT);
CREATE SEQUENCE numbers START WITH 5;
CREATE VIEW audit AS SELECT * FROM parent;
CREATE VIEW `view of views` AS SELECT * FROM audit;
CREATE TRIGGER told BEFORE INSERT ON child FOR EACH ROW INSERT INTO heard VALUES (NEW.id);
CREATE TRIGGER only_old AFTER DELETE ON child FOR EACH ROW INSERT INTO heard VALUES (-OLD.id);
CREATE PROCEDURE count_all() SELECT 'old';
CREATE FUNCTION double_of(n INT) RETURNS INT DETERMINISTIC RETURN n * 3;
CREATE FUNCTION only_old() RETURNS INT DETERMINISTIC RETURN 1;
CREATE EVENT nightly ON SCHEDULE EVERY 2 DAY STARTS '2031-01-01 00:00:00' DISABLE DO DELETE FROM heard;
CREATE EVENT only_old ON SCHEDULE EVERY 2 DAY STARTS '2031-01-01 00:00:00' DISABLE DO DELETE FROM heard;
";

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_where_there_was_nothing() {
    let server = MariaDb::shared();
    server.create("restore every thing", EVERYTHING);
    let backup = Backup::of(&server, "restore every thing").await;
    let restorer = backup.restorer(&server, "again", &RestoreOptions::default());
    let preflight = restorer.preflight().await.unwrap();
    assert_eq!((preflight.refusals.as_slice(), preflight.is_occupied), (&[][..], false));
    assert!(preflight.notes.iter().any(|note| note.contains("utf8mb4")), "{:?}", preflight.notes);
    assert_eq!(preflight.bytes, backup.artifact.object.size);
    assert_eq!(server.sql("mysql", "SHOW DATABASES LIKE 'again'"), "", "it only looks");

    let mut follower = Follower::quiet();
    let Outcome::Done(done) = restorer.restore(None, SLICE, &mut follower).await.unwrap() else { panic!() };
    assert_same(&contents(&server, "again"), &contents(&server, "restore every thing"));
    let tables = server.sql(
        "again",
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'again' AND table_type <> 'VIEW'",
    );
    assert_eq!(done.tables.unwrap().to_string(), tables);
    assert_eq!(done.notes, Vec::<String>::new());
    assert_eq!(server.sql("again", "SELECT double_of(21), NEXTVAL(counter) > 100"), "42\t1");
    let last = follower.told.last().unwrap();
    assert_eq!((last.doing, last.bytes, last.of_bytes), ("swap", preflight.bytes, Some(preflight.bytes)));
    assert_nothing_left(&server, "again");

    // What it has an overwrite for is what it has made itself.
    let refused = failure(restorer.restore(None, SLICE, &mut follower).await);
    assert_failure(&refused, "target_not_empty", false, &["again", "tables", "overwrite"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_takes_the_place_of_everything_else() {
    let server = MariaDb::shared();
    server.create("replace by every thing", EVERYTHING);
    server.sql("mysql", "CREATE DATABASE `o``ccupied` CHARACTER SET latin1");
    server.sql("o`ccupied", OCCUPIED);
    server.sql(
        "mysql",
        "CREATE USER visitor IDENTIFIED BY 'x'; GRANT SELECT ON `o``ccupied`.* TO visitor;
         GRANT INSERT ON `o``ccupied`.parent TO visitor",
    );
    let grants = server.sql("mysql", "SHOW GRANTS FOR visitor");
    let backup = Backup::of(&server, "replace by every thing").await;
    let restorer = backup.restorer(&server, "o`ccupied", &overwrite());
    let preflight = restorer.preflight().await.unwrap();
    assert_eq!((preflight.refusals.as_slice(), preflight.is_occupied), (&[][..], true));
    assert!(preflight.notes.iter().any(|note| note.contains("put back as it was")), "{:?}", preflight.notes);
    restore(&restorer).await;

    let (before, after) = (contents(&server, "replace by every thing"), contents(&server, "o`ccupied"));
    let (before, after) = (before.split_once('\n').unwrap(), after.split_once('\n').unwrap());
    assert_eq!(
        (before.0, after.0),
        ("utf8mb4\tutf8mb4_general_ci", "latin1\tlatin1_swedish_ci"),
        "it keeps its own"
    );
    // Whatever was made in a database of another character set is made so again.
    let without_charset = |text: &str| -> String {
        text.lines().filter(|line| !line.starts_with("ALTER DATABASE")).collect::<Vec<_>>().join("\n")
    };
    assert_same(&without_charset(after.1), &without_charset(before.1));
    assert_eq!(server.sql("mysql", "SHOW GRANTS FOR visitor"), grants);
    server.sql("o`ccupied", "INSERT INTO parent VALUES (99)");
    assert_eq!(server.sql("o`ccupied", "SELECT COUNT(*) FROM audit"), "2", "its triggers work");
    assert_nothing_left(&server, "o`ccupied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_a_table_is_mended() {
    let server = MariaDb::shared();
    server.create("lossy", EVERYTHING);
    let before = contents(&server, "lossy");
    let backup = Backup::of(&server, "lossy").await;
    server.sql("lossy", "SET foreign_key_checks = 0; DROP TABLE parent; DROP FUNCTION double_of");
    restore(&backup.restorer(&server, "lossy", &overwrite())).await;
    assert_same(&contents(&server, "lossy"), &before);
    assert_nothing_left(&server, "lossy");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_of_the_old_name_is_left_alone() {
    let server = MariaDb::shared();
    server.create(
        "renamed",
        "CREATE TABLE t (a INT); CREATE TRIGGER older BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
    );
    server.sql("renamed", "CREATE PROCEDURE p() SELECT 1; ALTER DATABASE CHARACTER SET latin1");
    let backup = Backup::of(&server, "renamed").await;
    server.sql("mysql", "ALTER DATABASE renamed CHARACTER SET ucs2");
    restore(&backup.restorer(&server, "another", &RestoreOptions::default())).await;
    let charset = |database| {
        let sql = format!(
            "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = '{database}'"
        );
        server.sql("mysql", &sql)
    };
    assert_eq!((charset("renamed").as_str(), charset("another").as_str()), ("ucs2", "latin1"));
    // One that is there keeps its own.
    server.sql("mysql", "ALTER DATABASE another CHARACTER SET sjis");
    restore(&backup.restorer(&server, "another", &overwrite())).await;
    assert_eq!((charset("renamed").as_str(), charset("another").as_str()), ("ucs2", "sjis"));
    assert_eq!(
        server.sql(
            "another",
            "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = 'another'"
        ),
        "1"
    );
    // And where there is none of that name, it is none the less restored.
    server.sql("mysql", "DROP DATABASE renamed");
    restore(&backup.restorer(&server, "a third", &RestoreOptions::default())).await;
    assert_nothing_left(&server, "another");
    assert_nothing_left(&server, "a third");
}

#[tokio::test(flavor = "multi_thread")]
async fn definers_that_are_gone_are_told_or_replaced() {
    let server = MariaDb::shared();
    server.create("defined", "CREATE TABLE t (a INT)");
    server.sql(
        "defined",
        "CREATE USER ghost IDENTIFIED BY 'x'; GRANT ALL PRIVILEGES ON defined.* TO ghost;
         CREATE DEFINER=ghost VIEW v AS SELECT a FROM t; CREATE DEFINER=ghost PROCEDURE p() SELECT 1;
         CREATE DEFINER=ghost TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1;
         CREATE DEFINER=ghost EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    );
    let backup = Backup::of(&server, "defined").await;
    server.sql("mysql", "DROP USER ghost; CREATE USER limited IDENTIFIED BY 'x'");
    server.sql(
        "mysql",
        "GRANT ALL PRIVILEGES ON `lim\\_%`.* TO limited; GRANT ALL PRIVILEGES ON `holdfast\\_%`.* TO limited",
    );
    let definers = |database| {
        let sql = format!(
            "SELECT GROUP_CONCAT(DISTINCT definer) FROM (SELECT definer FROM information_schema.views WHERE table_schema = '{database}'
                UNION SELECT definer FROM information_schema.routines WHERE routine_schema = '{database}'
                UNION SELECT definer FROM information_schema.triggers WHERE trigger_schema = '{database}'
                UNION SELECT definer FROM information_schema.events WHERE event_schema = '{database}') d"
        );
        server.sql("mysql", &sql)
    };
    let kept = restore(&backup.restorer(&server, "kept", &RestoreOptions::default())).await;
    assert!(kept.notes.iter().any(|note| note.contains("ghost@%")), "{:?}", kept.notes);
    assert_eq!(definers("kept"), "ghost@%");

    // An account that may not set them is told so, unless it is to be the definer itself.
    let account = ("limited", "x");
    let mine = RestoreOptions { no_owner: true, ..RestoreOptions::default() };
    let refused = backup.restorer_as(&server, "lim_kept", &RestoreOptions::default(), account);
    let refused = failure(refused.restore(None, SLICE, &mut Follower::quiet()).await);
    assert_failure(&refused, "permission_denied", false, &["SET USER", "no_owner"]);
    assert_nothing_left(&server, "lim_kept");
    restore(&backup.restorer_as(&server, "lim_mine", &mine, account)).await;
    assert_eq!(definers("lim_mine"), "limited@%");
    assert_nothing_left(&server, "lim_mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_at_once() {
    let server = MariaDb::start(false);
    let dump = "CREATE TABLE t (a INT);\n-- Dump completed\n";
    let backup = Backup::holding(dump, "10.11.4-MariaDB");
    let codes = async |restorer: MysqlRestorer| {
        let found = restorer.preflight().await.unwrap();
        let refused = failure(restorer.restore(None, SLICE, &mut Follower::quiet()).await);
        assert_eq!(refused.code, found.refusals[0].code);
        found.refusals.into_iter().map(|refusal| refusal.code).collect::<Vec<_>>().join(" ")
    };
    server.create("full", "CREATE TABLE t (a INT PRIMARY KEY); INSERT INTO t VALUES (1)");
    server.create("referring", "CREATE TABLE r (a INT, FOREIGN KEY (a) REFERENCES full.t (a))");
    let default = RestoreOptions::default();
    assert_eq!(
        codes(backup.restorer(&server, "full", &default)).await,
        "target_not_empty referenced_elsewhere"
    );
    assert_eq!(
        codes(backup.restorer(&server, "mysql", &overwrite())).await.split(' ').next(),
        Some("system_database")
    );
    let foreign = Backup::holding(dump, "8.0.44");
    assert_eq!(codes(foreign.restorer(&server, "absent", &default)).await, "other_family");

    server.sql("mysql", "CREATE USER stranger IDENTIFIED BY 'x'; GRANT SELECT ON absent.* TO stranger");
    let stranger = backup.restorer_as(&server, "absent", &default, ("stranger", "x"));
    let preflight = stranger.preflight().await.unwrap();
    assert!(preflight.refusals[0].what.contains("lacks INSERT, CREATE, DROP"), "{:?}", preflight.refusals);
    assert_eq!(codes(stranger).await, "permission_denied permission_denied");

    let credentials =
        DatabaseCredentials { username: USER.to_owned(), password: SecretString::from(PASSWORD.to_owned()) };
    let from = (backup.world.ports.artifacts.clone(), backup.artifact.clone());
    let programs = PROGRAMS.parse().unwrap();
    let asked = builders::restore_with(&default);
    let some =
        MysqlRestorer::new(from, server.service("absent"), credentials, programs, &mapping(&["t"]), &asked);
    assert_eq!(codes(some).await, "tables_not_restorable");

    server.sql("mysql", "SET GLOBAL read_only = 1");
    assert_eq!(codes(backup.restorer(&server, "absent", &default)).await, "server_read_only");
    server.sql("mysql", "SET GLOBAL read_only = 0");

    let wrong = backup.restorer_as(&server, "absent", &default, (USER, "hunter2"));
    let refused = failure(wrong.preflight().await);
    assert_failure(&refused, "wrong_password", false, &["absent"]);
    assert!(!refused.message.contains("hunter2"));
    assert_eq!(server.sql("mysql", "SHOW DATABASES LIKE 'absent'"), "");
    assert_nothing_left(&server, "absent");
    assert_nothing_left(&server, "full");
}

#[rstest]
#[case("views_only", "CREATE VIEW v AS SELECT 1 AS one")]
#[case("routines_only", "CREATE PROCEDURE p() SELECT 1")]
#[case("nothing_at_all", "")]
#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tables(#[case] name: &str, #[case] sql: &str) {
    let server = MariaDb::shared();
    let again = format!("{name}_again");
    server.create(name, sql);
    let before = contents(&server, name);
    let backup = Backup::of(&server, name).await;
    assert_eq!(restore(&backup.restorer(&server, &again, &RestoreOptions::default())).await.tables, Some(0));
    assert_same(&contents(&server, &again), &before);
    server.sql(&again, "CREATE TABLE in_the_way (a INT)");
    restore(&backup.restorer(&server, &again, &overwrite())).await;
    assert_same(&contents(&server, &again), &before);
    assert_nothing_left(&server, &again);
}

/// The one that is there is left alone, and so are what it is of and its events.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_tried_beside_the_one_that_is_there() {
    let server = MariaDb::shared();
    server.create("tried source", EVERYTHING);
    server.create("tried", OCCUPIED);
    let before = contents(&server, "tried");
    let backup = Backup::of(&server, "tried source").await;
    let restorer = backup.rehearsal(&server, "tried");
    let preflight = restorer.preflight().await.unwrap();
    assert_eq!((preflight.refusals.as_slice(), preflight.is_occupied), (&[][..], false));
    assert!(preflight.target.contains("beside"), "{preflight:?}");
    let mut follower = Follower::quiet();
    let Outcome::Done(done) = restorer.restore(None, SLICE, &mut follower).await.unwrap() else { panic!() };
    let tables = "SELECT COUNT(*) FROM information_schema.tables
        WHERE table_schema = 'tried source' AND table_type = 'BASE TABLE'";
    assert_eq!(done.tables.unwrap().to_string(), server.sql("mysql", tables));
    assert!(done.rows.unwrap() > 0 && done.rows_compared && done.notes.is_empty(), "{done:?}");
    assert!(follower.told.iter().all(|told| told.cursor.is_none()), "there is nothing to go on with");
    assert_same(&contents(&server, "tried"), &before);
    assert_nothing_left(&server, "tried");

    // A row that is missing is missed.
    let counts = beside(KEY, "database.rows.jsonl");
    let told = String::from_utf8(backup.world.artifacts.bytes(&counts).unwrap().to_vec()).unwrap();
    let rows = done.rows.unwrap();
    let one_more = told.replace(r#"{"table":"empty","rows":0}"#, r#"{"table":"empty","rows":1}"#);
    let one_more = one_more.replace(&format!(r#""rows":{rows}}}"#), &format!(r#""rows":{}}}"#, rows + 1));
    backup.world.artifacts.insert(&counts, one_more.into_bytes());
    let differs = failure(restorer.restore(None, SLICE, &mut follower).await);
    assert_failure(&differs, "restored_differs", false, &["empty (0 rows, and 1 rows when it was dumped)"]);
    assert_nothing_left(&server, "tried");

    // What was killed is cleaned up, and the target is left alone then too.
    let trying = restorer.restore(None, SLICE, &mut follower);
    let _ = tokio::time::timeout(std::time::Duration::from_millis(300), trying).await;
    restorer.give_up().await.unwrap();
    assert_same(&contents(&server, "tried"), &before);
    assert_nothing_left(&server, "tried");
}
