//! One large table that several sessions restore at once.

use holdfast_backup::engines::postgres::DumpCompression;

use crate::{
    assert_failure, failure,
    postgres_everything::{assert_same, dump},
    postgres_restore::{OPTIONS, assert_nothing_left, file, restore},
    server::Server,
};

/// Rows of a few KiB, among them some that are longer than what is sent at once, with all that is escaped in them; and a small table.
pub(crate) const LARGE: &str = r"
    CREATE TABLE large AS SELECT n, CASE WHEN n % 800 = 0 THEN repeat(E'\\.\n\t\\N ä' || n, 60000) ELSE text END AS text
        FROM generate_series(1, 12000) n,
        LATERAL (SELECT string_agg(md5(n || ' ' || m), E'\n') AS text FROM generate_series(1, 130) m) AS texts;
    ALTER TABLE large ADD PRIMARY KEY (n);
    CREATE TABLE small AS SELECT n FROM generate_series(1, 10) n";

const DIGEST: &str =
    "SELECT count(*), sum(hashtextextended(text, n)), max(length(text)) > 512 * 1024 FROM large;
    SELECT sum(n) FROM small";

#[tokio::test(flavor = "multi_thread")]
async fn several_sessions_copy_one_table() {
    let server = Server::shared();
    server.create("shared_source", LARGE);
    let archive = dump(&server, "shared_source", DumpCompression::Auto).await;
    let (_folder, path) = file(&archive);
    let report = restore(&server, "shared", &path, OPTIONS).await.unwrap();
    assert_eq!((report.tables, report.rows), (2, 12010));
    let digest = server.sql("shared", DIGEST);
    assert!(digest.starts_with("12000|") && digest.contains("|t\n"), "{digest}");
    assert_same(&digest, &server.sql("shared_source", DIGEST));
    // Each session has a transaction of its own.
    let sessions = "SELECT count(DISTINCT xmin::text) FROM large";
    assert_eq!(server.sql("shared", sessions), OPTIONS.jobs.to_string());

    // What is wrong with the rows is told once, whichever session comes upon it.
    let mut damaged = archive;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let (_folder, path) = file(&damaged);
    let refused = failure(restore(&server, "shared_damaged", &path, OPTIONS).await);
    assert_failure(&refused, "archive_damaged", false, &["the rows of \"public\".\"large\""]);
    assert_nothing_left(&server, "shared_damaged");
    for database in ["shared_source", "shared"] {
        server.sql("postgres", &format!("DROP DATABASE {database}"));
    }
}
