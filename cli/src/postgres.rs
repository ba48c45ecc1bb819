//! `PostgreSQL` databases, as `dump` and `restore` reach them.

pub(crate) mod connection;
pub(crate) mod environment;
mod passfile;

use holdfast_backup::error::SliceError;

use crate::failure::Failure;

/// A failure of the engine, with what to do about it here rather than in a registration.
pub(crate) fn failed(error: &SliceError) -> Failure {
    let SliceError::Failed(failure) = error else { return Failure::new(error.to_string()) };
    let fix = match failure.code.as_str() {
        "wrong_password" => "give the role's password in PGPASSWORD, in ~/.pgpass or in the DSN",
        "no_such_database" => "name another database with --dsn or PGDATABASE",
        "tls_failed" => {
            "name the authority's certificate with sslrootcert, or use sslmode=disable on a network you trust"
        }
        "server_too_new" | "server_too_old" | "client_missing" => {
            "install the client programs of the server's major version, and name their folder with --clients"
        }
        "unreachable_host" | "unknown_host" => {
            "check host and port, and that the server runs and lets this machine in"
        }
        _ => return Failure::new(&failure.message),
    };
    // The engine's own advice, which is for registered services, comes after the last semicolon.
    let what = failure.message.rsplit_once("; ").map_or(failure.message.as_str(), |(what, _)| what);
    Failure::new(what).fix(fix)
}
