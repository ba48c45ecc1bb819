//! One invocation of a function, or one call of the API: a future that stands at its [`Door`] most of the time.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::task::waker_ref;

use super::door::Door;

/// How much later it is for those that wait for a moment, once the clock stands still.
const LITTLE: Duration = Duration::from_millis(10);

/// What came of a process.
pub(super) enum Ended {
    /// A slice or an abort has answered.
    Worker(Result<holdfast_backup::job::Answer, holdfast_backup::error::SliceError>),
    /// Retention, of one application or of all, the tick or a person's call has; what went wrong with it, in words.
    Other(Result<(), String>),
}

pub(super) struct Process {
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) door: Arc<Door>,
    pub(super) began: DateTime<Utc>,
    future: Pin<Box<dyn Future<Output = Ended>>>,
}

/// Which function it is of, and so how long it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Api,
    Scheduler,
    Worker,
    Retention,
}

impl Kind {
    /// As the template has it.
    pub(super) fn limit(self) -> TimeDelta {
        TimeDelta::seconds(match self {
            Self::Api => 29,
            Self::Scheduler => 55,
            Self::Worker | Self::Retention => 900,
        })
    }
}

impl Process {
    pub(super) fn new(
        number: u32,
        kind: Kind,
        door: Arc<Door>,
        began: DateTime<Utc>,
        future: impl Future<Output = Ended> + 'static,
    ) -> Self {
        Self { number, kind, door, began, future: Box::pin(future) }
    }

    /// Lets it run until it ends or stands at its door. Tasks and threads that it has started run meanwhile.
    pub(super) async fn run(&mut self) -> Option<Ended> {
        let bell = self.door.bell().clone();
        loop {
            bell.take();
            let waker = waker_ref(&bell);
            if let Poll::Ready(ended) = self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(ended);
            }
            tokio::task::yield_now().await;
            if bell.has_rung() {
                continue;
            }
            if self.door.waiting() > 0 {
                return None;
            }
            // It waits for a thread, or a moment.
            tokio::select! {
                biased;
                () = bell.rung() => {}
                () = real_moment() => tokio::time::advance(LITTLE).await,
            }
        }
    }

    /// Ends it wherever it stands.
    pub(super) fn kill(self) {
        self.door.close();
    }
}

/// A little time of the clock on the wall. The runtime's clock goes on by itself to the next moment that somebody waits for, but
/// stands still as long as a thread of another process is at work, which may be one that stands at its door.
async fn real_moment() {
    let (done, passed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1));
        let _ = done.send(());
    });
    let _ = passed.await;
}
