//! One zlib stream (RFC 1950) out of blocks that were deflated side by side, as pigz does it.
//!
//! Each block ends with a sync flush, that is on a byte boundary, and without the mark of the last block; a final empty
//! block and the checksum of everything end the stream. A block may refer to the 32 KiB before it, which the decoder has
//! by then, so its encoder is given them as a dictionary.

use std::io;

use flate2::{Compress, Compression as Level, FlushCompress, Status};

/// How far back a block can refer, in bytes.
pub(super) const WINDOW_BYTES: usize = 32 * 1024;

/// The modulus of Adler-32 (RFC 1950, section 8.2).
const ADLER_MODULUS: u32 = 65_521;

/// Adler-32 of nothing.
pub(super) const ADLER_OF_NOTHING: u32 = 1;

/// The two bytes before the first block: deflate with a window of 32 KiB, and how hard the encoder tried.
pub(super) fn stream_head(level: u32) -> [u8; 2] {
    // The low five bits make the two bytes, most significant first, a multiple of 31.
    match level {
        0 | 1 => [0x78, 0x01],
        2..=5 => [0x78, 0x5e],
        6 => [0x78, 0x9c],
        _ => [0x78, 0xda],
    }
}

/// What ends a stream whose contents have the checksum `adler`: an empty final block, and the checksum.
pub(super) fn stream_tail(adler: u32) -> [u8; 6] {
    let [a, b, c, d] = adler.to_be_bytes();
    [0x03, 0x00, a, b, c, d]
}

/// Appends `raw` deflated, up to a byte boundary. `before` are the bytes before it in the stream, of which the last 32 KiB
/// count.
pub(super) fn deflate_block(level: u32, before: &[u8], raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = Compress::new(Level::new(level), false);
    let dictionary = &before[before.len().saturating_sub(WINDOW_BYTES)..];
    if !dictionary.is_empty() {
        encoder.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let mut done = 0;
    loop {
        // Room enough for what cannot be compressed at the first go; the loop is for whatever needs more.
        let left = raw.len() - done;
        out.reserve(left + left / 1000 + 64);
        let (room, filled, read) = (out.capacity() - out.len(), out.len(), encoder.total_in());
        let status =
            encoder.compress_vec(&raw[done..], out, FlushCompress::Sync).map_err(io::Error::other)?;
        done += usize::try_from(encoder.total_in() - read).map_err(io::Error::other)?;
        // Everything is flushed when room is left.
        if done == raw.len() && out.len() - filled < room {
            return Ok(());
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("deflate ended by itself"));
        }
    }
}

/// Adler-32 of two pieces in sequence, the second of them `second_bytes` long.
pub(super) fn adler_combine(first: u32, second: u32, second_bytes: u64) -> u32 {
    let modulus = u64::from(ADLER_MODULUS);
    let (first_sum, first_sums) = (u64::from(first & 0xffff), u64::from(first >> 16));
    let (second_sum, second_sums) = (u64::from(second & 0xffff), u64::from(second >> 16));
    // Each sum starts at 1, and the sum of sums counts what was before once for each byte that follows.
    let sum = (first_sum + second_sum + modulus - 1) % modulus;
    let carried = (first_sum + modulus - 1) % modulus * (second_bytes % modulus) % modulus;
    let sums = (first_sums + second_sums + carried) % modulus;
    // Both are below the modulus, which is below 2^16.
    u32::try_from(sums << 16 | sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn adler(bytes: &[u8]) -> u32 {
        simd_adler32::adler32(&bytes)
    }

    proptest! {
        #[test]
        fn a_checksum_is_that_of_its_pieces(
            first in prop::collection::vec(any::<u8>(), 0..2000),
            second in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let whole = [&first[..], &second[..]].concat();
            let combined = adler_combine(adler(&first), adler(&second), second.len() as u64);
            prop_assert_eq!(combined, adler(&whole));
        }

        #[test]
        fn blocks_make_one_stream(
            pieces in prop::collection::vec((prop::collection::vec(0_u8..4, 0..9000), any::<bool>()), 0..8),
            level in 1_u32..=9,
        ) {
            let mut stream = stream_head(level).to_vec();
            let mut whole: Vec<u8> = Vec::new();
            for (piece, knows_before) in &pieces {
                let before = if *knows_before { whole.clone() } else { Vec::new() };
                deflate_block(level, &before, piece, &mut stream).unwrap();
                whole.extend_from_slice(piece);
            }
            stream.extend_from_slice(&stream_tail(adler(&whole)));
            let mut inflated = Vec::new();
            let mut decoder = flate2::read::ZlibDecoder::new(&stream[..]);
            decoder.read_to_end(&mut inflated).unwrap();
            prop_assert_eq!(decoder.total_in(), stream.len() as u64);
            prop_assert!(inflated == whole);
        }
    }

    #[test]
    fn what_does_not_compress_is_whole_too() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(3 << 20)
        .collect();
        let mut stream = stream_head(6).to_vec();
        deflate_block(6, &[], &noise, &mut stream).unwrap();
        stream.extend_from_slice(&stream_tail(adler(&noise)));
        assert!(stream.len() < noise.len() + noise.len() / 1000);
        let mut inflated = Vec::new();
        flate2::read::ZlibDecoder::new(&stream[..]).read_to_end(&mut inflated).unwrap();
        assert!(inflated == noise);
    }

    #[test]
    fn every_head_is_valid() {
        for level in 0..=9 {
            let [first, second] = stream_head(level);
            assert_eq!((u32::from(first) * 256 + u32::from(second)) % 31, 0);
        }
    }
}
