//! `holdfast restore` as a process, where nothing comes of it: the reason is said, and what to do.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

/// The smallest archive there is: a header of `PostgreSQL` 15, and no entries.
fn empty_archive() -> Vec<u8> {
    let mut bytes = b"PGDMP\x01\x0e\x00\x04\x08\x01".to_vec();
    // Compression, seven fields of a time, and the lengths of three texts.
    for value in [0, 0, 0, 0, 1, 0, 126, 0] {
        bytes.extend_from_slice(&[0, value, 0, 0, 0]);
    }
    for text in ["shop", "15.18", "15.18"] {
        bytes.extend_from_slice(&[0, u8::try_from(text.len()).unwrap(), 0, 0, 0]);
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(&[0; 5]);
    bytes
}

fn holdfast(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .arg("restore")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What it says on standard error, having failed with `code`.
fn refusal(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    said
}

#[rstest]
#[case::not_there("other.dump", "cannot be read")]
#[case::a_folder(".", "pg_restore")]
#[case::mysql("database.sql.zst", "zstd -dc")]
#[case::cut_off("short.dump", "is damaged")]
fn a_file_that_cannot_be_restored(#[case] name: &str, #[case] words: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("database.sql.zst"), b"\x28\xb5\x2f\xfd\x00").unwrap();
    fs::write(folder.path().join("short.dump"), &empty_archive()[..40]).unwrap();
    let output = holdfast(folder.path(), &["--dsn", "host=127.0.0.1 user=me", name]).output().unwrap();
    let said = refusal(&output, 1);
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_checksum_that_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.dump"), empty_archive()).unwrap();
    let arguments = ["--dsn", "host=127.0.0.1 user=me", "--checksum", "AAAAAAAAAAA=", "shop.dump"];
    let said = refusal(&holdfast(folder.path(), &arguments).output().unwrap(), 1);
    assert!(said.contains("CRC64NVME") && said.contains("AAAAAAAAAAA="), "{said}");
}

#[test]
fn a_server_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.dump"), empty_archive()).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dsn = format!("postgresql://me:hunter2@127.0.0.1:{port}/shop");
    let said = refusal(&holdfast(folder.path(), &["--dsn", &dsn, "shop.dump"]).output().unwrap(), 1);
    assert!(
        said.contains("database \"shop\" at 127.0.0.1") && said.contains("check host and port"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn somebody_stops_it() {
    // A server that listens and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("shop.dump"), empty_archive()).unwrap();
    let dsn = format!("host=127.0.0.1 port={} user=me", listener.local_addr().unwrap().port());
    let child = holdfast(folder.path(), &["--dsn", &dsn, "shop.dump"]).spawn().unwrap();
    // Signals are listened to before the server is asked.
    let (session, _) = listener.accept().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let said = refusal(&child.wait_with_output().unwrap(), 130);
    assert!(said.contains("is as it was"), "{said}");
    drop(session);
}

#[rstest]
#[case(&["--dsn", "host=h user=me"], "FILE")]
#[case(&["--dsn", "host=h user=me", "--checksum", "abc", "shop.dump"], "CRC64NVME")]
#[case(&["--dsn", "mysql://me@h/shop", "shop.dump"], "PostgreSQL only")]
#[case(&["--dsn", "host=h user=me", "--jobs", "0", "shop.dump"], "--jobs")]
fn wrong_usage(#[case] arguments: &[&str], #[case] words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let said = refusal(&holdfast(folder.path(), arguments).output().unwrap(), 2);
    assert!(said.contains(words), "{said}");
}
