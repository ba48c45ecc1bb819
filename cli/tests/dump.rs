//! `holdfast dump` as a process, where no dump comes of it: nothing is left, and the reason is said.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};

fn holdfast(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .arg("dump")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What it says on standard error, having failed with `code` and left nothing in `folder`.
fn refusal(folder: &Path, output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?} is left");
    said
}

/// A port where nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let dsn = format!("postgresql://me:hunter2@127.0.0.1:{}/shop", closed_port());
    let output = holdfast(folder.path(), &["--dsn", &dsn, "--output", "shop.dump"]).output().unwrap();
    let said = refusal(folder.path(), &output, 1);
    assert!(
        said.contains("database \"shop\" at 127.0.0.1") && said.contains("check host and port"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[rstest]
#[case::interrupted(Signal::INT)]
#[case::terminated(Signal::TERM)]
fn somebody_stops_it(#[case] signal: Signal) {
    // A server that listens and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let dsn = format!("host=127.0.0.1 port={port} user=me");
    let child = holdfast(folder.path(), &["--dsn", &dsn, "--output", "shop.dump"]).spawn().unwrap();
    let (session, _) = listener.accept().unwrap();
    thread::sleep(Duration::from_millis(100));
    kill_process(Pid::from_child(&child), signal).unwrap();
    let said = refusal(folder.path(), &child.wait_with_output().unwrap(), 130);
    assert!(said.contains("nothing is left"), "{said}");
    drop(session);
}

#[rstest]
#[case(&["--dsn", "host=h user=me"], "--output")]
#[case(&["--dsn", "host=h user=me", "--output", "."], "is a folder")]
#[case(&["--dsn", "host=h user=me", "--output", "s3://bucket"], "names no object")]
#[case(&["--dsn", "host=h user=me", "--output", "s3://Bucket/shop.dump"], "not the name of a bucket")]
#[case(&["--dsn", "host=h user=me", "--output", "shop.dump", "--storage-class", "STANDARD"], "is for objects")]
#[case(&["--dsn", "host=h user=me", "--output", "s3://bucket/a", "--storage-class", "GLACIER"], "GLACIER_IR")]
#[case(&["--dsn", "host=h user=me sslmode=require", "--output", "shop.dump"], "verify-full")]
#[case(&["--dsn", "host=h user=me", "--output", "shop.dump", "--compress", "lz4"], "zstd:1 to zstd:19")]
#[case(&["--dsn", "host=h user=me", "--output", "shop.dump", "--jobs", "0"], "--jobs")]
#[case(&["--dsn", "host=h user=me", "--output", "shop.dump", "--clients", "/usr/bin"], "{major}")]
#[case(&["--output", "shop.dump"], "PGUSER")]
fn wrong_usage(#[case] arguments: &[&str], #[case] words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let said = refusal(folder.path(), &holdfast(folder.path(), arguments).output().unwrap(), 2);
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_file_that_is_there_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.dump");
    fs::write(&file, "precious").unwrap();
    let output =
        holdfast(folder.path(), &["--dsn", "host=h user=me", "--output", "shop.dump"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--overwrite"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}
