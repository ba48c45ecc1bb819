//! Verifications of dumps: what is good passes, and no damage does.

use holdfast_backup::{
    engines::{Clients, postgres::DumpCompression},
    job::Job,
    slice::Worker,
    verify,
};
use holdfast_domain::backup::{Backup, Contents, VerificationState};
use holdfast_testing::{
    World, builders,
    machine::{self, drive_job},
};
use rstest::rstest;

use crate::{
    postgres_everything::{EVERYTHING, dump},
    postgres_restore::SHOP,
    server::Server,
};

/// Puts `bytes` into the place of the only artifact of a backup, verifies it with the programs of `server`, and gives the record.
async fn verified(world: &World, clients: &Clients, contents: &Contents, bytes: &[u8]) -> Backup {
    let shop = builders::slug("shop");
    let mut backup = world.succeeded(&shop, builders::now(), false);
    backup.artifacts.truncate(1);
    backup.artifacts[0].contents = contents.clone();
    backup.artifacts[0].object = world.artifacts.insert(&backup.artifacts[0].object.key, bytes.to_vec());
    world.ports.records.update_backup(&backup, 1, &[]).await.unwrap();
    again(world, clients, &backup).await
}

async fn again(world: &World, clients: &Clients, backup: &Backup) -> Backup {
    let (application, id) = (backup.application.clone(), backup.id);
    let asked = verify::ask(&world.ports, "bert", &application, id, verify::VerificationRequest::default())
        .await
        .unwrap()
        .value;
    let asked_at = asked.verification.unwrap().at;
    let job = Job::Verify { application: application.clone(), id, asked_at };
    let worker = Worker { clients: clients.clone(), ..machine::worker(world) };
    // What it ends with is in the record.
    let _ = drive_job(&worker, &job, std::time::Duration::from_mins(15)).await;
    world.backup(&application, id)
}

fn clients(server: &Server) -> Clients {
    Clients { postgres: server.clients().parse().unwrap(), mysql: "/nonexistent".parse().unwrap() }
}

fn postgres(server: &Server) -> Contents {
    Contents::PostgresCustom {
        database: "shop".to_owned(),
        server_version: format!("{}.0", server.client_major()),
        pg_dump_version: String::new(),
        tables: None,
        rows: None,
    }
}

fn state(backup: &Backup) -> VerificationState {
    backup.verification.as_ref().unwrap().state
}

#[rstest]
#[case(15, DumpCompression::Auto)]
#[case(15, DumpCompression::None)]
#[case(18, DumpCompression::Auto)]
#[tokio::test(flavor = "multi_thread")]
async fn everything_passes(#[case] major: u32, #[case] compression: DumpCompression) {
    let server = Server::of_major(major);
    let database = format!("verified_{}", compression.to_string().replace(':', "_"));
    server.create(&database, EVERYTHING);
    let archive = dump(&server, &database, compression).await;
    let after = verified(&World::new(), &clients(&server), &postgres(&server), &archive).await;
    let last = after.verification.unwrap();
    assert_eq!((last.state, last.failure), (VerificationState::Passed, None));
    assert!(
        last.artifacts[0].tables > Some(10) && last.artifacts[0].rows > Some(100),
        "{:?}",
        last.artifacts
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_as_the_server_counts_them() {
    let server = Server::of_major(15);
    server.create("verified_rows", SHOP);
    let archive = dump(&server, "verified_rows", DumpCompression::Auto).await;
    let after = verified(&World::new(), &clients(&server), &postgres(&server), &archive).await;
    let counted = &after.verification.as_ref().unwrap().artifacts[0];
    assert_eq!((counted.tables, counted.rows), (Some(2), Some(3000)));
}

/// Bytes of the header, the table of contents and the data, with a checksum that was made to fit: what reads them notices, or the
/// byte means nothing. And with the checksum of before: nothing passes.
#[tokio::test(flavor = "multi_thread")]
async fn no_damage_passes() {
    let server = Server::of_major(15);
    server.create("verified_damage", SHOP);
    let archive = dump(&server, "verified_damage", DumpCompression::Auto).await;
    let (clients, contents) = (clients(&server), postgres(&server));
    let world = World::new();
    let backup = verified(&world, &clients, &contents, &archive).await;
    assert_eq!(state(&backup), VerificationState::Passed);
    let key = &backup.artifacts[0].object.key;
    for at in (0..archive.len()).step_by(archive.len() / 40) {
        let mut damaged = archive.clone();
        damaged[at] ^= 0x10;
        world.artifacts.damage(key, damaged);
        let after = again(&world, &clients, &backup).await;
        assert_eq!(state(&after), VerificationState::Damaged, "byte {at}");
    }
    for end in [archive.len() - 1, archive.len() / 2] {
        let cut = verified(&World::new(), &clients, &contents, &archive[..end]).await;
        assert_eq!(state(&cut), VerificationState::Damaged, "{end} bytes, and their own checksum");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rows_than_were_counted_are_damage() {
    let server = Server::of_major(15);
    server.create("verified_counts", SHOP);
    let archive = dump(&server, "verified_counts", DumpCompression::Auto).await;
    let world = World::new();
    let backup = verified(&world, &clients(&server), &postgres(&server), &archive).await;
    let counts = backup.artifacts[0].object.key.replace("database.dump", "database.rows.jsonl");
    let text = "{\"format\":\"holdfast-row-counts\",\"version\":1,\"tables\":1,\"rows\":7}\n{\"dump_id\":1,\"rows\":7}\n";
    world.artifacts.insert(&counts, text);
    let after = again(&world, &clients(&server), &backup).await;
    assert_eq!(state(&after), VerificationState::Damaged);
}

/// A worker that lacks the program says nothing about the backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_no_damage() {
    let server = Server::of_major(15);
    server.create("verified_without", SHOP);
    let archive = dump(&server, "verified_without", DumpCompression::Auto).await;
    let clients =
        Clients { postgres: "/nonexistent/{major}".parse().unwrap(), mysql: "/nonexistent".parse().unwrap() };
    let after = verified(&World::new(), &clients, &postgres(&server), &archive).await;
    assert_eq!(state(&after), VerificationState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_is_read_to_its_last_line() {
    let clients =
        Clients { postgres: "/nonexistent/{major}".parse().unwrap(), mysql: "/nonexistent".parse().unwrap() };
    let contents = Contents::MysqlSql {
        database: "shop".to_owned(),
        server_version: "10.11.19-MariaDB".to_owned(),
        dump_version: String::new(),
        outside_snapshot: vec![],
        outside_snapshot_count: 0,
        tables: None,
        rows: None,
    };
    let sql = format!(
        "{}\n-- Dump completed on 2026-11-24 15:46:26\n",
        "INSERT INTO `t` VALUES (1);\n".repeat(9000)
    );
    let whole = zstd::encode_all(sql.as_bytes(), 3).unwrap();
    let without_end = zstd::encode_all(&sql.as_bytes()[..200_000], 3).unwrap();
    for (bytes, expected) in [
        (&whole[..], VerificationState::Passed),
        (&whole[..whole.len() - 3], VerificationState::Damaged),
        (&without_end, VerificationState::Damaged),
        (b"no zstd", VerificationState::Damaged),
    ] {
        let after = verified(&World::new(), &clients, &contents, bytes).await;
        assert_eq!(state(&after), expected, "{:?}", after.verification);
    }
}
