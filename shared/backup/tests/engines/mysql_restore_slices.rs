//! Restores into `MariaDB` that take several slices: however they are divided, and whoever dies on the way, what comes out is the same.

use std::{sync::Arc, time::Duration};

use holdfast_backup::{
    engines::{
        mysql::MysqlRestorer,
        restorer::{Outcome, Restorer as _},
    },
    error::SliceError,
};
use holdfast_domain::{
    id::RestoreId,
    restore::{Restore, Restored},
};
use holdfast_testing::builders;
use rstest::rstest;

use crate::{
    assert_failure, failure,
    mariadb_server::{MariaDb, PASSWORD, USER},
    mysql::EVERYTHING,
    mysql_restored::{
        Backup, Follower, SLICE, assert_nothing_left, assert_same, contents, filling, loading, overwrite,
    },
};

/// What there is before.
const THERE: &str =
    "CREATE TABLE parent (id INT PRIMARY KEY, was VARCHAR(10)); INSERT INTO parent VALUES (7, 'old')";

/// Tables of which the last one takes a while to load.
const LAST_IS_LARGE: &str = "
    CREATE TABLE a (n INT); INSERT INTO a VALUES (1), (2);
    CREATE TABLE b (n INT PRIMARY KEY); INSERT INTO b VALUES (3);
    CREATE TRIGGER told AFTER INSERT ON b FOR EACH ROW INSERT INTO a VALUES (NEW.n);
    CREATE VIEW all_of_b AS SELECT * FROM b;
    CREATE TABLE large (bytes VARBINARY(1024));
    INSERT INTO large SELECT RANDOM_BYTES(1024) FROM seq_1_to_60000;";

/// A backup, and the database that it is restored into.
struct Case {
    server: Arc<MariaDb>,
    backup: Backup,
    from: String,
    to: String,
    before: String,
}

impl Case {
    /// Of `name`, which is its own among all tests, and has `sql` in it.
    async fn of(name: &str, sql: &str) -> Self {
        let server = MariaDb::shared();
        let (from, to) = (format!("{name} from"), format!("{name}_to"));
        server.create(&from, sql);
        server.create(&to, THERE);
        let backup = Backup::of(&server, &from).await;
        let before = contents(&server, &to);
        Self { server, backup, from, to, before }
    }

    /// The restore that has this number, and pauses after so many tables.
    fn restorer(&self, number: u8, steps: usize) -> MysqlRestorer {
        self.of_kind(number, |restore| restore).with_steps(steps)
    }

    fn rehearsal(&self, number: u8, steps: usize) -> MysqlRestorer {
        self.of_kind(number, |restore| Restore { rehearsal: true, checksums: true, ..restore })
            .with_steps(steps)
    }

    fn of_kind(&self, number: u8, kind: impl Fn(Restore) -> Restore) -> MysqlRestorer {
        let id = RestoreId::new(builders::now(), [number; 10]);
        let restore = kind(Restore { id, ..builders::restore_with(&overwrite()) });
        self.backup.restorer_for(&self.server, &self.to, &restore, (USER, PASSWORD))
    }

    fn assert_restored(&self) {
        let ours = |text: String| text.split_once('\n').unwrap().1.to_owned();
        assert_same(&ours(contents(&self.server, &self.to)), &ours(contents(&self.server, &self.from)));
        assert_nothing_left(&self.server, &self.to);
    }

    fn assert_untouched(&self) {
        assert_same(&contents(&self.server, &self.to), &self.before);
        assert_eq!(loading(&self.to), None);
    }

    /// Tables that are in the new database.
    fn filled(&self) -> Vec<String> {
        let tables = format!(
            "SELECT table_name FROM information_schema.tables WHERE LEFT(table_schema, {0}) = '{1}' ORDER BY 1",
            filling(&self.to).len(),
            filling(&self.to)
        );
        self.server.sql("mysql", &tables).lines().map(str::to_owned).collect()
    }
}

/// One slice: what was restored, or the cursor of the next one.
async fn slice(job: &MysqlRestorer, cursor: Option<&str>) -> Result<Result<Restored, String>, SliceError> {
    match job.restore(cursor, SLICE, &mut Follower::quiet()).await? {
        Outcome::Done(restored) => Ok(Ok(restored)),
        Outcome::Paused { cursor } => Ok(Err(cursor)),
    }
}

/// So many slices, which pause; the last cursor.
async fn paused(job: impl Fn() -> MysqlRestorer, slices: usize) -> String {
    let mut cursor = None;
    for _ in 0..slices {
        cursor = Some(slice(&job(), cursor.as_deref()).await.unwrap().unwrap_err());
    }
    cursor.unwrap()
}

/// All slices that are left, and how many there were.
async fn to_the_end(job: impl Fn() -> MysqlRestorer, mut cursor: Option<String>) -> (Restored, usize) {
    for slices in 1..100 {
        match slice(&job(), cursor.as_deref()).await.unwrap() {
            Ok(restored) => return (restored, slices),
            Err(next) => cursor = Some(next),
        }
    }
    panic!("it does not come to its end")
}

#[rstest]
#[case::a_table_at_a_time("each", 1)]
#[case::some("some", 5)]
#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back(#[case] name: &str, #[case] steps: usize) {
    let case = Case::of(&format!("slices {name}"), EVERYTHING).await;
    let (restored, slices) = to_the_end(|| case.restorer(1, steps), None).await;
    let tables = usize::try_from(restored.tables.unwrap()).unwrap();
    assert!(slices >= (tables - 3) / steps, "{slices} slices of {tables} tables");
    case.assert_restored();
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_end_nothing_is_to_be_seen_of_it() {
    let case = Case::of("unseen", LAST_IS_LARGE).await;
    let cursor = paused(|| case.restorer(1, 1), 2).await;
    assert!(cursor.contains(&filling(&case.to)), "{cursor}");
    assert_eq!(case.restorer(1, 1).has_done(&cursor).await.unwrap(), None);
    case.assert_untouched();
    // What a database has less than a dump of it is what comes after its last table.
    assert_eq!(case.filled(), ["a", "all_of_b"]);
    to_the_end(|| case.restorer(1, 1), Some(cursor)).await;
    case.assert_restored();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_compared_over_all_slices() {
    let case = Case::of("rehearsed in slices", EVERYTHING).await;
    let (found, slices) = to_the_end(|| case.rehearsal(1, 3), None).await;
    assert!(slices > 3, "{slices}");
    assert!(found.rows_compared, "{found:?}");
    assert_eq!((found.values_compared, found.notes.as_slice()), (found.tables, &[][..]));
    case.assert_untouched();
    assert_nothing_left(&case.server, &case.to);
}

/// What was changed in a table that an earlier slice has loaded is found.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_earlier_slices_are_compared_too() {
    let case = Case::of("changed between", LAST_IS_LARGE).await;
    let cursor = paused(|| case.rehearsal(1, 1), 3).await;
    let new = cursor.split('"').find(|word| word.starts_with("holdfast_restore_")).unwrap();
    case.server.sql(new, "UPDATE a SET n = 5 WHERE n = 2");
    let (mut cursor, mut tried) = (Some(cursor), None);
    while tried.is_none() {
        match slice(&case.rehearsal(1, 1), cursor.as_deref()).await {
            Ok(paused) => cursor = Some(paused.unwrap_err()),
            Err(error) => tried = Some(failure::<()>(Err(error))),
        }
    }
    assert_failure(&tried.unwrap(), "restored_differs", false, &["a has other values"]);
    case.assert_untouched();
    assert_nothing_left(&case.server, &case.to);
}

/// A worker is killed in its slice, and what it has loaded is loaded once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_a_pause() {
    let case = Arc::new(Case::of("killed later", LAST_IS_LARGE).await);
    let cursor = paused(|| case.restorer(1, 1), 3).await;
    let killed = tokio::spawn({
        let case = case.clone();
        async move { case.restorer(1, 9).restore(None, SLICE, &mut Follower::quiet()).await }
    });
    while !case.filled().contains(&"large".to_owned()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    case.restorer(1, 1).clean_up().await.unwrap();
    assert_eq!(loading(&case.to), None);
    assert_eq!(case.filled()[..2], ["a", "all_of_b"], "it can go on");
    to_the_end(|| case.restorer(1, 100), Some(cursor)).await;
    case.assert_restored();
}

/// Another restore into the same database is kept out by one that has paused, as long as that is awaited.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_late_has_to_begin_anew() {
    let case = Case::of("late", LAST_IS_LARGE).await;
    let cursor = paused(|| case.restorer(1, 1), 3).await;
    for other in [case.restorer(2, 100), case.rehearsal(2, 100)] {
        let kept_out = failure(slice(&other, None).await);
        assert_failure(&kept_out, "restore_running", true, &["over several slices", &filling(&case.to)]);
        other.give_up().await.unwrap();
    }
    assert_eq!(case.filled(), ["a", "all_of_b", "b"], "it is left alone");

    let new = cursor.split('"').find(|word| word.starts_with("holdfast_restore_")).unwrap();
    let long_ago = "UPDATE holdfast_loaded SET bytes = REPLACE(bytes, '\"at\":', '\"at\":0,\"was\":')";
    case.server.sql(&new.replace("_restore_", "_paused_"), long_ago);
    let (_, slices) = to_the_end(|| case.restorer(2, 100), None).await;
    assert_eq!(slices, 1);
    case.assert_restored();
    case.server.sql(&case.to, "DROP TABLE b");
    to_the_end(|| case.restorer(1, 100), Some(cursor)).await;
    case.assert_restored();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_after_a_pause() {
    let case = Case::of("cut later", LAST_IS_LARGE).await;
    let cursor = paused(|| case.restorer(1, 1), 3).await;
    let restorer = case.restorer(1, 9);
    let mut follower = Follower::doing(|_| {
        let sessions = format!(
            "SELECT id FROM information_schema.processlist WHERE LEFT(db, {0}) = '{1}'",
            filling(&case.to).len(),
            filling(&case.to)
        );
        for id in case.server.sql("mysql", &sessions).lines() {
            case.server.sql("mysql", &format!("KILL {id}"));
        }
        Ok(())
    });
    let cut = failure(restorer.restore(Some(&cursor), SLICE, &mut follower).await);
    drop(follower);
    assert!(cut.transient, "{cut:?}");
    assert!(!case.filled().is_empty(), "the next try goes on");
    case.assert_untouched();
    to_the_end(|| case.restorer(1, 9), None).await;
    case.assert_restored();
}

#[rstest]
#[case::it_is_given_up("given up later", None)]
#[case::it_is_cancelled("cancelled later", Some("cancelled"))]
#[case::a_table_is_too_large("too large later", Some("too short"))]
#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_go_on_leaves_nothing(#[case] name: &str, #[case] how: Option<&str>) {
    let case = Case::of(name, LAST_IS_LARGE).await;
    let cursor = paused(|| case.restorer(1, 1), 3).await;
    let restorer = case.restorer(1, 9);
    match how {
        None => restorer.give_up().await.unwrap(),
        Some("cancelled") => {
            let mut follower = Follower::doing(|_| Err(SliceError::Cancelled));
            let outcome = restorer.restore(Some(&cursor), SLICE, &mut follower).await;
            assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
        }
        Some(_) => {
            let short = Duration::from_millis(100);
            let outcome = restorer.restore(Some(&cursor), short, &mut Follower::quiet()).await;
            assert_failure(&failure(outcome), "slice_too_short", false, &["by hand"]);
        }
    }
    case.assert_untouched();
    assert_nothing_left(&case.server, &case.to);
}

/// The checksum of all of it is looked at by the last slice, which has read the rest of it only.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_another_one() {
    let mut case = Case::of("another one later", LAST_IS_LARGE).await;
    case.backup.artifact.object.crc64nvme = "AAAAAAAAAAA=".to_owned();
    let cursor = paused(|| case.restorer(1, 1), 3).await;
    let outcome = case.restorer(1, 9).restore(Some(&cursor), SLICE, &mut Follower::quiet()).await;
    assert_failure(&failure(outcome), "artifact_damaged", false, &["its checksum is"]);
    case.assert_untouched();
    assert_nothing_left(&case.server, &case.to);
}
