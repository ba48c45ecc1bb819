//! Dumps of real databases: what stock tools make of them is what there was.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use holdfast_backup::{
    engines::{Engine, mysql::MysqlEngine},
    upload::{Stored, store},
};
use holdfast_domain::backup::Contents;
use holdfast_testing::World;

use crate::{KEY, mariadb_server::MariaDb, observer::Witness};

/// Everything a database can have that a dump could lose.
pub(crate) const EVERYTHING: &str = r#"
CREATE TABLE numbers (id INT AUTO_INCREMENT PRIMARY KEY, tiny TINYINT UNSIGNED, big BIGINT UNSIGNED, exact DECIMAL(40,20),
    near DOUBLE, bits BIT(13), yes BOOLEAN, twice INT AS (tiny * 2) VIRTUAL, thrice INT AS (tiny * 3) STORED);
INSERT INTO numbers (tiny, big, exact, near, bits, yes) VALUES
    (255, 18446744073709551615, -12345678901234567890.12345678901234567890, 1.7976931348623157e308, b'1010101010101', TRUE),
    (0, 0, 0, -0.1, b'0', FALSE), (NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE texts (id INT PRIMARY KEY, wide VARCHAR(100) CHARACTER SET utf8mb4, narrow VARCHAR(100) CHARACTER SET latin1,
    ucs VARCHAR(100) CHARACTER SET ucs2, sjis VARCHAR(100) CHARACTER SET sjis, raw VARBINARY(300), large LONGBLOB, doc JSON,
    choice ENUM('a','b''c'), several SET('x','y'), FULLTEXT (wide));
INSERT INTO texts VALUES
    (1, '𝄞 naïve \' \" \\ \n \r \t \0 \Z %', 'Zürich €', 'Ωmega', 'テスト', UNHEX('00FF5C27220A0D1A'), REPEAT(UNHEX('00FF27'), 3000000),
     '{"a": [1, "é", null]}', 'b''c', 'x,y'),
    (2, '', '', '', '', '', '', '{}', 'a', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET sql_mode = '';
CREATE TABLE times (d DATE, t TIME(6), dt DATETIME(6), ts TIMESTAMP(6) NULL, y YEAR);
INSERT INTO times VALUES ('0000-00-00', '-838:59:59', '0000-00-00', '1970-01-01 00:00:01', 1901),
    ('9999-12-31', '838:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', 2155), ('2024-00-00', NULL, NULL, NULL, NULL);
INSERT INTO times SELECT NULL, NULL, NULL, '2026-07-01 12:00:00', NULL;
SET sql_mode = DEFAULT;
CREATE TABLE places (id INT PRIMARY KEY, spot POINT NOT NULL, area POLYGON, SPATIAL INDEX (spot));
INSERT INTO places VALUES (1, POINT(8.5, 47.4), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'));
CREATE TABLE parts (id INT, at DATE, KEY (at)) PARTITION BY RANGE (YEAR(at))
    (PARTITION old VALUES LESS THAN (2020), PARTITION new VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, '2019-01-01'), (2, '2026-01-01');
CREATE TABLE `select` (`from` INT PRIMARY KEY, `a ``b` INT, `ünï` INT, `hidden` INT INVISIBLE DEFAULT 5);
INSERT INTO `select` VALUES (1, 2, 3);
CREATE TABLE `--help` (a INT);
INSERT INTO `--help` VALUES (7);
CREATE TABLE empty (a INT);
CREATE TABLE parent (id INT PRIMARY KEY);
CREATE TABLE child (id INT PRIMARY KEY, parent INT NOT NULL, CONSTRAINT up FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE,
    CONSTRAINT positive CHECK (id > 0));
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (1, 1);
CREATE TABLE old (a INT PRIMARY KEY, b TEXT) ENGINE=MyISAM;
INSERT INTO old VALUES (1, 'x');
CREATE TABLE aria (a INT PRIMARY KEY) ENGINE=Aria;
CREATE SEQUENCE counter START WITH 100 INCREMENT BY 7;
DO NEXTVAL(counter);
CREATE VIEW a_later AS SELECT id FROM parent;
CREATE VIEW `view of views` AS SELECT * FROM a_later WHERE id > 0 WITH CHECK OPTION;
CREATE TABLE audit (what VARCHAR(50));
DELIMITER //
CREATE TRIGGER told AFTER INSERT ON parent FOR EACH ROW BEGIN INSERT INTO audit VALUES (CONCAT('née ', NEW.id)); END//
CREATE TRIGGER told_first AFTER INSERT ON parent FOR EACH ROW PRECEDES told INSERT INTO audit VALUES ('first; ''quoted''')//
CREATE PROCEDURE count_all(OUT n INT) SQL SECURITY INVOKER COMMENT 'é' BEGIN SELECT COUNT(*) INTO n FROM parent; END//
CREATE FUNCTION double_of(n INT) RETURNS INT DETERMINISTIC RETURN n * 2//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO DELETE FROM audit//
DELIMITER ;
-- By itself the server counts a while later.
ANALYZE TABLE texts;
"#;

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

/// The stock program makes the same of both databases.
pub(crate) fn assert_same(server: &MariaDb, before: &str, after: &str) {
    let stock = |database| {
        let text = server.client("mariadb-dump", database, &STOCK, b"").stdout;
        String::from_utf8(text).unwrap()
    };
    let (before, after) = (stock(before), stock(after));
    assert!(before.lines().count() > 200);
    for (before, after) in before.lines().zip(after.lines()) {
        assert_eq!(before, after);
    }
    assert_eq!(before.lines().count(), after.lines().count());
}

/// Dumps with `engine`; gives what was stored, and the SQL that `zstd -d` would give.
async fn dumped(engine: &MysqlEngine) -> (Stored, Vec<u8>) {
    let world = World::new();
    let stored = store(world.ports.artifacts.as_ref(), engine, KEY, &mut Witness::default()).await.unwrap();
    assert_eq!(world.artifacts.content_type(KEY).as_deref(), Some("application/zstd"));
    assert_eq!(world.artifacts.open_upload_count(), 0);
    let sql = zstd::decode_all(&world.artifacts.bytes(KEY).unwrap()[..]).unwrap();
    (stored, sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_there_is_comes_back() {
    let server = MariaDb::shared();
    server.create("every thing", EVERYTHING);
    let engine = server.engine("every thing");
    assert!(engine.prepare().await.unwrap().unwrap() > 9_000_000, "an estimate of the 9 MB of one value");
    let (stored, sql) = dumped(&engine).await;
    server.create("restored", "");
    server.client("mariadb", "restored", &[], &sql);

    assert_same(&server, "every thing", "restored");
    let sums = |database| {
        let tables = "numbers, texts, times, places, parts, `select`, `--help`, empty, parent, child, old, aria, audit";
        server.sql(database, &format!("CHECKSUM TABLE {tables}")).replace(&format!("{database}."), "")
    };
    assert_eq!(sums("every thing"), sums("restored"));
    assert_eq!(server.sql("restored", "SELECT double_of(21), NEXTVAL(counter) > 100"), "42\t1");

    let Contents::MysqlSql {
        database,
        server_version,
        dump_version,
        outside_snapshot,
        outside_snapshot_count,
        tables,
        rows,
    } = stored.report.contents
    else {
        panic!("other contents")
    };
    assert_eq!(database, "every thing");
    assert!(server_version.ends_with("-MariaDB") && server_version.starts_with('1'), "{server_version}");
    assert!(dump_version.starts_with("mariadb-dump "), "{dump_version}");
    assert_eq!((outside_snapshot, outside_snapshot_count), (vec!["aria".to_owned(), "old".to_owned()], 2));

    // Every table has as many rows as the server says.
    let counts = String::from_utf8(engine.beside().unwrap().bytes.to_vec()).unwrap();
    let lines: Vec<serde_json::Value> =
        counts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Some((lines.len() - 1) as u64), tables);
    assert_eq!(lines[0]["rows"].as_u64(), rows);
    let listed =
        "SELECT GROUP_CONCAT(table_name ORDER BY table_name SEPARATOR '/') FROM information_schema.tables
        WHERE table_schema = 'every thing' AND table_type = 'BASE TABLE'";
    let named: Vec<&str> = lines[1..].iter().map(|line| line["table"].as_str().unwrap()).collect();
    assert_eq!(named.join("/"), server.sql("every thing", listed));
    for line in &lines[1..] {
        let count = format!("SELECT COUNT(*) FROM `{}`", line["table"].as_str().unwrap());
        assert_eq!(line["rows"].to_string(), server.sql("every thing", &count), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_during_a_dump_is_of_one_moment() {
    let server = MariaDb::shared();
    server.create(
        "bank",
        "CREATE TABLE a_accounts (id INT PRIMARY KEY, money INT, padding CHAR(200));
         CREATE TABLE z_accounts LIKE a_accounts;
         INSERT INTO a_accounts SELECT seq, 100, REPEAT('x', 200) FROM seq_1_to_20000;
         INSERT INTO z_accounts SELECT seq, 100, REPEAT('x', 200) FROM seq_1_to_20000;
         CREATE TABLE done (n INT);
         DELIMITER //
         CREATE PROCEDURE transfer() BEGIN
            DECLARE n, giver, taker INT DEFAULT 0;
            WHILE n < 200 DO
                SET giver = 1 + FLOOR(RAND() * 20000), taker = 1 + FLOOR(RAND() * 20000);
                START TRANSACTION;
                UPDATE a_accounts SET money = money - 1 WHERE id = giver;
                UPDATE z_accounts SET money = money + 1 WHERE id = taker;
                INSERT INTO done VALUES (n);
                COMMIT;
                SET n = n + 1;
            END WHILE;
         END//",
    );
    let over = AtomicBool::new(false);
    for round in 0..3 {
        let restored = format!("bank_{round}");
        let sql = thread::scope(|scope| {
            let transfers = scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    server.sql("bank", "CALL transfer()");
                }
            });
            let before: u32 = server.sql("bank", "SELECT COUNT(*) FROM done").parse().unwrap();
            let engine = server.engine("bank");
            let (_, sql) =
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(dumped(&engine)));
            // Something moved while it was dumped.
            while server.sql("bank", "SELECT COUNT(*) FROM done").parse::<u32>().unwrap() == before {}
            over.store(true, Ordering::SeqCst);
            transfers.join().unwrap();
            over.store(false, Ordering::SeqCst);
            sql
        });
        server.create(&restored, "");
        server.client("mariadb", &restored, &[], &sql);
        let sums = "SELECT (SELECT SUM(money) FROM a_accounts) + (SELECT SUM(money) FROM z_accounts),
                    (SELECT SUM(money) FROM a_accounts) + (SELECT COUNT(*) FROM done)";
        assert_eq!(server.sql(&restored, sums), "4000000\t2000000");
    }
}
