//! What is uploaded.

use std::{collections::BTreeMap, ops::Range, path::Path};

use bytes::Bytes;
use holdfast_archive::checksum::Crc64Nvme;

/// Bytes of parts of tars that are kept; of what follows only the checksums are.
const KEPT_TAR_BYTES: u64 = 2 << 30;

/// A run of bytes.
#[derive(Clone)]
pub(crate) enum Part {
    /// Here they are, in pieces that may be those of another object.
    Held(Vec<Bytes>),
    /// They are not kept.
    Dropped(u64),
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Self::Held(pieces) => size_of(pieces),
            Self::Dropped(size) => *size,
        }
    }

    fn bytes(&self, range: Range<u64>) -> Option<Vec<Bytes>> {
        let Self::Held(pieces) = self else { return None };
        let (mut found, mut at) = (Vec::new(), 0);
        for piece in pieces {
            let end = at + piece.len() as u64;
            let (from, to) = (range.start.max(at), range.end.min(end));
            if from < to {
                let place = |here: u64| usize::try_from(here - at).unwrap_or(usize::MAX);
                found.push(piece.slice(place(from)..place(to)));
            }
            at = end;
        }
        Some(found)
    }
}

fn size_of(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// What is stored, or being uploaded.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    parts: BTreeMap<u32, (Part, Crc64Nvme)>,
    /// The headers that say how it is protected.
    pub(crate) protection: Vec<(&'static str, String)>,
}

impl Stored {
    pub(crate) fn whole(body: Bytes, protection: Vec<(&'static str, String)>) -> Self {
        let checksum = Crc64Nvme::of(&body);
        Self { parts: BTreeMap::from([(1, (Part::Held(vec![body]), checksum))]), protection }
    }

    pub(crate) fn size(&self) -> u64 {
        self.parts.values().map(|(part, _)| part.size()).sum()
    }

    pub(crate) fn checksum(&self) -> Crc64Nvme {
        let parts = self.parts.values();
        parts.fold(Crc64Nvme::EMPTY, |whole, (part, checksum)| {
            Crc64Nvme::combine(whole, *checksum, part.size())
        })
    }

    pub(crate) fn etag(&self) -> String {
        format!("\"{}\"", self.checksum())
    }

    /// Whether its numbers are consecutive.
    pub(crate) fn is_complete(&self) -> bool {
        !self.parts.is_empty()
            && self.parts.keys().copied().eq(1..=u32::try_from(self.parts.len()).unwrap_or(0))
    }

    /// The bytes of a range; none if they were not kept.
    pub(crate) fn bytes(&self, range: &Range<u64>) -> Option<Vec<Bytes>> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        for (part, _) in self.parts.values() {
            let (from, to) = (range.start.max(at), range.end.min(at + part.size()));
            if from < to {
                pieces.extend(part.bytes(from - at..to - at)?);
            }
            at += part.size();
        }
        Some(pieces)
    }
}

/// All that is stored and being uploaded.
#[derive(Default)]
pub(crate) struct Uploads {
    pub(crate) objects: BTreeMap<String, Stored>,
    open: BTreeMap<String, (String, Stored)>,
    begun: u64,
    kept_tar_bytes: u64,
}

impl Uploads {
    pub(crate) fn begin(&mut self, path: &str, protection: Vec<(&'static str, String)>) -> String {
        self.begun += 1;
        let id = self.begun.to_string();
        self.open.insert(id.clone(), (path.to_owned(), Stored { protection, ..Stored::default() }));
        id
    }

    pub(crate) fn put(&mut self, id: &str, number: u32, body: Bytes) -> Option<Crc64Nvme> {
        let checksum = Crc64Nvme::of(&body);
        let (path, stored) = self.open.get_mut(id)?;
        let size = body.len() as u64;
        let is_tar = Path::new(path.as_str()).extension().is_some_and(|extension| extension == "tar");
        let is_kept = !is_tar || self.kept_tar_bytes + size <= KEPT_TAR_BYTES;
        if is_kept && is_tar {
            self.kept_tar_bytes += size;
        }
        let part = if is_kept { Part::Held(vec![body]) } else { Part::Dropped(size) };
        stored.parts.insert(number, (part, checksum));
        Some(checksum)
    }

    /// Stores bytes of another object as a part, with their checksum.
    pub(crate) fn copy(
        &mut self,
        id: &str,
        number: u32,
        pieces: Vec<Bytes>,
        checksum: Crc64Nvme,
    ) -> Option<()> {
        self.open.get_mut(id)?.1.parts.insert(number, (Part::Held(pieces), checksum));
        Some(())
    }

    pub(crate) fn complete(&mut self, id: &str) -> Option<Stored> {
        let (path, stored) = self.open.get(id).filter(|(_, stored)| stored.is_complete())?.clone();
        self.open.remove(id);
        self.objects.insert(path, stored.clone());
        Some(stored)
    }

    /// The path and the id of each that is open.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&str, &str)> {
        self.open.iter().map(|(id, (path, _))| (path.as_str(), id.as_str()))
    }

    pub(crate) fn give_up(&mut self, id: &str) {
        self.open.remove(id);
    }

    /// Forgets what is stored, so that the next measurement begins as the first.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
