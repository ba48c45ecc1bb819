//! Buckets of objects that nobody has stored.

use std::{ops::Range, sync::LazyLock};

use bytes::Bytes;

/// What objects are made of: 16 MiB that do not compress, each object beginning at another place.
static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..2 * 1024 * 1024).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect::<Vec<_>>().into()
});

/// A bucket `set-COUNT-SIZE`, or `set-COUNT-SIZE-COUNT-SIZE` with objects of two sizes.
#[derive(Clone, Copy)]
pub(crate) struct Set {
    count: u64,
    size: u64,
    /// How many follow them, and their size.
    further: (u64, u64),
}

/// An object of a set.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    number: u64,
    pub(crate) size: u64,
}

impl Set {
    pub(crate) fn of(bucket: &str) -> Option<Self> {
        let numbers =
            bucket.strip_prefix("set-")?.split('-').map(str::parse).collect::<Result<Vec<u64>, _>>();
        match numbers.ok()?[..] {
            [count, size] => Some(Self { count, size, further: (0, 0) }),
            [count, size, further, its_size] => Some(Self { count, size, further: (further, its_size) }),
            _ => None,
        }
    }

    pub(crate) fn object(self, key: &str) -> Option<Object> {
        let number: u64 = key.strip_prefix("media/")?.parse().ok().filter(|number| *number < self.all())?;
        (key == Self::key(number)).then_some(self.numbered(number))
    }

    pub(crate) fn key(number: u64) -> String {
        format!("media/{number:09}")
    }

    /// The objects behind a key, as many as one page has, and whether there are more.
    pub(crate) fn page(self, after: &str) -> (Vec<(String, Object)>, bool) {
        let (mut from, mut to) = (0, self.all());
        while from < to {
            let middle = from.midpoint(to);
            if Self::key(middle).as_str() > after { to = middle } else { from = middle + 1 }
        }
        let end = (from + 1000).min(self.all());
        let objects = (from..end).map(|number| (Self::key(number), self.numbered(number)));
        (objects.collect(), end < self.all())
    }

    fn all(self) -> u64 {
        self.count + self.further.0
    }

    fn numbered(self, number: u64) -> Object {
        Object { number, size: if number < self.count { self.size } else { self.further.1 } }
    }
}

impl Object {
    pub(crate) fn etag(self) -> String {
        format!("\"{:016x}{:016x}\"", self.number, self.size)
    }

    /// The bytes of a range, in pieces that are not copied.
    pub(crate) fn bytes(self, range: Range<u64>) -> Vec<Bytes> {
        let (mut pieces, noise) = (Vec::new(), NOISE.len() as u64);
        let mut at = range.start;
        while at < range.end {
            let place = (self.number * 8_191 + at) % noise;
            let length = (noise - place).min(range.end - at);
            // Both are within 16 MiB.
            let place = usize::try_from(place).unwrap_or(0)..usize::try_from(place + length).unwrap_or(0);
            pieces.push(NOISE.slice(place));
            at += length;
        }
        pieces
    }
}
