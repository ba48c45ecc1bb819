//! What goes wrong in a restore, in words that say what to do.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use holdfast_domain::application::MysqlService;

use crate::{
    engines::{
        mysql::failure::{Fault, of_words},
        process::{ended, killed},
    },
    error::SliceError,
};

/// What the end of a client program means, with the last of what it said.
pub(super) fn of_end(service: &MysqlService, status: ExitStatus, said: &str) -> SliceError {
    let said = complaint(said);
    if let Some(signal) = status.signal() {
        return failure(service, Fault::DumpKilled, &killed("the client program", signal, said));
    }
    failure(service, of_words(said), &ended("the client program", status, said))
}

/// The failure `fault`; `words` are the program's or the server's own.
pub(super) fn failure(service: &MysqlService, fault: Fault, words: &str) -> SliceError {
    let (code, transient, advice) = match fault {
        Fault::DumpFailed | Fault::Refused | Fault::SchemaChanged | Fault::BrokenView => {
            ("restore_refused", false, "mend what the server complains of, then restore again")
        }
        Fault::DumpKilled => ("client_killed", true, "check the worker's memory, then restore again"),
        Fault::PermissionDenied if words.contains("SET USER") || words.contains("SUPER") => (
            fault.code(),
            false,
            "what is restored has definers other than this account: grant it SET USER (MariaDB), SET_ANY_DEFINER or SET_USER_ID \
             (MySQL), or restore with no_owner, so that it becomes the definer of everything",
        ),
        Fault::PermissionDenied => (
            fault.code(),
            false,
            "restore with an account that may do this: register its secret as restore_secret_arn",
        ),
        Fault::TablesLocked => {
            (fault.code(), true, "end the sessions that hold the tables of the database, then restore again")
        }
        Fault::RowTooLong => {
            (fault.code(), false, "raise the server's max_allowed_packet, then restore again")
        }
        Fault::ServerStrained => {
            (fault.code(), true, "give the server the disk or the memory that it lacks, then restore again")
        }
        Fault::ConnectionLost => (
            fault.code(),
            true,
            "check why the server or the network ended the connection, then restore again",
        ),
        _ => (fault.code(), fault.is_transient(), "mend that, then restore again"),
    };
    told(service, code, transient, &format!("{}; {advice}", words.trim()))
}

/// A failure of the database that `service` names, in these words.
pub(super) fn told(service: &MysqlService, code: &str, transient: bool, words: &str) -> SliceError {
    let MysqlService { host, port, database, .. } = service;
    let message = format!("database {database:?} at {host}:{port}: {words}");
    if transient { SliceError::transient(code, message) } else { SliceError::permanent(code, message) }
}

/// What a client complains of, without the statement that it shows before: there may be rows in it.
fn complaint(said: &str) -> &str {
    let said = said.trim().trim_end_matches('-').trim_end();
    let starts = said.rmatch_indices("ERROR ").map(|(at, _)| at);
    let mut starts = starts.filter(|at| *at == 0 || said.as_bytes()[at - 1] == b'\n');
    starts.next().map_or(said, |start| &said[start..])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "--------------\nINSERT INTO t VALUES ('private')\n--------------\n\nERROR 1062 (23000) at line 3: Duplicate entry",
        "ERROR 1062 (23000) at line 3: Duplicate entry"
    )]
    #[case("ERROR 2013 (HY000): Lost connection", "ERROR 2013 (HY000): Lost connection")]
    #[case("mariadb: unknown option '--nope'", "mariadb: unknown option '--nope'")]
    #[case("", "")]
    fn rows_are_not_told(#[case] said: &str, #[case] kept: &str) {
        assert_eq!(complaint(said), kept);
    }
}
