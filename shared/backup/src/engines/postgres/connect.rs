//! A short connection before the dump: it finds what is wrong early.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{
    failure::{Fault, failure, of_refusal},
    login::Upstream,
    session::StatementError,
    wire::message,
};
use crate::error::SliceError;

/// How long a connection may take to be made, in seconds.
pub(super) const CONNECT_SECONDS: u64 = 15;

/// How long all of the questions may take.
const ASK_WITHIN: Duration = Duration::from_secs(45);

/// The name that sessions show in `pg_stat_activity`.
pub(super) const SESSION_NAME: &str = "holdfast";

/// What the server is asked.
const QUESTION: &[u8] = b"SELECT pg_catalog.current_setting('server_version_num'),
    pg_catalog.pg_database_size(pg_catalog.current_database())";

/// What is different once rows were written or a table was rewritten or emptied. Maintenance that leaves rows where they are,
/// such as a plain `VACUUM`, does not count. The counts are kept by the [statistics
/// system](https://www.postgresql.org/docs/current/monitoring-stats.html), and are zero in a copy that has just begun; others than the owner
/// may see them.
const STANDING: &[u8] = b"SET search_path = pg_catalog; SELECT
    (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') OR relname = 'pg_largeobject'),
    (SELECT sum(relfilenode::int8) FROM pg_class
        WHERE relkind IN ('r', 'm', 't') AND oid >= 16384)";

/// A database that stands still says the same each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standing {
    written: String,
    files: String,
}

/// What the server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// `server_version_num`, such as 150018.
    pub(super) version_number: u32,
    /// Size of the database on disk, with its indexes.
    pub(super) database_bytes: u64,
}

impl Server {
    /// The server that called itself `version` in [`Server::version`]'s form; of one that did not, major version 0.
    pub(super) fn of_version(version: &str) -> Self {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        Self { version_number: major * 10_000 + minor, database_bytes: 0 }
    }

    pub(super) fn major(&self) -> u32 {
        self.version_number / 10_000
    }

    /// The version in its usual form, such as `15.18`; before 10, such as `9.6.24`.
    pub(super) fn version(&self) -> String {
        let (major, rest) = (self.major(), self.version_number % 10_000);
        if major >= 10 { format!("{major}.{rest}") } else { format!("{major}.{}.{}", rest / 100, rest % 100) }
    }
}

/// Connects once and asks the server about itself.
pub(super) async fn ask(upstream: &Upstream) -> Result<Server, SliceError> {
    let answer = question(upstream, QUESTION).await?;
    let number = |index: usize| -> Option<u64> { answer.get(index)?.as_ref()?.parse().ok() };
    match (number(0).and_then(|number| u32::try_from(number).ok()), number(1)) {
        (Some(version_number), Some(database_bytes)) => Ok(Server { version_number, database_bytes }),
        _ => Err(failure(
            &upstream.service,
            Fault::Refused,
            "the server did not say its version and the size of the database",
        )),
    }
}

/// Connects once and asks what the database is like, to be compared with what it is like later.
pub(super) async fn standing(upstream: &Upstream) -> Result<Standing, SliceError> {
    let answer = question(upstream, STANDING).await?;
    let text = |index: usize| answer.get(index).cloned().flatten().unwrap_or_default();
    Ok(Standing { written: text(0), files: text(1) })
}

/// Connects once, for one question. Returns the first row of the answer.
async fn question(upstream: &Upstream, question: &[u8]) -> Result<Vec<Option<String>>, SliceError> {
    let service = &upstream.service;
    let asking = async {
        let mut session = upstream.log_in(&startup(upstream, &service.database), None).await?;
        let rows = session.ask(question).await.map_err(|error| match error {
            StatementError::Refused(refusal) => of_refusal(service, &refusal),
            StatementError::Lost(error) => failure(service, Fault::ConnectionLost, &error.to_string()),
        })?;
        // Whether it arrives or not, the session ends.
        let _ = session.wire.send(&message(b'X', &[])).await;
        let first = rows.into_iter().next().unwrap_or_default();
        let text = |value: Option<Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
        Ok(first.into_iter().map(text).collect())
    };
    timeout(ASK_WITHIN, asking).await.unwrap_or_else(|_| {
        let words = format!("no answer within {} seconds", ASK_WITHIN.as_secs());
        Err(failure(service, Fault::UnreachableHost, &words))
    })
}

/// A `StartupMessage` of protocol 3.0, for `database`.
pub(super) fn startup(upstream: &Upstream, database: &str) -> Vec<u8> {
    let parameters = [
        ("user", upstream.credentials.username.as_str()),
        ("database", database),
        ("application_name", SESSION_NAME),
        ("client_encoding", "UTF8"),
    ];
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in parameters.iter().flat_map(|(name, value)| [name, value]) {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &body[..]].concat()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(150_018, 15, "15.18")]
    #[case(180_000, 18, "18.0")]
    #[case(90_624, 9, "9.6.24")]
    fn a_version_number_reads_as_people_write_it(
        #[case] version_number: u32,
        #[case] major: u32,
        #[case] text: &str,
    ) {
        let server = Server { version_number, database_bytes: 0 };
        assert_eq!((server.major(), server.version().as_str()), (major, text));
    }
}
