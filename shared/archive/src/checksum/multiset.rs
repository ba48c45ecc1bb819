use std::{fmt, mem, ops::AddAssign, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Sha256, Sha256Hasher};

/// A checksum of items that come in any order: how often each of them is there matters, and where it is does not. It is the sum of
/// the first 128 bits of their SHA-256, modulo 2^128, and how many there are.
///
/// This is `MSet-Add-Hash`, without its key, of Clarke, Devadas, van Dijk, Gassend and Suh, *Incremental Multiset Hash Functions and
/// Their Application to Memory Integrity Checking* (ASIACRYPT 2003): it finds what chance and mistakes have changed. Somebody who
/// chooses all items could look for others with the same sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MultisetSum {
    items: u64,
    sum: u128,
}

impl MultisetSum {
    /// How many items there are.
    pub fn items(self) -> u64 {
        self.items
    }

    fn add(&mut self, item: Sha256) {
        self.items += 1;
        self.sum = self.sum.wrapping_add(item.leading());
    }
}

/// How many items, and the sum in 32 hexadecimal digits: `3:00…2a`.
impl fmt::Display for MultisetSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.items, self.sum)
    }
}

/// That it is no sum as [`MultisetSum`] writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum of items is written as their number and 32 hexadecimal digits, with a colon between them")]
pub struct InvalidMultisetSum;

impl FromStr for MultisetSum {
    type Err = InvalidMultisetSum;

    fn from_str(text: &str) -> Result<Self, InvalidMultisetSum> {
        let (items, sum) = text.split_once(':').ok_or(InvalidMultisetSum)?;
        let is_digits = sum.len() == 32 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sum = u128::from_str_radix(sum, 16).ok().filter(|_| is_digits).ok_or(InvalidMultisetSum)?;
        Ok(Self { items: items.parse().map_err(|_| InvalidMultisetSum)?, sum })
    }
}

impl From<MultisetSum> for String {
    fn from(sum: MultisetSum) -> Self {
        sum.to_string()
    }
}

impl TryFrom<String> for MultisetSum {
    type Error = InvalidMultisetSum;

    fn try_from(text: String) -> Result<Self, InvalidMultisetSum> {
        text.parse()
    }
}

impl AddAssign for MultisetSum {
    fn add_assign(&mut self, others: Self) {
        self.items += others.items;
        self.sum = self.sum.wrapping_add(others.sum);
    }
}

/// Computes a [`MultisetSum`] of items that may come in parts.
#[derive(Debug, Clone, Default)]
pub struct MultisetHasher {
    sum: MultisetSum,
    /// What has come of an item that has not ended.
    begun: Option<Sha256Hasher>,
}

impl MultisetHasher {
    /// Adds a part of an item that does not end with it.
    pub fn part(&mut self, part: &[u8]) {
        self.begun.get_or_insert_default().update(part);
    }

    /// Adds the last part of an item, or one that is whole.
    pub fn end(&mut self, part: &[u8]) {
        let item = match self.begun.take() {
            None => Sha256::of(part),
            Some(mut begun) => {
                begun.update(part);
                begun.finish()
            }
        };
        self.sum.add(item);
    }

    /// Adds lines, without their ends: what follows the last end is part of one that has not ended.
    pub fn lines(&mut self, text: &[u8]) {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => self.end(line),
                None => self.part(line),
            }
        }
    }

    /// The sum of the items that have ended since it was last taken.
    pub fn take(&mut self) -> MultisetSum {
        mem::take(&mut self.sum)
    }

    /// The sum of all items, if all of them have ended.
    pub fn finish(self) -> Option<MultisetSum> {
        self.begun.is_none().then_some(self.sum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn sum_of(items: &[&[u8]]) -> MultisetSum {
        let mut hasher = MultisetHasher::default();
        for item in items {
            hasher.end(item);
        }
        hasher.finish().unwrap()
    }

    /// The beginnings of the SHA-256 of nothing and of "abc" (FIPS 180-4) as numbers, added.
    #[test]
    fn it_is_a_sum_of_published_values() {
        let added = 0xe3b0_c442_98fc_1c14_9afb_f4c8_996f_b924_u128
            .wrapping_add(0xba78_16bf_8f01_cfea_4141_40de_5dae_2223);
        assert_eq!(sum_of(&[b"", b"abc"]), MultisetSum { items: 2, sum: added });
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        for sum in [MultisetSum::default(), sum_of(&[b"", b"abc"])] {
            assert_eq!(sum.to_string().parse(), Ok(sum));
        }
        for text in [
            "",
            "1",
            "1:",
            "1:2a",
            "x:00000000000000000000000000000000",
            "1:+0000000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<MultisetSum>(), Err(InvalidMultisetSum), "{text}");
        }
    }

    #[rstest]
    #[case::one_more("a a b")]
    #[case::three_times("a a a b")]
    #[case::one_less("a")]
    #[case::the_other_twice("b b")]
    #[case::an_empty_one("a  b")]
    #[case::divided_otherwise(" ab")]
    fn how_often_an_item_is_there_matters(#[case] items: &str) {
        let items: Vec<&[u8]> = items.split(' ').map(str::as_bytes).collect();
        assert_ne!(sum_of(&items), sum_of(&[b"a", b"b"]));
    }

    /// A CRC of 64 bits would not always notice it: it is linear.
    #[test]
    fn what_changes_places_between_items_is_noticed() {
        assert_ne!(sum_of(&[b"1\tx", b"2\ty"]), sum_of(&[b"1\ty", b"2\tx"]));
    }

    #[test]
    fn a_line_that_has_not_ended_is_no_item() {
        let mut hasher = MultisetHasher::default();
        hasher.lines(b"a\nb");
        assert_eq!(hasher.clone().finish(), None);
        hasher.lines(b"\n\n");
        assert_eq!(hasher.finish(), Some(sum_of(&[b"b", b"", b"a"])));
    }

    proptest! {
        #[test]
        fn neither_order_nor_pieces_matter(
            lines in prop::collection::vec("[ab]{0,3}", 0..20),
            step in 1_usize..9,
            turn in 0_usize..20,
        ) {
            let mut turned = lines.clone();
            turned.rotate_left(turn.min(lines.len()));
            turned.reverse();
            let text: String = turned.iter().flat_map(|line| [line, "\n"]).collect();
            let mut hasher = MultisetHasher::default();
            text.as_bytes().chunks(step).for_each(|piece| hasher.lines(piece));
            let items: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            prop_assert_eq!(hasher.finish(), Some(sum_of(&items)));
            // What is taken in between is all of it too.
            let (mut hasher, mut all) = (MultisetHasher::default(), MultisetSum::default());
            for item in items.iter().copied() {
                hasher.end(item);
                all += hasher.take();
            }
            prop_assert_eq!(all, sum_of(&items));
            prop_assert_eq!(all.items(), lines.len() as u64);
        }
    }
}
