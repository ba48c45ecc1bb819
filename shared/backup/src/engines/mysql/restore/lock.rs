//! The lock that keeps two restores into the same database apart: the server's own, which goes with its session.

use std::{pin::pin, time::Duration};

use holdfast_domain::backup::Failure;
use tokio::time::sleep;

use super::{
    failure::told,
    names::Names,
    session::{Session, literal, text},
};
use crate::{
    engines::{mysql::access::Access, restorer::RUNNING},
    error::SliceError,
};

/// How long a restore waits for it, in seconds: a session that was just ended may still have it.
pub(super) const TO_RESTORE: u32 = 5;

/// How long is waited for it behind a worker that was killed, in seconds: longer than the server keeps it for somebody it does not
/// hear of.
pub(super) const TO_CLEAN_UP: u32 = 90;

/// How long the server keeps it for somebody it does not hear of, in seconds.
const IDLE_SECONDS: u32 = 60;

/// How often the server hears of whoever has it.
const TELL_EVERY: Duration = Duration::from_secs(20);

/// A lock that is held.
pub(super) struct Lock<'a> {
    /// None once it is lost.
    session: Option<Session<'a>>,
    /// How it was lost.
    lost: Option<Failure>,
}

impl<'a> Lock<'a> {
    /// Takes it, after waiting for it for at most so many seconds.
    pub(super) async fn take(
        access: &'a Access,
        names: &Names,
        wait_seconds: u32,
    ) -> Result<Self, SliceError> {
        let mut session = Session::open(access, None).await?;
        let sql = format!(
            "SET SESSION wait_timeout = {IDLE_SECONDS};\nSELECT COALESCE(GET_LOCK({}, {wait_seconds}), 0);",
            literal(&names.lock)
        );
        let rows = session.ask(&sql).await?;
        if rows.first().is_none_or(|row| text(row, 0) != "1") {
            let words = "somebody else restores it at this moment; wait until that has ended";
            return Err(told(&access.service, RUNNING, true, words));
        }
        Ok(Self { session: Some(session), lost: None })
    }

    /// Does `work`, and keeps the lock meanwhile. If it is lost, the work goes on, and [`check`](Self::check) says so.
    pub(super) async fn keep<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(TELL_EVERY) => {}
            }
            let mut asking = pin!(self.tell());
            tokio::select! {
                biased;
                done = &mut work => {
                    // An answer that is not heard to its end would be taken for the next one.
                    asking.await;
                    return done;
                }
                () = &mut asking => {}
            }
        }
    }

    /// Fails if it is not held any more.
    pub(super) async fn check(&mut self) -> Result<(), SliceError> {
        self.ask("SELECT 1;").await
    }

    /// Runs `sql` in the session that has the lock: if it is lost, nothing is run.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<(), SliceError> {
        let Some(session) = &mut self.session else {
            return Err(self.lost.clone().map_or(SliceError::Fenced, SliceError::Failed));
        };
        let asked = session.ask(sql).await;
        if let Err(error) = &asked {
            tracing::warn!(%error, "the lock of a restore is lost");
            self.session = None;
            self.lost = if let SliceError::Failed(failure) = error { Some(failure.clone()) } else { None };
        }
        asked.map(drop)
    }

    /// Lets the server hear of it.
    async fn tell(&mut self) {
        // Whoever checks is told.
        let _ = self.check().await;
    }

    /// Gives it back.
    pub(super) async fn give_back(self) {
        if let Some(session) = self.session
            && let Err(error) = session.finish().await
        {
            tracing::warn!(%error, "the lock of a restore was lost before");
        }
    }
}
