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
    /// The last number that was planned for what has been written.
    planned: u32,
}

impl LiteralParts {
    /// No bytes yet; nothing is cut before [`LiteralParts::allow`].
    pub fn new(policy: Policy) -> Self {
        Self::starting_at(policy, 1)
    }

    /// No bytes yet; the first part will have the number `first`.
    pub fn starting_at(policy: Policy, first: u32) -> Self {
        Self { policy, filling: BytesMut::new(), next: first, until: 0, planned: 0 }
    }

    /// How many bytes must be filled in, before `certain` ones that follow, for each number up to `last` to have a part that
    /// others can follow. None unless objects have vanished or shrunk since they were listed.
    pub fn missing(&self, last: u32, certain: u64) -> u64 {
        let needed = u64::from(self.left(last)) * self.policy.head_bytes;
        needed.saturating_sub(self.filling.len() as u64 + certain)
    }

    /// Lets parts be cut up to this number, as [`Numbering`](super::Numbering) has planned. The last of all is kept for
    /// what is left at the end.
    pub fn allow(&mut self, until: u32) {
        self.planned = self.until;
        self.until = until.min(self.policy.max_parts.saturating_sub(1));
    }

    /// Adds the next bytes; returns the parts that they fill.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<Segment>, Outgrown> {
        let (part, shortest) = (size_of_part(self.policy.part_bytes), size_of_part(self.policy.head_bytes));
        let mut segments = Vec::new();
        while !bytes.is_empty() {
            if self.filling.capacity() == 0 {
                self.filling.reserve(part);
            }
            let room = part.saturating_sub(self.filling.len());
            let (head, rest) = bytes.split_at(bytes.len().min(if room == 0 { bytes.len() } else { room }));
            self.add(head)?;
            bytes = rest;
            // Where objects have shrunk or vanished, shorter parts use the numbers up that were planned for them.
            while (self.filling.len() >= part && self.next <= self.until)
                || (self.filling.len() >= shortest && self.next <= self.planned)
            {
                segments.extend(self.cut(part.min(self.filling.len())));
            }
        }
        Ok(segments)
    }

    /// Adds bytes that are [missing](LiteralParts::missing) up to `last`, at most as many as the shortest part has.
    pub fn push_filler(&mut self, filler: &[u8], last: u32) -> Result<Vec<Segment>, Outgrown> {
        self.add(filler)?;
        let shortest = size_of_part(self.policy.head_bytes);
        let mut segments = Vec::new();
        while self.filling.len() >= shortest && self.next < last {
            segments.extend(self.cut(shortest));
        }
        Ok(segments)
    }

    /// Adds the header and the first bytes of an object that is copied from there on, and ends the literal parts before
    /// its copies, of which the first has the number `copies`: there is one for each number before it. From here on parts
    /// are numbered from `next` on.
    pub fn push_before_copies(
        &mut self,
        header: &[u8],
        head: &[u8],
        copies: u32,
        next: u32,
    ) -> Result<Vec<Segment>, Outgrown> {
        self.add(header)?;
        self.add(head)?;
        let segments = self.cut_up_to(copies.saturating_sub(1))?;
        self.next = next;
        Ok(segments)
    }

    /// Ends a stretch with the parts up to the number `last`.
    pub fn finish_at(mut self, last: u32) -> Result<Vec<Segment>, Outgrown> {
        self.cut_up_to(last)
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

    /// The numbers up to `last` that have no part yet.
    fn left(&self, last: u32) -> u32 {
        last.saturating_add(1).saturating_sub(self.next)
    }

    /// Cuts what there is into a part for each number up to `last`, all about as long.
    fn cut_up_to(&mut self, last: u32) -> Result<Vec<Segment>, Outgrown> {
        let left = self.left(last) as usize;
        if left == 0 || self.filling.len() < left * size_of_part(self.policy.head_bytes) {
            return Err(Outgrown);
        }
        Ok((1..=left).rev().filter_map(|left| self.cut(self.filling.len() / left)).collect())
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
