//! Restores that only try, and compare values: what is in the new database must be what the dump has, row by row.

use holdfast_backup::{
    engines::restorer::{Outcome, Restorer as _},
    error::SliceError,
};
use holdfast_domain::{
    backup::Contents,
    restore::{Restore, RestoreOptions, Restored},
};
use holdfast_testing::builders;
use rstest::rstest;

use crate::{
    assert_failure, failure,
    mariadb_server::MariaDb,
    mysql::EVERYTHING,
    mysql_restored::{Backup, Follower, SLICE, assert_nothing_left},
};

/// What comes of it when `backup` is tried beside `database`, and values are compared.
async fn compared(server: &MariaDb, backup: &Backup, database: &str) -> Result<Restored, SliceError> {
    let restorer = backup.rehearsal_with(server, database, true);
    match restorer.restore(None, SLICE, &mut Follower::quiet()).await? {
        Outcome::Done(found) => Ok(found),
        Outcome::Paused { cursor } => panic!("it paused at {cursor}"),
    }
}

/// A dump of this server, which says `sql`.
fn holding(server: &MariaDb, sql: &str) -> Backup {
    let version = server.sql("mysql", "SELECT VERSION()");
    let mut backup = Backup::holding(&format!("{sql}-- Dump completed\n"), &version);
    let Contents::MysqlSql { dump_version, .. } = &mut backup.artifact.contents else { panic!() };
    // The programs come with the server.
    *dump_version = format!("mariadb-dump Ver 10.19 Distrib {version}");
    backup
}

/// Whatever a value is, it is the same when it comes back; and stopped while that is seen, nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_all_types_are_as_they_were() {
    let server = MariaDb::shared();
    let large = "CREATE TABLE large (id INT PRIMARY KEY, words TEXT);
        INSERT INTO large SELECT seq, CONCAT(REPEAT('it''s (a); \\\\', 20), MD5(seq)) FROM seq_1_to_20000;";
    server.create("alike source", &format!("{EVERYTHING}{large}"));
    let backup = Backup::of(&server, "alike source").await;
    let found = compared(&server, &backup, "alike").await.unwrap();
    assert!(found.rows_compared && found.tables.unwrap() > 12, "{found:?}");
    assert_eq!((found.values_compared, found.notes.as_slice()), (found.tables, &[][..]));
    assert_nothing_left(&server, "alike");

    let mut heard = 0;
    let mut follower = Follower::doing(|so_far| {
        heard += u32::from(so_far.doing == "comparing");
        // The first time it counts, and then the dump program is at work.
        if heard < 2 { Ok(()) } else { Err(SliceError::Cancelled) }
    });
    let restorer = backup.rehearsal_with(&server, "alike", true);
    let stopped = restorer.restore(None, SLICE, &mut follower).await;
    assert!(matches!(stopped, Err(SliceError::Cancelled)), "{stopped:?}");
    assert_nothing_left(&server, "alike");
    server.assert_no_session("alike");
}

/// As many rows are there, and they are not those of the dump.
#[rstest]
#[case::a_value_that_has_no_room(
    "narrowed",
    "CREATE TABLE `t` (`a` tinyint);\nINSERT INTO `t` VALUES (1),(300);\n"
)]
#[case::a_statement_that_no_dump_has(
    "updated",
    "CREATE TABLE `t` (`a` int);\nINSERT INTO `t` VALUES (1),(2);\nUPDATE t SET a = 3 - a WHERE a = 1;\n"
)]
#[tokio::test(flavor = "multi_thread")]
async fn values_that_were_changed_are_found(#[case] database: &str, #[case] sql: &str) {
    let server = MariaDb::shared();
    let others = "CREATE TABLE `u` (`b` int);\nINSERT INTO `u` VALUES (1);\nCREATE TABLE `v` (`c` int);\n";
    let mut backup = holding(&server, &format!("{sql}{others}"));
    let tried = failure(compared(&server, &backup, database).await);
    assert_failure(&tried, "restored_differs", false, &["t has other values than were dumped; "]);
    assert_nothing_left(&server, database);
    // Only who asks for it learns of that.
    let counted = backup.rehearsal(&server, database);
    let Outcome::Done(counted) = counted.restore(None, SLICE, &mut Follower::quiet()).await.unwrap() else {
        panic!("it paused")
    };
    assert_eq!((counted.rows, counted.values_compared), (Some(3), None));

    // Another version may write the same values in another way.
    let Contents::MysqlSql { server_version, .. } = &mut backup.artifact.contents else { panic!() };
    "5.5.68-MariaDB".clone_into(server_version);
    let found = compared(&server, &backup, database).await.unwrap();
    assert_eq!((found.tables, found.values_compared), (Some(3), Some(2)));
    let said = found.notes.last().unwrap();
    assert!(said.starts_with("The values of t could not be compared") && said.contains("5.5.68"), "{said}");
    assert_nothing_left(&server, database);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_does_not_matter_and_what_is_not_understood_is_said() {
    let server = MariaDb::shared();
    let table = "CREATE TABLE `t` (`a` int, PRIMARY KEY (`a`));\n";
    let backward = format!("{table}INSERT INTO `t` VALUES (3),(1);\nINSERT INTO `t` VALUES (2);\n");
    // No account needs more for it than to restore.
    server.sql("mysql", "CREATE USER comparer IDENTIFIED BY 'x'");
    server.sql("mysql", "GRANT ALL PRIVILEGES ON `holdfast\\_%`.* TO comparer");
    let restore =
        Restore { rehearsal: true, checksums: true, ..builders::restore_with(&RestoreOptions::default()) };
    let backward = holding(&server, &backward);
    let restorer = backward.restorer_for(&server, "backward", &restore, ("comparer", "x"));
    let steps = restorer.preflight().await.unwrap().steps;
    assert!(steps.iter().any(|step| step.contains("compare the values")), "{steps:?}");
    let Outcome::Done(found) = restorer.restore(None, SLICE, &mut Follower::quiet()).await.unwrap() else {
        panic!("it paused")
    };
    assert_eq!(found.values_compared, Some(1));
    let otherwise = format!("{table}INSERT INTO `t` SET a = 1;\n");
    let found = compared(&server, &holding(&server, &otherwise), "otherwise").await.unwrap();
    assert_eq!((found.rows, found.values_compared), (Some(1), Some(0)));
    assert!(found.notes.last().unwrap().starts_with("Values were not compared"), "{found:?}");
}
