//! Data as independent zstd frames (RFC 8878), each of them exactly one chunk.
//!
//! `pg_restore` feeds its decoder chunk by chunk and goes on to the next chunk when a frame has ended, whatever is left of
//! the chunk (`ReadDataFromArchiveZstd` in `compress_zstd.c`, `PostgreSQL` 16 to 18): so a frame must end where a chunk
//! does.

use std::io;

use zstd::bulk::Compressor;

/// One frame with `raw`.
pub(super) fn frame(encoder: &mut Compressor<'static>, raw: &[u8]) -> io::Result<Vec<u8>> {
    encoder.compress(raw)
}
