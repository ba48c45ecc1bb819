//! How far a restore is that takes several slices: written down beside its new database, before each table that it has come to in a
//! while, by the session that has the lock. So nobody writes it who has lost the lock, and what it says is there.

use serde::{Deserialize, Serialize};

use super::{failure::failure, names::Names, place::Beside, reading::Spot, session::identifier, written};
use crate::{
    engines::{
        mysql::{access::Access, failure::Fault, rows::RowSums},
        restorer::PAUSE_SECONDS,
    },
    error::SliceError,
};

/// The table.
const TABLE: &str = "holdfast_loaded";

/// What a restore can go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// What the restore is known by.
    pub(super) restore: String,
    /// The artifact: key, version, checksum. It goes on only with the same.
    pub(super) artifact: String,
    /// What the names of its databases end in.
    pub(super) random: String,
    /// When this was written, by the server's clock, in seconds since 1970.
    pub(super) at: i64,
    pub(super) loaded: Loaded,
}

/// How much of a dump is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loaded {
    /// Where the table is that comes next; none once all is loaded.
    pub(super) rest: Option<Spot>,
    /// The statements that the dump begins with.
    pub(super) settings: String,
    /// What the rows add up to that are loaded, if that is going to be compared and they were understood.
    pub(super) sums: Option<RowSums>,
}

impl Loaded {
    /// Nothing.
    pub(super) fn nothing() -> Self {
        Self { rest: Some(Spot::START), settings: String::new(), sums: None }
    }
}

impl Ledger {
    /// The database that is being filled.
    pub(super) fn new_database(&self, names: &Names) -> String {
        format!("{}{}", names.new, self.random)
    }

    /// The one that has the ledger.
    pub(super) fn database(&self, names: &Names) -> String {
        format!("{}{}", names.paused, self.random)
    }

    /// The statements that write it down.
    pub(super) fn statements(&self, access: &Access, names: &Names) -> Result<String, SliceError> {
        let database = self.database(names);
        let document = serde_json::to_vec(self).map_err(|error| {
            let words = format!("how far the restore is cannot be written down: {error}");
            failure(&access.service, Fault::Refused, &words)
        })?;
        let make = format!("CREATE DATABASE IF NOT EXISTS {};\n", identifier(&database));
        Ok(make + &written::statements(&database, TABLE, &document))
    }

    /// Whether somebody is expected to go on with it, at a moment of the server's clock.
    pub(super) fn is_awaited(&self, now: i64) -> bool {
        now - self.at < PAUSE_SECONDS
    }

    /// Those of all restores into a target that can go on: their new databases are there.
    pub(super) async fn all(
        access: &Access,
        names: &Names,
        beside: &Beside,
    ) -> Result<Vec<Self>, SliceError> {
        let mut all = Vec::new();
        for database in &beside.paused {
            // Killed while it was being written, it says nothing.
            let document = written::read(access, database, TABLE).await?.unwrap_or_default();
            let ledger = serde_json::from_slice::<Self>(&document).ok();
            all.extend(ledger.filter(|ledger| {
                ledger.database(names) == *database && beside.new.contains(&ledger.new_database(names))
            }));
        }
        Ok(all)
    }
}
