//! The lock that keeps two restores into the same database apart: the server's own, which goes with its session.

use std::time::Duration;

use super::{
    failure::told,
    names::Names,
    session::{Session, literal, text},
};
use crate::{engines::mysql::access::Access, error::SliceError};

/// How long is waited for it, in seconds: a session that was just ended may still have it.
const WAIT_SECONDS: u32 = 5;

/// How much longer than it may be needed the server keeps it for somebody it does not hear of.
const SPARE: Duration = Duration::from_mins(2);

/// A lock that is held.
pub(super) struct Lock<'a> {
    session: Session<'a>,
}

impl<'a> Lock<'a> {
    /// Takes it, for no longer than `time`.
    pub(super) async fn take(access: &'a Access, names: &Names, time: Duration) -> Result<Self, SliceError> {
        let mut session = Session::open(access, None).await?;
        let sql = format!(
            "SET SESSION wait_timeout = {};\nSELECT COALESCE(GET_LOCK({}, {WAIT_SECONDS}), 0);",
            (time + SPARE).as_secs().clamp(1, 86_400),
            literal(&names.lock)
        );
        let rows = session.ask(&sql).await?;
        if rows.first().is_none_or(|row| text(row, 0) != "1") {
            let words = "somebody else restores it at this moment; wait until that has ended";
            return Err(told(&access.service, "restore_running", true, words));
        }
        Ok(Self { session })
    }

    /// Fails if it is not held any more.
    pub(super) async fn check(&mut self) -> Result<(), SliceError> {
        self.session.ask("SELECT 1;").await.map(drop)
    }

    /// Gives it back.
    pub(super) async fn give_back(self) {
        if let Err(error) = self.session.finish().await {
            tracing::warn!(%error, "the lock of a restore was lost before");
        }
    }
}
