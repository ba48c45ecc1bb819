use std::io::BufRead;

use serde::Deserialize;

use super::{FORMAT, ManifestCounts, ManifestError, ManifestHeader, ManifestLine, VERSION};

/// Reads a manifest (uncompressed): its header, and its lines one at a time.
pub fn read<R: BufRead>(mut reader: R) -> Result<(ManifestHeader, ManifestLines<R>), ManifestError> {
    let mut text = Vec::new();
    reader.read_until(b'\n', &mut text).map_err(|source| ManifestError::Read { line: 1, source })?;
    if text.is_empty() {
        return Err(ManifestError::Empty);
    }
    let preamble: Preamble = serde_json::from_slice(&text).map_err(|_| ManifestError::NotAManifest)?;
    if preamble.format != FORMAT {
        return Err(ManifestError::NotAManifest);
    }
    if preamble.version > VERSION {
        return Err(ManifestError::Version { found: preamble.version });
    }
    let header: ManifestHeader =
        serde_json::from_slice(&text).map_err(|source| ManifestError::Line { line: 1, source })?;
    let lines = ManifestLines {
        reader,
        text,
        line: 1,
        expected: header.counts,
        counted: ManifestCounts::default(),
        ended: false,
    };
    Ok((header, lines))
}

/// The lines of a manifest after its header. Ends at the first error; at the end of the manifest, lines that
/// are not those the header counts are one.
#[derive(Debug)]
pub struct ManifestLines<R> {
    reader: R,
    text: Vec<u8>,
    line: u64,
    expected: ManifestCounts,
    counted: ManifestCounts,
    ended: bool,
}

impl<R: BufRead> ManifestLines<R> {
    fn next_line(&mut self) -> Result<Option<ManifestLine>, ManifestError> {
        self.text.clear();
        self.line += 1;
        let line = self.line;
        self.reader
            .read_until(b'\n', &mut self.text)
            .map_err(|source| ManifestError::Read { line, source })?;
        if self.text.is_empty() {
            if self.counted != self.expected {
                return Err(ManifestError::Counts { expected: self.expected, actual: self.counted });
            }
            return Ok(None);
        }
        let parsed =
            serde_json::from_slice(&self.text).map_err(|source| ManifestError::Line { line, source })?;
        self.counted.add(&parsed);
        Ok(Some(parsed))
    }
}

impl<R: BufRead> Iterator for ManifestLines<R> {
    type Item = Result<ManifestLine, ManifestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.next_line();
        self.ended = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}

/// The lines of one frame, which has no header. `line` is the number of the first, from 1, for errors.
pub fn parse_lines(text: &[u8], line: u64) -> impl Iterator<Item = Result<ManifestLine, ManifestError>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.zip(line..).map(|(text, line)| {
        serde_json::from_slice(text).map_err(|source| ManifestError::Line { line, source })
    })
}

/// What every version's header says, read before the rest of it.
#[derive(Deserialize)]
struct Preamble {
    format: String,
    version: u32,
}
