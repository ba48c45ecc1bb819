//! What went wrong with a database, as a stable code and as words that say what to do.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use holdfast_domain::application::PostgresService;
use tokio_postgres::error::SqlState;

use super::wire::Refusal;
use crate::{
    engines::{
        process::{ended, killed},
        unreached::Unreached,
    },
    error::SliceError,
};

/// The kinds of faults that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    WrongPassword,
    NoSuchDatabase,
    UnreachableHost,
    UnknownHost,
    /// The resolver did not answer, so nobody knows whether the host exists.
    ResolverFailed,
    TlsFailed,
    TooManyConnections,
    PermissionDenied,
    ServerStarting,
    ConnectionLost,
    TablesLocked,
    /// Somebody or something ended a query.
    Cancelled,
    /// The server ended a query that was in the way of others: on a replica, of what it has to replay.
    Conflict,
    /// The server lacks memory, disk space or locks, or cannot read its disk.
    ServerStrained,
    /// Sessions of one dump are not on the same server.
    SeveralServers,
    /// The server refused for a reason of its own.
    Refused,
    /// `pg_dump` failed for a reason of its own.
    DumpFailed,
    /// A signal ended `pg_dump`.
    DumpKilled,
}

impl Fault {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::NoSuchDatabase => "no_such_database",
            Self::UnreachableHost => "unreachable_host",
            Self::UnknownHost | Self::ResolverFailed => "unknown_host",
            Self::TlsFailed => "tls_failed",
            Self::TooManyConnections => "too_many_connections",
            Self::PermissionDenied => "permission_denied",
            Self::ServerStarting => "server_starting",
            Self::ConnectionLost => "connection_lost",
            Self::TablesLocked => "tables_locked",
            Self::Cancelled => "query_cancelled",
            Self::Conflict => "query_conflict",
            Self::ServerStrained => "server_strained",
            Self::SeveralServers => "several_servers",
            Self::Refused => "database_refused",
            Self::DumpFailed => "dump_failed",
            Self::DumpKilled => "dump_killed",
        }
    }

    /// Whether it may pass by itself. A server that cannot be reached may just be failing over.
    pub(super) fn is_transient(self) -> bool {
        matches!(
            self,
            Self::UnreachableHost
                | Self::ResolverFailed
                | Self::TooManyConnections
                | Self::ServerStarting
                | Self::ConnectionLost
                | Self::TablesLocked
                | Self::Cancelled
                | Self::Conflict
                | Self::ServerStrained
                | Self::SeveralServers
                | Self::DumpKilled
        )
    }

    fn advice(self) -> &'static str {
        match self {
            Self::WrongPassword => "put the role's current name and password into the service's secret",
            Self::NoSuchDatabase => "create it, or register the service with the right database",
            Self::UnreachableHost => {
                "check host and port, that the server runs, and that its security group lets the worker in"
            }
            Self::UnknownHost => "check the host name, and that it resolves in the worker's network",
            Self::ResolverFailed => "check that the worker's network has a name server",
            Self::TlsFailed => {
                "the certificate must be valid, issued for this host, and by an authority that is trusted: register that \
                 authority as tls.ca_pem"
            }
            Self::TooManyConnections => "free connections, or raise the server's max_connections",
            Self::PermissionDenied => {
                "let the role connect to the database and read all of it, for instance as a member of pg_read_all_data"
            }
            Self::ServerStarting => "wait until the server accepts connections",
            Self::ConnectionLost => "check why the server or the network ended the connection",
            Self::TablesLocked => "back up when no other session holds an exclusive lock",
            Self::Cancelled => {
                "find who cancels queries of this role, or what limits their time, then back up again"
            }
            Self::Conflict => {
                "back up again; on a replica, raise max_standby_streaming_delay or set hot_standby_feedback"
            }
            Self::ServerStrained => {
                "give the server the memory, the disk or the locks that it lacks, then back up again"
            }
            Self::SeveralServers => "register a host name that leads to one server",
            Self::Refused | Self::DumpFailed => "mend what the server complains of, then back up again",
            Self::DumpKilled => "check the worker's memory, then back up again",
        }
    }
}

/// The failure `fault` of the database that `service` names; `words` are the program's or the server's own.
pub(super) fn failure(service: &PostgresService, fault: Fault, words: &str) -> SliceError {
    let PostgresService { host, port, database, .. } = service;
    let message = format!("database {database:?} at {host}:{port}: {}; {}", words.trim(), fault.advice());
    if fault.is_transient() {
        SliceError::transient(fault.code(), message)
    } else {
        SliceError::permanent(fault.code(), message)
    }
}

/// What a refusal of the server means.
pub(super) fn of_refusal(service: &PostgresService, refusal: &Refusal) -> SliceError {
    failure(service, of_state(&SqlState::from_code(&refusal.code)), &refusal.message)
}

/// What an error of a connection that is being made means.
pub(super) fn of_io_error(service: &PostgresService, error: &io::Error) -> SliceError {
    failure(service, Unreached::of(error).into(), &error.to_string())
}

/// What a code of the server means: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn of_state(state: &SqlState) -> Fault {
    match state {
        state if *state == SqlState::INVALID_PASSWORD => Fault::WrongPassword,
        state if *state == SqlState::INVALID_CATALOG_NAME || *state == SqlState::DATABASE_DROPPED => {
            Fault::NoSuchDatabase
        }
        state
            if *state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
                || *state == SqlState::INSUFFICIENT_PRIVILEGE =>
        {
            Fault::PermissionDenied
        }
        state if *state == SqlState::TOO_MANY_CONNECTIONS => Fault::TooManyConnections,
        state if *state == SqlState::LOCK_NOT_AVAILABLE => Fault::TablesLocked,
        state if *state == SqlState::QUERY_CANCELED => Fault::Cancelled,
        state if *state == SqlState::CANNOT_CONNECT_NOW => Fault::ServerStarting,
        // A conflict with recovery is told as a failed serialization or as a deadlock.
        state if state.code().starts_with("40") => Fault::Conflict,
        state if state.code().starts_with("53") || *state == SqlState::IO_ERROR => Fault::ServerStrained,
        state if state.code().starts_with("57P") || state.code().starts_with("08") => Fault::ConnectionLost,
        _ => Fault::Refused,
    }
}

impl From<Unreached> for Fault {
    fn from(why: Unreached) -> Self {
        match why {
            Unreached::UnknownHost => Self::UnknownHost,
            Unreached::ResolverFailed => Self::ResolverFailed,
            Unreached::UnreachableHost => Self::UnreachableHost,
            Unreached::ConnectionLost => Self::ConnectionLost,
        }
    }
}

/// What the end of `pg_dump` means, with the last of what it said.
pub(super) fn of_dump(service: &PostgresService, status: ExitStatus, said: &str) -> SliceError {
    let said = said.trim();
    if let Some(signal) = status.signal() {
        return failure(service, Fault::DumpKilled, &killed("pg_dump", signal, said));
    }
    failure(service, of_words(said), &ended("pg_dump", status, said))
}

/// What `pg_dump` says when it fails, in the C locale. It gives the server's words but not its codes.
const SAYINGS: [(&str, Fault); 28] = [
    ("password authentication failed", Fault::WrongPassword),
    ("no password supplied", Fault::WrongPassword),
    ("could not translate host name", Fault::UnknownHost),
    ("certificate verify failed", Fault::TlsFailed),
    ("server certificate for", Fault::TlsFailed),
    ("SSL error", Fault::TlsFailed),
    ("server does not support SSL", Fault::TlsFailed),
    ("too many clients already", Fault::TooManyConnections),
    ("remaining connection slots are reserved", Fault::TooManyConnections),
    ("too many connections for", Fault::TooManyConnections),
    ("the database system is", Fault::ServerStarting),
    ("due to conflict with recovery", Fault::Conflict),
    ("server closed the connection unexpectedly", Fault::ConnectionLost),
    ("terminating connection", Fault::ConnectionLost),
    ("connection to server was lost", Fault::ConnectionLost),
    ("could not receive data from server", Fault::ConnectionLost),
    ("no connection to the server", Fault::ConnectionLost),
    ("SSL SYSCALL error", Fault::ConnectionLost),
    ("Connection refused", Fault::UnreachableHost),
    ("timeout expired", Fault::UnreachableHost),
    ("deadlock detected", Fault::Conflict),
    ("canceling statement due to statement timeout", Fault::TablesLocked),
    ("canceling statement due to lock timeout", Fault::TablesLocked),
    ("canceling statement due to", Fault::Cancelled),
    ("out of shared memory", Fault::ServerStrained),
    ("No space left on device", Fault::ServerStrained),
    ("permission denied", Fault::PermissionDenied),
    ("no pg_hba.conf entry", Fault::PermissionDenied),
];

/// What the words of a program mean.
pub(super) fn of_words(said: &str) -> Fault {
    if said.contains("FATAL:  database ") && said.contains("does not exist") {
        return Fault::NoSuchDatabase;
    }
    // A lost connection shows as the one or the other; the saying that tells more comes first.
    SAYINGS.iter().find(|(words, _)| said.contains(words)).map_or(Fault::DumpFailed, |(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("28P01", Fault::WrongPassword)]
    #[case("28000", Fault::PermissionDenied)]
    #[case("3D000", Fault::NoSuchDatabase)]
    #[case("42501", Fault::PermissionDenied)]
    #[case("53300", Fault::TooManyConnections)]
    #[case("57P01", Fault::ConnectionLost)]
    #[case("57P03", Fault::ServerStarting)]
    #[case("57P04", Fault::NoSuchDatabase)]
    #[case("08006", Fault::ConnectionLost)]
    #[case("55P03", Fault::TablesLocked)]
    #[case("57014", Fault::Cancelled)]
    #[case("40001", Fault::Conflict)]
    #[case("40P01", Fault::Conflict)]
    #[case("53100", Fault::ServerStrained)]
    #[case("53200", Fault::ServerStrained)]
    #[case("58030", Fault::ServerStrained)]
    #[case("XX000", Fault::Refused)]
    fn a_code_of_the_server_has_its_meaning(#[case] code: &str, #[case] fault: Fault) {
        assert_eq!(of_state(&SqlState::from_code(code)), fault);
    }

    #[rstest]
    #[case("FATAL:  password authentication failed for user \"shop\"", Fault::WrongPassword)]
    #[case("FATAL:  database \"shop\" does not exist", Fault::NoSuchDatabase)]
    #[case("FATAL:  sorry, too many clients already", Fault::TooManyConnections)]
    #[case("FATAL:  the database system is starting up", Fault::ServerStarting)]
    #[case("error: query failed: server closed the connection unexpectedly", Fault::ConnectionLost)]
    #[case("FATAL:  terminating connection due to administrator command", Fault::ConnectionLost)]
    #[case("ERROR:  canceling statement due to statement timeout", Fault::TablesLocked)]
    #[case("ERROR:  canceling statement due to user request", Fault::Cancelled)]
    #[case("ERROR:  canceling statement due to conflict with recovery", Fault::Conflict)]
    #[case("FATAL:  terminating connection due to conflict with recovery", Fault::Conflict)]
    #[case("ERROR:  out of shared memory", Fault::ServerStrained)]
    #[case("ERROR:  permission denied for table secrets", Fault::PermissionDenied)]
    #[case("ERROR:  invalid page in block 3 of relation base/1/2", Fault::DumpFailed)]
    fn what_pg_dump_says_has_its_meaning(#[case] said: &str, #[case] fault: Fault) {
        assert_eq!(of_words(said), fault);
    }
}
