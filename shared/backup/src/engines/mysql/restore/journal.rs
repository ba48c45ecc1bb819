//! What it takes to put a target back as it was: written down before it is touched, in a table of the database that gets what
//! is replaced. As long as the table has this name, the restore has not happened.

use serde::{Deserialize, Serialize};

use super::{
    failure::failure,
    objects::Objects,
    session,
    written::{self, is_there, table},
};
use crate::{
    engines::mysql::{access::Access, failure::Fault},
    error::SliceError,
};

/// The table.
pub(super) const TABLE: &str = "holdfast_undo";

/// What it is called once the restore has happened.
const DONE: &str = "holdfast_done";

/// How a target was, and what comes into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undo {
    /// The server's number of the session that makes the exchange.
    pub(super) session: String,
    /// The database that is to take its place.
    pub(super) new: String,
    /// What comes from there.
    pub(super) comes: Objects,
    /// Whether the target was there at all.
    pub(super) existed: bool,
    /// Its character set and collation, as `CREATE DATABASE` takes them.
    pub(super) options: String,
    /// What was in it.
    pub(super) was: Objects,
    /// The SQL that makes its triggers, routines and events, in hexadecimal digits: it is not all UTF-8.
    pub(super) programs: String,
    /// The same of each of its views.
    pub(super) views: Vec<String>,
}

impl Undo {
    /// Writes it down in `away`: all of it or nothing.
    pub(super) async fn write(&self, access: &Access, away: &str) -> Result<(), SliceError> {
        let text = serde_json::to_string(self).map_err(|error| unusable(access, away, &error))?;
        let sql = written::statements(away, TABLE, text.as_bytes());
        session::ask(access, None, sql).await.map(drop)
    }

    /// What is written down in `away`; None if nothing is, or the restore has happened.
    pub(super) async fn read(access: &Access, away: &str) -> Result<Option<Self>, SliceError> {
        let Some(bytes) = written::read(access, away, TABLE).await? else { return Ok(None) };
        // Killed while it was being written, nothing was touched.
        if bytes.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(access, away, &error))
    }
}

/// The statement after which the restore has happened.
pub(super) fn done(away: &str) -> String {
    format!("RENAME TABLE {} TO {};\n", table(away, TABLE), table(away, DONE))
}

/// The statement after which there is nothing to put back any more.
pub(super) fn forget(away: &str) -> String {
    format!("DROP TABLE {};\n", table(away, TABLE))
}

/// Whether the restore has happened, although nobody may have heard of it. If not, it does not happen any more: the session that
/// makes the exchange is ended first, of which the server may not have noticed that nobody is there.
pub(super) async fn is_done(access: &Access, away: &str) -> Result<bool, SliceError> {
    if let Some(undo) = Undo::read(access, away).await? {
        session::kill(access, &undo.session).await?;
    }
    is_there(access, away, DONE).await
}

fn unusable(access: &Access, away: &str, error: &serde_json::Error) -> SliceError {
    let words = format!("{}, which says how the database was, cannot be used: {error}", table(away, TABLE));
    failure(&access.service, Fault::Refused, &words)
}
