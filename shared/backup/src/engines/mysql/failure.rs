//! What went wrong with a database, as a stable code and as words that say what to do.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use holdfast_domain::application::MysqlService;

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
    /// The account logs in by a method that the client program does not have.
    UnknownLogin,
    NoSuchDatabase,
    UnreachableHost,
    UnknownHost,
    /// The resolver did not answer, so nobody knows whether the host exists.
    ResolverFailed,
    TlsFailed,
    TooManyConnections,
    PermissionDenied,
    ConnectionLost,
    TablesLocked,
    /// Somebody or something ended a query.
    Cancelled,
    /// A table was altered, emptied or dropped meanwhile.
    SchemaChanged,
    /// A view that cannot be read: what it is made of, or who defined it, is gone.
    BrokenView,
    /// A row is longer than the server or the program takes.
    RowTooLong,
    /// The server lacks memory or disk space.
    ServerStrained,
    /// The server refused for a reason of its own.
    Refused,
    /// The dump program failed for a reason of its own.
    DumpFailed,
    /// A signal ended the dump program.
    DumpKilled,
}

impl Fault {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::UnknownLogin => "unknown_login",
            Self::NoSuchDatabase => "no_such_database",
            Self::UnreachableHost => "unreachable_host",
            Self::UnknownHost | Self::ResolverFailed => "unknown_host",
            Self::TlsFailed => "tls_failed",
            Self::TooManyConnections => "too_many_connections",
            Self::PermissionDenied => "permission_denied",
            Self::ConnectionLost => "connection_lost",
            Self::TablesLocked => "tables_locked",
            Self::Cancelled => "query_cancelled",
            Self::SchemaChanged => "schema_changed",
            Self::BrokenView => "broken_view",
            Self::RowTooLong => "row_too_long",
            Self::ServerStrained => "server_strained",
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
                | Self::ConnectionLost
                | Self::TablesLocked
                | Self::Cancelled
                | Self::SchemaChanged
                | Self::ServerStrained
                | Self::DumpKilled
        )
    }

    fn advice(self) -> &'static str {
        match self {
            Self::WrongPassword => "put the account's current name and password into the service's secret",
            Self::UnknownLogin => "let the account log in by a password the client program can send",
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
                "grant the account SELECT, SHOW VIEW, TRIGGER and EVENT on the database, and what shows it all routines \
                 with their text: SELECT on mysql.proc (MariaDB) or SHOW_ROUTINE (MySQL)"
            }
            Self::ConnectionLost => "check why the server or the network ended the connection",
            Self::TablesLocked => "back up when no other session holds locks on whole tables",
            Self::Cancelled => {
                "find who ends queries of this account, or what limits their time, then back up again"
            }
            Self::SchemaChanged => "back up again while nobody alters tables",
            Self::BrokenView => {
                "drop the view, or mend what it is made of and who defined it: it could not be restored either"
            }
            Self::RowTooLong => "raise the server's max_allowed_packet",
            Self::ServerStrained => {
                "give the server the memory or the disk that it lacks, then back up again"
            }
            Self::Refused | Self::DumpFailed => "mend what the server complains of, then back up again",
            Self::DumpKilled => "check the worker's memory, then back up again",
        }
    }
}

/// The failure `fault` of the database that `service` names; `words` are the program's or the server's own.
pub(super) fn failure(service: &MysqlService, fault: Fault, words: &str) -> SliceError {
    let MysqlService { host, port, database, .. } = service;
    let message = format!("database {database:?} at {host}:{port}: {}; {}", words.trim(), fault.advice());
    if fault.is_transient() {
        SliceError::transient(fault.code(), message)
    } else {
        SliceError::permanent(fault.code(), message)
    }
}

/// What an error of a connection that is being made means.
pub(super) fn of_io_error(service: &MysqlService, error: &io::Error) -> SliceError {
    failure(service, Unreached::of(error).into(), &error.to_string())
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

/// What the end of a client program means, with the last of what it said.
pub(super) fn of_end(service: &MysqlService, status: ExitStatus, said: &str) -> SliceError {
    let said = said.trim();
    if let Some(signal) = status.signal() {
        return failure(service, Fault::DumpKilled, &killed("the dump program", signal, said));
    }
    failure(service, of_words(said), &ended("the client program", status, said))
}

/// What a code of the server (1000 and up) or of the client library (2000 and up) means:
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>, <https://dev.mysql.com/doc/mysql-errors/en/>.
pub(super) fn of_code(code: u32) -> Fault {
    match code {
        1045 | 1698 => Fault::WrongPassword,
        1251 | 2049 | 2059 | 2061 => Fault::UnknownLogin,
        1049 => Fault::NoSuchDatabase,
        1044 | 1130 | 1142 | 1143 | 1227 | 1370 | 3118 | 4151 => Fault::PermissionDenied,
        1040 | 1203 | 1226 => Fault::TooManyConnections,
        1129 | 2002 | 2003 => Fault::UnreachableHost,
        2005 => Fault::UnknownHost,
        2026 => Fault::TlsFailed,
        1053 | 1077..=1080 | 1152 | 1158..=1161 | 1184 | 1927 | 2006 | 2012 | 2013 | 2055 => {
            Fault::ConnectionLost
        }
        1205 | 1213 => Fault::TablesLocked,
        1317 | 1969 | 3024 => Fault::Cancelled,
        1146 | 1412 => Fault::SchemaChanged,
        1356 | 1449 => Fault::BrokenView,
        1153 | 2020 => Fault::RowTooLong,
        // 1180: InnoDB fills an empty table when its transaction ends, and says only then that there is no room.
        1021 | 1037 | 1038 | 1041 | 1114 | 1180 | 2008 => Fault::ServerStrained,
        _ => Fault::DumpFailed,
    }
}

/// What the words of a client program mean.
pub(super) fn of_words(said: &str) -> Fault {
    if said.contains("insufficient privileges") {
        return Fault::PermissionDenied;
    }
    // It goes along with many codes of the server.
    if said.contains("28 \"No space left on device\"") {
        return Fault::ServerStrained;
    }
    code_in(said).map_or(Fault::DumpFailed, of_code)
}

/// The code in what a program says: `ERROR 1045 (28000): …`, `Got error: 1045: "…"`, `Error 1412: …`, `… (1449)`.
fn code_in(said: &str) -> Option<u32> {
    let mut numbers = said.match_indices(|c: char| c.is_ascii_digit()).filter_map(|(at, _)| {
        let (before, rest) = said.split_at(at);
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let introduced = ["ERROR ", "Error ", "error: ", "rrno: "].iter().any(|word| before.ends_with(word));
        let enclosed = before.ends_with(" (") && rest[digits..].starts_with(')');
        (digits == 4 && (introduced || enclosed)).then(|| rest[..digits].parse().ok())?
    });
    // What it says last is what ended it.
    numbers.next_back()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ERROR 1045 (28000): Access denied for user 'shop'@'localhost'", Fault::WrongPassword)]
    #[case(
        "mariadb-dump: Got error: 1045: \"Access denied for user\" when trying to connect",
        Fault::WrongPassword
    )]
    #[case(
        "mariadb-dump: Got error: 1049: \"Unknown database 'x'\" when selecting the database",
        Fault::NoSuchDatabase
    )]
    #[case("ERROR 1044 (42000): Access denied for user 'a'@'%' to database 'shop'", Fault::PermissionDenied)]
    #[case("mysqldump: p has insufficient privileges to SHOW CREATE PROCEDURE `p`!", Fault::PermissionDenied)]
    #[case("ERROR 2003 (HY000): Can't connect to MySQL server on 'db:3306' (111)", Fault::UnreachableHost)]
    #[case("ERROR 2005 (HY000): Unknown server host 'db' (-2)", Fault::UnknownHost)]
    #[case("ERROR 2026 (HY000): TLS/SSL error: self-signed certificate", Fault::TlsFailed)]
    #[case("ERROR 1040 (08004): Too many connections", Fault::TooManyConnections)]
    #[case(
        "mysqldump: Error 2013: Lost connection to server during query when dumping table `t` at row: 7",
        Fault::ConnectionLost
    )]
    #[case(
        "mysqldump: Error 1412: Table definition has changed when dumping table `t` at row: 0",
        Fault::SchemaChanged
    )]
    #[case(
        "mysqldump: Couldn't execute 'SHOW FIELDS FROM `v`': The user specified as a definer does not exist (1449)",
        Fault::BrokenView
    )]
    #[case("ERROR 1205 (HY000): Lock wait timeout exceeded", Fault::TablesLocked)]
    #[case("ERROR 1114 (HY000) at line 5: The table 'bulk' is full", Fault::ServerStrained)]
    #[case(
        "ERROR 1030 (HY000) at line 9: Got error 28 \"No space left on device\" from storage engine InnoDB",
        Fault::ServerStrained
    )]
    #[case(
        "ERROR 3 (HY000) at line 1: Error writing file './shop/db.opt' (Errcode: 28 \"No space left on device\")",
        Fault::ServerStrained
    )]
    #[case(
        "ERROR 1180 (HY000) at line 42: Got error 1 \"Operation not permitted\" during COMMIT",
        Fault::ServerStrained
    )]
    #[case("mysqldump: Got errno 28 on write", Fault::DumpFailed)]
    #[case("mysqldump: unknown variable '2013=1'", Fault::DumpFailed)]
    #[case("", Fault::DumpFailed)]
    fn what_a_program_says_has_its_meaning(#[case] said: &str, #[case] fault: Fault) {
        assert_eq!(of_words(said), fault);
    }
}
