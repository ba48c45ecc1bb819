//! What happened in a history, step by step.

use std::fmt;

use holdfast_domain::id::ApplicationId;

use crate::faults::{Fault, Moment};

/// Everything that happened, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace(Vec<Step>);

/// A thing that happened. Processes go by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Begins(u32, String),
    Call(u32, &'static str, Option<(Moment, Fault)>),
    Ended(u32, String),
    Killed(u32),
    GivenUpOn(u32),
    Execution(String, bool),
    Passes(i64),
    Rots(String),
    Writes(ApplicationId),
    Calm,
}

impl Trace {
    pub(super) fn push(&mut self, step: Step) {
        self.0.push(step);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(number, about) => write!(f, "#{number} begins: {about}"),
            Self::Call(number, call, None) => write!(f, "#{number} {call}"),
            Self::Call(number, call, Some((Moment::Before, _))) => write!(f, "#{number} {call} fails"),
            Self::Call(number, call, Some((Moment::After, _))) => {
                write!(f, "#{number} {call} is done, and its answer is lost")
            }
            Self::Ended(number, words) if words.is_empty() => write!(f, "#{number} ends well"),
            Self::Ended(number, words) => write!(f, "#{number} ends: {words}"),
            Self::Killed(number) => write!(f, "#{number} is killed"),
            Self::GivenUpOn(number) => write!(f, "#{number} is not waited for any more"),
            Self::Execution(name, false) => write!(f, "the execution {name} begins"),
            Self::Execution(name, true) => write!(f, "an execution begins that aborts {name}"),
            Self::Passes(milliseconds) => {
                write!(f, "{}.{:03} s pass", milliseconds / 1000, milliseconds % 1000)
            }
            Self::Rots(key) => write!(f, "{key} rots"),
            Self::Writes(application) => write!(f, "{application} writes to its database"),
            Self::Calm => write!(f, "nothing goes wrong any more"),
        }
    }
}
