//! Data as independent zstd frames (RFC 8878), each of them exactly one chunk.
//!
//! `pg_restore` feeds its decoder chunk by chunk and goes on to the next chunk when a frame has ended, whatever is left of
//! the chunk (`ReadDataFromArchiveZstd` in `compress_zstd.c`, `PostgreSQL` 16 to 18): so a frame must end where a chunk
//! does.

use std::io;

use zstd::bulk::Compressor;

/// An encoder of frames with a checksum of their data, which `pg_dump`'s own do not have.
pub(super) fn encoder(level: i32) -> io::Result<Compressor<'static>> {
    let mut encoder = Compressor::new(level)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

/// One frame with `raw`.
pub(super) fn frame(encoder: &mut Compressor<'static>, raw: &[u8]) -> io::Result<Vec<u8>> {
    encoder.compress(raw)
}
