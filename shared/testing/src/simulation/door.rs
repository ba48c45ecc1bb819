//! Where calls to the ports wait until the history lets one of them go on.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::{
    FutureExt as _,
    future::BoxFuture,
    task::{ArcWake, AtomicWaker},
};
use tokio::sync::oneshot;

use crate::faults::{Fault, Gate, Moment};

/// What becomes of a call.
pub(super) type Verdict = Option<(Moment, Fault)>;

/// The door of one process: every call of it waits here.
#[derive(Default)]
pub(super) struct Door {
    waiting: Mutex<Vec<(&'static str, oneshot::Sender<Verdict>)>>,
    closed: AtomicBool,
    bell: Arc<Bell>,
}

/// Rings when a process has something to do, or asks for something.
#[derive(Default)]
pub(super) struct Bell {
    rang: AtomicBool,
    listener: AtomicWaker,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rang.store(true, Ordering::SeqCst);
        self.listener.wake();
    }

    /// Whether it rang since it was asked.
    pub(super) fn take(&self) -> bool {
        self.rang.swap(false, Ordering::SeqCst)
    }

    pub(super) fn has_rung(&self) -> bool {
        self.rang.load(Ordering::SeqCst)
    }

    /// Resolves when it rings, or has rung.
    pub(super) async fn rung(&self) {
        futures::future::poll_fn(|context| {
            self.listener.register(context.waker());
            if self.has_rung() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.ring();
    }
}

impl Door {
    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.retain(|(_, sender)| !sender.is_closed());
        waiting.len()
    }

    /// Takes a call that waits.
    pub(super) fn take(&self, index: usize) -> (&'static str, oneshot::Sender<Verdict>) {
        self.waiting.lock().unwrap().remove(index)
    }

    /// Its process has ended: what it has left running does nothing more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.waiting.lock().unwrap().clear();
    }
}

impl Gate for Door {
    fn pass(&self, call: &'static str) -> BoxFuture<'_, Verdict> {
        let dead = Some((Moment::Before, Fault::Unavailable));
        if self.closed.load(Ordering::SeqCst) {
            return futures::future::ready(dead).boxed();
        }
        let (sender, verdict) = oneshot::channel();
        self.waiting.lock().unwrap().push((call, sender));
        self.bell.ring();
        async move { verdict.await.unwrap_or(dead) }.boxed()
    }
}
