//! Why a value is refused, in the words of the person who sent it.

use std::fmt;

/// A value that cannot be accepted: which field, what is wrong with it, and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Path of the field in the document, such as `services[1].bucket`.
    pub field: String,
    /// What is wrong, as the rest of a sentence that starts with the field.
    pub problem: String,
    /// What to do about it, as a sentence of its own without the full stop.
    pub fix: String,
}

impl Invalid {
    /// A refusal of `field` because of `problem`, mended by `fix`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into(), fix: fix.into() }
    }

    /// The same refusal seen from the document that holds the field at `parent`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field =
            if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}; {}", self.field, self.problem, self.fix)
    }
}
