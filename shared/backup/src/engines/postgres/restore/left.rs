//! What restores have left that were killed: found by its name, and dropped by whoever keeps other restores of the same
//! database away meanwhile. What a restore has left that takes several slices has a mark, which says whose it is: it is left to that.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    control::{Control, identifier, literal},
    survey::from_elsewhere,
};
use crate::{
    engines::{
        postgres::login::Upstream,
        restorer::{PAUSE_SECONDS, RUNNING},
    },
    error::SliceError,
};

/// What the lock that keeps restores of one database apart is called, beside the database's hash: `HOLD`.
const LOCK: i32 = 0x484f_4c44;

/// How often it is asked whether the session of a restore that was killed has ended, and how long is waited between: longer
/// than the server takes to notice that its client is gone (`control.rs`).
const WAIT_TRIES: u32 = 90;

/// The same, where a slice follows another one that has ended its session.
const SOON_TRIES: u32 = 10;
const WAIT: Duration = Duration::from_secs(1);

/// What the mark of a database begins with, which is its comment.
const MARK: &str = "holdfast restore ";

/// The time of the server, in seconds.
const NOW: &str = "pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::int8";

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

/// The same, once a session that has ended has let go of it.
pub(super) async fn lock_soon(control: &mut Control, target: &str) -> Result<(), SliceError> {
    wait_for_lock(control, target, SOON_TRIES).await
}

async fn wait_for_lock(control: &mut Control, target: &str, most: u32) -> Result<(), SliceError> {
    let mut tries = 0;
    loop {
        match lock(control, target).await {
            Err(SliceError::Failed(failure)) if failure.code == RUNNING && tries < most => tries += 1,
            outcome => return outcome,
        }
        tokio::time::sleep(WAIT).await;
    }
}

/// Whose restores are dropped, and whose are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'a> {
    /// This one goes on, if something is left of it.
    GoesOn(&'a str),
    /// Nobody goes on with this one.
    GivenUp(&'a str),
    /// Whoever asks has left nothing that could go on.
    Nobodys,
}

/// A database that a restore over several slices has left, and goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paused {
    pub(super) name: String,
    /// What the server knows it by.
    pub(super) oid: String,
}

/// What was not dropped.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Of the restore that goes on.
    pub(super) own: Option<Paused>,
    /// Of another one that has paused.
    pub(super) of_others: Option<Paused>,
}

/// Marks the database `name` as one that `restore` goes on with.
pub(super) async fn mark(control: &mut Control, name: &str, restore: &str) -> Result<(), SliceError> {
    let now = control.number(&format!("SELECT {NOW}")).await?;
    let mark = literal(&format!("{MARK}{restore} at {now}"));
    control.run(&format!("COMMENT ON DATABASE {} IS {mark}", identifier(name))).await
}

/// Whose database it is that has this mark, and when it was marked.
fn marked(mark: &str) -> Option<(&str, i64)> {
    let (restore, at) = mark.strip_prefix(MARK)?.split_once(" at ")?;
    Some((restore, at.parse().ok()?))
}

/// Drops what is left, whoever is on it, unless it is to go on. The lock must be held.
pub(super) async fn drop_left(
    control: &mut Control,
    names: &Names,
    whose: Whose<'_>,
) -> Result<Kept, SliceError> {
    let mut kept = Kept::default();
    let found = control
        .rows(&format!(
            "SELECT datname, oid, pg_catalog.shobj_description(oid, 'pg_database'), {NOW} FROM pg_catalog.pg_database
             WHERE pg_catalog.starts_with(datname, {})",
            literal(&names.new)
        ))
        .await?;
    for row in found {
        let [Some(name), Some(oid), mark, Some(now)] = &row[..] else { continue };
        let paused = || Some(Paused { name: name.clone(), oid: oid.clone() });
        let now: i64 = now.parse().unwrap_or(i64::MAX);
        match mark.as_deref().and_then(marked) {
            Some((restore, _)) if whose == Whose::GoesOn(restore) && kept.own.is_none() => {
                kept.own = paused();
            }
            Some((restore, at)) if !whose.is(restore) && now - at < PAUSE_SECONDS => {
                kept.of_others = paused();
            }
            _ => control.run(&drop_statement(name)).await?,
        }
    }
    for left in beginning_with(control, &names.replaced).await? {
        // It has been replaced, and was to be dropped; what keeps it does not keep others from restoring.
        if let Err(error) = control.run(&drop_statement(&left)).await {
            tracing::warn!(database = left, %error, "a database that was replaced could not be dropped");
        }
    }
    Ok(kept)
}

impl Whose<'_> {
    fn is(self, restore: &str) -> bool {
        matches!(self, Self::GoesOn(own) | Self::GivenUp(own) if own == restore)
    }
}

/// What it means that another restore of `target` has paused.
pub(super) fn paused(target: &str, by: &Paused) -> SliceError {
    let message = format!(
        "somebody else restores {target:?}, over several slices: wait until that has ended, or drop the database {:?}",
        by.name
    );
    SliceError::transient(RUNNING, message)
}

/// Drops what restores into `target` have left that were killed.
pub(super) async fn clean_up(
    upstream: &Arc<Upstream>,
    target: &str,
    whose: Whose<'_>,
) -> Result<(), SliceError> {
    let (mut control, _) = from_elsewhere(upstream, target).await?;
    wait_for_lock(&mut control, target, WAIT_TRIES).await?;
    let names = Names::of(&mut control, target).await?;
    drop_left(&mut control, &names, whose).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_whose_it_is() {
        assert_eq!(marked("holdfast restore 0190-7 at 1795000000"), Some(("0190-7", 1_795_000_000)));
        for other in ["", "the shop", "holdfast restore 0190-7", "holdfast restore 0190-7 at noon"] {
            assert_eq!(marked(other), None, "{other}");
        }
    }
}
