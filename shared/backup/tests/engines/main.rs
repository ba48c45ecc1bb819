//! The engines and the upload: real databases, media in memory, and everything that goes wrong on the way.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod child_process;
mod interference;
mod legs;
mod mariadb_server;
mod media;
mod media_restore;
mod memory;
mod mysql;
mod mysql_checksums;
mod mysql_cut_off;
mod mysql_legs;
mod mysql_refused;
mod mysql_restore;
mod mysql_restore_bad_days;
mod mysql_restore_slices;
mod mysql_restored;
mod observer;
mod pg_dump_process;
mod postgres;
mod postgres_batch_cut_off;
mod postgres_checksums;
mod postgres_consistency;
mod postgres_cut_off;
mod postgres_everything;
mod postgres_iam;
mod postgres_large;
mod postgres_legs;
mod postgres_refused;
mod postgres_rehearsal;
mod postgres_restore;
mod postgres_restore_bad_days;
mod postgres_restore_shared;
mod postgres_restore_tables;
mod postgres_restorer;
mod postgres_slices;
mod postgres_tls;
mod server;
mod store;
mod upload;
mod verification;

use holdfast_backup::error::SliceError;
use holdfast_domain::backup::Failure;

/// The key that tests store at.
const KEY: &str = "applications/shop/019d4b8e-7a00-7000-8000-000000000000/DEFAULT/artifact";

/// The failure inside, or a panic that says what came instead.
fn failure<T>(outcome: Result<T, SliceError>) -> Failure {
    match outcome {
        Err(SliceError::Failed(failure)) => failure,
        Err(other) => panic!("ended otherwise: {other}"),
        Ok(_) => panic!("it succeeded"),
    }
}

/// It has this code, passes by itself or not, and says these words.
fn assert_failure(failure: &Failure, code: &str, transient: bool, words: &[&str]) {
    assert_eq!((failure.code.as_str(), failure.transient), (code, transient), "{}", failure.message);
    for words in words {
        assert!(failure.message.contains(words), "{:?} does not say {words:?}", failure.message);
    }
}
