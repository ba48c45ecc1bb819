//! Calls that fail or come late, chosen one by one or by a seed.

mod decorators;

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use holdfast_backup::{
    error::SliceError,
    ports::{EventsError, ExecutionsError, InstancesError, RecordsError, SecretError, StorageError},
};

use crate::fakes::SeededEntropy;

pub use decorators::Faulty;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and may work the next time.
    Unavailable,
    /// It fails, and would again.
    Denied,
    /// Somebody else was faster.
    Conflict,
    /// It takes this long.
    Delay(Duration),
    /// It never comes back.
    Hang,
}

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing has happened yet, and nothing will if the call fails.
    Before,
    /// It has happened; only the answer is lost.
    After,
}

/// Who lets calls go on, one at a time, and says what goes wrong with each.
pub trait Gate: Send + Sync {
    /// Resolves once the call of that name may go on.
    fn pass(&self, call: &'static str) -> BoxFuture<'_, Option<(Moment, Fault)>>;
}

/// The faults of a [`World`](crate::World), and a record of every call. Calls are named `port.method`, as in
/// `artifacts.put_part`; a port is named by its field in `Ports`.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    rules: Vec<Rule>,
    chaos: Option<Chaos>,
    gate: Option<Arc<dyn Gate>>,
}

struct Rule {
    call: String,
    /// How many more calls pass by before it strikes; `None` to strike at each.
    after: Option<usize>,
    moment: Moment,
    fault: Fault,
}

struct Chaos {
    entropy: SeededEntropy,
    per_mille: u64,
}

impl Faults {
    /// Lets every call wait for `gate`, which says what goes wrong with it.
    pub fn at(gate: Arc<dyn Gate>) -> Self {
        Self(Arc::new(Mutex::new(State { gate: Some(gate), ..State::default() })))
    }

    /// Strikes once, at the `nth` such call from now on, counted from 1.
    pub fn on(&self, call: &str, nth: usize, moment: Moment, fault: Fault) {
        assert!(nth > 0, "calls are counted from 1");
        self.add(call, Some(nth - 1), moment, fault);
    }

    /// Strikes at every such call.
    pub fn always(&self, call: &str, moment: Moment, fault: Fault) {
        self.add(call, None, moment, fault);
    }

    /// Fails any call with this probability, before or after its effect. The same seed fails the same calls as long as
    /// they come in the same order.
    pub fn chaos(&self, seed: u64, per_mille: u64) {
        self.0.lock().unwrap().chaos = Some(Chaos { entropy: SeededEntropy::new(seed), per_mille });
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        let mut state = self.0.lock().unwrap();
        state.rules.clear();
        state.chaos = None;
    }

    /// How many of the faults that strike once have not struck yet.
    pub fn left(&self) -> usize {
        self.0.lock().unwrap().rules.iter().filter(|rule| rule.after.is_some()).count()
    }

    /// Every call so far, in the order they began.
    pub fn calls(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().calls.clone()
    }

    /// How often a call was made.
    pub fn count(&self, call: &str) -> usize {
        self.0.lock().unwrap().calls.iter().filter(|made| **made == call).count()
    }

    fn add(&self, call: &str, after: Option<usize>, moment: Moment, fault: Fault) {
        self.0.lock().unwrap().rules.push(Rule { call: call.to_owned(), after, moment, fault });
    }

    /// Does `effect` as the call of that name, unless something goes wrong with it.
    pub(crate) async fn around<T, E: Injected>(
        &self,
        call: &'static str,
        effect: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let gate = self.0.lock().unwrap().gate.clone();
        let (before, after) = match gate {
            None => self.0.lock().unwrap().strike(call),
            Some(gate) => match gate.pass(call).await {
                None => (None, None),
                Some((Moment::Before, fault)) => (Some(fault), None),
                Some((Moment::After, fault)) => (None, Some(fault)),
            },
        };
        meet(before, call).await?;
        let result = effect.await;
        meet(after, call).await?;
        result
    }
}

impl State {
    /// What strikes a call before and after its effect.
    fn strike(&mut self, call: &'static str) -> (Option<Fault>, Option<Fault>) {
        self.calls.push(call);
        let (mut before, mut after) = (None, None);
        self.rules.retain_mut(|rule| {
            if rule.call != call {
                return true;
            }
            match &mut rule.after {
                Some(left) if *left > 0 => {
                    *left -= 1;
                    true
                }
                once_or_always => {
                    let slot = if rule.moment == Moment::Before { &mut before } else { &mut after };
                    *slot = Some(rule.fault);
                    once_or_always.is_none()
                }
            }
        });
        if let Some(Chaos { entropy, per_mille }) = &self.chaos
            && entropy.next() % 1000 < *per_mille
        {
            let slot = if entropy.next().is_multiple_of(2) { &mut before } else { &mut after };
            *slot = Some(Fault::Unavailable);
        }
        (before, after)
    }
}

async fn meet<E: Injected>(fault: Option<Fault>, call: &str) -> Result<(), E> {
    match fault {
        None => Ok(()),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(fault) => Err(E::injected(fault, call)),
    }
}

/// An error that a fault can make.
pub(crate) trait Injected {
    fn injected(fault: Fault, call: &str) -> Self;
}

impl Injected for RecordsError {
    fn injected(fault: Fault, call: &str) -> Self {
        match fault {
            Fault::Conflict => Self::Conflict,
            _ => Self::Unavailable(format!("injected into {call}")),
        }
    }
}

impl Injected for StorageError {
    fn injected(fault: Fault, call: &str) -> Self {
        match fault {
            Fault::Conflict => Self::Changed(format!("{call} (injected)")),
            Fault::Denied => Self::Denied(format!("{call} (injected)")),
            _ => Self::Unavailable(format!("injected into {call}")),
        }
    }
}

impl Injected for SecretError {
    fn injected(fault: Fault, call: &str) -> Self {
        match fault {
            Fault::Denied => Self::Denied(format!("{call} (injected)")),
            _ => Self::Unavailable(format!("injected into {call}")),
        }
    }
}

impl Injected for SliceError {
    fn injected(fault: Fault, call: &str) -> Self {
        match fault {
            Fault::Conflict => Self::Fenced,
            Fault::Denied => Self::permanent("injected", format!("{call} was refused (injected)")),
            _ => Self::transient("injected", format!("{call} was out of reach (injected)")),
        }
    }
}

impl Injected for EventsError {
    fn injected(_: Fault, call: &str) -> Self {
        Self(format!("injected into {call}"))
    }
}

impl Injected for InstancesError {
    fn injected(fault: Fault, call: &str) -> Self {
        match fault {
            Fault::Conflict => Self::Busy(format!("{call} (injected)")),
            Fault::Denied => Self::Denied(format!("{call} (injected)")),
            _ => Self::Unavailable(format!("injected into {call}")),
        }
    }
}

impl Injected for ExecutionsError {
    fn injected(_: Fault, call: &str) -> Self {
        Self(format!("injected into {call}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn call(faults: &Faults, effects: &mut u32) -> bool {
        let effect = async {
            *effects += 1;
            Ok::<_, StorageError>(())
        };
        faults.around("artifacts.put", effect).await.is_ok()
    }

    #[tokio::test]
    async fn a_fault_strikes_the_chosen_call_once() {
        let (faults, mut effects) = (Faults::default(), 0);
        faults.on("artifacts.put", 2, Moment::Before, Fault::Unavailable);
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(call(&faults, &mut effects).await);
        }
        assert_eq!(outcomes, [true, false, true]);
        assert_eq!(effects, 2, "a call that fails beforehand has no effect");
        assert_eq!(faults.count("artifacts.put"), 3);
    }

    #[tokio::test]
    async fn a_lost_answer_leaves_the_effect() {
        let (faults, mut effects) = (Faults::default(), 0);
        faults.on("artifacts.put", 1, Moment::After, Fault::Unavailable);
        assert!(!call(&faults, &mut effects).await);
        assert_eq!(effects, 1);
    }

    #[tokio::test]
    async fn the_same_seed_fails_the_same_calls() {
        let run = async |seed| {
            let (faults, mut effects) = (Faults::default(), 0);
            faults.chaos(seed, 300);
            let mut outcomes = Vec::new();
            for _ in 0..100 {
                outcomes.push(call(&faults, &mut effects).await);
            }
            outcomes
        };
        assert_eq!(run(7).await, run(7).await);
        assert_ne!(run(7).await, run(8).await);
    }
}
