//! Blocks of an archive that is all there: found, read, and not believed when they are damaged.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Cursor, Read as _};

use holdfast_archive::pg_custom::{
    BlockData, BlockKind, Codec, Compression, Compressor, Joint, Malformed, ReadError, block_head, chunk,
    end_of_data, find_blocks, write_int,
};
use rstest::rstest;

/// What stands before the blocks.
const BEFORE: &[u8] = b"contents";

fn block(codec: Codec, dump_id: i32, pieces: &[&[u8]]) -> Vec<u8> {
    let mut joint = Joint::new(codec);
    let mut out = block_head(BlockKind::Data, dump_id);
    out.extend(joint.head());
    for raw in pieces {
        let piece = Compressor::new(codec).unwrap().piece(&[], raw).unwrap();
        joint.add(&piece);
        out.extend_from_slice(&piece.chunk);
    }
    out.extend(joint.tail());
    out
}

fn large_objects(dump_id: i32) -> Vec<u8> {
    let mut out = block_head(BlockKind::LargeObjects, dump_id);
    for oid in [77, 4000] {
        write_int(&mut out, oid);
        out.extend(chunk(b"large"));
        out.extend(end_of_data());
    }
    write_int(&mut out, 0);
    out
}

fn read(compression: Compression, dump_id: i32, block: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    BlockData::open(compression, dump_id, block)?.read_to_end(&mut data)?;
    Ok(data)
}

#[rstest]
#[case(Codec::None, Compression::None)]
#[case(Codec::Zlib { level: 6 }, Compression::Zlib { level: None })]
#[case(Codec::Zstd { level: 1 }, Compression::Zstd)]
fn blocks_are_found_and_read(#[case] codec: Codec, #[case] compression: Compression) {
    let text = b"some rows\n".repeat(30_000);
    let blocks = [block(codec, 7, &[&text[..], b"more"]), large_objects(8), block(codec, 9, &[b"x"])];
    let archive = [BEFORE, &blocks.concat()].concat();
    let found = find_blocks(Cursor::new(&archive), BEFORE.len() as u64, archive.len() as u64).unwrap();
    let mut at = BEFORE.len() as u64;
    for (found, block) in found.iter().zip(&blocks) {
        assert_eq!((found.position, found.bytes), (at, block.len() as u64));
        at += found.bytes;
    }
    let told: Vec<_> = found.iter().map(|block| (block.kind, block.dump_id)).collect();
    assert_eq!(told, [(BlockKind::Data, 7), (BlockKind::LargeObjects, 8), (BlockKind::Data, 9)]);
    let from = &archive[usize::try_from(found[0].position).unwrap()..];
    assert!(read(compression, 7, from).unwrap() == [&text[..], b"more"].concat());
    assert!(read(compression, 9, from).is_err(), "it is another one's");

    for end in [archive.len() - 1, archive.len() - 9, BEFORE.len() + 3] {
        let cut = find_blocks(Cursor::new(&archive[..end]), BEFORE.len() as u64, end as u64);
        assert!(matches!(cut, Err(ReadError::Malformed(Malformed::Incomplete))), "{end} bytes");
    }
}

/// Adler-32, which is zlib's, misses three bytes of which the second changes by as much as both others together, the other way: in
/// fewer than one of a thousand bits.
#[rstest]
#[case(Codec::Zlib { level: 6 }, Compression::Zlib { level: None }, 18)]
#[case(Codec::Zstd { level: 1 }, Compression::Zstd, 0)]
fn damaged_blocks_are_noticed(
    #[case] codec: Codec,
    #[case] compression: Compression,
    #[case] missed_at_most: usize,
) {
    let raw: Vec<u8> =
        (0..2000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_string().into_bytes()).collect();
    let block = block(codec, 7, &[&raw[..9000], &raw[9000..]]);
    let (mut noticed, mut missed) = (0, 0);
    for at in 0..block.len() {
        for bit in [1, 0x80] {
            let mut damaged = block.clone();
            damaged[at] ^= bit;
            match read(compression, 7, &damaged) {
                Err(_) => noticed += 1,
                Ok(data) if data != raw => missed += 1,
                // A bit that means nothing.
                Ok(_) => {}
            }
        }
    }
    assert!(missed <= missed_at_most, "{missed} of {} are missed", 2 * block.len());
    assert!(noticed > 2 * block.len() - 20, "{noticed} of {}", 2 * block.len());
}
