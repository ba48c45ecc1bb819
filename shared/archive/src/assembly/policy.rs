use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::multipart::MAX_PARTS;

/// The most bytes of one part, and so of one copy inside S3, S3's limit: 5 GiB.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_COPY_BYTES: u64 = 5 * GIB;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How large parts are, and which objects are copied inside S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The bytes of a literal part, unless it is the last before a copy or of all.
    pub part_bytes: u64,
    /// The size from which an object is copied; at least twice `head_bytes`, so that its copied rest is no shorter than a
    /// part may be.
    pub copy_from: u64,
    /// How many bytes of a copied object are read through: the fewest that a part may have.
    pub head_bytes: u64,
    /// The most bytes of one copy as it is planned. Several copies of one object run side by side.
    pub range_bytes: u64,
    /// The most bytes of one copy that there can be, for an object that has grown since it was listed.
    pub max_range_bytes: u64,
    /// The last number a part may have.
    pub max_parts: u32,
}

impl Policy {
    /// The policies to choose from, from the fastest to the one that holds most.
    ///
    /// The last bounds what is held in memory: literal parts of 64 MiB, objects of less than that. Whatever its objects
    /// are, an archive of 312 GiB fits; of large objects, 10,000 parts hold terabytes.
    pub const LADDER: [Self; 5] = [
        Self::of(8 * MIB, 10 * MIB, GIB),
        Self::of(16 * MIB, 10 * MIB, MAX_COPY_BYTES),
        Self::of(16 * MIB, 32 * MIB, MAX_COPY_BYTES),
        Self::of(32 * MIB, 32 * MIB, MAX_COPY_BYTES),
        Self::of(64 * MIB, 64 * MIB, MAX_COPY_BYTES),
    ];

    const fn of(part_bytes: u64, copy_from: u64, range_bytes: u64) -> Self {
        Self {
            part_bytes,
            copy_from,
            head_bytes: 5 * MIB,
            range_bytes,
            max_range_bytes: MAX_COPY_BYTES,
            max_parts: MAX_PARTS,
        }
    }

    /// Whether an object of `size` bytes is copied.
    pub fn copies(&self, size: u64) -> bool {
        size >= self.copy_from
    }

    /// How many parts the copies of an object of `size` bytes are planned to take.
    pub fn copy_count(&self, size: u64) -> u32 {
        let rest = size.saturating_sub(self.head_bytes);
        u32::try_from(rest.div_ceil(self.range_bytes).max(1)).unwrap_or(u32::MAX)
    }

    /// The copies of an object of `size` bytes, as part number, first byte and length, within the numbers that were set
    /// aside for it. None if it is too small to be copied, or has grown beyond what those numbers can hold.
    pub fn copies_within(&self, size: u64, numbers: &RangeInclusive<u32>) -> Option<Vec<(u32, u64, u64)>> {
        let rest = size.checked_sub(self.head_bytes).filter(|_| self.copies(size))?;
        let available = u64::from(numbers.end().checked_sub(*numbers.start())?) + 1;
        if rest.div_ceil(self.max_range_bytes) > available {
            return None;
        }
        // One for each number, all about as long, and none shorter than a part may be.
        let count = available.min((rest / self.head_bytes).max(1));
        let (each, longer) = (rest / count, rest % count);
        let mut offset = self.head_bytes;
        let copies = (0..count).zip(numbers.clone()).map(|(index, number)| {
            let bytes = each + u64::from(index < longer);
            let copy = (number, offset, bytes);
            offset += bytes;
            copy
        });
        Some(copies.collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_step_of_the_ladder_keeps_the_limits_of_s3() {
        for policy in Policy::LADDER {
            assert!(policy.part_bytes >= policy.head_bytes && policy.head_bytes >= 5 * MIB);
            assert!(policy.copy_from >= 2 * policy.head_bytes);
            assert!(policy.range_bytes <= MAX_COPY_BYTES && policy.max_range_bytes <= MAX_COPY_BYTES);
        }
    }

    proptest! {
        #[test]
        fn copies_cover_the_rest_of_an_object_in_parts_that_s3_takes(
            step in 0..Policy::LADDER.len(), size in 0..1_u64 << 44, first in 1..9_000_u32, numbers in 1..60_u32,
        ) {
            let policy = Policy::LADDER[step];
            let numbers = first..=first + numbers - 1;
            let Some(copies) = policy.copies_within(size, &numbers) else {
                let holds = u64::from(numbers.end() - numbers.start() + 1) * MAX_COPY_BYTES;
                prop_assert!(!policy.copies(size) || size - policy.head_bytes > holds);
                return Ok(());
            };
            let mut offset = policy.head_bytes;
            for ((number, from, bytes), expected) in copies.iter().zip(numbers) {
                prop_assert_eq!((*number, *from), (expected, offset));
                prop_assert!((5 * MIB..=MAX_COPY_BYTES).contains(bytes), "{} bytes", bytes);
                offset += bytes;
            }
            prop_assert_eq!(offset, size);
        }

        #[test]
        fn the_planned_numbers_are_as_many_as_the_copies(step in 0..Policy::LADDER.len(), size in 10 * MIB..1_u64 << 42) {
            let policy = Policy::LADDER[step];
            prop_assume!(policy.copies(size));
            let count = policy.copy_count(size);
            prop_assert_eq!(policy.copies_within(size, &(2..=count + 1)).map(|copies| copies.len()), Some(count as usize));
        }
    }
}
