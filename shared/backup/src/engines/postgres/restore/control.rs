//! A session that makes, renames and drops databases, and asks about them.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use super::failure::{lost, refused};
use crate::{
    engines::postgres::{
        connect::startup,
        login::{Session, Upstream},
        session::StatementError,
        wire::message,
    },
    error::SliceError,
};

/// What a role or a database may have set, and must not end or change what is done here.
const SETTINGS: [&str; 3] = [
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout',
        'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')",
    "SELECT pg_catalog.set_config('search_path', '', false), pg_catalog.set_config('standard_conforming_strings', 'on', false)",
    "SELECT pg_catalog.set_config('default_transaction_read_only', 'off', false)",
];

/// Should this process be gone without a word, the server notices within a minute, and lets go of locks.
pub(super) const KEEPALIVES: &str =
    "SELECT pg_catalog.set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '30'),
        ('tcp_keepalives_interval', '10'), ('tcp_keepalives_count', '3')) keepalives(name, value)";

/// A session in one database.
pub(super) struct Control {
    upstream: Arc<Upstream>,
    session: Session,
    /// Where the server is.
    pub(super) peer: Option<SocketAddr>,
}

impl Control {
    /// Begins one in `database`.
    pub(super) async fn open(
        upstream: &Arc<Upstream>,
        database: &str,
        peer: Option<SocketAddr>,
    ) -> Result<Self, SliceError> {
        let session = upstream.log_in(&startup(upstream, database), peer).await?;
        let peer = session.peer;
        let mut control = Self { upstream: upstream.clone(), session, peer };
        for setting in SETTINGS.into_iter().chain([KEEPALIVES]) {
            control.run(setting).await?;
        }
        Ok(control)
    }

    /// Runs a statement.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), SliceError> {
        self.rows(sql).await.map(|_| ())
    }

    /// The rows of a short answer.
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, SliceError> {
        let rows = self.session.ask(sql.as_bytes()).await.map_err(|error| match error {
            StatementError::Refused(refusal) => refused(&self.upstream.service, &refusal, sql.as_bytes()),
            StatementError::Lost(error) => lost(&self.upstream.service, &error),
        })?;
        let text =
            |value: Option<bytes::Bytes>| value.map(|value| String::from_utf8_lossy(&value).into_owned());
        Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// The only row of an answer; nothing where there is none.
    pub(super) async fn row(&mut self, sql: &str) -> Result<Vec<Option<String>>, SliceError> {
        Ok(self.rows(sql).await?.into_iter().next().unwrap_or_default())
    }

    /// The first value of an answer.
    pub(super) async fn value(&mut self, sql: &str) -> Result<Option<String>, SliceError> {
        Ok(self.row(sql).await?.into_iter().next().flatten())
    }

    /// A number that is not negative; 0 for what is.
    pub(super) async fn number(&mut self, sql: &str) -> Result<u64, SliceError> {
        Ok(self.value(sql).await?.and_then(|number| number.parse().ok()).unwrap_or(0))
    }

    /// The first values of all rows.
    pub(super) async fn column(&mut self, sql: &str) -> Result<BTreeSet<String>, SliceError> {
        Ok(self.rows(sql).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    /// Has the server cancel what the session is doing.
    pub(super) async fn cancel(&mut self) {
        if let Some(key) = &self.session.key {
            self.upstream.cancel(key, self.peer).await;
        }
    }

    /// Ends the session.
    pub(super) async fn end(&mut self) {
        // Whether it arrives or not, the session ends.
        let _ = self.session.wire.send(&message(b'X', &[])).await;
    }
}

/// A name as SQL.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL, where `standard_conforming_strings` is on.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
