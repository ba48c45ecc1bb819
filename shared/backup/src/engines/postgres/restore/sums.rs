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

    /// The `bytes` at `start` were read before, and had this checksum.
    pub(super) fn add_known(&self, start: u64, bytes: u64, crc64nvme: Crc64Nvme) {
        self.ranges().insert(start, Range { bytes, crc64nvme });
    }

    /// The checksum of the `bytes` at `start`, if each of them was read.
    pub(super) fn of(&self, start: u64, bytes: u64) -> Option<Crc64Nvme> {
        joined(self.ranges().range(start..start + bytes), start, bytes)
    }

    /// The checksum of the first `length` bytes, if each of them was read, and nothing else.
    pub(super) fn whole(&self, length: u64) -> Option<Crc64Nvme> {
        joined(self.ranges().iter(), 0, length)
    }

    fn ranges(&self) -> MutexGuard<'_, BTreeMap<u64, Range>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The checksum of what `ranges` are together, if that is the `length` bytes at `start`, and nothing else.
fn joined<'a>(
    ranges: impl Iterator<Item = (&'a u64, &'a Range)>,
    start: u64,
    length: u64,
) -> Option<Crc64Nvme> {
    let (mut at, mut whole) = (start, Crc64Nvme::EMPTY);
    for (start, Range { bytes, crc64nvme }) in ranges {
        if *start != at {
            return None;
        }
        whole = Crc64Nvme::combine(whole, *crc64nvme, *bytes);
        at += bytes;
    }
    (at == start + length).then_some(whole)
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
    fn ranges_that_were_read_before_are_of_the_whole() {
        let sums = Sums::default();
        sums.add(5, b"o");
        sums.add(6, b", world");
        assert_eq!(sums.of(5, 8), Some(Crc64Nvme::of(b"o, world")));
        assert_eq!((sums.of(5, 7), sums.of(4, 9), sums.of(0, 5)), (None, None, None));
        sums.add_known(0, 5, Crc64Nvme::of(b"hello"));
        assert_eq!(sums.whole(13), Some(Crc64Nvme::of(b"helloo, world")));
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
