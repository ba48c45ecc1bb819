//! The formats Holdfast writes: `PostgreSQL`'s custom archive, tar with its manifest, multipart layout, checksums. Pure.
//!
//! Nothing here reads a clock, opens a file or speaks to a network: an engine brings the bytes and carries
//! them away.
//!
//! - [`media_tar::MediaTar`] turns objects into one tar that stock tools read, its manifest last.
//! - [`assembly`] plans how S3 puts that tar together.
//! - [`pg_custom`] reads and writes `PostgreSQL`'s custom archives.
//! - [`multipart::PartBuffer`] cuts a stream of unknown length into the parts of an upload.
//! - [`checksum`] has the two checksums that go with them.

pub mod assembly;
pub mod checksum;
pub mod manifest;
pub mod media_tar;
pub mod multipart;
pub mod pg_custom;
pub mod tar;
