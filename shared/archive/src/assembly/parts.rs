use std::mem;

use bytes::{Bytes, BytesMut};

use super::Policy;
use crate::checksum::Crc64Nvme;
use crate::multipart::Segment;

/// Objects have grown so much since they were listed that the numbers planned for them do not suffice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the objects have grown beyond what was planned for them since they were listed: make the archive again"
)]
pub struct Outgrown;

/// Collects the literal bytes of an archive, and cuts them into parts.
#[derive(Debug)]
pub struct LiteralParts {
    policy: Policy,
    filling: BytesMut,
    /// The number of the part that is filling.
    next: u32,
    /// The last number that a part may have before more has been written.
    until: u32,
}

impl LiteralParts {
    /// No bytes yet; nothing is cut before [`LiteralParts::allow`].
    pub fn new(policy: Policy) -> Self {
        Self::starting_at(policy, 1)
    }

    /// No bytes yet; the first part will have the number `first`.
    pub fn starting_at(policy: Policy, first: u32) -> Self {
        Self { policy, filling: BytesMut::new(), next: first, until: 0 }
    }

    /// How many bytes must follow for the part that is filling to be long enough for others to follow it.
    pub fn missing(&self) -> u64 {
        let filling = self.filling.len() as u64;
        if filling == 0 { 0 } else { self.policy.head_bytes.saturating_sub(filling) }
    }

    /// Lets parts be cut up to this number, as [`Numbering`](super::Numbering) has planned.
    pub fn allow(&mut self, until: u32) {
        self.until = until.min(self.policy.max_parts);
    }

    /// Adds the next bytes; returns the parts that they fill.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Segment>, Outgrown> {
        let part = size_of_part(self.policy.part_bytes);
        let mut segments = Vec::new();
        while !bytes.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve(part);
            }
            let room = part.saturating_sub(self.filling.len());
            let (head, rest) = bytes.split_at(bytes.len().min(if room == 0 { bytes.len() } else { room }));
            self.add(head)?;
            bytes = rest;
            while self.filling.len() >= part && self.next <= self.until {
                segments.extend(self.cut(part));
            }
        }
        Ok(segments)
    }

    /// Adds the header and the first bytes of an object that is copied from there on, and ends the literal parts before
    /// its copies, of which the first has the number `copies`. From here on parts are numbered after `last`.
    pub fn push_before_copies(
        &mut self,
        header: &[u8],
        head: &[u8],
        copies: u32,
        last: u32,
    ) -> Result<Vec<Segment>, Outgrown> {
        self.add(header)?;
        self.add(head)?;
        let (part, shortest) = (size_of_part(self.policy.part_bytes), size_of_part(self.policy.head_bytes));
        let mut segments = Vec::new();
        while self.filling.len() >= part + shortest && self.next + 1 < copies {
            segments.extend(self.cut(part));
        }
        if self.next >= copies {
            return Err(Outgrown);
        }
        segments.extend(self.cut(self.filling.len()));
        self.next = last + 1;
        Ok(segments)
    }

    /// Ends the archive; returns the last part, unless the bytes ended where a part did.
    pub fn finish(mut self) -> Result<Option<Segment>, Outgrown> {
        if self.filling.is_empty() {
            return Ok(None);
        }
        if self.next > self.policy.max_parts {
            return Err(Outgrown);
        }
        Ok(self.cut(self.filling.len()))
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Outgrown> {
        let most = 2 * self.policy.part_bytes + 2 * self.policy.copy_from + self.policy.head_bytes;
        if (self.filling.len() + bytes.len()) as u64 > most {
            return Err(Outgrown);
        }
        self.filling.extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self, bytes: usize) -> Option<Segment> {
        if bytes == 0 {
            return None;
        }
        let bytes: Bytes = if bytes == self.filling.len() {
            mem::take(&mut self.filling).freeze()
        } else {
            // What is left is copied, so that the part does not hold on to memory that is not its own.
            let rest = BytesMut::from(&self.filling[bytes..]);
            self.filling.truncate(bytes);
            mem::replace(&mut self.filling, rest).freeze()
        };
        let segment = Segment { number: self.next, crc64nvme: Crc64Nvme::of(&bytes), bytes };
        self.next += 1;
        Some(segment)
    }
}

/// Parts are held in memory, and so never larger than it.
fn size_of_part(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
