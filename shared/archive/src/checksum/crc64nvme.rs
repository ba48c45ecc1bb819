use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme as ALGORITHM;
use crc_fast::{Digest, checksum, checksum_combine};
use serde::{Deserialize, Serialize};

use super::ChecksumError;

/// A CRC-64/NVME value, the full-object checksum of an S3 multipart upload.
///
/// Its text is what the header `x-amz-checksum-crc64nvme` carries: the eight bytes, most significant first,
/// in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Crc64Nvme(u64);

impl Crc64Nvme {
    /// The checksum of no bytes.
    pub const EMPTY: Self = Self(0);

    /// Wraps a value computed elsewhere.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(checksum(ALGORITHM, bytes))
    }

    /// The bare value.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The checksum of two byte strings laid end to end, from the checksum of each and the length of the
    /// second in bytes.
    #[must_use]
    pub fn combine(first: Self, second: Self, second_bytes: u64) -> Self {
        Self(checksum_combine(ALGORITHM, first.0, second.0, second_bytes))
    }
}

impl fmt::Display for Crc64Nvme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

impl FromStr for Crc64Nvme {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(|bytes| Self(u64::from_be_bytes(bytes)))
            .ok_or_else(|| ChecksumError::Crc64Nvme(text.to_owned()))
    }
}

impl From<Crc64Nvme> for String {
    fn from(checksum: Crc64Nvme) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Crc64Nvme {
    type Error = ChecksumError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Computes a [`Crc64Nvme`] piece by piece.
#[derive(Debug, Clone)]
pub struct Crc64NvmeHasher(Digest);

impl Crc64NvmeHasher {
    /// A hasher that has seen no bytes.
    pub fn new() -> Self {
        Self(Digest::new(ALGORITHM))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything added.
    pub fn finish(&self) -> Crc64Nvme {
        Crc64Nvme(self.0.finalize())
    }
}

impl Default for Crc64NvmeHasher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// The check value of the CRC catalogue, which S3's documentation refers to.
    #[test]
    fn the_check_value_is_the_published_one() {
        let checksum = Crc64Nvme::of(b"123456789");
        assert_eq!(checksum.value(), 0xAE8B_1486_0A79_9888);
        assert_eq!(checksum.to_string(), "rosUhgp5mIg=");
        assert_eq!("rosUhgp5mIg=".parse(), Ok(checksum));
    }

    #[test]
    fn no_bytes_have_the_empty_checksum() {
        assert_eq!(Crc64Nvme::of(b""), Crc64Nvme::EMPTY);
        assert_eq!(Crc64NvmeHasher::new().finish(), Crc64Nvme::EMPTY);
    }

    #[rstest]
    #[case::empty("")]
    #[case::hexadecimal("AE8B14860A799888")]
    #[case::too_short("rosUhgp5mA==")]
    #[case::with_part_count("rosUhgp5mIg=-3")]
    fn other_text_is_refused_by_name(#[case] text: &str) {
        assert_eq!(text.parse::<Crc64Nvme>(), Err(ChecksumError::Crc64Nvme(text.to_owned())));
    }

    proptest! {
        #[test]
        fn combining_parts_gives_the_checksum_of_the_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
        ) {
            let combined = parts.iter().fold(Crc64Nvme::EMPTY, |whole, part| {
                Crc64Nvme::combine(whole, Crc64Nvme::of(part), part.len() as u64)
            });
            prop_assert_eq!(combined, Crc64Nvme::of(&parts.concat()));
        }

        #[test]
        fn combining_is_associative(
            a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), b_bytes in 0..1_u64 << 40, c_bytes in 0..1_u64 << 40,
        ) {
            let [a, b, c] = [a, b, c].map(Crc64Nvme::new);
            let left = Crc64Nvme::combine(Crc64Nvme::combine(a, b, b_bytes), c, c_bytes);
            let right = Crc64Nvme::combine(a, Crc64Nvme::combine(b, c, c_bytes), b_bytes + c_bytes);
            prop_assert_eq!(left, right);
        }

        #[test]
        fn hashing_in_pieces_is_hashing_at_once(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 0..600_usize) {
            let (head, rest) = bytes.split_at(cut.min(bytes.len()));
            let mut hasher = Crc64NvmeHasher::new();
            hasher.update(head);
            hasher.update(rest);
            prop_assert_eq!(hasher.finish(), Crc64Nvme::of(&bytes));
        }

        #[test]
        fn text_and_json_give_the_value_back(value in any::<u64>()) {
            let checksum = Crc64Nvme::new(value);
            prop_assert_eq!(checksum.to_string().parse(), Ok(checksum));
            let json = serde_json::to_string(&checksum).unwrap();
            prop_assert_eq!(&json, &format!("\"{checksum}\""));
            prop_assert_eq!(serde_json::from_str::<Crc64Nvme>(&json).unwrap(), checksum);
        }
    }
}
