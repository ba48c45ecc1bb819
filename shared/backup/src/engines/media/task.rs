//! Work that goes on while something else is waited for.

use tokio::task::JoinHandle;

use crate::error::SliceError;

/// A spawned task that ends with its owner.
pub(super) struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// What came of it.
    pub(super) async fn join(mut self) -> Result<T, SliceError> {
        self.ended().await
    }

    /// The same, for who may stop waiting. Not to be asked again once it has answered.
    pub(super) async fn ended(&mut self) -> Result<T, SliceError> {
        let joined = (&mut self.0).await;
        joined.map_err(|error| SliceError::transient("task_failed", format!("reading ahead failed: {error}")))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
