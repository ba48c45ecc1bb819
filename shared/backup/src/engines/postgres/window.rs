//! How far sessions may run ahead of what is written: the archive has one order, and memory is bounded.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Bytes that units hold which are not being written yet, at most, all of them together.
const AHEAD_BYTES: usize = 32 * 1024 * 1024;

/// Bytes that the unit holds which is being written, at most: its share, so that those ahead can never keep it waiting.
const TURN_BYTES: usize = 8 * 1024 * 1024;

/// Counts what each unit holds. Units are numbered in the order of the archive.
#[derive(Debug, Default)]
pub(super) struct Window {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The unit that is being written.
    turn: u64,
    held: BTreeMap<u64, usize>,
    /// The sum of what all hold.
    total: usize,
}

impl State {
    fn has_room(&self, unit: u64) -> bool {
        let own = self.held.get(&unit).copied().unwrap_or(0);
        let of_turn = self.held.get(&self.turn).copied().unwrap_or(0);
        if unit <= self.turn { own < TURN_BYTES } else { self.total - of_turn < AHEAD_BYTES }
    }
}

impl Window {
    /// Waits until `unit` may hold `bytes` more, and counts them.
    pub(super) async fn admit(&self, unit: u64, bytes: usize) {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if state.has_room(unit) {
                    *state.held.entry(unit).or_default() += bytes;
                    state.total += bytes;
                    return;
                }
            }
            changed.await;
        }
    }

    /// `unit` holds `bytes` less.
    pub(super) fn release(&self, unit: u64, bytes: usize) {
        self.recount(unit, bytes, 0);
    }

    /// What was counted as `counted` bytes of `unit` is `bytes` long now.
    pub(super) fn recount(&self, unit: u64, counted: usize, bytes: usize) {
        let mut state = self.state();
        // A unit whose turn is over holds nothing.
        if let Some(held) = state.held.get_mut(&unit) {
            let before = *held;
            *held = before.saturating_sub(counted) + bytes;
            // The total is the sum of all, so it is no less than any of them.
            let after = *held;
            state.total = state.total - before + after;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// From now on `unit` is written; those before it are done.
    pub(super) fn turn_to(&self, unit: u64) {
        let mut state = self.state();
        state.turn = unit;
        state.held = state.held.split_off(&unit);
        state.total = state.held.values().sum();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until `unit` is written.
    pub(super) async fn turn_of(&self, unit: u64) {
        loop {
            let changed = self.changed.notified();
            if self.state().turn >= unit {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers are whole at every moment, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const MIB: usize = 1024 * 1024;

    /// How many MiB `unit` can hold before it has to wait.
    async fn room(window: &Window, unit: u64) -> usize {
        let mut admitted = 0;
        while timeout(Duration::from_millis(10), window.admit(unit, MIB)).await.is_ok() {
            admitted += 1;
        }
        admitted
    }

    #[tokio::test]
    async fn the_unit_whose_turn_it_is_never_waits_for_those_ahead() {
        let window = Window::default();
        assert_eq!(room(&window, 1).await + room(&window, 2).await, AHEAD_BYTES / MIB);
        assert_eq!(room(&window, 0).await, TURN_BYTES / MIB);
    }

    #[tokio::test]
    async fn what_is_written_makes_room() {
        let window = Arc::new(Window::default());
        room(&window, 0).await;
        let waiting = tokio::spawn({
            let window = window.clone();
            async move { window.admit(0, MIB).await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!waiting.is_finished());
        window.release(0, MIB);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn the_turn_goes_on() {
        let window = Window::default();
        room(&window, 1).await;
        assert_eq!(room(&window, 2).await, 0);
        window.turn_to(1);
        assert_eq!(room(&window, 2).await, AHEAD_BYTES / MIB, "what unit 1 holds does not count any more");
        let its_turn = window.turn_of(3);
        let turning = async {
            window.turn_to(2);
            window.turn_to(3);
        };
        tokio::join!(its_turn, turning);
        assert_eq!(room(&window, 4).await, AHEAD_BYTES / MIB);
    }
    /// What does not compress grows a little, and whoever ahead holds next to nothing must not pay for it.
    #[tokio::test]
    async fn what_grew_is_given_back_by_its_own_unit_alone() {
        let window = Window::default();
        window.admit(0, MIB).await;
        window.admit(1, 1024).await;
        window.release(0, 2 * MIB);
        window.admit(0, MIB).await;
        window.release(1, 1024);
        assert_eq!(room(&window, 1).await, AHEAD_BYTES / MIB);
    }
}
