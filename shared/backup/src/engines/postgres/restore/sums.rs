//! The checksum of an object, put together from those of the ranges that are read of it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use holdfast_archive::checksum::Crc64Nvme;

/// Checksums of ranges, by where they begin.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<BTreeMap<u64, Range>>);

#[derive(Debug, Clone, Copy)]
struct Range {
    bytes: u64,
    crc64nvme: Crc64Nvme,
}

impl Sums {
    /// `bytes` were read at `start`.
    pub(super) fn add(&self, start: u64, bytes: &[u8]) {
        let range = Range { bytes: bytes.len() as u64, crc64nvme: Crc64Nvme::of(bytes) };
        self.ranges().insert(start, range);
    }

    /// The checksum of the first `length` bytes, if each of them was read, and nothing else.
    pub(super) fn whole(&self, length: u64) -> Option<Crc64Nvme> {
        let (mut at, mut whole) = (0, Crc64Nvme::EMPTY);
        for (start, Range { bytes, crc64nvme }) in &*self.ranges() {
            if *start != at {
                return None;
            }
            whole = Crc64Nvme::combine(whole, *crc64nvme, *bytes);
            at += bytes;
        }
        (at == length).then_some(whole)
    }

    fn ranges(&self) -> MutexGuard<'_, BTreeMap<u64, Range>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_any_order_are_the_whole() {
        let sums = Sums::default();
        for (start, bytes) in [(4, &b"o, w"[..]), (8, b"orld"), (0, b"hell"), (4, b"o, w")] {
            sums.add(start, bytes);
        }
        assert_eq!(sums.whole(12), Some(Crc64Nvme::of(b"hello, world")));
        assert_eq!(sums.whole(13), None);
    }

    #[test]
    fn what_is_missing_is_not_passed_over() {
        let sums = Sums::default();
        assert_eq!(sums.whole(0), Some(Crc64Nvme::EMPTY));
        sums.add(0, b"hell");
        sums.add(5, b", world");
        assert_eq!(sums.whole(12), None);
    }
}
