//! Randomness.

use holdfast_backup::ports::Entropy;

/// The kernel's random numbers.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bytes(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes).expect("Linux has had getrandom(2) since 3.17, and ten bytes never fail");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_not_the_same_twice() {
        assert_ne!(SystemEntropy.bytes(), SystemEntropy.bytes());
    }
}
