use crate::fakes::SeededEntropy;

/// What a history is chosen by: the same seed throws the same.
pub(super) struct Dice(SeededEntropy);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not throw alike: the sequence of one is that of the other, a step later.
        Self(SeededEntropy::new(SeededEntropy::new(seed).next()))
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.0.next() % end.max(1)
    }

    /// A place in a list of that length, which is not empty.
    pub(super) fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of several; none if there are none.
    pub(super) fn pick<'a, T>(&self, among: &'a [T]) -> Option<&'a T> {
        (!among.is_empty()).then(|| &among[self.index(among.len())])
    }
}
