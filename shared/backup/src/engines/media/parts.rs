//! The parts of the archive on their way to the upload.

use holdfast_archive::{
    assembly::{LiteralParts, Outgrown, Policy},
    multipart::Segment,
};

use crate::{engines::segments::SegmentSender, error::SliceError, ports::StoredPart};

/// Sends what is written here as parts, and counts.
pub(super) struct PartWriter {
    literal: LiteralParts,
    out: SegmentSender,
    /// Bytes of all parts so far.
    sent: u64,
}

impl PartWriter {
    pub(super) fn new(policy: Policy, out: SegmentSender) -> Self {
        Self::continuing(policy, out, 1, 0)
    }

    /// Goes on after `sent` bytes with the part `first`.
    pub(super) fn continuing(policy: Policy, out: SegmentSender, first: u32, sent: u64) -> Self {
        Self { literal: LiteralParts::starting_at(policy, first), out, sent }
    }

    /// How many bytes must be filled in, before `certain` ones that follow, for each number up to `last` to have a part.
    pub(super) fn missing(&self, last: u32, certain: u64) -> u64 {
        self.literal.missing(last, certain)
    }

    /// Adds bytes that are missing up to the number `last`.
    pub(super) async fn fill(&mut self, filler: &[u8], last: u32) -> Result<(), SliceError> {
        let segments = self.literal.push_filler(filler, last).map_err(outgrown)?;
        self.send(segments).await
    }

    /// Lets parts have numbers up to this one.
    pub(super) fn allow(&mut self, until: u32) {
        self.literal.allow(until);
    }

    /// Adds the next bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), SliceError> {
        let segments = self.literal.push(bytes).map_err(outgrown)?;
        self.send(segments).await
    }

    /// Adds a header and the first bytes of an object, and the parts that were copied of it, of which the first has the
    /// number `copies`.
    pub(super) async fn write_copied(
        &mut self,
        header: &[u8],
        first: &[u8],
        copies: u32,
        parts: Vec<StoredPart>,
    ) -> Result<(), SliceError> {
        let next = parts.last().map_or(copies, |part| part.number + 1);
        let before = self.literal.push_before_copies(header, first, copies, next);
        self.send(before.map_err(outgrown)?).await?;
        for part in parts {
            self.sent += part.size;
            self.out.keep(part)?;
        }
        Ok(())
    }

    /// Ends the archive; returns its bytes.
    pub(super) async fn finish(self) -> Result<u64, SliceError> {
        let Self { literal, out, mut sent } = self;
        if let Some(last) = literal.finish().map_err(outgrown)? {
            sent += last.bytes.len() as u64;
            out.send(last).await?;
        }
        Ok(sent)
    }

    /// Ends a stretch with the part of the number `last`; returns its bytes.
    pub(super) async fn finish_at(self, last: u32) -> Result<u64, SliceError> {
        let Self { literal, out, mut sent } = self;
        for segment in literal.finish_at(last).map_err(outgrown)? {
            sent += segment.bytes.len() as u64;
            out.send(segment).await?;
        }
        Ok(sent)
    }

    async fn send(&mut self, segments: Vec<Segment>) -> Result<(), SliceError> {
        for segment in segments {
            self.sent += segment.bytes.len() as u64;
            self.out.send(segment).await?;
        }
        Ok(())
    }
}

fn outgrown(error: Outgrown) -> SliceError {
    SliceError::transient("object_changed", error.to_string())
}
