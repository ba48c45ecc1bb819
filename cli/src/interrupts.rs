//! Ctrl-C, and its kin.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::failure::Failure;

/// Somebody who wants it to stop, once and for all. From its making on, the signals do nothing else.
#[derive(Clone)]
pub(crate) struct Interrupts(watch::Receiver<bool>);

impl Interrupts {
    pub(crate) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("signals cannot be listened to: {error}")))
        };
        let (mut interrupt, mut terminate) =
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let (told, come) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            told.send_replace(true);
            // The receivers wait for a word, not for the end of the one who gives it.
            told.closed().await;
        });
        Ok(Self(come))
    }

    /// Nobody ever does.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Resolves when somebody does, or has done so.
    pub(crate) async fn come(&mut self) {
        if self.0.wait_for(|come| *come).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether somebody has.
    pub(crate) fn have_come(&self) -> bool {
        *self.0.borrow()
    }
}
