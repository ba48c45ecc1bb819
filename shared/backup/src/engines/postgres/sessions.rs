//! The sessions of one dump: none of them outlives it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures::future::join_all;

use super::login::{CancelKey, Session, Upstream};
use crate::error::SliceError;

/// The server, and the sessions that were begun on it.
pub(super) struct Sessions {
    pub(super) upstream: Arc<Upstream>,
    keys: Mutex<Vec<CancelKey>>,
    /// Where the first of them was begun. A name may stand for several servers, or soon for another one, and a snapshot is
    /// known to one server only.
    peer: OnceLock<SocketAddr>,
}

impl Sessions {
    pub(super) fn new(upstream: Arc<Upstream>) -> Self {
        Self { upstream, keys: Mutex::default(), peer: OnceLock::new() }
    }

    /// The same, at the address of a session that is there.
    pub(super) fn at(upstream: Arc<Upstream>, peer: Option<SocketAddr>) -> Self {
        Self { peer: peer.map(OnceLock::from).unwrap_or_default(), ..Self::new(upstream) }
    }

    /// Begins one more.
    pub(super) async fn log_in(&self, startup: &[u8]) -> Result<Session, SliceError> {
        let session = self.upstream.log_in(startup, self.peer.get().copied()).await?;
        if let Some(peer) = session.peer {
            self.peer.get_or_init(|| peer);
        }
        self.keys().extend(session.key.clone());
        Ok(session)
    }

    /// Has the server cancel whatever they are doing: a closed connection alone is not noticed by a session that waits
    /// for a lock.
    pub(super) async fn cancel(&self) {
        let keys = std::mem::take(&mut *self.keys());
        let peer = self.peer.get().copied();
        join_all(keys.iter().map(|key| self.upstream.cancel(key, peer))).await;
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Vec<CancelKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cancels the sessions when it is dropped before it is told that they have ended.
pub(super) struct CancelOnDrop(Option<Arc<Sessions>>);

impl CancelOnDrop {
    pub(super) fn new(sessions: Arc<Sessions>) -> Self {
        Self(Some(sessions))
    }

    /// They have all ended.
    pub(super) fn ended(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(sessions) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { sessions.cancel().await });
        }
    }
}
