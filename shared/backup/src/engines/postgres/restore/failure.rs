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
    let sql = beginning(sql);
    let state = SqlState::from_code(&refusal.code);
    if state == SqlState::OBJECT_IN_USE {
        let words = format!("{} ({sql}); end the sessions on it, then restore again", refusal.message);
        return told(service, "database_in_use", true, &words);
    }
    failure(service, of_state(&state), &format!("{} ({sql})", refusal.message))
}

/// The beginning of a statement, up to the first value in it: settings have secrets for values, and comments whatever people
/// write. A value begins with a quote, or with the dollar of one.
fn beginning(sql: &[u8]) -> String {
    let sql = String::from_utf8_lossy(sql);
    let end = sql.find(['\'', '$']).unwrap_or(sql.len());
    let mut told = sql[..end].split_whitespace().collect::<Vec<_>>().join(" ");
    let longest = told.char_indices().nth(LONGEST).map_or(told.len(), |(end, _)| end);
    if longest < told.len() || end < sql.len() {
        told.truncate(longest);
        told.push('…');
    }
    told
}

/// What it means that the connection broke.
pub(super) fn lost(service: &PostgresService, error: &io::Error) -> SliceError {
    failure(service, Fault::ConnectionLost, &error.to_string())
}

/// What the end of `pg_restore` means, with the last of what it said.
pub(super) fn of_restore(service: &PostgresService, status: ExitStatus, said: &str) -> SliceError {
    failure(service, of_words(said), &ended("pg_restore", status, &without_rows(said)))
}

/// What `pg_restore` complains of, without the statement that it shows after that, and without the lines in which the server shows
/// rows. What comes before its first complaint is the end of a statement.
fn without_rows(said: &str) -> String {
    const COMPLAINT: &str = "pg_restore: ";
    const STATEMENT: &str = "Command was:";
    const OF_ROWS: [&str; 5] = ["DETAIL:", "CONTEXT:", "QUERY:", "STATEMENT:", "LINE "];
    const OTHERS: [&str; 6] = [COMPLAINT, "ERROR:", "FATAL:", "PANIC:", "WARNING:", "HINT:"];
    let (mut is_told, mut is_statement) = (false, true);
    let mut kept = Vec::new();
    for line in said.lines() {
        if line.starts_with(COMPLAINT) {
            (is_told, is_statement) = (true, false);
        } else if line.starts_with(STATEMENT) {
            is_statement = true;
        } else if OF_ROWS.iter().any(|beginning| line.starts_with(beginning)) {
            is_told = false;
        } else if OTHERS.iter().any(|beginning| line.starts_with(beginning)) {
            is_told = true;
        }
        if is_told && !is_statement {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
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

#[cfg(test)]
mod tests {
    use holdfast_domain::application::{Login, Tls};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "ALTER ROLE \"app\"\n  SET \"app\".\"jwt_secret\" TO 'hunter2'",
        "ALTER ROLE \"app\" SET \"app\".\"jwt_secret\" TO…"
    )]
    #[case("COMMENT ON DATABASE shop IS $x$hunter2$x$", "COMMENT ON DATABASE shop IS…")]
    #[case("DROP DATABASE shop", "DROP DATABASE shop")]
    fn no_value_of_a_statement_is_told(#[case] sql: &str, #[case] told: &str) {
        assert_eq!(beginning(sql.as_bytes()), told);
    }

    #[test]
    fn a_long_statement_is_cut() {
        let told = beginning("ä ".repeat(LONGEST).as_bytes());
        assert_eq!((told.chars().count(), told.chars().last()), (LONGEST + 1, Some('…')));
    }

    #[rstest]
    #[case(
        "pg_restore: error: could not execute query: ERROR:  could not create unique index \"one\"\nDETAIL:  Key (mail)=(hunter2\nat \
         home) is duplicated.\nHINT:  Look at them.\nCommand was: CREATE UNIQUE INDEX one ON t (mail) WHERE mail <> 'hunter2';\n\nERROR: \
         hunter2\n",
        "pg_restore: error: could not execute query: ERROR:  could not create unique index \"one\"\nHINT:  Look at them."
    )]
    #[case(
        "INSERT INTO t VALUES ('hunter2');\nDETAIL: hunter2\npg_restore: error: COPY failed for table \"t\": ERROR:  no room\nCONTEXT:  COPY \
         t, line 1: \"hunter2\"",
        "pg_restore: error: COPY failed for table \"t\": ERROR:  no room"
    )]
    #[case("ERROR: hunter2", "")]
    #[case("", "")]
    fn no_row_is_told(#[case] said: &str, #[case] told: &str) {
        assert_eq!(without_rows(said), told);
    }

    #[test]
    fn what_it_means_is_known_all_the_same() {
        let service = PostgresService {
            name: "DEFAULT".parse().unwrap(),
            host: "localhost".to_owned(),
            port: 5432,
            database: "shop".to_owned(),
            secret_arn: String::new(),
            restore_secret_arn: None,
            isolated: None,
            login: Login::Password,
            tls: Tls::Disable,
        };
        let said = "pg_restore: error: could not execute query: ERROR:  it is not to be\nDETAIL:  No space left on device\n";
        let SliceError::Failed(failure) = of_restore(&service, ExitStatus::default(), said) else { panic!() };
        assert_eq!((failure.code.as_str(), failure.transient), ("server_strained", true));
        assert!(!failure.message.contains("No space"), "{}", failure.message);
    }
}
