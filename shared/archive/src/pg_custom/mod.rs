//! `PostgreSQL`'s custom archive format, as `pg_dump --format=custom` writes it and `pg_restore` reads it.
//!
//! Sources: `src/bin/pg_dump/pg_backup_archiver.{c,h}` (header, table of contents, fields), `pg_backup_custom.c` (data
//! blocks, offsets), `compress_gzip.c` and `compress_zstd.c` (what is in a block) of `PostgreSQL` 13 to 18.
//!
//! ```text
//! archive  := header toc block*
//! header   := "PGDMP" major minor revision int_size offset_size format compression created database server pg_dump
//! toc      := int(number of entries) entry*
//! entry    := … strings and ints … offset
//! offset   := state(1 byte) position(8 bytes, least significant first)
//! block    := 1 int(dump id) data                                          the rows of a table
//!           | 3 int(dump id) (int(oid of a large object) data)* int(0)     large objects
//! data     := (int(length) bytes)* int(0)                                  chunks, compressed as the header says
//! int      := sign(1 byte) magnitude(4 bytes, least significant first)
//! string   := int(-1) | int(length) bytes
//! ```
//!
//! A block's position is the distance of its first byte from the start of the archive. An offset field has a fixed width,
//! so that positions can be filled in when the blocks are known. Where they are not filled in, `pg_restore` looks for a
//! block by reading all before it.
//!
//! - [`Header`] and [`Entry`] read and write their part, byte for byte the same.
//! - [`ArchiveReader`] takes an archive apart as it arrives.
//! - [`Contents`], [`find_blocks`] and [`BlockData`] read one that is all there; [`read_blocks`] reads all of it, in order.
//! - [`Codec`] makes the chunks of a block out of pieces that were compressed side by side.

mod block;
mod codec;
mod contents;
mod entry;
mod fields;
mod header;
mod reader;
mod sequence;
mod version;
mod zlib;
mod zstd_frames;

pub use block::{Block, BlockData, find_blocks};
pub use codec::{
    Codec, Compression, CompressionFailed, Compressor, Joint, Piece, chunk, decompress, end_of_data,
};
pub use contents::{Contents, ReadError};
pub use entry::{Entry, OFFSET_BYTES, Offset};
pub use fields::{Fields, Malformed, write_int, write_string};
pub use header::Header;
pub use reader::{ArchiveReader, BlockKind, Event, block_head};
pub use sequence::read_blocks;
pub use version::{Unsupported, Version};
