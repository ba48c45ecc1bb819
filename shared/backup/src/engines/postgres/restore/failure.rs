//! What goes wrong in a restore, in words that say what to do.

use std::{io, process::ExitStatus};

use holdfast_domain::application::PostgresService;
use tokio_postgres::error::SqlState;

use crate::{
    engines::{
        postgres::{
            failure::{Fault, of_state, of_words},
            wire::Refusal,
        },
        process::ended,
    },
    error::SliceError,
};

/// Enough of a statement to recognize it by, in characters.
const LONGEST: usize = 200;

/// What a refusal of `sql` by the server means.
pub(super) fn refused(service: &PostgresService, refusal: &Refusal, sql: &[u8]) -> SliceError {
    let sql = String::from_utf8_lossy(sql);
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    let sql = match sql.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql,
    };
    let state = SqlState::from_code(&refusal.code);
    if state == SqlState::OBJECT_IN_USE {
        let words = format!("{} ({sql}); end the sessions on it, then restore again", refusal.message);
        return told(service, "database_in_use", true, &words);
    }
    failure(service, of_state(&state), &format!("{} ({sql})", refusal.message))
}

/// What it means that the connection broke.
pub(super) fn lost(service: &PostgresService, error: &io::Error) -> SliceError {
    failure(service, Fault::ConnectionLost, &error.to_string())
}

/// What the end of `pg_restore` means, with the last of what it said.
pub(super) fn of_restore(service: &PostgresService, status: ExitStatus, said: &str) -> SliceError {
    failure(service, of_words(said), &ended("pg_restore", status, said.trim()))
}

/// The failure `fault`; `words` are the program's or the server's own.
pub(super) fn failure(service: &PostgresService, fault: Fault, words: &str) -> SliceError {
    let (code, advice) = match fault {
        Fault::DumpFailed | Fault::DumpKilled | Fault::Refused => {
            ("restore_refused", "mend what the server complains of, then restore again")
        }
        Fault::ServerStrained => (
            fault.code(),
            "give the server the disk, the memory or the locks that it lacks, then restore again",
        ),
        Fault::ConnectionLost => {
            (fault.code(), "check why the server or the network ended the connection, then restore again")
        }
        Fault::PermissionDenied => (
            fault.code(),
            "restore as a role that may do this: the owner of what is restored, or a superuser",
        ),
        Fault::TooManyConnections => (fault.code(), "free connections, or restore by fewer sessions"),
        _ => (fault.code(), "mend that, then restore again"),
    };
    told(service, code, fault.is_transient(), &format!("{}; {advice}", words.trim()))
}

fn told(service: &PostgresService, code: &str, transient: bool, words: &str) -> SliceError {
    let PostgresService { host, port, database, .. } = service;
    let message = format!("database {database:?} at {host}:{port}: {words}");
    if transient { SliceError::transient(code, message) } else { SliceError::permanent(code, message) }
}
