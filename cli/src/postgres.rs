//! `PostgreSQL` databases, as `dump` and `restore` reach them.

pub(crate) mod connection;
pub(crate) mod environment;
mod passfile;

use holdfast_backup::error::SliceError;

use crate::failure::Failure;

/// A failure of the engine, with what to do about it here rather than in a registration.
pub(crate) fn failed(error: &SliceError) -> Failure {
    Failure::of_engine(error, |code| match code {
        "wrong_password" => Some("give the role's password in PGPASSWORD, in ~/.pgpass or in the DSN"),
        "no_such_database" => Some("name another database with --dsn or PGDATABASE"),
        "tls_failed" => Some(
            "name the authority's certificate with sslrootcert, or use sslmode=disable on a network you trust",
        ),
        "server_too_new" | "server_too_old" | "client_missing" => Some(
            "install the client programs of the server's major version, and name their folder with --clients",
        ),
        "unreachable_host" | "unknown_host" => {
            Some("check host and port, and that the server runs and lets this machine in")
        }
        _ => None,
    })
}
