//! What restores have left that were killed: found by its name, and dropped by whoever keeps other restores of the same
//! database away meanwhile.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    control::{Control, identifier, literal},
    survey::from_elsewhere,
};
use crate::{engines::postgres::login::Upstream, error::SliceError};

/// What the lock that keeps restores of one database apart is called, beside the database's hash: `HOLD`.
const LOCK: i32 = 0x484f_4c44;

/// The failure of whoever finds the lock taken.
const RUNNING: &str = "restore_running";

/// How often it is asked whether the session of a restore that was killed has ended, and how long is waited between: longer
/// than the server takes to notice that its client is gone (`control.rs`).
const WAIT_TRIES: u32 = 90;
const WAIT: Duration = Duration::from_secs(1);

/// What the databases are called that belong to a restore of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// How the names of new databases begin.
    pub(super) new: String,
    /// How the names of replaced ones begin that are to be dropped.
    pub(super) replaced: String,
}

impl Names {
    /// Those for restores of `target`.
    pub(super) async fn of(control: &mut Control, target: &str) -> Result<Self, SliceError> {
        let hash = control.value(&format!("SELECT substr(md5({}), 1, 8)", literal(target))).await?;
        let hash = hash.unwrap_or_default();
        Ok(Self { new: format!("holdfast_restore_{hash}_"), replaced: format!("holdfast_replaced_{hash}_") })
    }
}

/// The lock on restores of `target`, as arguments of the server's functions.
pub(super) fn lock_of(target: &str) -> String {
    format!("{LOCK}, pg_catalog.hashtext({})", literal(target))
}

/// Takes the lock on restores of `target`, for as long as `control` is there. Fails if somebody else has it.
pub(super) async fn lock(control: &mut Control, target: &str) -> Result<(), SliceError> {
    let lock = format!("SELECT pg_catalog.pg_try_advisory_lock({})", lock_of(target));
    if control.value(&lock).await?.as_deref() == Some("t") {
        return Ok(());
    }
    let message = format!("somebody else restores {target:?} at this moment; wait until that has ended");
    Err(SliceError::transient(RUNNING, message))
}

/// Drops what is left, whoever is on it. The lock must be held.
pub(super) async fn drop_left(control: &mut Control, names: &Names) -> Result<(), SliceError> {
    for left in beginning_with(control, &names.new).await? {
        control.run(&drop_statement(&left)).await?;
    }
    for left in beginning_with(control, &names.replaced).await? {
        // It has been replaced, and was to be dropped; what keeps it does not keep others from restoring.
        if let Err(error) = control.run(&drop_statement(&left)).await {
            tracing::warn!(database = left, %error, "a database that was replaced could not be dropped");
        }
    }
    Ok(())
}

/// Drops what restores into `target` have left that were killed.
pub(super) async fn clean_up(upstream: &Arc<Upstream>, target: &str) -> Result<(), SliceError> {
    let (mut control, _) = from_elsewhere(upstream, target).await?;
    let mut tries = 0;
    loop {
        match lock(&mut control, target).await {
            Ok(()) => break,
            Err(SliceError::Failed(failure)) if failure.code == RUNNING && tries < WAIT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(WAIT).await;
    }
    let names = Names::of(&mut control, target).await?;
    drop_left(&mut control, &names).await?;
    control.end().await;
    Ok(())
}

fn drop_statement(database: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(database))
}

async fn beginning_with(control: &mut Control, beginning: &str) -> Result<BTreeSet<String>, SliceError> {
    let beginning = literal(beginning);
    let named = format!(
        "SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, {beginning})"
    );
    control.column(&named).await
}
