use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::ChecksumError;

/// A SHA-256 value; its text is 64 lower-case hexadecimal digits, as `sha256sum` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The number that its first 128 bits are.
    pub(super) fn leading(self) -> u128 {
        self.0.first_chunk().copied().map_or(0, u128::from_be_bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Sha256 {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ChecksumError::Sha256(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(refused());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = hex_digit(pair[0]).ok_or_else(refused)?;
            let low = hex_digit(pair[1]).ok_or_else(refused)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl From<Sha256> for String {
    fn from(checksum: Sha256) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Sha256 {
    type Error = ChecksumError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Computes a [`Sha256`] piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Sha256Hasher(sha2::Sha256);

impl Sha256Hasher {
    /// A hasher that has seen no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything added.
    pub fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// FIPS 180-4, the example "abc".
    #[test]
    fn the_value_of_abc_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), expected);
    }

    #[rstest]
    #[case::empty("")]
    #[case::upper_case("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD")]
    #[case::not_a_digit("ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    #[case::two_bytes_a_letter("éééééééééééééééééééééééééééééééé")]
    fn other_text_is_refused_by_name(#[case] text: &str) {
        assert_eq!(text.parse::<Sha256>(), Err(ChecksumError::Sha256(text.to_owned())));
    }

    proptest! {
        #[test]
        fn text_and_json_give_the_value_back(bytes in any::<[u8; 32]>()) {
            let checksum = Sha256(bytes);
            prop_assert_eq!(checksum.to_string().parse(), Ok(checksum));
            let json = serde_json::to_string(&checksum).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sha256>(&json).unwrap(), checksum);
        }

        #[test]
        fn hashing_in_pieces_is_hashing_at_once(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..300_usize) {
            let (head, rest) = bytes.split_at(cut.min(bytes.len()));
            let mut hasher = Sha256Hasher::new();
            hasher.update(head);
            hasher.update(rest);
            prop_assert_eq!(hasher.finish(), Sha256::of(&bytes));
        }
    }
}
