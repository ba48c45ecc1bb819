use std::ops::RangeInclusive;

use super::Policy;
use crate::tar::{MemberNames, writer};

/// What was planned for one object of the listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It is read whole. Literal parts up to this number may be cut once it is written.
    Read {
        /// The last number.
        literal_until: u32,
    },
    /// Its rest is copied.
    Copied {
        /// The last number of a literal part before its copies.
        literal_until: u32,
        /// The numbers of its copies.
        numbers: RangeInclusive<u32>,
    },
}

/// Gives the parts of an archive their numbers, object by object in the order of the listing, from what was listed. Its
/// memory does not grow.
#[derive(Debug, Clone)]
pub struct Numbering {
    policy: Policy,
    names: MemberNames,
    /// The first number of the literal bytes since the last copy.
    first: u32,
    /// Those bytes.
    literal_bytes: u64,
    /// The literal bytes before the first copy, once there is one.
    before_copies: Option<u64>,
}

impl Numbering {
    /// A numbering before the first object.
    pub fn new(policy: Policy) -> Self {
        Self::continuing(policy, MemberNames::new(), 1)
    }

    /// A numbering whose first part has the number `first`, behind the objects that `names` knows.
    pub fn continuing(policy: Policy, names: MemberNames, first: u32) -> Self {
        Self { policy, names, first, literal_bytes: 0, before_copies: None }
    }

    /// Plans the next object, by its key as the archive has it and its listed size in bytes.
    pub fn plan(&mut self, key: &str, size: u64) -> Entry {
        // A key out of order is reported when it is archived.
        let member = self.names.assign(key, size);
        let header_bytes = member.map_or(0, |member| writer::header_bytes(&member.name, size));
        self.plan_member(header_bytes, size)
    }

    /// Plans the next object, by the bytes of its header and its listed size.
    pub(super) fn plan_member(&mut self, header_bytes: u64, size: u64) -> Entry {
        self.literal_bytes += header_bytes;
        if !self.policy.copies(size) {
            self.literal_bytes += size + writer::padding(size).len() as u64;
            let cut = u32::try_from(self.literal_bytes / self.policy.part_bytes).unwrap_or(u32::MAX);
            return Entry::Read { literal_until: (self.first - 1).saturating_add(cut) };
        }
        self.literal_bytes += self.policy.head_bytes;
        self.before_copies.get_or_insert(self.literal_bytes);
        let literal_until = (self.first - 1).saturating_add(self.literal_parts(self.literal_bytes));
        let numbers =
            literal_until.saturating_add(1)..=literal_until.saturating_add(self.policy.copy_count(size));
        self.first = numbers.end().saturating_add(1);
        self.literal_bytes = writer::padding(size).len() as u64;
        Entry::Copied { literal_until, numbers }
    }

    /// The number of the last part, if `bytes` more follow the last object.
    pub fn last_number(&self, bytes: u64) -> u32 {
        (self.first - 1).saturating_add(self.literal_parts(self.literal_bytes + bytes))
    }

    /// Plans all objects of `later` behind those so far. It was begun with the number 1, by the same policy.
    pub(super) fn append(&mut self, later: &Self) {
        let Some(before) = later.before_copies else {
            self.literal_bytes += later.literal_bytes;
            return;
        };
        // The bytes before its first copy follow those that are here already.
        let joined = self.literal_bytes + before;
        self.before_copies.get_or_insert(joined);
        let behind = (later.first - 1).saturating_sub(later.literal_parts(before));
        self.first = self.first.saturating_add(self.literal_parts(joined)).saturating_add(behind);
        self.literal_bytes = later.literal_bytes;
    }

    /// How many parts so many literal bytes before a copy, or at the end, take. A rest too short to be a part is added to
    /// the part before it.
    fn literal_parts(&self, bytes: u64) -> u32 {
        let (whole, rest) = (bytes / self.policy.part_bytes, bytes % self.policy.part_bytes);
        let parts = whole + u64::from(rest >= self.policy.head_bytes);
        u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
    }
}
