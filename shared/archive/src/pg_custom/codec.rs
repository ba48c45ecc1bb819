//! How the data of a block are compressed, in pieces that know nothing of each other.

use std::io::Read;

use bytes::Bytes;

use super::{
    fields::{Fields, Malformed, write_int},
    version::{Unsupported, Version},
    zlib::{self, ADLER_OF_NOTHING},
    zstd_frames,
};

/// What the header says about compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Data are as they are.
    None,
    /// Data are a zlib stream.
    Zlib {
        /// The level, in archives up to 1.14; -1 for zlib's own default.
        level: Option<i32>,
    },
    /// Data are zstd frames.
    Zstd,
    /// Data are LZ4 frames. They are neither made nor read here.
    Lz4,
}

impl Compression {
    /// Algorithms by their number are `pg_compress_algorithm` in `src/include/common/compression.h`.
    pub(super) fn read(version: Version, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        if !version.has_algorithm() {
            return Ok(match fields.int()? {
                0 => Self::None,
                level => Self::Zlib { level: Some(level) },
            });
        }
        match fields.byte()? {
            0 => Ok(Self::None),
            1 => Ok(Self::Zlib { level: None }),
            2 => Ok(Self::Lz4),
            3 => Ok(Self::Zstd),
            other => Err(Unsupported(format!("compression algorithm {other}")).into()),
        }
    }

    pub(super) fn write(self, version: Version, out: &mut Vec<u8>) {
        match (version.has_algorithm(), self) {
            (false, Self::Zlib { level }) => write_int(out, level.unwrap_or(-1)),
            // Nothing else has ever been read from such an archive.
            (false, Self::None | Self::Zstd | Self::Lz4) => write_int(out, 0),
            (true, Self::None) => out.push(0),
            (true, Self::Zlib { .. }) => out.push(1),
            (true, Self::Lz4) => out.push(2),
            (true, Self::Zstd) => out.push(3),
        }
    }

    /// How to compress at `level`.
    pub fn at(self, level: i32) -> Result<Codec, Unsupported> {
        match self {
            Self::None => Ok(Codec::None),
            Self::Zlib { .. } => Ok(Codec::Zlib { level: level.clamp(1, 9).unsigned_abs() }),
            Self::Zstd => Ok(Codec::Zstd { level: level.clamp(-7, 19) }),
            Self::Lz4 => Err(Unsupported("LZ4 compression".to_owned())),
        }
    }
}

/// A compression and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As they are.
    None,
    /// Deflated at a level from 1 to 9.
    Zlib {
        /// The level.
        level: u32,
    },
    /// zstd at a level from -7 to 19.
    Zstd {
        /// The level.
        level: i32,
    },
}

/// Consecutive bytes of a block's data, compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// One chunk.
    pub chunk: Bytes,
    /// How many bytes it was made of.
    pub raw_bytes: u64,
    adler: u32,
}

/// An encoder gave up, for which it has no reason but a lack of memory.
#[derive(Debug, thiserror::Error)]
#[error("the data could not be compressed")]
pub struct CompressionFailed(#[source] pub std::io::Error);

/// Compresses pieces one at a time; any number of them can work on the pieces of one block.
pub struct Compressor {
    codec: Codec,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Compressor {
    /// A compressor.
    pub fn new(codec: Codec) -> Result<Self, CompressionFailed> {
        let zstd = match codec {
            Codec::Zstd { level } => Some(zstd_frames::encoder(level).map_err(CompressionFailed)?),
            Codec::None | Codec::Zlib { .. } => None,
        };
        Ok(Self { codec, zstd })
    }

    /// Compresses `raw`, which is not empty. `before` is what stands before it in the same block, as much of it as is at
    /// hand.
    pub fn piece(&mut self, before: &[u8], raw: &[u8]) -> Result<Piece, CompressionFailed> {
        let mut adler = ADLER_OF_NOTHING;
        let mut framed = Vec::new();
        match (&self.codec, &mut self.zstd) {
            (Codec::Zlib { level }, _) => {
                adler = simd_adler32::adler32(&raw);
                // The length is filled in when it is known.
                write_int(&mut framed, 0);
                let head = framed.len();
                zlib::deflate_block(*level, before, raw, &mut framed).map_err(CompressionFailed)?;
                let mut length = Vec::with_capacity(head);
                write_int(&mut length, i32::try_from(framed.len() - head).unwrap_or(i32::MAX));
                framed[..head].copy_from_slice(&length);
            }
            (Codec::Zstd { .. }, Some(encoder)) => {
                append_chunk(&mut framed, &zstd_frames::frame(encoder, raw).map_err(CompressionFailed)?);
            }
            _ => append_chunk(&mut framed, raw),
        }
        // Room that is not needed would be kept for as long as the piece waits, and nobody would count it.
        framed.shrink_to_fit();
        Ok(Piece { chunk: framed.into(), raw_bytes: raw.len() as u64, adler })
    }
}

/// Joins the pieces of one block, in order.
#[derive(Debug)]
pub struct Joint {
    codec: Codec,
    adler: u32,
}

impl Joint {
    /// A block that has no piece yet.
    pub fn new(codec: Codec) -> Self {
        Self { codec, adler: ADLER_OF_NOTHING }
    }

    /// A block whose pieces so far have this [checksum](Joint::checksum).
    pub fn resume(codec: Codec, checksum: u32) -> Self {
        Self { codec, adler: checksum }
    }

    /// What is known of the pieces that went in, to go on elsewhere: their Adler-32 where they are deflated.
    pub fn checksum(&self) -> u32 {
        self.adler
    }

    /// What stands before the first piece.
    pub fn head(&self) -> Vec<u8> {
        match self.codec {
            Codec::Zlib { level } => chunk(&zlib::stream_head(level)),
            Codec::None | Codec::Zstd { .. } => Vec::new(),
        }
    }

    /// The next piece goes in.
    pub fn add(&mut self, piece: &Piece) {
        self.adler = zlib::adler_combine(self.adler, piece.adler, piece.raw_bytes);
    }

    /// What stands after the last piece, and ends the block.
    pub fn tail(self) -> Vec<u8> {
        let mut tail = match self.codec {
            Codec::Zlib { .. } => chunk(&zlib::stream_tail(self.adler)),
            Codec::None | Codec::Zstd { .. } => Vec::new(),
        };
        tail.extend_from_slice(&end_of_data());
        tail
    }
}

/// `bytes`, which are not empty, as one chunk (`_CustomWriteFunc` in `pg_backup_custom.c`).
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 5);
    append_chunk(&mut out, bytes);
    out
}

fn append_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_int(out, i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(bytes);
}

/// What ends the data of a block: a chunk without bytes.
pub fn end_of_data() -> Vec<u8> {
    let mut out = Vec::new();
    write_int(&mut out, 0);
    out
}

/// The data of a block out of its chunks, at most `limit` bytes of it.
pub fn decompress(compression: Compression, chunks: &[Bytes], limit: usize) -> Result<Vec<u8>, Malformed> {
    if chunks.is_empty() {
        return Ok(Vec::new());
    }
    let stream = chunks.concat();
    let mut data = Vec::new();
    let limit = limit as u64;
    let read = match compression {
        Compression::None => (&stream[..]).take(limit).read_to_end(&mut data),
        Compression::Zlib { .. } => {
            flate2::read::ZlibDecoder::new(&stream[..]).take(limit).read_to_end(&mut data)
        }
        Compression::Zstd => zstd::stream::read::Decoder::new(&stream[..])
            .and_then(|decoder| decoder.take(limit).read_to_end(&mut data)),
        Compression::Lz4 => return Err(Unsupported("LZ4 compression".to_owned()).into()),
    };
    match read {
        Ok(_) => Ok(data),
        Err(error) => Err(Malformed::Invalid(format!("data that cannot be decompressed: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// A block's data as `pg_restore` reads it: chunk by chunk, and with zstd no further than a frame's end in each.
    fn restored(compression: Compression, mut bytes: &[u8]) -> Vec<u8> {
        let mut chunks = Vec::new();
        loop {
            let mut fields = Fields::new(bytes);
            let length = fields.length().unwrap();
            if length == 0 {
                assert_eq!(fields.position(), bytes.len());
                break;
            }
            chunks.push(Bytes::copy_from_slice(fields.take(length).unwrap()));
            bytes = &bytes[fields.position()..];
        }
        if compression == Compression::Zstd {
            for chunk in &chunks {
                assert_eq!(
                    zstd::zstd_safe::find_frame_compressed_size(chunk),
                    Ok(chunk.len()),
                    "a frame is a chunk"
                );
            }
        }
        decompress(compression, &chunks, usize::MAX).unwrap()
    }

    fn block(codec: Codec, pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut joint = Joint::new(codec);
        let mut out = joint.head();
        let mut before: &[u8] = &[];
        for raw in pieces {
            let piece = Compressor::new(codec).unwrap().piece(before, raw).unwrap();
            joint.add(&piece);
            out.extend_from_slice(&piece.chunk);
            before = raw;
        }
        out.extend_from_slice(&joint.tail());
        out
    }

    fn codecs() -> impl Strategy<Value = Codec> {
        prop_oneof![
            Just(Codec::None),
            (1_u32..=9).prop_map(|level| Codec::Zlib { level }),
            (-3_i32..=6).prop_map(|level| Codec::Zstd { level }),
        ]
    }

    fn compression(codec: Codec) -> Compression {
        match codec {
            Codec::None => Compression::None,
            Codec::Zlib { .. } => Compression::Zlib { level: None },
            Codec::Zstd { .. } => Compression::Zstd,
        }
    }

    proptest! {
        #[test]
        fn pieces_are_read_as_one(
            codec in codecs(),
            pieces in prop::collection::vec(prop::collection::vec(b'a'..=b'e', 1..5000), 0..6),
        ) {
            let whole = pieces.concat();
            prop_assert!(restored(compression(codec), &block(codec, &pieces)) == whole);
        }
    }

    #[rstest]
    #[case(Version::V1_14, &[0, 0, 0, 0, 0], Compression::None)]
    #[case(Version::V1_14, &[1, 1, 0, 0, 0], Compression::Zlib { level: Some(-1) })]
    #[case(Version::V1_14, &[0, 9, 0, 0, 0], Compression::Zlib { level: Some(9) })]
    #[case(Version::V1_15, &[0], Compression::None)]
    #[case(Version::V1_15, &[1], Compression::Zlib { level: None })]
    #[case(Version::V1_16, &[2], Compression::Lz4)]
    #[case(Version::V1_16, &[3], Compression::Zstd)]
    fn a_header_says_how_data_are_compressed(
        #[case] version: Version,
        #[case] bytes: &[u8],
        #[case] compression: Compression,
    ) {
        assert_eq!(Compression::read(version, &mut Fields::new(bytes)), Ok(compression));
        let mut out = Vec::new();
        compression.write(version, &mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn an_unknown_algorithm_is_refused_by_name() {
        let refused = Compression::read(Version::V1_16, &mut Fields::new(&[4])).unwrap_err();
        assert!(refused.to_string().contains("algorithm 4"), "{refused}");
        assert!(Compression::Lz4.at(1).unwrap_err().to_string().contains("LZ4"));
    }

    /// Without a checksum, what a decoder makes of a damaged frame may be other data instead of an error.
    #[test]
    fn a_frame_has_a_checksum() {
        let piece =
            Compressor::new(Codec::Zstd { level: 1 }).unwrap().piece(&[], &b"0123456789".repeat(50)).unwrap();
        // The bit of the frame header's descriptor that says so (RFC 8878, section 3.1.1.1.1), after length and magic.
        assert_eq!(piece.chunk[5 + 4] & 4, 4);
    }

    #[test]
    fn what_was_before_makes_a_block_smaller() {
        let text: Vec<u8> = (0..4000_u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761) % 9973).to_string().into_bytes())
            .collect();
        let codec = Codec::Zlib { level: 6 };
        let alone = Compressor::new(codec).unwrap().piece(&[], &text).unwrap().chunk.len();
        let after_itself = Compressor::new(codec).unwrap().piece(&text, &text).unwrap().chunk.len();
        assert!(after_itself * 4 < alone, "{after_itself} of {alone}");
    }

    #[rstest]
    #[case(Codec::Zlib { level: 6 })]
    #[case(Codec::Zstd { level: 3 })]
    #[case(Codec::None)]
    fn a_piece_takes_no_more_memory_than_it_is_long(#[case] codec: Codec) {
        let raw = b"0123456789abcdef".repeat(64 * 1024);
        let piece = Compressor::new(codec).unwrap().piece(&[], &raw).unwrap();
        let length = piece.chunk.len();
        let capacity = piece.chunk.try_into_mut().unwrap().capacity();
        assert!(capacity <= length + 4096, "{capacity} bytes for {length}");
    }
}
