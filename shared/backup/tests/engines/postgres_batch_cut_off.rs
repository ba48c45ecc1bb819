//! Small tables are read with one query: its answer is cut off, refused or spoiled in its midst.

use holdfast_backup::upload::store;
use holdfast_domain::application::PostgresService;
use holdfast_testing::World;
use rstest::rstest;

use crate::{
    KEY, failure,
    interference::{Place, Proxy, Trouble},
    observer::Witness,
    server::{PASSWORD, Server, engine},
};

const TABLES: u32 = 40;

/// Tables of a few rows; the statement that reads a table gives its number.
fn tables() -> String {
    let table = |number| {
        format!(
            "CREATE TABLE t{number:02} AS SELECT {number} AS t, n, md5(n::text) FROM generate_series(1, 5) n"
        )
    };
    (0..TABLES).map(table).collect::<Vec<_>>().join("; ")
}

/// All rows of all tables.
fn rows(server: &Server, database: &str) -> String {
    let tables = (0..TABLES).map(|number| format!("SELECT * FROM t{number:02} ORDER BY n"));
    server.sql(database, &tables.collect::<Vec<_>>().join("; "))
}

/// What becomes of the dump: the code of its failure, or a whole archive.
#[rstest]
#[case::cut_off(Trouble::Close, Some("connection_lost"))]
#[case::reset(Trouble::Reset, Some("connection_lost"))]
#[case::ended_by_the_server(Trouble::End("57P01"), Some("connection_lost"))]
#[case::cancelled(Trouble::Refuse("57014"), Some("query_cancelled"))]
#[case::out_of_memory(Trouble::Refuse("53200"), Some("server_strained"))]
#[case::no_permission(Trouble::Refuse("42501"), Some("permission_denied"))]
// Somebody waits for the table: the session that has locked it reads it, and the rest of the batch is read anew.
#[case::locked(Trouble::Refuse("55P03"), None)]
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_cut_off_is_a_failure_or_read_anew(
    #[case] trouble: Trouble,
    #[case] code: Option<&str>,
    #[values(Place::Before(0), Place::Before(5), Place::Row(0), Place::Row(5), Place::End)] place: Place,
) {
    // A batch that has been answered is not refused any more.
    if place == Place::End && matches!(trouble, Trouble::Refuse(_)) {
        return;
    }
    check(trouble, place, code).await;
}

/// Fewer rows than the server says there are, or no end of them, are never a dump.
#[rstest]
#[case::a_row(Place::Row(3))]
#[case::the_first_row(Place::Row(0))]
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_lost_fails_the_dump(#[case] place: Place) {
    check(Trouble::Lose, place, Some("connection_lost")).await;
}

async fn check(trouble: Trouble, place: Place, code: Option<&str>) {
    let server = Server::shared();
    let database: String = format!("batch {trouble:?} {place:?}").replace(['"', '(', ')'], " ");
    server.create(&database, &tables());
    let proxy = Proxy::before(server.port, place, trouble).await;
    let service = PostgresService { port: proxy.port, ..server.service(&database) };
    let (engine, world) = (engine(service, "postgres", PASSWORD), World::new());
    let outcome = store(world.ports.artifacts.as_ref(), &engine, KEY, &mut Witness::default()).await;
    assert!(proxy.has_struck(), "no batch was read");
    if let Some(code) = code {
        let failure = failure(outcome);
        assert_eq!(failure.code, code, "{}", failure.message);
        assert_eq!(world.artifacts.object_keys(), Vec::<String>::new(), "an object appeared");
        assert_eq!(world.artifacts.open_upload_count(), 0, "an upload is left open");
    } else {
        outcome.unwrap();
        let restored = format!("{database} restored");
        server.create(&restored, "");
        let archive = world.artifacts.bytes(KEY).unwrap();
        server.client("pg_restore", "", &["--exit-on-error", "-d", &restored], &archive);
        assert_eq!(rows(&server, &restored), rows(&server, &database));
        server.sql("postgres", &format!("DROP DATABASE \"{restored}\""));
    }
    server.assert_no_session(&database);
    server.sql("postgres", &format!("DROP DATABASE \"{database}\""));
}
