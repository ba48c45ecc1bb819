//! Restores into `MariaDB` that do not come to their end: the target is as it was, and nothing else is left.

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use holdfast_backup::{
    engines::{
        mysql::MysqlRestorer,
        restorer::{Outcome, Restorer as _},
    },
    error::SliceError,
};
use holdfast_domain::{backup::Failure, restore::RestoreOptions};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    assert_failure, failure,
    mariadb_server::{MariaDb, PASSWORD, USER},
    mysql_restored::{
        Backup, Follower, SLICE, assert_nothing_left, assert_same, contents, filling, loading, overwrite,
        restore,
    },
};

/// What is there, with everything that cannot simply be renamed.
const THERE: &str = "
CREATE TABLE parent (id INT PRIMARY KEY);
INSERT INTO parent VALUES (1), (2);
CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT up FOREIGN KEY (parent) REFERENCES parent (id));
INSERT INTO child VALUES (1, 2);
CREATE TABLE told (what INT);
CREATE VIEW seen AS SELECT id FROM parent;
CREATE VIEW seen_again AS SELECT id FROM seen;
CREATE TRIGGER tells AFTER INSERT ON parent FOR EACH ROW INSERT INTO told VALUES (NEW.id);
CREATE PROCEDURE counts() SELECT COUNT(*) FROM parent;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO DELETE FROM told;
";

/// What is restored.
const COMES: &str = "
CREATE TABLE parent (id INT PRIMARY KEY, more INT);
INSERT INTO parent SELECT seq, seq FROM seq_1_to_1000;
CREATE TABLE child (id INT PRIMARY KEY, parent INT, CONSTRAINT up FOREIGN KEY (parent) REFERENCES parent (id));
CREATE VIEW seen AS SELECT more FROM parent;
CREATE TRIGGER tells BEFORE INSERT ON parent FOR EACH ROW SET NEW.more = 1;
CREATE PROCEDURE counts() SELECT 1;
";

/// A server with a target, and a backup of something else to restore into it.
struct Scene {
    server: Arc<MariaDb>,
    backup: Backup,
    /// The target.
    there: String,
    /// What the backup is of.
    comes: String,
    /// Another database, with a table `t`.
    elsewhere: String,
    before: String,
}

impl Scene {
    /// `name` is its own among all tests. In `sql`, `elsewhere` is the name of the other database.
    async fn new(name: &str, sql: &str) -> Self {
        let server = MariaDb::shared();
        let [there, comes, elsewhere] = ["there", "comes", "elsewhere"].map(|part| format!("{name}_{part}"));
        server.create(&elsewhere, "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
        server.create(&comes, &sql.replace("elsewhere", &elsewhere));
        server.create(&there, THERE);
        let before = contents(&server, &there);
        let backup = Backup::of(&server, &comes).await;
        Self { server, backup, there, comes, elsewhere, before }
    }

    /// One whose backup is so large that it takes some time to load.
    async fn large(name: &str) -> Self {
        let large = "CREATE TABLE large (bytes VARBINARY(1024));
            INSERT INTO large SELECT RANDOM_BYTES(1024) FROM seq_1_to_60000";
        Self::new(name, &format!("{COMES} {large}")).await
    }

    fn restorer(&self) -> MysqlRestorer {
        self.backup.restorer(&self.server, &self.there, &overwrite())
    }

    /// Restores, which must fail, and leave everything as it was.
    async fn fails(&self, mut follower: Follower<'_>) -> Failure {
        let failure = failure(self.restorer().restore(None, SLICE, &mut follower).await);
        self.assert_untouched();
        assert!(!failure.message.contains(PASSWORD));
        failure
    }

    fn assert_untouched(&self) {
        assert_same(&contents(&self.server, &self.there), &self.before);
        assert_nothing_left(&self.server, &self.there);
        assert_eq!(loading(&self.there), None);
    }

    /// And then it works.
    async fn succeeds(&self) {
        restore(&self.restorer()).await;
        let rows = "SELECT COUNT(*), MAX(more) FROM parent";
        assert_eq!(self.server.sql(&self.there, rows), self.server.sql(&self.comes, rows));
        assert_nothing_left(&self.server, &self.there);
    }

    fn has_database(&self, name: &str) -> bool {
        !self.server.sql("mysql", &format!("SHOW DATABASES LIKE '{name}'")).is_empty()
    }
}

#[rstest]
#[case("magic", |_| 0)]
#[case("header", |_| 5)]
#[case("middle", |size| size / 2)]
#[case("checksum", |size| size - 1)]
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_artifact(#[case] name: &str, #[case] at: fn(usize) -> usize) {
    let scene = Scene::new(&format!("damaged_{name}"), COMES).await;
    let key = &scene.backup.artifact.object.key;
    let mut bytes = scene.backup.world.artifacts.bytes(key).unwrap().to_vec();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    scene.backup.world.artifacts.damage(key, bytes);
    let failure = scene.fails(Follower::quiet()).await;
    assert_failure(&failure, "artifact_damaged", false, &[key, "restore another backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_another_one() {
    let scene = Scene::new("other", COMES).await;
    let key = &scene.backup.artifact.object.key;
    let size = scene.backup.artifact.object.size;
    // Whole frames and a whole dump of the same length, with a frame that `zstd` passes over.
    let mut bytes = zstd::encode_all(&b"SELECT 1;\n-- Dump completed\n"[..], 1).unwrap();
    let left = u32::try_from(size - bytes.len() as u64 - 8).unwrap();
    bytes.extend([0x50, 0x2a, 0x4d, 0x18]);
    bytes.extend(left.to_le_bytes());
    bytes.resize(usize::try_from(size).unwrap(), 0);
    scene.backup.world.artifacts.damage(key, bytes);
    let failure = scene.fails(Follower::quiet()).await;
    assert_failure(&failure, "artifact_damaged", false, &["checksum"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_ends_too_early() {
    let mut scene = Scene::new("early", COMES).await;
    scene.backup = Backup::holding("CREATE TABLE t (a INT);\n", "10.11.4-MariaDB");
    let failure = scene.fails(Follower::quiet()).await;
    assert_failure(&failure, "artifact_damaged", false, &["whole dump"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_the_server_refuses() {
    let mut scene = Scene::new("refused", COMES).await;
    let sql = "CREATE TABLE t (a CHAR(9) PRIMARY KEY);\nINSERT INTO t VALUES ('a private'),('thing');\nINSERT INTO t VALUES \
               ('secret'),('thing');\n-- Dump completed\n";
    scene.backup = Backup::holding(sql, "10.11.4-MariaDB");
    let failure = scene.fails(Follower::quiet()).await;
    assert_failure(&failure, "restore_refused", false, &["ERROR 1062", "Duplicate entry"]);
    assert!(!failure.message.contains("secret"), "{}", failure.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_program() {
    let scene = Scene::large("killed_client").await;
    let follower = Follower::doing(|so_far| {
        if let (Some(pid), "rows") = (loading(&scene.there), so_far.doing) {
            for file in ["cmdline", "environ"] {
                let told = fs::read(format!("/proc/{pid}/{file}")).unwrap();
                let told = String::from_utf8_lossy(&told).into_owned();
                assert!(!told.is_empty() && !told.contains("pa:ss"), "{told}");
            }
            kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        }
        Ok(())
    });
    let failure = scene.fails(follower).await;
    assert_failure(&failure, "client_killed", true, &["signal 9"]);
    scene.succeeds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session() {
    let scene = Scene::large("killed_session_of").await;
    let follower = Follower::doing(|_| {
        let session = format!(
            "SELECT id FROM information_schema.processlist WHERE db LIKE '{}%'",
            filling(&scene.there)
        );
        let id = scene.server.sql("mysql", &session);
        scene.server.sql("mysql", &format!("KILL {id}"));
        Ok(())
    });
    let failure = scene.fails(follower).await;
    assert_failure(&failure, "connection_lost", true, &["there"]);
    scene.succeeds().await;
}

#[rstest]
#[case("rows")]
#[case("swap")]
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation(#[case] when: &str) {
    let scene = Scene::large(&format!("cancelled_at_{when}")).await;
    let mut follower =
        Follower::doing(|so_far| if so_far.doing == when { Err(SliceError::Cancelled) } else { Ok(()) });
    let outcome = scene.restorer().restore(None, SLICE, &mut follower).await;
    assert!(matches!(outcome, Err(SliceError::Cancelled)), "{outcome:?}");
    drop(follower);
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_that_is_too_short() {
    let scene = Scene::large("short").await;
    let outcome = scene.restorer().restore(None, Duration::from_millis(50), &mut Follower::quiet()).await;
    assert_failure(&failure(outcome), "slice_too_short", false, &["by hand"]);
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_keep_each_other_out() {
    let scene = Scene::large("two").await;
    let runtime = tokio::runtime::Handle::current();
    let mut second = None;
    let mut follower = Follower::doing(|_| {
        if second.is_none() {
            let other = scene.restorer();
            let tried = async { other.restore(None, SLICE, &mut Follower::quiet()).await };
            second = Some(tokio::task::block_in_place(|| runtime.block_on(tried)));
        }
        Ok(())
    });
    scene.restorer().restore(None, SLICE, &mut follower).await.unwrap();
    drop(follower);
    assert_failure(&failure(second.unwrap()), "restore_running", true, &["somebody else"]);
    assert_nothing_left(&scene.server, &scene.there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_somebody_holds() {
    let scene = Scene::new("held_table", COMES).await;
    let holding = Holding::of(&scene.server, &scene.there, "BEGIN; SELECT * FROM child;");
    let failure = failure(scene.restorer().restore(None, SLICE, &mut Follower::quiet()).await);
    assert_failure(&failure, "tables_locked", true, &["end the sessions"]);
    drop(holding);
    scene.assert_untouched();
    scene.succeeds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_go_away() {
    let mut scene = Scene::new("in_the_way", COMES).await;
    // It would go where the journal is.
    scene.server.sql(&scene.there, "CREATE TABLE holdfast_undo (a INT)");
    scene.before = contents(&scene.server, &scene.there);
    let failure = scene.fails(Follower::quiet()).await;
    assert_failure(&failure, "restore_refused", false, &["holdfast_undo"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_made_after_the_exchange() {
    let scene = Scene::new("broken", &format!("{COMES} CREATE VIEW wide AS SELECT a FROM elsewhere.t")).await;
    let follower = Follower::doing(|so_far| {
        if so_far.doing == "swap" {
            scene.server.sql(&scene.elsewhere, "DROP TABLE t");
        }
        Ok(())
    });
    let failure = scene.fails(follower).await;
    assert_failure(&failure, "restore_refused", false, &["elsewhere"]);
    scene.server.sql(&scene.elsewhere, "CREATE TABLE t (a INT)");
    scene.succeeds().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_exchange_with_nothing() {
    let scene = Scene::new("gone", &format!("{COMES} CREATE VIEW wide AS SELECT a FROM elsewhere.t")).await;
    let restorer = scene.backup.restorer(&scene.server, "gone_nowhere", &overwrite());
    let mut follower = Follower::doing(|so_far| {
        if so_far.doing == "swap" {
            scene.server.sql(&scene.elsewhere, "DROP TABLE t");
        }
        Ok(())
    });
    let failure = failure(restorer.restore(None, SLICE, &mut follower).await);
    assert_eq!(failure.code, "restore_refused", "{}", failure.message);
    assert!(!scene.has_database("gone_nowhere"));
    assert_nothing_left(&scene.server, "gone_nowhere");
}

/// A worker that is killed when the tables are exchanged, and the rest is not done yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_of_the_exchange() {
    let mut scene = Scene::new("halfway", COMES).await;
    scene.server.sql(&scene.there, &format!("CREATE VIEW held AS SELECT a FROM {}.t", scene.elsewhere));
    scene.before = contents(&scene.server, &scene.there);
    let scene = Arc::new(scene);
    // Whoever has read a view keeps others from dropping it, and the tables of the database can go all the same.
    let holding = Holding::of(&scene.server, &scene.there, "BEGIN; SELECT * FROM held;");
    let restoring = tokio::spawn({
        let scene = scene.clone();
        async move { scene.restorer().restore(None, SLICE, &mut Follower::quiet()).await }
    });
    while scene.server.sql(&scene.there, "SELECT COUNT(*) FROM parent") != "1000" {
        assert!(!restoring.is_finished(), "it should wait for the view");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    restoring.abort();
    assert!(restoring.await.unwrap_err().is_cancelled());
    let triggers = "SELECT COUNT(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE()";
    assert_eq!(scene.server.sql(&scene.there, triggers), "0", "it is halfway");
    drop(holding);

    scene.restorer().clean_up().await.unwrap();
    scene.assert_untouched();
    scene.restorer().clean_up().await.unwrap();
    scene.succeeds().await;
}

/// One that is killed once everything is exchanged, and one that is too late: what was written since stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_the_exchange() {
    let scene = Scene::new("killed_after", COMES).await;
    for nth in [1, 2] {
        // The second time it is told, the exchange has happened.
        let mut told = 0;
        let mut follower = Follower::doing(|so_far| {
            told += u32::from(so_far.doing == "swap");
            if told == nth { Err(SliceError::Fenced) } else { Ok(()) }
        });
        let outcome = scene.restorer().restore(None, SLICE, &mut follower).await;
        assert!(matches!(outcome, Err(SliceError::Fenced)), "{outcome:?}");
        let cursor = |nth: usize| {
            let mut swaps = follower.told.iter().filter(|told| told.doing == "swap");
            swaps.nth(nth).and_then(|told| told.cursor.clone()).unwrap()
        };
        if nth == 1 {
            assert_eq!(scene.restorer().has_done(&cursor(0)).await.unwrap(), None);
            scene.assert_untouched();
            continue;
        }
        scene.server.sql(&scene.there, "INSERT INTO parent VALUES (2000, 2000)");
        let restored = scene.restorer().has_done(&cursor(0)).await.unwrap().unwrap();
        assert_eq!((restored.tables, restored.rows_compared), (None, false));
        scene.restorer().clean_up().await.unwrap();
        let restored = scene.restorer().has_done(&cursor(1)).await.unwrap().unwrap();
        assert_eq!(restored.tables, Some(2), "the record knows, whatever the server does");
        assert_eq!(scene.server.sql(&scene.there, "SELECT COUNT(*) FROM parent"), "1001");
        assert_nothing_left(&scene.server, &scene.there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_that_comes_after_the_exchange() {
    let scene = Scene::new("cancelled_late", COMES).await;
    let mut told = 0;
    let mut follower = Follower::doing(|so_far| {
        told += u32::from(so_far.doing == "swap");
        if told == 2 { Err(SliceError::Cancelled) } else { Ok(()) }
    });
    let outcome = scene.restorer().restore(None, SLICE, &mut follower).await.unwrap();
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_nothing_left(&scene.server, &scene.there);
}

/// The server has not noticed yet that a killed worker is gone, which has the lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_for_a_while() {
    let scene = Scene::new("locked_still", COMES).await;
    let lock = filling(&scene.there);
    let lock = lock.trim_end_matches('_');
    let holding = Holding::of(&scene.server, &scene.there, &format!("SELECT GET_LOCK('{lock}', 0);"));
    let cleaning = tokio::spawn({
        let restorer = scene.restorer();
        async move { restorer.clean_up().await }
    });
    let waits = format!(
        "SELECT COALESCE(MAX(time), 0) > 6 FROM information_schema.processlist
         WHERE state = 'User lock' AND info LIKE '%{lock}%' AND id <> CONNECTION_ID()"
    );
    while scene.server.sql("mysql", &waits) != "1" {
        assert!(!cleaning.is_finished(), "{:?}", cleaning.await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(holding);
    cleaning.await.unwrap().unwrap();
}

#[rstest]
#[case("run", "\\! touch {}\n")]
#[case("system", "system touch {}\n")]
#[case("write", "tee {}\nSELECT 1;\n")]
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_has_the_client_do_something_here(#[case] name: &str, #[case] command: &str) {
    let mut scene = Scene::new(&format!("sandbox_{name}"), COMES).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made");
    let sql = command.replace("{}", path.to_str().unwrap());
    scene.backup = Backup::holding(&format!("{sql}-- Dump completed\n"), "10.11.4-MariaDB");
    let outcome = scene.restorer().restore(None, SLICE, &mut Follower::quiet()).await;
    assert!(!path.exists(), "{outcome:?}");
    assert_nothing_left(&scene.server, &scene.there);
}

/// A killed worker's session has tables of the new database locked, as dumps do.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_not_ended() {
    let scene = Scene::new("sleeping", COMES).await;
    let left = format!("{}left", filling(&scene.there));
    scene.server.create(&left, "CREATE TABLE t (a INT)");
    let holding = Holding::of(&scene.server, &left, "LOCK TABLES t WRITE; SELECT 1;");
    scene.restorer().clean_up().await.unwrap();
    scene.assert_untouched();
    drop(holding);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_while_it_loads() {
    let scene = Arc::new(Scene::large("killed_load").await);
    let restoring = tokio::spawn({
        let scene = scene.clone();
        async move { scene.restorer().restore(None, SLICE, &mut Follower::quiet()).await }
    });
    while loading(&scene.there).is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    restoring.abort();
    assert!(restoring.await.unwrap_err().is_cancelled());
    scene.restorer().clean_up().await.unwrap();
    scene.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops() {
    let scene = Scene { server: Arc::new(MariaDb::start(false)), ..Scene::large("stops").await };
    scene.server.create(&scene.there, THERE);
    let mut follower = Follower::doing(|_| {
        scene.server.cut_off();
        Ok(())
    });
    let failure = failure(scene.restorer().restore(None, SLICE, &mut follower).await);
    assert_failure(&failure, "database_left", true, &["holdfast_replaced_", "do not drop"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_target_stays_absent() {
    let scene = Scene::new("absent_still", COMES).await;
    let nowhere = scene.backup.restorer(&scene.server, "still_nowhere", &RestoreOptions::default());
    nowhere.clean_up().await.unwrap();
    let mut follower =
        Follower::doing(|so_far| if so_far.doing == "swap" { Err(SliceError::Fenced) } else { Ok(()) });
    let outcome = nowhere.restore(None, SLICE, &mut follower).await;
    assert!(matches!(outcome, Err(SliceError::Fenced)), "{outcome:?}");
    drop(follower);
    assert!(!scene.has_database("still_nowhere"));
    assert_nothing_left(&scene.server, "still_nowhere");
}

/// A session that holds what it has read until it is dropped.
struct Holding(Child);

impl Holding {
    fn of(server: &MariaDb, database: &str, sql: &str) -> Self {
        let mut child = Command::new("mariadb")
            .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--batch", "--unbuffered"])
            .arg(format!("--port={}", server.port))
            .arg(format!("--user={USER}"))
            .arg(database)
            .env("MYSQL_PWD", PASSWORD)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{sql}").unwrap();
        // Once it has answered, it holds them.
        let mut answer = [0; 1];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut answer).unwrap();
        Self(child)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}
